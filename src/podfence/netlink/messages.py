# SPDX-License-Identifier: Apache-2.0
"""What all messages to and from the kernel are made of (netlink(7), linux/netlink.h, linux/netfilter/nfnetlink.h)."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

NETFILTER: Final = 12
"""The protocol of sockets to everything of netfilter."""

REQUEST, ACK = 0x1, 0x4
"""Flags of a message: it asks for something; the kernel is to answer also if nothing is wrong."""

ERROR, DONE = 2, 3
"""Types of messages: an error, which may be 0, of an earlier message; the end of a list."""

HEADER: Final = struct.Struct("=IHHII")
"""Length, type, flags, sequence number, port."""

GENERAL: Final = struct.Struct(">BBH")
"""What messages of netfilter have behind the header: family, version, and what is meant, such as a subsystem."""

_ATTRIBUTE: Final = struct.Struct("=HH")
_LONGEST: Final = 0xFFFF
_NESTED: Final = 0x8000
_TYPE: Final = 0x3FFF
"""What is left of an attribute's type without the flags "nested" and "in network byte order"."""

_ERROR_NUMBER: Final = struct.Struct("=i")


Place = tuple[int, int]
"""Where something starts and ends in a buffer."""


def attribute(number: int, data: bytes) -> bytes:
    """Return an attribute, padded; raises OverflowError if it is longer than one can be."""
    length = len(data) + 4
    if length > _LONGEST:
        raise OverflowError(length)
    return _ATTRIBUTE.pack(length, number) + data + bytes(-length % 4)


def nested(number: int, parts: Iterable[bytes]) -> bytes:
    """Return an attribute that holds attributes; raises OverflowError as `attribute` does."""
    return attribute(number | _NESTED, b"".join(parts))


def attributes(data: bytes, start: int, end: int) -> Iterator[tuple[int, int, int]]:
    """Yield the whole attributes between two places of a buffer in order: the type, where the content starts and ends.

    What follows one that is not whole is left out, since nobody knows where it begins.
    """
    unpack = _ATTRIBUTE.unpack_from
    while start + 4 <= end:
        length, number = unpack(data, start)
        if length < 4 or start + length > end:
            return
        yield number & _TYPE, start + 4, start + length
        start += length + 3 & ~3


def contents(data: bytes, start: int, end: int) -> dict[int, bytes]:
    """Return the contents of the attributes between two places of a buffer by their types; of equal ones the last."""
    return {number: data[first:last] for number, first, last in attributes(data, start, end)}


def text_of(data: bytes) -> str:
    """Return the text of an attribute, which ends with a zero."""
    return data.rstrip(b"\0").decode("utf-8", "replace")


def message(kind: int, flags: int, sequence: int, payload: bytes) -> bytes:
    """Return a message, padded."""
    return HEADER.pack(HEADER.size + len(payload), kind, flags, sequence, 0) + payload + bytes(-len(payload) % 4)


def messages(data: bytes) -> Iterator[tuple[int, int, Place]]:
    """Yield type, sequence number and place of the content of each message in a buffer, in order.

    The last may be cut off, as is the answer to a long request, which repeats that.
    """
    start, unpack, size, total = 0, HEADER.unpack_from, HEADER.size, len(data)
    while start + size <= total:
        length, kind, _, sequence, _ = unpack(data, start)
        if length < size:
            return
        yield kind, sequence, (start + size, min(start + length, total))
        start += length + 3 & ~3


def error_number(data: bytes, place: int) -> int:
    """Return the system's error number that a message of type `ERROR` or `DONE` tells, 0 if nothing is wrong."""
    return -int(_ERROR_NUMBER.unpack_from(data, place)[0])
