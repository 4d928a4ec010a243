# SPDX-License-Identifier: Apache-2.0
"""The runner that speaks to the kernel itself, where nft would read the table before it changes it.

nft reads every chain and set of a table, and all elements of its sets of intervals, before each change. That
takes longer than the change; so what is simple enough is sent to the kernel as it is. What is not, and what the
kernel refuses, is left to nft, which has the words for what is wrong.
"""

from __future__ import annotations

from functools import singledispatchmethod
from typing import TYPE_CHECKING, Final

from podfence.netlink.messages import attribute, nested
from podfence.nft.chain import Chain
from podfence.nft.datatypes import DATATYPES
from podfence.nft.element import Verdict
from podfence.nft.expressions import (
    INTERVAL,
    MAP,
    Span,
    Unspoken,
    described,
    elements,
    encode,
    verdict_of,
)
from podfence.nft.netlink import (
    APPEND,
    BIG_ENDIAN,
    CREATE,
    FAMILIES,
    Command,
    Kernel,
    Message,
    text,
)
from podfence.nft.process import NftRunner
from podfence.nft.rule import Rule
from podfence.nft.sets import VERDICT, Elements, Map, Set

if TYPE_CHECKING:
    from typing import Self

    from podfence.nft.element import Element, Key
    from podfence.nft.table import Table
    from podfence.nft.transaction import Object, Transaction

_TYPES: Final = {"ipv4_addr": 7, "ipv6_addr": 8}
_KEYS: Final = frozenset({*_TYPES, "ether_addr", "ifname"})
_ALIGNED: Final = 32
"""Each part of a concatenated key begins at a multiple of as many bits."""

_IN_ONE: Final = 200
"""How many elements one message has: with the longest names of chains they fit into the largest attribute."""


class DirectRunner(NftRunner):
    """As `NftRunner`, for the network namespace that this thread is in, and faster."""

    def __init__(self) -> None:
        super().__init__()
        self._kernel: Kernel | None = None

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the socket to the kernel."""
        self.close()

    def close(self) -> None:
        """Close the socket to the kernel; the next transaction opens another."""
        if self._kernel is not None:
            self._kernel.close()
            self._kernel = None

    def run(self, transaction: Transaction) -> None:
        """Carry out all of the transaction or nothing of it."""
        if transaction.error is not None or not self._sent(transaction):
            super().run(transaction)

    def _sent(self, transaction: Transaction) -> bool:
        """Return whether the kernel carried the transaction out; if not, it changed nothing."""
        try:
            messages = _Writer(transaction.table).write(transaction)
            if self._kernel is None:
                self._kernel = Kernel()
            self._kernel.send(messages, FAMILIES[transaction.table.family])
        except (Unspoken, OSError, OverflowError):
            return False
        return True


class _Writer:
    """Writes the messages of one transaction."""

    def __init__(self, table: Table) -> None:
        if table.family not in FAMILIES:
            raise Unspoken(table)
        self._table = table.name
        self._messages: list[Message] = []
        self._ids = 0
        self._filled: set[str] = set()

    def write(self, transaction: Transaction) -> list[Message]:
        for verb, item in transaction.commands():
            self._write(item, verb)
        return self._messages

    def _add(self, command: Command, flags: int, *parts: bytes) -> None:
        self._messages.append((command, flags, b"".join((text(1, self._table), *parts))))

    @singledispatchmethod
    def _write(self, item: Object, verb: str) -> None:
        raise Unspoken(verb, item)

    @_write.register
    def _chain(self, item: Chain, verb: str) -> None:
        if verb == "flush":
            self._add(Command.DELETE_RULE, 0, text(2, item.name))
        elif item.hook is not None:
            raise Unspoken(item)
        elif verb == "delete":
            self._add(Command.DELETE_CHAIN, 0, text(3, item.name))
        else:
            self._add(Command.NEW_CHAIN, CREATE, text(3, item.name), *_note(12, item.comment))

    @_write.register
    def _rule(self, item: Rule, verb: str) -> None:
        if verb != "add":
            raise Unspoken(verb)
        found = encode(item.text, self._table, self._ids + 1)
        self._ids += len(found.sets)
        self._messages += found.sets
        expressions = nested(4, found.expressions)
        self._add(Command.NEW_RULE, CREATE | APPEND, text(2, item.chain), expressions, *_note(7, item.comment))

    @_write.register(Set)
    @_write.register(Map)
    def _set(self, item: Set | Map, verb: str) -> None:
        if verb == "delete":
            self._add(Command.DELETE_SET, 0, text(2, item.name))
            return
        if verb != "add" or item.comment is not None or item.flags - {"interval"}:
            raise Unspoken(verb)
        if len(item.types) > 1 or item.types[0] not in _TYPES:
            raise Unspoken(item)
        size = _size(item)
        self._ids += 1
        flags = (INTERVAL if "interval" in item.flags else 0) | (MAP if isinstance(item, Map) else 0)
        kind = described(flags, _TYPES[item.types[0]], size, self._ids, BIG_ENDIAN)
        self._add(Command.NEW_SET, CREATE, text(2, item.name), *kind)

    @_write.register
    def _elements(self, item: Elements, verb: str) -> None:
        container = item.container
        interval = "interval" in container.flags
        if interval and (verb == "delete" or container.name in self._filled):
            raise Unspoken(verb)
        self._filled.add(container.name)
        command, flags = (
            (Command.NEW_ELEMENT, CREATE) if verb == "add" else (Command.DELETE_ELEMENT, 0)
        )  # fmt: skip
        size = _size(container)
        spans = [_span(container, element, keyed=verb == "delete") for element in item.items]
        if interval:
            spans.sort()
        step = len(spans) if interval else _IN_ONE
        for start in range(0, len(spans), step):
            found = elements(spans[start : start + step], size, interval=interval)
            self._add(command, flags, text(2, container.name), found)


def _size(container: Set | Map) -> int:
    """Return the size of a key in bytes."""
    if not set(container.types) <= _KEYS or (isinstance(container, Map) and container.values != VERDICT):
        raise Unspoken(container)
    return sum(_room(container, name) for name in container.types) // 8


def _room(container: Set | Map, name: str) -> int:
    """Return how many bits a part of a key takes up."""
    bits = DATATYPES[name].bits
    return bits if len(container.types) == 1 else -(-bits // _ALIGNED) * _ALIGNED


def _span(container: Set | Map, element: Element, *, keyed: bool) -> Span:
    if element.comment is not None or element.timeout is not None:
        raise Unspoken(element)
    first = _number(container, element.key)
    last = first if element.end is None else _number(container, element.end)
    value = element.value
    return Span(first, last, verdict_of(value) if isinstance(value, Verdict) and not keyed else None)


def _number(container: Set | Map, key: Key) -> int:
    result = 0
    for name, part in zip(container.types, key, strict=True):
        kind, room = DATATYPES[name], _room(container, name)
        result = result << room | kind.number(part) << room - kind.bits
    return result


def _note(number: int, comment: str | None) -> tuple[bytes, ...]:
    """Return a comment as nft keeps it with an object."""
    if comment is None:
        return ()
    data = comment.encode() + b"\0"
    return (attribute(number, bytes((0, len(data))) + data),)
