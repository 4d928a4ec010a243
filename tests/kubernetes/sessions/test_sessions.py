# SPDX-License-Identifier: Apache-2.0
"""The recipes of the tutorial are true in a real cluster: each page is typed into a terminal, and prints what it shows.

They run with stock kubectl, on the cluster of KUBECONFIG if it is set, else on the test bed with podfence. A cluster must
enforce NetworkPolicies and find the images that the pages name.
"""

from __future__ import annotations

import os
import secrets
import subprocess
from functools import cache
from pathlib import Path

import pytest

from tests.kubernetes.sessions.borrowed import Namespaces
from tests.kubernetes.sessions.page import LEAVE, Block, Step, Typed, read
from tests.kubernetes.sessions.settled import agrees, plain
from tests.kubernetes.sessions.terminal import Terminal

ROOT = Path(__file__).resolve().parents[3]
PAGES = [page for page in sorted((ROOT / "docs/tutorial/recipes").glob("*.md")) if read(page)]


@cache
def _has_internet() -> bool:
    """Return whether pods find the address of a well-known name and are answered there."""
    name = f"podfence-internet-{secrets.token_hex(3)}"
    run = ("kubectl", "run", name, "--rm", "-i", "--restart=Never", "--image=busybox", "--namespace=default", "--quiet")
    command = (*run, "--", "wget", "-q", "--spider", "--timeout=5", "http://google.com")
    return subprocess.run(command, capture_output=True, check=False, timeout=180).returncode == 0


@cache
def _has_two_nodes() -> bool:
    nodes = subprocess.run(("kubectl", "get", "nodes", "--output=name"), capture_output=True, check=True, text=True)
    return len(nodes.stdout.split()) > 1


HAS = {"internet": _has_internet, "two nodes": _has_two_nodes}
"""How what a block needs is found out."""


@pytest.mark.parametrize("page", [pytest.param(page, id=page.stem) for page in PAGES])
def test_page_prints_what_it_shows(page: Path, tmp_path: Path, subtests: pytest.Subtests) -> None:
    blocks = read(page)
    kubeconfig = tmp_path / "kubeconfig"
    prefix = f"podfence-{secrets.token_hex(3)}"
    with (
        Namespaces(prefix, blocks, kubeconfig) as namespaces,
        Terminal(ROOT, os.environ | {"KUBECONFIG": str(kubeconfig)}) as terminal,
    ):
        for block in blocks:
            if block.needs and not HAS[block.needs]():
                with subtests.test(f"{page.name}:{block.line}"):
                    pytest.skip(f"this cluster lacks: {block.needs}")
                continue
            _run(page, block, terminal, namespaces)

        assert namespaces.left() == []


def _run(page: Path, block: Block, terminal: Terminal, namespaces: Namespaces) -> None:
    for step in block.steps:
        command = namespaces.away(step.command)
        if not step.inside:
            _compare(page, step, terminal.run(command), namespaces)
            namespaces.settle(step.command)
            continue
        terminal.open(command)
        for typed in step.inside:
            if typed.command == LEAVE:
                terminal.leave()
            else:
                answer = terminal.type_inside(namespaces.away(typed.command), typed.output)
                _compare(page, typed, answer, namespaces)


def _compare(page: Path, step: Step | Typed, printed: str, namespaces: Namespaces) -> None:
    printed = namespaces.back(plain(printed))
    assert agrees(step.output, printed), "\n".join(
        (f"{page.name}:{step.line}: {step.command}", "--- shown", *step.output, "--- printed", printed)
    )
