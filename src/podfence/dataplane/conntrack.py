# SPDX-License-Identifier: Apache-2.0
"""The kernel's table of flows: read, and one label bit set and cleared (linux/netfilter/nfnetlink_conntrack.h).

Entries are never deleted: a flow whose entry is gone gets another with its next packet, and if the server
sends that one, the entry is the wrong way round, and passes whatever the client must not do.
"""

from __future__ import annotations

import errno
import socket
import struct
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

from podfence.dataplane.flows import Ends, Flow
from podfence.dataplane.netlink import Netlink, NetlinkError, attribute, attributes
from podfence.sets.addresses import V4_LAST, V6_FIRST, family_of

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

FEW: Final = 8
"""For up to this many IPv4 addresses the kernel walks its table twice each; for more it gives all of it once."""

_NETLINK_NETFILTER = 12
_NEW, _GET = 0x100, 0x101
_ORIGINAL, _REPLY, _STATUS, _ZONE, _LABELS, _MASK, _FILTER = 1, 2, 3, 18, 22, 23, 25
_NESTED = 0x8000
_EXPECTED = 0x1
_BY_SOURCE = struct.pack("=I", 1)
_GET_ADDRESS = 22
_INTERFACE_ADDRESS, _LOCAL_ADDRESS = 1, 2
_WORDS = struct.Struct("=4I")

# Most tuples have this form: addresses, then protocol and two ports. Others are walked attribute by attribute.
_LENGTH = struct.Struct("=H")
_FOUR = struct.Struct(">8s4s4s4s8sB3x4sH2x4sH2x")
_SIX = struct.Struct(">8s16s4s16s8sB3x4sH2x4sH2x")


class Labelled(NamedTuple):
    """What became of flows that were to be labelled, or freed of the label: how many were, and how many could not.

    Those that ended meanwhile are neither. `unable` are flows without room for labels (see `Flow`).
    """

    done: int
    unable: int


class Conntrack(Protocol):
    """What is needed of the kernel that tracks a node's flows."""

    def own_addresses(self) -> frozenset[int]:
        """Return the addresses of the node itself, on all of its interfaces."""

    def flows(self, ends: Collection[int] | None) -> Iterable[Flow]:
        """Return the flows that one of some addresses opened or answers, or all flows."""

    def label(self, flows: Iterable[Flow], *, present: bool) -> Labelled:
        """Set the label bit on flows, or clear it."""


class KernelConntrack:
    """The connection tracking of the network namespace that the calling thread is in when it makes this."""

    def __init__(self, label: int) -> None:
        """Open the sockets; `label` is the bit. Raises OSError if this kernel lacks them."""
        words = [0, 0, 0, 0]
        words[label // 32] = 1 << label % 32
        self._bit = _WORDS.pack(*words)
        self._where, self._flag = next((place, value) for place, value in enumerate(self._bit) if value)
        self._table = Netlink(_NETLINK_NETFILTER)
        self._routes = Netlink(socket.NETLINK_ROUTE)

    def close(self) -> None:
        """Close the sockets."""
        self._table.close()
        self._routes.close()

    def own_addresses(self) -> frozenset[int]:
        """Return the addresses of the node itself, on all of its interfaces. Raises NetlinkError."""
        found: set[int] = set()
        for data, messages in self._routes.dump(_GET_ADDRESS, bytes(8)):
            for start, end in messages:
                parts = {kind: data[first:last] for kind, first, last in attributes(data, start + 8, end)}
                address = parts.get(_LOCAL_ADDRESS) or parts.get(_INTERFACE_ADDRESS)
                if address:
                    found.add(_number(address))
        return frozenset(found)

    def flows(self, ends: Collection[int] | None) -> Iterator[Flow]:
        """Yield the flows that one of some addresses opened or answers, or all flows. Raises NetlinkError."""
        if ends is None:
            yield from self._read(bytes(4), None)
            return
        wanted = {_bytes(number) for number in ends}
        seen: set[bytes] = set()
        for request in _requests(ends):
            # A kernel older than 5.8 knows no filter and gives everything, so what comes is looked at again.
            for flow in self._read(request, wanted):
                if flow.handle not in seen:
                    seen.add(flow.handle)
                    yield flow

    def _read(self, request: bytes, wanted: set[bytes] | None) -> Iterator[Flow]:
        for data, messages in self._table.dump(_GET, request):
            for start, end in messages:
                if wanted is None or _concerns(data, start + 4, wanted):
                    flow = self._flow(data, start + 4, end)
                    if flow is not None:
                        yield flow

    def _flow(self, data: bytes, start: int, end: int) -> Flow | None:
        """Return the flow that a message is about, None if it is none of IP."""
        second = start + _LENGTH.unpack_from(data, start)[0]
        original, reply = _tuple(data, start), _tuple(data, second)
        if original is None or reply is None:
            return None
        labelled, expected, zone = False, False, b""
        for kind, first, last in attributes(data, second, end):
            if kind == _LABELS:
                labelled = bool(data[first + self._where] & self._flag)
            elif kind == _STATUS:
                expected = bool(data[first + 3] & _EXPECTED)
            elif kind == _ZONE:
                zone = data[first - 4 : last + 2]
        return Flow(original[0], _ends(original), _ends(reply), labelled, expected, data[start:second] + zone)

    def label(self, flows: Iterable[Flow], *, present: bool) -> Labelled:
        """Set the label bit on flows, or clear it. Raises NetlinkError if the kernel refuses."""
        value = attribute(_LABELS, self._bit if present else bytes(16)) + attribute(_MASK, self._bit)
        payloads = [struct.pack("=BBH", _family(flow.source), 0, 0) + flow.handle + value for flow in flows]
        errors = self._table.change(_NEW, payloads)
        for number in errors:
            if number not in (0, errno.ENOENT, errno.ENOSPC):
                raise NetlinkError("labelling a flow", number)
        return Labelled(errors.count(0), errors.count(errno.ENOSPC))


def _requests(ends: Collection[int]) -> Iterator[bytes]:
    """Yield what to ask for so that all flows with one of these ends are among the answers."""
    four = [number for number in ends if family_of(number) == 4]
    if len(four) > FEW:
        yield struct.pack("=BBH", socket.AF_INET, 0, 0)
    else:
        for number in four:
            address = attribute(_NESTED | 1, attribute(1, _bytes(number)))
            for side in (_ORIGINAL, _REPLY):
                flags = attribute(_NESTED | _FILTER, attribute(side, _BY_SOURCE))
                yield struct.pack("=BBH", socket.AF_INET, 0, 0) + attribute(_NESTED | side, address) + flags
    if len(four) < len(ends):
        # Not by address: for IPv6 the kernel gives the flows that do not match (ctnetlink_filter_match_tuple, 6.18).
        yield struct.pack("=BBH", socket.AF_INET6, 0, 0)


def _concerns(data: bytes, start: int, wanted: set[bytes]) -> bool:
    """Return whether the flow, whose two tuples start here, was opened or is answered by one of some addresses.

    Most flows are not asked for, so no more is read of them.
    """
    second = start + _LENGTH.unpack_from(data, start)[0]
    size = _SIZES.get(data[start + 4 : start + 12])
    if size is not None and data[start + 4 : start + 12] == data[second + 4 : second + 12]:
        return data[start + 12 : start + 12 + size] in wanted or data[second + 12 : second + 12 + size] in wanted
    found = _tuple(data, start), _tuple(data, second)
    return any(item is not None and item[1] in wanted for item in found)


_Tuple = tuple[int, bytes, bytes, int, int]
"""Protocol, source, destination, source port, destination port."""


def _tuple(data: bytes, start: int) -> _Tuple | None:
    """Return what the tuple whose attribute starts here says, None if it has no addresses."""
    length = _LENGTH.unpack_from(data, start)[0]
    size = _SIZES.get(data[start + 4 : start + 12])
    if size is None or length < 44 + 2 * size:
        return _walk(data, start + 4, start + length)
    shape, heads = (_FOUR, _HEADS_FOUR) if size == 4 else (_SIX, _HEADS_SIX)
    first, source, second, destination, third, protocol, fourth, one, fifth, other = shape.unpack_from(data, start + 4)
    if (first, second, third, fourth, fifth) != heads:
        return _walk(data, start + 4, start + length)
    return protocol, source, destination, one, other


def _heads(source: int, destination: int, size: int) -> tuple[bytes, ...]:
    """Return the headers of attributes that stand between the values of the common form."""
    pack = struct.Struct("=HH").pack
    return (
        pack(2 * size + 12, _NESTED | 1) + pack(size + 4, source),
        pack(size + 4, destination),
        pack(28, _NESTED | 2) + pack(5, 1),
        pack(6, 2),
        pack(6, 3),
    )


_HEADS_FOUR: Final = _heads(1, 2, 4)
_HEADS_SIX: Final = _heads(3, 4, 16)
_SIZES: Final = {_HEADS_FOUR[0]: 4, _HEADS_SIX[0]: 16}
"""How long an address is in a tuple that begins like this, with its source."""


def _walk(data: bytes, start: int, end: int) -> _Tuple | None:
    found: dict[tuple[int, int], bytes] = {}
    for outer, first, last in attributes(data, start, end):
        if outer in (1, 2):
            found |= {(outer, kind): data[one:other] for kind, one, other in attributes(data, first, last)}
    source = found.get((1, 1)) or found.get((1, 3))
    destination = found.get((1, 2)) or found.get((1, 4))
    if source is None or destination is None:
        return None
    protocol, one, other = (int.from_bytes(found.get((2, number), b""), "big") for number in (1, 2, 3))
    return protocol, source, destination, one, other


def _ends(item: _Tuple) -> Ends:
    return Ends(_number(item[1]), _number(item[2]), item[3], item[4])


def _family(number: int) -> int:
    return socket.AF_INET if family_of(number) == 4 else socket.AF_INET6


def _bytes(number: int) -> bytes:
    return number.to_bytes(4, "big") if number <= V4_LAST else (number - V6_FIRST).to_bytes(16, "big")


def _number(data: bytes) -> int:
    number = int.from_bytes(data, "big")
    return number if len(data) == 4 else V6_FIRST + number
