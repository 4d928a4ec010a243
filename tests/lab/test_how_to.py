# SPDX-License-Identifier: Apache-2.0
"""The guide to the lab is true: its commands are run one after the other in one lab, and print what it shows."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from tests.lab.labs import PROGRAM, Run, fresh_name, needs_lab
from tests.test_docs import ROOT, Session, sessions

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = needs_lab

GUIDE = ROOT / "docs" / "how-to" / "try-policies-in-the-lab.md"
MARK = re.compile(r"<!-- not run: one lab for the whole page, .+ -->\n")
PYTHON = re.compile(r"```python\n(?P<code>.*?)```", re.DOTALL)
PATIENCE = 120.0


@pytest.fixture
def run() -> Iterator[Run]:
    """Commands for a lab that is not up yet, and is down afterwards."""
    found = Run(fresh_name())
    yield found
    if found.is_running():
        found("down")


def printed(session: Session, lab: str) -> str:
    program, *arguments = shlex.split(session.command)
    assert program == PROGRAM.name
    answer = subprocess.run(
        [PROGRAM, *arguments],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"PODFENCE_LAB": lab},
    )
    return (answer.stdout + answer.stderr).rstrip("\n")


def test_guide_to_the_lab_is_true(run: Run) -> None:
    first, *others = sessions(GUIDE.name, MARK.sub("", GUIDE.read_text()))

    assert printed(first, run.name) == first.output.rstrip("\n")
    deadline = time.monotonic() + PATIENCE
    while run("exec", "client", "--", "nc", "-z", "-w", "2", "web", "80", check=False).returncode:
        assert time.monotonic() < deadline, "the web server has not started"
    for session in others:
        assert printed(session, run.name) == session.output.rstrip("\n"), session.place

    assert others
    assert not run.is_running()


def test_program_of_the_guide_runs(run: Run) -> None:
    found = PYTHON.search(GUIDE.read_text())
    assert found is not None
    code = found["code"].replace('"mine"', repr(run.name))

    answer = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)

    assert answer.stderr == ""
    assert answer.stdout == "['timeout']\n"
    assert not run.is_running()
