# SPDX-License-Identifier: Apache-2.0
"""What a container reads and writes: pipes or a terminal, its log, and the clients that are attached to it."""

from __future__ import annotations

import os
import pty
import select
from contextlib import suppress
from typing import TYPE_CHECKING, Final, NamedTuple

from podfence.lab import kernel
from podfence.lab.lines import KEPT, STEP, Splitter

if TYPE_CHECKING:
    from podfence.lab.connection import Connection
    from podfence.lab.processes.program import Program

_AT_ONCE: Final = 65_536
_LAST_WORDS: Final = 100
"""Milliseconds to wait for what a terminal still carries when its program has ended."""

_MOST_READS: Final = 16
"""Reads that take in all that was printed before the end: no pipe of a container holds more than a MiB."""


class Ends(NamedTuple):
    """The files that a container begins with."""

    stdin: int
    stdout: int
    stderr: int


class Client:
    """Somebody who is attached: the files that the container's output is copied to, and what waits for room there."""

    def __init__(self, reply: Connection, outputs: dict[str, int]) -> None:
        """Take over the connection over which the end is told, and a file for each stream that is wanted."""
        self.reply = reply
        self.outputs = outputs
        self.has_left = False
        self._waiting: dict[str, bytes] = {}

    @property
    def behind(self) -> list[int]:
        """The files that have no room for what waits for them."""
        return [self.outputs[stream] for stream in self._waiting]

    def give(self, stream: str, data: bytes) -> None:
        """Copy what a stream printed, if the client wants it."""
        if stream in self.outputs and not self.has_left:
            self._waiting[stream] = self._waiting.get(stream, b"") + data
            self.push()

    def push(self) -> None:
        """Write what waits, as far as there is room; a client that does not read any more has left."""
        for stream, data in list(self._waiting.items()):
            try:
                written = os.write(self.outputs[stream], data)
            except BlockingIOError:
                continue
            except OSError:
                self.has_left = True
                self._waiting.clear()
                return
            self._waiting[stream] = data[written:]
            if not self._waiting[stream]:
                del self._waiting[stream]

    def close(self) -> None:
        """Close all its files."""
        self.reply.close()
        for number in self.outputs.values():
            os.close(number)


class Console:
    """The outer side of a container's standard files.

    As in Kubernetes, output goes to the log and to all clients, and a container waits while a client does not read.
    With `stdin` there is an input, which a client that attaches writes to; with `stdinOnce` it ends with the first
    client. With `tty` everything is one terminal.
    """

    def __init__(self, program: Program, log: int) -> None:
        """Make the files; those of `ends` belong to the container, and are closed once it has them.

        `code` is the exit code when the container has ended.
        """
        self.has_terminal = program.tty
        self.clients: list[Client] = []
        self.code: int | None = None
        self._log = os.dup(log)
        self._unchecked = 0
        self._once = program.stdin_once
        self._streams: dict[int, Splitter] = {}
        self.stdin = -1
        if program.tty:
            master, slave = pty.openpty()
            self._add(master, "stdout")
            self.stdin = os.dup(master) if program.stdin else -1
            self.ends = Ends(slave, slave, slave)
        else:
            inside = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
            if program.stdin:
                os.close(inside)
                inside, self.stdin = os.pipe2(os.O_CLOEXEC)
            stdout, stderr = (self._pipe(name) for name in ("stdout", "stderr"))
            self.ends = Ends(inside, stdout, stderr)

    def _pipe(self, name: str) -> int:
        outside, inside = os.pipe2(os.O_CLOEXEC)
        self._add(outside, name)
        return inside

    def _add(self, number: int, name: str) -> None:
        os.set_blocking(number, False)
        self._streams[number] = Splitter(name)

    def close_ends(self) -> None:
        """Close the container's side, so that this one notices when nobody has it any more."""
        for number in set(self.ends):
            os.close(number)

    def attach(self, client: Client, *, stdin: bool) -> int:
        """Copy output to a client from now on; return the file of the input, -1 if there is none or it is not wanted.

        The client gets a file of its own. An input for one client is given away.
        """
        self.clients.append(client)
        if not stdin or self.stdin < 0:
            return -1
        if self._once and not self.has_terminal:
            given, self.stdin = self.stdin, -1
            return given
        return os.dup(self.stdin)

    def read(self, number: int) -> bool:
        """Take in what a stream printed; return whether there may be more."""
        try:
            data = os.read(number, _AT_ONCE)
        except BlockingIOError:
            return True
        except OSError:
            # Nobody has the other side of the terminal any more.
            data = b""
        if not data:
            self._end(number)
            return False
        stream = self._streams[number]
        self._write(stream.entries(data))
        for client in self.clients:
            client.give(stream.stream, data)
        return True

    def detach(self, client: Client) -> None:
        """Forget a client, and close its files."""
        self.clients.remove(client)
        client.close()

    @property
    def files(self) -> dict[int, int]:
        """The files to wait for, each with what to wait for."""
        behind = [number for client in self.clients for number in client.behind]
        # Only when all clients have what there is does anybody get more.
        return dict.fromkeys(behind, select.POLLOUT) or dict.fromkeys(self._streams, select.POLLIN)

    def take(self, number: int) -> None:
        """Do what a file of `files` is ready for."""
        if number in self._streams:
            self.read(number)
            return
        for client in self.clients:
            if number in client.behind:
                client.push()

    def finish(self, code: int) -> None:
        """Take in what is left when the container has ended with a code, and close everything but the clients."""
        self.code = code
        for number in list(self._streams):
            waiter = select.poll()
            waiter.register(number, select.POLLIN)
            # What a terminal carries arrives a moment after it was printed; in a pipe it is there at once.
            patience = _LAST_WORDS if self.has_terminal else 0
            # A child that has left the container's group prints on, perhaps for ever.
            for _ in range(_MOST_READS):
                if not (waiter.poll(patience) and self.read(number)):
                    break
            if number in self._streams:
                self._end(number)
        if self.stdin >= 0:
            os.close(self.stdin)
        os.close(self._log)

    def _end(self, number: int) -> None:
        self._write(self._streams.pop(number).last())
        os.close(number)

    def _write(self, entries: bytes) -> None:
        # A log that has no room must not stop a container.
        with suppress(OSError):
            self._unchecked += os.write(self._log, entries)
            if self._unchecked > STEP:
                self._unchecked = 0
                if (old := os.fstat(self._log).st_size - KEPT) > 0:
                    kernel.make_hole(self._log, old)
