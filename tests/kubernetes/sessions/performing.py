# SPDX-License-Identifier: Apache-2.0
"""Types a page of the tutorial into a terminal, command by command, and compares what is printed with what it shows."""

from __future__ import annotations

import os
import secrets
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

from tests.kubernetes.sessions.borrowed import Namespaces
from tests.kubernetes.sessions.page import LEAVE, Block, Step, Typed, read
from tests.kubernetes.sessions.settled import agrees, lost_output, plain
from tests.kubernetes.sessions.terminal import Terminal

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

ROOT: Final = Path(__file__).resolve().parents[3]
PAGES: Final = [
    pytest.param(page, id=page.stem) for page in sorted((ROOT / "docs/tutorial/recipes").glob("*.md")) if read(page)
]
"""The pages that have something to type, as the cases of a test."""


TRIES: Final = 3


def perform(
    page: Path,
    folder: Path,
    has: Mapping[str, Callable[[], bool]],
    subtests: pytest.Subtests,
    attaches_late: bool = False,
) -> None:
    """Type a page into a terminal, in namespaces of its own in the cluster of this process's environment.

    `folder` is for a kubeconfig, and `has` says whether the cluster has what a block needs. Such a block is left out
    otherwise. `attaches_late` says that kubectl may attach to a new pod only after the pod has printed everything, as it
    does on a busy node: then nothing is printed, and the command is typed again.
    Fails where something else is printed, and if the page leaves anything in the cluster.
    """
    blocks = read(page)
    kubeconfig = folder / "kubeconfig"
    with (
        Namespaces(f"podfence-{secrets.token_hex(3)}", blocks, kubeconfig) as namespaces,
        Terminal(ROOT, os.environ | {"KUBECONFIG": str(kubeconfig)}) as terminal,
    ):
        for block in blocks:
            if block.needs and not has[block.needs]():
                with subtests.test(f"{page.name}:{block.line}"):
                    pytest.skip(f"this cluster lacks: {block.needs}")
                continue
            _run(page, block, terminal, namespaces, TRIES if attaches_late else 1)

        assert namespaces.left() == []


def _run(page: Path, block: Block, terminal: Terminal, namespaces: Namespaces, tries: int) -> None:
    for step in block.steps:
        command = namespaces.away(step.command)
        if not step.inside:
            printed = terminal.run(command)
            for _ in range(tries - 1):
                if not lost_output(step.command, step.output, plain(printed)):
                    break
                printed = terminal.run(command)
            _compare(page, step, printed, namespaces)
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
