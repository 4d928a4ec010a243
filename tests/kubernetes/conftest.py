# SPDX-License-Identifier: Apache-2.0
"""Tests that need a real Kubernetes. They are skipped unless `make test-kubernetes` runs them.

What passed is written down in the bed's directory, for each image of podfence; with PODFENCE_KUBERNETES_RESUME=1 it
is not run again.
"""

from __future__ import annotations

import hashlib
import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.kubernetes.harness import IMAGE, Bed

if TYPE_CHECKING:
    from collections.abc import Iterator

HERE = Path(__file__).resolve().parent


def bed_directory() -> Path:
    """Return where the bed keeps its programs and its state."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return Path(os.environ.get("PODFENCE_BED") or cache / "podfence-bed")


def _passed() -> Path:
    """Return the file with the names of the tests that passed with the present image."""
    digest = hashlib.sha256(IMAGE.read_bytes()).hexdigest() if IMAGE.exists() else "none"
    return bed_directory() / f"passed-{digest[:32]}"


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    ran = os.environ.get("PODFENCE_KUBERNETES") == "1" and report.nodeid.startswith("tests/kubernetes/")
    if ran and report.when == "call" and report.passed:
        with _passed().open("a", encoding="utf-8") as file:
            file.write(f"{report.nodeid}\n")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if os.environ.get("PODFENCE_KUBERNETES") == "1":
        if os.environ.get("PODFENCE_KUBERNETES_RESUME") == "1" and _passed().exists():
            known = set(_passed().read_text(encoding="utf-8").splitlines())
            again = pytest.mark.skip(reason="passed with this image before; without PODFENCE_KUBERNETES_RESUME it runs")
            for item in items:
                if item.nodeid in known:
                    item.add_marker(again)
        return
    skip = pytest.mark.skip(reason="needs a real Kubernetes; as root: make test-kubernetes")
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(skip)


@pytest.fixture(scope="session")
def bed() -> Iterator[Bed]:
    """Return the bed in the directory PODFENCE_BED: one that runs stays, one that was started for the tests is ended."""
    bed = Bed(bed_directory())
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
