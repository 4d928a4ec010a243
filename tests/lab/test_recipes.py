# SPDX-License-Identifier: Apache-2.0
"""The recipes of the tutorial are true in a lab: the same text that is typed into a real cluster, with stock kubectl."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.kubernetes.sessions.performing import PAGES, perform
from tests.lab.kubectl import KUBECTL, QUICKLY, needs_kubectl
from tests.lab.labs import PROGRAM, needs_lab, running

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [needs_lab, needs_kubectl]

HAS = {
    "internet": lambda: True,
    "reachable nodes": lambda: False,
    "two reachable nodes": lambda: False,
    "an API server for pods": lambda: False,
    "a server of today": lambda: False,
    "a lab": lambda: True,
}
"""What blocks need. The internet of a lab is a stand-in."""


@pytest.fixture(scope="module", autouse=True)
def lab() -> Iterator[None]:
    """Let kubectl and podfence find a lab."""
    before = dict(os.environ)
    with running() as run:
        programs = f"{Path(str(KUBECTL)).parent}:{PROGRAM.parent}"
        os.environ |= {"KUBECONFIG": run("kubeconfig").stdout.strip(), "PODFENCE_LAB": run.name, **QUICKLY}
        os.environ["PATH"] = f"{programs}:{before.get('PATH', os.defpath)}"
        yield
        os.environ.clear()
        os.environ.update(before)


@pytest.mark.parametrize("page", PAGES)
def test_page_prints_what_it_shows(page: Path, tmp_path: Path, subtests: pytest.Subtests) -> None:
    perform(page, tmp_path, HAS, subtests)
