# SPDX-License-Identifier: Apache-2.0
"""The first process of a pod, or of a node: it keeps the namespaces, starts what is asked for, and buries the dead."""

from __future__ import annotations

import fcntl
import os
import select
import shutil
import signal
import socket
import struct
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NoReturn

import msgspec

from podfence.lab import kernel
from podfence.lab.connection import Connection
from podfence.lab.processes import launch, rootfs
from podfence.lab.processes.console import Client, Console
from podfence.lab.processes.program import Program

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_SET_FLAGS: Final = 0x8914
_GET_FLAGS: Final = 0x8913
_UP: Final = 0x1
# Only group 0 exists in the user namespace of a lab, and everything in it runs as that.
_PING_GROUPS: Final = "0 0"


class Setup(msgspec.Struct, frozen=True):
    """What an init is told when it is forked. `files` are those of a pod; None for a node, with the machine's."""

    name: str
    store: str
    files: rootfs.PodFiles | None = None


def main(raw: socket.socket, setup: Setup, network: int | None) -> NoReturn:
    """Make this process, which must be the first of its PID namespace, the init of a pod; it ends when `raw` is closed.

    `network` is a network namespace to join instead of making one. The first message on `raw` is
    ``{"ready": true}`` or ``{"error": ...}``.
    """
    connection = Connection(raw)
    try:
        _isolate(setup, network)
    except OSError as error:
        connection.send({"error": f"{setup.name}: {error.filename or 'namespaces'}: {error.strerror}"})
        os._exit(1)
    connection.send({"ready": True})
    _Init(connection, setup).loop()


def _isolate(setup: Setup, network: int | None) -> None:
    """Enter namespaces of the pod's own and make them ready. Raises OSError."""
    os.setsid()
    launch.name_process(setup.name)
    kernel.unshare(kernel.NEW_MOUNT | kernel.NEW_UTS | kernel.NEW_IPC | (kernel.NEW_NET if network is None else 0))
    kernel.mount("none", "/", flags=kernel.RECURSIVE | kernel.PRIVATE)
    socket.sethostname(setup.name)
    if network is not None:
        kernel.join(network, kernel.NEW_NET)
        os.close(network)
    else:
        _bring_up_loopback()
    if setup.files is None:
        rootfs.make_proc()
    else:
        rootfs.prepare(setup.files)
    with suppress(OSError):
        Path("/proc/sys/net/ipv4/ping_group_range").write_text(_PING_GROUPS, encoding="ascii")
    os.chdir("/")


def _bring_up_loopback() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as item:
        request = struct.pack("16sh14x", b"lo", 0)
        flags: int = struct.unpack("16sh14x", fcntl.ioctl(item, _GET_FLAGS, request))[1]
        fcntl.ioctl(item, _SET_FLAGS, struct.pack("16sh14x", b"lo", flags | _UP))


class _Child:
    """A process that somebody waits for: a container by its name, or whoever holds the other end of `reply`."""

    __slots__ = ("container", "reply")

    def __init__(self, container: str = "", reply: Connection | None = None) -> None:
        self.container = container
        self.reply = reply


class _Container:
    """A container that was started: its process while that runs, and what commands in it begin with."""

    __slots__ = ("console", "pid", "place", "program")

    def __init__(self, pid: int, place: Path, program: Program, console: Console) -> None:
        self.pid = pid
        self.place = place
        self.program = program
        self.console = console


class _Init:
    """The loop, and what it knows: children, containers, and who waits for commands."""

    def __init__(self, connection: Connection, setup: Setup) -> None:
        self._connection = connection
        self._setup = setup
        self._children: dict[int, _Child] = {}
        self._containers: dict[str, _Container] = {}
        self._replies: dict[int, int] = {}
        self._attached: dict[int, tuple[Console, Client]] = {}
        self._consoles: dict[int, Console] = {}
        self._starts = 0
        self._poll = select.poll()
        self._handlers: dict[str, Callable[[dict[str, Any], list[int]], None]] = {
            "start": self._start,
            "exec": self._execute,
            "attach": self._attach,
            "probe": self._probe,
            "signal": self._signal,
        }

    def loop(self) -> NoReturn:
        """Serve until the other end is closed; ending ends everything in the pod."""
        waker, wakened = socket.socketpair()
        for end in (waker, wakened):
            end.settimeout(0)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(waker.fileno(), warn_on_full_buffer=False)
        self._poll.register(wakened, select.POLLIN)
        self._poll.register(self._connection, select.POLLIN)
        while True:
            # Requests last: a file that is opened for one may have the number of one that was closed just before.
            for number, _ in sorted(self._poll.poll(), key=lambda event: event[0] == self._connection.fileno()):
                if number == wakened.fileno():
                    wakened.recv(4096)
                    self._reap()
                elif number == self._connection.fileno():
                    self._take_request()
                elif number in self._consoles:
                    console = self._consoles[number]
                    console.take(number)
                    self._watch(console)
                elif number in self._attached:
                    self._watch(self._detach(number))
                elif number in self._replies:
                    self._take_word(number)

    def _take_request(self) -> None:
        try:
            received = self._connection.receive()
        except OSError:
            received = None
        if received is None:
            os._exit(0)
        message, fds = received
        try:
            self._handlers[message["do"]](message, fds)
        finally:
            for fd in fds:
                os.close(fd)

    def _start(self, message: dict[str, Any], fds: list[int]) -> None:
        """Start a container; its end is told over the connection."""
        name = message["container"]
        program = msgspec.convert(message["program"], Program)
        self._starts += 1
        place = rootfs.OWN / "containers" / str(self._starts)
        store, pod = Path(self._setup.store), self._setup.name
        console = Console(program, fds[0])
        waiting, inside = os.pipe2(os.O_CLOEXEC)
        pid = launch.fork(lambda: launch.container(program, pod, place, store, console.ends))
        os.close(inside)
        console.close_ends()
        # Only then do commands land among the container's own files.
        os.read(waiting, 1)
        os.close(waiting)
        self._children[pid] = _Child(container=name)
        self._containers[name] = _Container(pid, place, program, console)
        self._watch(console)

    def _execute(self, message: dict[str, Any], fds: list[int]) -> None:
        """Start a command; its exit code goes to the socket that came as the fourth file."""
        reply = Connection(socket.socket(fileno=os.dup(fds[3])))
        name = message["container"]
        container = self._containers.get(name) if name else next(iter(self._containers.values()), None)
        if (name and container is None) or (container is not None and container.program.image and not container.pid):
            _tell(reply, {"error": f"container {name or next(iter(self._containers))} is not running"})
            reply.close()
            return
        argv, env, working_dir = message["argv"], message["env"], "/"
        beside = None
        if message["inside"]:
            program = container.program if container is not None else Program("")
            machine = self._setup.files is None
            own = launch.environment(self._setup.name, Path(self._setup.store), program.env, machine=machine)
            env = {**own, **env}
            working_dir = program.working_dir
            if container is not None and program.image:
                beside = os.pidfd_open(container.pid)
            if not (machine or program.image):
                argv = launch.preferred(argv, Path(self._setup.store))
        tty = message["tty"]
        pid = launch.fork(lambda: launch.command(argv, fds[:3], env, working_dir, tty=tty, beside=beside))
        if beside is not None:
            os.close(beside)
        self._await(pid, reply)

    def _attach(self, message: dict[str, Any], fds: list[int]) -> None:
        """Copy a container's output to the files that came along, and send the file of its input.

        The exit code goes to the socket that came as the last file.
        """
        reply = Connection(socket.socket(fileno=os.dup(fds[-1])))
        container = self._containers.get(message["container"])
        if container is None or not container.pid:
            _tell(reply, {"error": f"container {message['container']} is not running"})
            reply.close()
            return
        console = container.console
        client = Client(reply, dict(zip(message["streams"], map(os.dup, fds[:-1]), strict=True)))
        stdin = console.attach(client, stdin=message["stdin"])
        _tell(reply, {"tty": console.has_terminal}, [stdin] if stdin >= 0 else [])
        if stdin >= 0:
            os.close(stdin)
        self._attached[reply.fileno()] = console, client
        self._poll.register(reply, select.POLLIN)
        self._watch(console)

    def _detach(self, number: int) -> Console:
        """Forget a client that has gone, or that has been told of the end; return the console it was attached to."""
        console, client = self._attached.pop(number)
        self._poll.unregister(number)
        console.detach(client)
        return console

    def _watch(self, console: Console) -> None:
        """Wait for what a console waits for now, and for nothing else of it."""
        for client in list(console.clients):
            if console.is_over and not client.behind:
                _tell(client.reply, {"exit": console.code})
                client.has_left = True
            if client.has_left:
                self._detach(client.reply.fileno())
        for number in [number for number, other in self._consoles.items() if other is console]:
            del self._consoles[number]
            with suppress(KeyError, OSError):
                self._poll.unregister(number)
        for number, events in console.files.items():
            self._consoles[number] = console
            self._poll.register(number, events)

    def _probe(self, _: dict[str, Any], fds: list[int]) -> None:
        reply = Connection(socket.socket(fileno=os.dup(fds[0])))
        # The answers are written by the child, which has the only other copy of the socket once this one is closed.
        self._children[launch.fork(lambda: launch.probe(reply))] = _Child()
        reply.close()

    def _signal(self, message: dict[str, Any], _: list[int]) -> None:
        container = self._containers.get(message["container"])
        if container is not None and container.pid:
            with suppress(ProcessLookupError):
                os.kill(container.pid, message["number"])

    def _await(self, pid: int, reply: Connection) -> None:
        self._children[pid] = _Child(reply=reply)
        self._replies[reply.fileno()] = pid
        self._poll.register(reply, select.POLLIN)

    def _take_word(self, number: int) -> None:
        """Send a command the signal that is asked for; whoever hangs up ends it."""
        pid = self._replies[number]
        reply = self._children[pid].reply
        try:
            received = reply.receive() if reply is not None else None
        except OSError:
            received = None
        wanted = signal.SIGKILL if received is None else received[0]["signal"]
        if received is None:
            self._poll.unregister(number)
        try:
            os.killpg(pid, wanted)
        except ProcessLookupError:
            # It is so young that it leads no group yet; it cannot be gone, for it was not buried.
            os.kill(pid, wanted)

    def _reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if not pid:
                return
            child = self._children.pop(pid, None)
            if child is not None:
                self._tell_end(child, os.waitstatus_to_exitcode(status))

    def _tell_end(self, child: _Child, code: int) -> None:
        code = code if code >= 0 else 128 - code
        if child.reply is not None:
            _tell(child.reply, {"exit": code})
            number = child.reply.fileno()
            del self._replies[number]
            with suppress(KeyError):
                self._poll.unregister(number)
            child.reply.close()
        elif child.container:
            container = self._containers[child.container]
            # As in a cluster, what a container left running ends with its first process.
            with suppress(ProcessLookupError):
                os.killpg(container.pid, signal.SIGKILL)
            container.pid = 0
            container.console.finish(code)
            self._watch(container.console)
            shutil.rmtree(container.place, ignore_errors=True)
            _tell(self._connection, {"ended": child.container, "exit": code})


def _tell(connection: Connection, message: dict[str, Any], fds: Sequence[int] = ()) -> None:
    """Send a message to somebody who may be gone."""
    with suppress(OSError):
        connection.send(message, fds)
