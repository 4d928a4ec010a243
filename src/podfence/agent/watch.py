# SPDX-License-Identifier: Apache-2.0
"""Changes of our tables that somebody else makes, told by the kernel when they happen (linux/netfilter/nf_tables.h).

After each transaction the kernel tells all that was changed, and at last the number of the generation of rules
that begins with it. What the agent changes itself is told too. The number of its own transactions says which of
the generations are others': if there are as many new ones as the agent has made, all are its own, even if the
kernel had to leave out what was in them because there was so much. Only what is left in doubt is compared.

One thing can go unseen until the next look at the whole table: a change of somebody else while a step of the
agent runs in which one of its own transactions changed nothing.
"""

from __future__ import annotations

import errno
import socket
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Final, Protocol

from podfence.dataplane.ruleset import TABLE_NAME
from podfence.netlink.asking import BUFFER, opened
from podfence.netlink.messages import GENERAL, NETFILTER, REQUEST, attribute, contents, message, messages

if TYPE_CHECKING:
    from collections.abc import Iterator

    from podfence.dataplane.enforcer import Enforcer

_GROUP: Final = 1 << (7 - 1)
_SUBSYSTEM: Final = 10
_NEW_GENERATION, _GET_GENERATION = 0xA0F, 0xA10
_FAMILIES: Final = frozenset({1, 7})
"""Of our tables: inet and bridge."""

_TABLE, _GENERATION_ID = 1, 1
_OURS: Final = attribute(_TABLE, TABLE_NAME.encode() + b"\0")
_SO_RCVBUFFORCE: Final = 33
_ROOM: Final = 1 << 23


class Watch(Protocol):
    """What tells of changes of our table. Used by one thread; its file becomes readable when there is something."""

    def fileno(self) -> int:
        """Return the number of the file."""
        ...

    def begin(self) -> None:
        """Begin a step in which we may change the table ourselves."""
        ...

    def end(self, transactions: int) -> None:
        """End the step; so many of our transactions were carried out in it."""
        ...

    def look(self) -> bool:
        """Return whether somebody else may have changed the table since the last time, without waiting."""
        ...


@contextmanager
def accounted(watch: Watch | None, enforcer: Enforcer) -> Iterator[None]:
    """Have a watch know how many transactions of a step are an enforcer's own."""
    if watch is None:
        yield
        return
    before = enforcer.transactions
    watch.begin()
    try:
        yield
    finally:
        watch.end(enforcer.transactions - before)


class KernelWatch:
    """The changes in the network namespace that the thread is in that makes this; user namespaces are fine."""

    def __init__(self) -> None:
        """Begin to listen. Raises OSError if the kernel does not let us."""
        self._events = opened(NETFILTER, _GROUP)
        self._questions = opened(NETFILTER)
        with suppress(PermissionError):
            # Beyond what the system lets everybody have; without it, more has to be compared.
            self._events.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _ROOM)
        self._touched: list[int] = []
        self._open = self._lost = self._doubt = False
        self._before = self._told = self._generation()

    def fileno(self) -> int:
        """Return the number of the file that becomes readable when something was changed."""
        return self._events.fileno()

    def close(self) -> None:
        """Stop listening."""
        self._events.close()
        self._questions.close()

    def begin(self) -> None:
        """Begin a step in which we may change the table ourselves."""
        self._doubt = self.look()
        self._before = self._generation()

    def end(self, transactions: int) -> None:
        """End the step; so many of our transactions were carried out in it."""
        told, now = self._told, self._generation()
        self._drain()
        if self._lost:
            # What begins after the queue was emptied is told again.
            self._doubt |= not (told == self._before and self._generation() == now == told + transactions)
        else:
            inside = sum(self._before < number <= now for number in self._touched)
            self._doubt |= inside > transactions or inside < len(self._touched)
        self._forget()

    def look(self) -> bool:
        """Return whether somebody else may have changed the table since the last time, without waiting."""
        self._drain()
        found = bool(self._touched) or self._lost or self._doubt
        self._doubt = False
        self._forget()
        return found

    def _forget(self) -> None:
        if self._lost:
            self._told, self._open = self._generation(), False
        self._touched, self._lost = [], False

    def _drain(self) -> None:
        """Take in all that the kernel has told so far."""
        while True:
            try:
                data = self._events.recv(BUFFER, socket.MSG_DONTWAIT)
            except BlockingIOError:
                return
            except OSError as error:
                # Said before what was told until then, so one never knows where the gap is.
                self._lost = True
                if error.errno != errno.ENOBUFS:
                    return
                continue
            for kind, start, end in _about_tables(data):
                if kind == _NEW_GENERATION:
                    self._told = _generation_of(data, start, end)
                    if self._open:
                        self._touched.append(self._told)
                    self._open = False
                else:
                    self._open |= is_about_us(data, start)

    def _generation(self) -> int:
        """Return the number of the present generation; 0, which none has, if the kernel does not tell."""
        try:
            self._questions.send(message(_GET_GENERATION, REQUEST, 0, GENERAL.pack(0, 0, 0)))
            data = self._questions.recv(BUFFER, socket.MSG_DONTWAIT)
        except OSError:
            return 0
        for kind, start, end in _about_tables(data):
            if kind == _NEW_GENERATION:
                return _generation_of(data, start, end)
        return 0


def _about_tables(data: bytes) -> Iterator[tuple[int, int, int]]:
    """Yield the type of each message about nftables, and where its content starts and ends."""
    for kind, _, (start, end) in messages(data):
        if kind >> 8 == _SUBSYSTEM and start + GENERAL.size <= end:
            yield kind, start, end


def _generation_of(data: bytes, start: int, end: int) -> int:
    return int.from_bytes(contents(data, start + GENERAL.size, end).get(_GENERATION_ID, b""), "big")


def is_about_us(data: bytes, start: int) -> bool:
    """Return whether a message whose content starts there is about our tables: their name is its first attribute."""
    return data[start] in _FAMILIES and data.startswith(_OURS, start + GENERAL.size)
