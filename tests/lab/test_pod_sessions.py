# SPDX-License-Identifier: Apache-2.0
"""Commands and main processes of pods from a client's side: pipes, terminals, and what attached clients see."""

from __future__ import annotations

import os
import queue
import select
from itertools import count
from typing import TYPE_CHECKING

import pytest

from podfence.lab.errors import LabError
from podfence.lab.processes import session
from podfence.lab.processes.program import Program
from tests.lab.pods import needs_pods, printed, spec

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from podfence.lab.processes.holder import Holder
    from podfence.lab.processes.session import Session
    from podfence.lab.processes.spawner import Spawner

pytestmark = needs_pods
NUMBERS = count()
PATIENCE = 120_000
"""Milliseconds after which a test gives up."""


@pytest.fixture
def pod(spawner: Spawner) -> Iterator[Holder]:
    made = spawner.pod(spec(f"web-{next(NUMBERS)}"))
    yield made
    made.close()


class Main:
    """A main process: its log, and its exit code once it ended."""

    def __init__(self, pod: Holder, log: Path, script: str, *, stdin: bool = False, once: bool = False, tty: bool = False) -> None:  # fmt: skip
        self.log = log
        self.ended: queue.SimpleQueue[int] = queue.SimpleQueue()
        program = Program("test", argv=("sh", "-c", script), stdin=stdin, stdin_once=once, tty=tty)
        pod.start_container("main", program, log, self.ended.put)

    def code(self) -> int:
        return self.ended.get(timeout=PATIENCE / 1000)


def read(client: Session, stream: str = "stdout", until: bytes | None = None) -> bytes:
    """Return what a stream prints up to some text, or to its end."""
    found = b""
    waiter = select.poll()
    waiter.register(client.outputs[stream], select.POLLIN)
    while until is None or until not in found:
        assert waiter.poll(PATIENCE), f"only {found!r}"
        try:
            data = os.read(client.outputs[stream], 65536)
        except OSError:
            data = b""
        if not data:
            break
        found += data
    return found


class TestCommands:
    def test_a_command_has_streams_of_its_own_and_an_exit_code(self, pod: Holder) -> None:
        with session.execute(pod, ["sh", "-c", "echo out; echo err >&2; exit 7"]) as client:
            assert (read(client), read(client, "stderr"), client.execution.wait()) == (b"out\n", b"err\n", 7)

    def test_a_command_reads_what_is_written_until_its_input_ends(self, pod: Holder) -> None:
        with session.execute(pod, ["cat"], stdin=True) as client:
            os.write(client.stdin, b"line\n")
            client.end_input()
            assert (read(client), client.execution.wait()) == (b"line\n", 0)

    def test_a_terminal_has_the_size_that_it_is_given(self, pod: Holder) -> None:
        with session.execute(pod, ["sh", "-c", "read x; stty size"], stdin=True, tty=True) as client:
            client.resize(100, 40)
            os.write(client.stdin, b"\n")
            assert b"40 100\r\n" in read(client)

    def test_a_command_ends_with_its_client(self, pod: Holder) -> None:
        with session.execute(pod, ["sh", "-c", "echo started; sleep 1000"]) as client:
            read(client, until=b"started\n")
        with session.execute(pod, ["sh", "-c", "while pidof sleep >/dev/null; do :; done"]) as check:
            assert check.execution.wait() == 0


class TestMainProcesses:
    def test_clients_and_the_log_get_what_it_prints_after_they_have_come(self, pod: Holder, tmp_path: Path) -> None:
        main = Main(pod, tmp_path / "log", "read a; echo $a; echo err >&2; exit 3", stdin=True)
        with session.attach(pod, "main", stdin=True) as one, session.attach(pod, "main", stdin=False) as other:
            assert other.stdin == -1
            os.write(one.stdin, b"typed\n")
            for client in (one, other):
                assert (read(client), read(client, "stderr")) == (b"typed\n", b"err\n")
                assert client.execution.wait() == 3
        assert main.code() == 3
        assert sorted(printed(main.log).splitlines()) == ["err", "typed"]

    def test_an_input_for_one_client_ends_with_that(self, pod: Holder, tmp_path: Path) -> None:
        main = Main(pod, tmp_path / "log", "cat; echo end", stdin=True, once=True)
        with session.attach(pod, "main", stdin=True) as client:
            os.write(client.stdin, b"x\n")
            client.end_input()
            assert (read(client), client.execution.wait()) == (b"x\nend\n", 0)
        assert main.code() == 0

    def test_an_input_for_several_clients_stays(self, pod: Holder, tmp_path: Path) -> None:
        main = Main(pod, tmp_path / "log", "read a; read b; echo $a $b", stdin=True)
        for word in (b"one\n", b"two\n"):
            with session.attach(pod, "main", stdin=True) as client:
                os.write(client.stdin, word)
                client.end_input()
        assert (main.code(), printed(main.log)) == (0, "one two\n")

    def test_a_terminal_waits_with_its_shell_for_somebody_to_attach(self, pod: Holder, tmp_path: Path) -> None:
        main = Main(pod, tmp_path / "log", "tty; stty size; read a; stty size; exit 5", stdin=True, once=True, tty=True)
        with session.attach(pod, "main", stdin=True) as client:
            assert client.tty
            client.resize(100, 40)
            os.write(client.stdin, b"\n")
            assert read(client).endswith(b"40 100\r\n")
            assert client.execution.wait() == 5
        assert main.code() == 5
        assert printed(main.log).endswith("40 100\n")

    def test_ctrl_c_reaches_the_shell_of_a_terminal(self, pod: Holder, tmp_path: Path) -> None:
        main = Main(pod, tmp_path / "log", "trap 'exit 9' INT; echo ready; read a", stdin=True, tty=True)
        with session.attach(pod, "main", stdin=True) as client:
            if "ready" not in printed(main.log):
                read(client, until=b"ready")
            os.write(client.stdin, b"\x03")
            assert client.execution.wait() == 9

    def test_a_client_that_does_not_read_gets_everything_once_it_does(self, pod: Holder, tmp_path: Path) -> None:
        main = Main(pod, tmp_path / "log", "read a; head -c 3000000 /dev/zero | tr '\\0' x; exit 0", stdin=True)
        with session.attach(pod, "main", stdin=True) as client:
            os.write(client.stdin, b"\n")
            assert len(read(client)) == 3_000_000
            assert client.execution.wait() == 0
        assert main.code() == 0

    def test_a_client_that_leaves_does_not_hold_up_the_container(self, pod: Holder, tmp_path: Path) -> None:
        main = Main(pod, tmp_path / "log", "read a; head -c 3000000 /dev/zero | tr '\\0' x; exit 4", stdin=True)
        with session.attach(pod, "main", stdin=True) as client:
            os.write(client.stdin, b"\n")
            read(client, until=b"x")
        assert main.code() == 4
        assert len(printed(main.log)) == 3_000_000

    def test_nobody_attaches_to_what_has_ended_or_never_was(self, pod: Holder, tmp_path: Path) -> None:
        main = Main(pod, tmp_path / "log", "exit 0")
        assert main.code() == 0
        for name in ("main", "other"):
            with pytest.raises(LabError, match=f"container {name} is not running"):
                session.attach(pod, name, stdin=False)
