# SPDX-License-Identifier: Apache-2.0
"""The commands that ask the agent of a node: what they say where there is none, or none that they understand."""

from __future__ import annotations

import socket
import threading
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from click.testing import Result

    Run = Callable[..., Result]

COMMANDS = (("agent", "status"), ("why", "shop/web", "shop/db", "80"))


@pytest.fixture
def other(tmp_path: Path) -> Iterator[tuple[Path, list[bytes]]]:
    """Return the socket of somebody who gives the answers in a list, one to each that comes."""
    path = tmp_path / "s"
    answers: list[bytes] = []
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(path))
        listening.listen()

        def serve() -> None:
            while True:
                try:
                    connection, _ = listening.accept()
                except OSError:
                    return
                with connection:
                    connection.recv(1 << 16)
                    connection.sendall(answers[0])

        thread = threading.Thread(target=serve)
        thread.start()
        yield path, answers
        listening.shutdown(socket.SHUT_RDWR)
        thread.join(10)


@pytest.mark.parametrize("words", COMMANDS)
def test_where_no_agent_is_the_message_says_where_to_ask(run: Run, tmp_path: Path, words: tuple[str, ...]) -> None:
    result = run(*words, "--socket", str(tmp_path / "none"))
    assert result.exit_code == 2
    assert result.stderr.startswith(f"podfence: error: no agent answers at {tmp_path}/none: run this command on a node")


@pytest.mark.parametrize("words", COMMANDS)
@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}", "use the version of podfence that the agent has"),
        (b"HTTP/1.1 404 Not Found\r\nContent-Length: 4\r\n\r\nnope", "use the version of podfence that the agent has"),
        (b'HTTP/1.1 503 x\r\nContent-Length: 21\r\n\r\n{"error":"not now yet"}'[:-2], "use the version of podfence that"),
        (b'HTTP/1.1 503 x\r\nContent-Length: 19\r\n\r\n{"error":"not now"}', "podfence: error: not now\n"),
        (b"what?", "cannot be asked"),
        (b"", "cannot be asked"),
    ],
)  # fmt: skip
def test_an_answer_that_is_none_is_said_without_a_traceback(
    run: Run, other: tuple[Path, list[bytes]], words: tuple[str, ...], answer: bytes, says: str
) -> None:
    path, answers = other
    answers.append(answer)
    result = run(*words, "--socket", str(path))
    assert result.exit_code == 2
    assert says in result.stderr
    assert "internal error" not in result.stderr


def test_help_tells_the_exit_codes(run: Run) -> None:
    assert "4  the kernel differs from the engine" in run("why", "--help").stdout
    assert "1  the agent is not ready; the output says why" in run("agent", "status", "--help").stdout


def test_the_boot_unit_is_shown_installed_and_removed(run: Run, tmp_path: Path) -> None:
    root, state = tmp_path / "root", tmp_path / "state"
    (root / "etc/systemd/system").mkdir(parents=True)
    (root / "usr/sbin").mkdir(parents=True)
    (root / "usr/sbin/nft").touch()
    place = root / "etc/systemd/system/podfence-hold.service"
    flags = ("--root", str(root), "--state-dir", str(state))

    shown = run("agent", "boot-unit", "show", *flags)
    installed = run("agent", "boot-unit", "install", *flags)
    assert (shown.exit_code, installed.exit_code) == (0, 0)
    assert shown.stdout == place.read_text()
    assert run("agent", "boot-unit", "remove", *flags).stdout == ("removed /etc/systemd/system/podfence-hold.service\n")
    assert not place.exists()
    assert run("agent", "boot-unit", "enable").exit_code == 2


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--boot-range", "10.1.1.1/8"), "Invalid value for '--boot-range': 10.1.1.1/8 has host bits set"),
        (("--boot-link", "a/b"), "Invalid value for '--boot-link': 'a/b' is not the name of an interface"),
        (("--boot-hold", "soon"), "Invalid value for '--boot-hold': 'soon' is not a duration"),
    ],
)
def test_what_is_to_be_held_after_a_boot_is_refused_if_it_cannot_be_read(
    run: Run, words: tuple[str, ...], says: str
) -> None:
    result = run("agent", "--node-name", "n1", *words)
    assert result.exit_code == 2
    assert says in result.stderr
