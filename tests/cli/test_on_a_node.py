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
    assert result.stderr.startswith(f"podfence: error: no agent answers at {tmp_path}/none: the command is for a node")


@pytest.mark.parametrize("words", COMMANDS)
@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}", "use the podfence of the agent's version"),
        (b"HTTP/1.1 404 Not Found\r\nContent-Length: 4\r\n\r\nnope", "use the podfence of the agent's version"),
        (b'HTTP/1.1 503 x\r\nContent-Length: 21\r\n\r\n{"error":"not now yet"}'[:-2], "use the podfence of the agent's"),
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
    assert "1  it is not, as the answer says" in run("agent", "status", "--help").stdout
