# SPDX-License-Identifier: Apache-2.0
"""The first process of a pod, or of a node: it keeps the namespaces, starts what is asked for, and buries the dead."""

from __future__ import annotations

import os
import select
import shutil
import signal
import socket
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import msgspec

from podfence.lab import kernel
from podfence.lab.connection import Connection
from podfence.lab.processes import launch, rootfs
from podfence.lab.processes.console import Client, Console
from podfence.lab.processes.program import Program

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


class Setup(msgspec.Struct, frozen=True):
    """What an init is told when it is forked; `files` are a pod's own in /etc, None for a node with the machine's."""

    name: str
    store: str
    files: dict[str, str] | None = None


def main(raw: socket.socket, setup: Setup, network: int | None) -> NoReturn:
    """Make this process, which must be the first of its PID namespace, the init of a pod; it ends when `raw` is closed.

    `network` is a network namespace to join instead of making one. The first message on `raw` is
    ``{"ready": true}`` or ``{"error": ...}``.
    """
    connection = Connection(raw)
    try:
        _isolate(setup, network)
    except OSError as error:
        connection.send({"error": f"cannot start {setup.name}: {error.filename or 'namespaces'}: {error.strerror}"})
        os._exit(1)
    connection.send({"ready": True})
    _Init(connection, setup).loop()


def _isolate(setup: Setup, network: int | None) -> None:
    """Enter namespaces of the pod's own and make them ready, but for the network. Raises OSError."""
    os.setsid()
    launch.name_process(setup.name)
    kernel.unshare(kernel.NEW_MOUNT | kernel.NEW_UTS | kernel.NEW_IPC | (kernel.NEW_NET if network is None else 0))
    kernel.mount("none", "/", flags=kernel.RECURSIVE | kernel.PRIVATE)
    socket.sethostname(setup.name)
    if network is not None:
        kernel.join(network, kernel.NEW_NET)
        os.close(network)
    if setup.files is None:
        rootfs.make_proc()
    else:
        rootfs.prepare(setup.files)
    os.chdir("/")


class _Container(msgspec.Struct):
    """A container that was started: its process while that runs, and what commands in it begin with."""

    pid: int
    place: Path
    program: Program
    console: Console


class _Init:
    """The loop, and what it knows: containers, who waits for the end of a process, and what to do when a file is ready.

    Files have their number as key, processes their process id.
    """

    def __init__(self, connection: Connection, setup: Setup) -> None:
        self._connection = connection
        self._setup = setup
        self._store = Path(setup.store)
        self._containers: dict[str, _Container] = {}
        self._starts = 0
        self._ends: dict[int, Callable[[int], None]] = {}
        self._ready: dict[int, Callable[[], None]] = {}
        self._watched: dict[Console, list[int]] = {}
        self._poll = select.poll()
        self._answers: dict[str, Callable[[dict[str, Any], list[int], Connection], None]] = {
            "exec": self._execute,
            "attach": self._attach,
            "probe": self._probe,
        }

    def loop(self) -> NoReturn:
        """Serve until the other end is closed; ending ends everything in the pod."""
        waker, wakened = socket.socketpair()
        for end in (waker, wakened):
            end.settimeout(0)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(waker.fileno(), warn_on_full_buffer=False)
        self._when(wakened.fileno(), lambda: self._reap(wakened))
        self._when(self._connection.fileno(), self._take_request)
        while True:
            # Requests last: a file that is opened for one may have the number of one that was closed just before.
            for number, _ in sorted(self._poll.poll(), key=lambda event: event[0] == self._connection.fileno()):
                if (act := self._ready.get(number)) is not None:
                    act()

    def _when(self, number: int, act: Callable[[], None], events: int = select.POLLIN) -> None:
        """Do something whenever a file is ready."""
        self._ready[number] = act
        self._poll.register(number, events)

    def _forget(self, number: int) -> None:
        """Wait for a file no longer, whether or not it is still open."""
        if self._ready.pop(number, None) is not None:
            self._poll.unregister(number)

    def _take_request(self) -> None:
        received = self._connection.receive()
        if received is None:
            os._exit(0)
        message, fds = received
        try:
            if message["do"] == "start":
                self._start(message, fds[0])
            elif message["do"] == "terminate":
                self._terminate()
            else:
                self._answers[message["do"]](message, fds, Connection(socket.socket(fileno=fds.pop())))
        finally:
            for fd in fds:
                os.close(fd)

    def _start(self, message: dict[str, Any], log: int) -> None:
        """Start a container; its end is told over the connection."""
        name = message["container"]
        program = msgspec.convert(message["program"], Program)
        self._starts += 1
        place = rootfs.OWN / "containers" / str(self._starts)
        console = Console(program, log)
        waiting, inside = os.pipe2(os.O_CLOEXEC)
        pid = launch.fork(lambda: launch.container(program, self._setup.name, place, self._store, console.ends))
        os.close(inside)
        console.close_ends()
        # Only then do commands land among the container's own files.
        os.read(waiting, 1)
        os.close(waiting)
        container = self._containers[name] = _Container(pid, place, program, console)
        self._ends[pid] = lambda code: self._container_ended(name, container, code)
        self._watch(console)

    def _terminate(self) -> None:
        """Ask the first process of each container to end; what it does with its others is its own affair."""
        for container in self._containers.values():
            # One that has ended is not buried yet, so nobody else has its number.
            if container.pid:
                os.kill(container.pid, signal.SIGTERM)

    def _container_ended(self, name: str, container: _Container, code: int) -> None:
        # As in a cluster, what a container left running ends with its first process.
        with suppress(ProcessLookupError):
            os.killpg(container.pid, signal.SIGKILL)
        container.pid = 0
        container.console.finish(code)
        self._watch(container.console)
        shutil.rmtree(container.place, ignore_errors=True)
        _tell(self._connection, {"ended": name, "exit": code})

    def _execute(self, message: dict[str, Any], fds: list[int], reply: Connection) -> None:
        """Start a command; whoever waits for its exit code and hangs up ends it."""
        name = message["container"]
        container = self._containers.get(name) if name else next(iter(self._containers.values()), None)
        program = container.program if container is not None else Program("")
        if (name and container is None) or (container is not None and program.image and not container.pid):
            self._refuse(reply, name or next(iter(self._containers)))
            return
        machine = self._setup.files is None
        tty, working_dir = message["tty"], program.working_dir
        own = launch.environment(self._setup.name, self._store, program.env, tty=tty, machine=machine)
        env = {**own, **message["env"]}
        argv = message["argv"] if machine or program.image else launch.preferred(message["argv"], self._store)
        beside = os.pidfd_open(container.pid) if container is not None and program.image else None
        pid = launch.fork(lambda: launch.command(argv, fds, env, working_dir, tty=tty, beside=beside))
        if beside is not None:
            os.close(beside)
        number = reply.fileno()

        def hang_up() -> None:
            self._forget(number)
            try:
                os.killpg(pid, signal.SIGKILL)
            except ProcessLookupError:
                # It is so young that it leads no group yet; it cannot be gone, for it was not buried.
                os.kill(pid, signal.SIGKILL)

        def end(code: int) -> None:
            self._forget(number)
            _tell(reply, {"exit": code})
            reply.close()

        self._when(number, hang_up)
        self._ends[pid] = end

    def _attach(self, message: dict[str, Any], fds: list[int], reply: Connection) -> None:
        """Copy a container's output to the files that came along, and send the file of its input."""
        container = self._containers.get(message["container"])
        if container is None or not container.pid:
            self._refuse(reply, message["container"])
            return
        console = container.console
        client = Client(reply, dict(zip(message["streams"], map(os.dup, fds), strict=True)))
        stdin = console.attach(client, stdin=message["stdin"])
        _tell(reply, {"tty": console.has_terminal}, [stdin] if stdin >= 0 else [])
        if stdin >= 0:
            os.close(stdin)

        def leave() -> None:
            client.has_left = True
            self._watch(console)

        self._when(reply.fileno(), leave)
        self._watch(console)

    def _probe(self, _: dict[str, Any], _fds: list[int], reply: Connection) -> None:
        launch.fork(lambda: launch.probe(reply))
        # The answers are written by the child, which has the only other copy of the socket now.
        reply.close()

    def _refuse(self, reply: Connection, container: str) -> None:
        _tell(reply, {"error": f"{self._setup.name}: container {container} is not running"})
        reply.close()

    def _watch(self, console: Console) -> None:
        """Let go of clients that have left or know of the end, and wait for what the console waits for now."""
        for client in list(console.clients):
            if console.code is not None and not (client.behind or client.has_left):
                _tell(client.reply, {"exit": console.code})
                client.has_left = True
            if client.has_left:
                self._forget(client.reply.fileno())
                console.detach(client)
        for number in self._watched.pop(console, ()):
            self._forget(number)
        if files := console.files:
            self._watched[console] = list(files)
        for number, events in files.items():
            self._when(number, partial(self._take, console, number), events)

    def _take(self, console: Console, number: int) -> None:
        console.take(number)
        self._watch(console)

    def _reap(self, wakened: socket.socket) -> None:
        """Bury the dead, and tell their exit codes."""
        wakened.recv(4096)
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if not pid:
                return
            if (end := self._ends.pop(pid, None)) is not None:
                code = os.waitstatus_to_exitcode(status)
                end(code if code >= 0 else 128 - code)


def _tell(connection: Connection, message: dict[str, Any], fds: Sequence[int] = ()) -> None:
    """Send a message to somebody who may be gone."""
    with suppress(OSError):
        connection.send(message, fds)
