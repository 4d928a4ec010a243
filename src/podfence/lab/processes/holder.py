# SPDX-License-Identifier: Apache-2.0
"""A pod, a node or the outside world, as the supervisor of a lab holds it: by the process that keeps its namespaces."""

from __future__ import annotations

import os
import select
import signal
import socket
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

import msgspec

from podfence.lab.connection import Connection
from podfence.lab.errors import LabError
from podfence.lab.objects.statuses import ContainerReport
from podfence.lab.processes import probing

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from podfence.lab.processes.probing import Probe
    from podfence.lab.processes.program import Program

_KILLED: Final = 128 + signal.SIGKILL


class SourcePorts:
    """The source ports that probes of one network have not had yet; safe to use from several threads."""

    def __init__(self) -> None:
        self._next: dict[str, int] = {}
        self._lock = threading.Lock()

    def take(self, probes: Sequence[Probe]) -> dict[str, int]:
        """Return the first port for each `Probe.space` among these probes, and keep them from the next."""
        counts: dict[str, int] = {}
        for probe in probes:
            counts[probe.space] = counts.get(probe.space, probing.SPARE_PORTS) + 1
        first: dict[str, int] = {}
        with self._lock:
            for space, count in counts.items():
                first[space] = self._next.get(space, probing.FIRST_PORT)
                after = first[space] + count - probing.FIRST_PORT
                self._next[space] = probing.FIRST_PORT + after % (probing.LAST_PORT + 1 - probing.FIRST_PORT)
        return first


class Execution(Connection):
    """A command that was started in a holder: it can be read when the command has ended, and closing it ends that."""

    def wait(self, asker: Connection | None = None) -> int:
        """Return the exit code, 128 and more for signals; the command is killed if the other side of `asker` goes away.

        Raises LabError if the command could not be started.
        """
        if asker is not None:
            waiter = select.poll()
            for connection in (self, asker):
                waiter.register(connection, select.POLLIN)
            if self.fileno() not in dict(waiter.poll()):
                self.close()
                return _KILLED
        return int(self.answer()[0]["exit"])


class Holder:
    """Namespaces with an init in them; made by `Spawner`. All methods may be called from any thread.

    `pid` is the init's, as `ip link set ... netns PID` and `nsenter -t PID` in the lab want it; `ports` are those of
    its network.
    """

    def __init__(self, name: str, pid: int, process: int, connection: Connection, ports: SourcePorts) -> None:
        """Hold an init that is ready; `process` is its pidfd."""
        self.name = name
        self.pid = pid
        self.connection = connection
        self.ports = ports
        self._process = process
        self._lock = threading.Lock()
        self._containers: dict[str, ContainerReport] = {}
        self._ended: dict[str, Callable[[int], None]] = {}

    def execute(
        self,
        argv: Sequence[str],
        fds: Sequence[int],
        *,
        tty: bool = False,
        env: Mapping[str, str] | None = None,
        container: str | None = None,
    ) -> Execution:
        """Start a command in a container, the first one if none is named, with three files as its standard ones.

        With `tty` the first is a terminal that becomes the command's own. `env` is added to the container's.
        Raises LabError if the pod is gone.
        """
        message = {"do": "exec", "argv": argv, "env": dict(env or {}), "tty": tty, "container": container or ""}
        return self.ask(message, fds)

    def start_container(
        self, container: str, program: Program, log: Path, ended: Callable[[int], None] = lambda _: None
    ) -> None:
        """Start a container's program, with its output in a file, line by line as `podfence.lab.lines` says.

        What it printed before it was started again is kept as `previous` says. `ended` is called with the exit code
        when it ends, from a thread that must not be held up. Raises LabError if the pod is gone.
        """
        state = self._containers.get(container)
        with self._lock:
            self._containers[container] = ContainerReport(state.starts + 1 if state else 1, None, time.time(), 0.0)
            self._ended[container] = ended
        with suppress(FileNotFoundError):
            if state:
                log.rename(previous(log))
            else:
                previous(log).unlink()
        file = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
        try:
            self._send({"do": "start", "container": container, "program": msgspec.to_builtins(program)}, [file])
        finally:
            os.close(file)

    def terminate(self) -> None:
        """Ask every container to end, with the signal TERM. Raises LabError if the pod is gone."""
        self._send({"do": "terminate"})

    def containers(self) -> dict[str, ContainerReport]:
        """Return what became of each container that was started."""
        with self._lock:
            return dict(self._containers)

    def runs(self) -> bool:
        """Return whether a container runs."""
        return any(state.exit is None for state in self.containers().values())

    def probe(self, probes: Sequence[Probe]) -> list[str]:
        """Return what became of each probe, tried from here (see `probing.run`). Raises LabError if this is gone."""
        if not probes:
            return []
        with self.ask({"do": "probe"}) as reply:
            with suppress(OSError):
                reply.send({"probes": probes, "ports": self.ports.take(probes)})
            outcomes: list[str] = reply.answer()[0]["outcomes"]
        return outcomes

    def take_report(self) -> bool:
        """Read what the init says about a container that ended; return whether it will say more."""
        received = self.connection.receive()
        if received is None:
            with self._lock:
                running = [name for name, state in self._containers.items() if state.exit is None]
            for name in running:
                self._end(name, _KILLED)
            return False
        self._end(received[0]["ended"], received[0]["exit"])
        return True

    def close(self) -> None:
        """Kill everything in it, and return when it is gone. Its network goes a moment later, when the kernel likes."""
        with self._lock:
            process, self._process = self._process, -1
            self._ended.clear()
        if process < 0:
            return
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(process, signal.SIGKILL)
        waiter = select.poll()
        waiter.register(process, select.POLLIN)
        waiter.poll()
        os.close(process)

    def _end(self, container: str, code: int) -> None:
        with self._lock:
            self._containers[container] = self._containers[container]._replace(exit=code, ended=time.time())
            ended = self._ended.pop(container, None)
        if ended is not None:
            ended(code)

    def ask(self, message: dict[str, Any], fds: Sequence[int] = ()) -> Execution:
        """Send a request of `podinit`, and return what its answers come over. Raises LabError if the pod is gone."""
        here, there = socket.socketpair()
        with there:
            try:
                self._send(message, [*fds, there.fileno()])
            except BaseException:
                here.close()
                raise
        return Execution(here, f"{self.name} ended before it answered")

    def _send(self, message: dict[str, Any], fds: Sequence[int] = ()) -> None:
        try:
            with self._lock:
                self.connection.send(message, fds)
        except OSError as error:
            raise LabError(f"{self.name} has ended") from error


def previous(log: Path) -> Path:
    """Return where a container's output is kept that it printed before it was started again."""
    return log.with_name(f"{log.name}.previous")
