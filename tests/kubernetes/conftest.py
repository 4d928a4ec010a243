# SPDX-License-Identifier: Apache-2.0
"""Tests that need a real Kubernetes. They are skipped unless `make test-kubernetes` runs them."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.kubernetes.harness import Bed

if TYPE_CHECKING:
    from collections.abc import Iterator

HERE = Path(__file__).resolve().parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if os.environ.get("PODFENCE_KUBERNETES") == "1":
        return
    skip = pytest.mark.skip(reason="needs a real Kubernetes; as root: make test-kubernetes")
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(skip)


@pytest.fixture(scope="session")
def bed() -> Iterator[Bed]:
    """Return the bed in the directory PODFENCE_BED: one that runs stays, one that was started for the tests is ended."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    bed = Bed(Path(os.environ.get("PODFENCE_BED") or cache / "podfence-bed"))
    if bed.runs:
        yield bed
        return
    # Whoever ends this process means the bed too.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        bed.start()
        yield bed
    finally:
        bed.stop()


@pytest.fixture(scope="module")
def cluster_at_hand(request: pytest.FixtureRequest) -> Iterator[None]:
    """Let kubectl and podfence find a cluster that enforces: that of KUBECONFIG if it is set, else the bed's."""
    if "KUBECONFIG" in os.environ:
        yield
        return
    bed: Bed = request.getfixturevalue("bed")
    installed = not bed.enforces
    if installed:
        bed.install_podfence()
    with bed.entered():
        yield
    if installed:
        bed.remove_podfence()
