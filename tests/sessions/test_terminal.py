# SPDX-License-Identifier: Apache-2.0
"""The terminal types as a person does: into a shell, into a shell that this one opened, and a key where one is needed."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from tests.kubernetes.sessions.terminal import StuckError, Terminal

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

POD = "stty echo; env PS1='/ # ' sh -i; stty -echo"
"""What stands for the shell of a pod."""


@pytest.fixture
def terminal(tmp_path: Path) -> Iterator[Terminal]:
    with Terminal(tmp_path, os.environ) as terminal:
        yield terminal


def test_a_command_prints_what_it_prints_and_no_more(terminal: Terminal) -> None:
    assert terminal.run("echo one; echo two >&2") == "one\ntwo\n"
    assert terminal.run("true") == ""


def test_a_shell_remembers_its_variables(terminal: Terminal) -> None:
    terminal.run("name=web")

    assert terminal.run("echo $name!") == "web!\n"


def test_a_document_is_typed_with_its_command(terminal: Terminal) -> None:
    assert terminal.run("cat <<EOF | tr a-z A-Z\nkind: pod\n\nEOF") == "KIND: POD\n\n"


def test_programs_see_a_terminal(terminal: Terminal) -> None:
    assert terminal.run("test -t 0 && test -t 1 && echo yes") == "yes\n"


def test_a_shell_inside_answers_and_is_left(terminal: Terminal) -> None:
    terminal.open(POD)

    assert terminal.type_inside("echo $((1 + 1))", ()) == "2\n"
    assert terminal.type_inside("printf 'no line end'", ()) == "no line end"

    terminal.leave()

    assert terminal.run("echo outside") == "outside\n"


def test_a_prompt_that_is_shown_on_enter_only_is_found(terminal: Terminal) -> None:
    terminal.open(f"echo 'try pressing enter'; read line; {POD}")

    assert terminal.type_inside("echo once", ()) == "once\n"

    terminal.leave()


def test_a_program_that_waits_is_interrupted_once_its_output_has_come(terminal: Terminal) -> None:
    terminal.open(POD)

    assert terminal.type_inside("echo open; cat", ("open", "^C")).startswith("open\n^C")
    assert terminal.type_inside("echo next", ()) == "next\n"

    terminal.leave()


def test_a_program_that_ends_by_itself_does_not_mind_the_key(terminal: Terminal) -> None:
    terminal.open(POD)

    assert terminal.type_inside("echo open", ("open", "^C")).startswith("open\n")
    assert terminal.type_inside("echo next", ()) == "next\n"

    terminal.leave()


def test_a_command_that_opens_no_shell_is_named(terminal: Terminal) -> None:
    with pytest.raises(StuckError, match="false opened no shell"):
        terminal.open("false")
