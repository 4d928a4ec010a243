# SPDX-License-Identifier: Apache-2.0
"""Agents as processes that can be killed, and an nft in front of the real one that fails or waits when told."""

from __future__ import annotations

import os
import select
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING, Self

from podfence.cluster.state import Event, EventType

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from podfence.agent.reports import Report
    from podfence.agent.source import Notice
    from podfence.kube.objects import KubeObject

PATIENCE = 120.0
PROCESS = Path(__file__).with_name("process.py")


class Shim:
    """A directory with an `nft` that counts the scripts it gets and does with each what the plan says.

    `fail` refuses; `before` never runs it, `after` runs it and never says so, `hold` runs it when released: these
    three wait until `release`.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._count, self._plan = directory / "count", directory / "plan"
        self._reached, self._release = directory / "reached", directory / "release"
        self._count.write_text("")
        self._plan.write_text("")
        os.mkfifo(self._reached)
        os.mkfifo(self._release)
        real = shutil.which("nft")
        assert real is not None
        here = shlex.quote(str(directory))
        (directory / "nft").write_text(
            f"""#!/bin/sh
case " $* " in *" --file "*) ;; *) exec {real} "$@" ;; esac
cd {here}
printf x >> count
count=$(wc -c < count)
action=$(sed -n "s/^$count //p; s/^all //p" plan)
case $action in
fail) cat > /dev/null; echo "Error: Could not process rule: Device or resource busy" >&2; exit 1 ;;
before) echo > reached; read x < release; exit 1 ;;
after) {real} "$@"; echo > reached; read x < release; exit 1 ;;
hold) echo > reached; read x < release ;;
esac
exec {real} "$@"
"""
        )
        (directory / "nft").chmod(0o755)

    @property
    def path(self) -> str:
        return f"{self.directory}:{os.environ['PATH']}"

    @property
    def count(self) -> int:
        """How many scripts nft was given."""
        return self._count.stat().st_size

    def plan(self, action: str, call: int | None = None) -> None:
        """Do this with the given call, counted from now on from 1, or with all."""
        self._plan.write_text(f"{'all' if call is None else self.count + call} {action}\n" if action else "")

    def reached(self) -> None:
        """Wait until the planned call waits."""
        number = os.open(self._reached, os.O_RDONLY | os.O_NONBLOCK)
        poll = select.poll()
        poll.register(number, select.POLLIN)
        assert poll.poll(PATIENCE * 1000), "nft was not called"
        os.close(number)

    def release(self) -> None:
        """Let the call that waits go on, or end."""
        self._plan.write_text("")
        with self._release.open("w") as fifo:
            fifo.write("\n")


class LiveAgent:
    """The agent of node n1 in another process, and what it reported."""

    def __init__(
        self,
        prefix: Sequence[str],
        *,
        path: str | None = None,
        log_group: int | None = None,
        cwd: Path | None = None,
        direct: bool = False,
    ) -> None:
        self._socket, theirs = socket.socketpair()
        self._connection = Connection(os.dup(self._socket.fileno()))
        self._complaints = b""
        self.reports: list[Report] = []
        words = [*([] if log_group is None else [str(log_group)]), *(["direct"] if direct else [])]
        settings = [*([f"PATH={path}"] if path else []), *([f"TMPDIR={cwd}"] if cwd else [])]
        with theirs:
            self.process = subprocess.Popen(
                [*prefix, "env", *settings, sys.executable, str(PROCESS), str(theirs.fileno()), *words],
                pass_fds=[theirs.fileno()],
                cwd=cwd,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                start_new_session=True,
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()
        self._socket.close()
        if self.process.poll() is None:
            self.process.kill()
        # An nft that it has started goes on without it, and would meet the table of the next test.
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.complaints()

    def send(self, *notices: Notice) -> None:
        self._connection.send(notices)

    def until(self, met: Callable[[Report], object]) -> Report:
        """Return the first report that meets a condition, from those not looked at yet."""
        deadline = time.monotonic() + PATIENCE
        while True:
            report = self.next(deadline - time.monotonic())
            assert report is not None, f"the agent ended: {self.reports}"
            if met(report):
                return report

    def next(self, timeout: float) -> Report | None:
        """Return the next report, None when the agent has closed its end."""
        assert self._connection.poll(max(timeout, 0.0)), f"the agent does not report what is waited for: {self.reports}"
        try:
            report: Report = self._connection.recv()
        except (EOFError, OSError):
            return None
        self.reports.append(report)
        return report

    def take(self) -> None:
        """Take in the reports that have come."""
        while self._connection.poll(0):
            self.next(PATIENCE)

    def enforced(self, revision: int) -> Report:
        """Wait until the kernel has everything up to a revision."""
        return self.until(lambda report: report.enforcing and report.revision == revision)

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(PATIENCE)

    def end(self) -> int:
        """Ask it to end; return its exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(PATIENCE)

    def complaints(self) -> bytes:
        """Return what it wrote to standard error, once it has ended."""
        if self.process.stderr is not None and not self.process.stderr.closed:
            self._complaints = self.process.communicate()[1]
        return self._complaints

    def close(self) -> int:
        """Close our end; return the exit code."""
        self._socket.shutdown(socket.SHUT_WR)
        return self.process.wait(PATIENCE)


def added(items: Iterable[KubeObject]) -> list[Event]:
    return [Event(EventType.ADDED, item) for item in items]


def deleted(item: KubeObject) -> Event:
    return Event(EventType.DELETED, item)
