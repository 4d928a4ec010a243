# SPDX-License-Identifier: Apache-2.0
"""Entries of the kernel's table of flows, read quickly (linux/netfilter/nfnetlink_conntrack.h).

Nearly all messages of a long list have one of a few layouts: the same attributes, equally long, in the same
order. The first of each layout is walked attribute by attribute, and every byte that leads the walk is noted;
other messages of its length are compared in those bytes, all at once. Where they are the same, the walk would
take the same way, so it is spared, and the values are where they were.
"""

from __future__ import annotations

import struct
from collections import defaultdict
from operator import itemgetter
from typing import TYPE_CHECKING, Any, Final

from podfence.dataplane.flows import Ends, Flow
from podfence.netlink.messages import GENERAL, attributes
from podfence.sets.addresses import V6_FIRST

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from podfence.netlink.messages import Place

ORIGINAL, REPLY, STATUS, PROTOCOL_STATE, ID, ZONE, LABELS = 1, 2, 3, 4, 12, 18, 22
"""Attributes of an entry."""

_NESTS: Final = frozenset(
    (
        *((side, *inner) for side in (ORIGINAL, REPLY) for inner in ((), (1,), (2,))),
        (PROTOCOL_STATE,),
        (PROTOCOL_STATE, 1),
    )
)
"""Which attributes are walked: of a tuple the addresses and the protocol with its ports; the state of TCP."""

_ENDS: Final = ((ORIGINAL, 1), (ORIGINAL, 2), (REPLY, 1), (REPLY, 2))
"""Source and destination of both tuples."""

_TCP: Final = 6
_TCP_STATE: Final = (PROTOCOL_STATE, 1, 1)
_EXPECTED: Final = 0x1
_FINISHED: Final = frozenset((7, 8))
"""The states TIME_WAIT and CLOSE (linux/netfilter/nf_conntrack_tcp.h)."""

_CODES: Final = {2: "H", 4: "I", 16: "16s"}
"""How ports and addresses are read."""

_MOST: Final = 8
"""How many layouts of one length are remembered; what has yet another is walked."""


class Reader:
    """The layouts that one look has met.

    `byte` is which byte of the labels has the bit that says that a flow is cut, and `flag` its value there.
    """

    def __init__(self, byte: int, flag: int) -> None:
        """Have met none."""
        self._label = byte, flag
        self._layouts = defaultdict[int, list[Layout]](list)

    def flows(self, data: bytes, messages: Iterable[Place], settled: Callable[[Flow], bool]) -> Iterator[Flow]:
        """Yield the flows that messages in a buffer are about, by where their contents are; none that are `settled`.

        That is asked once of all that are alike (see `Layout`): most flows are like others, and nothing is to be done
        with them, so no more is read of those.
        """
        for start, end in messages:
            content = int.from_bytes(data[start:end], "little")
            for layout in self._layouts[end - start]:
                answer = layout.settled.get(content & layout.alike)
                if answer is not None:
                    break
            else:
                layout = self._layout(content, data[start:end])
                answer = not layout.is_flow or settled(layout.flow(data, start))
                layout.settled[content & layout.alike] = answer
            if not answer:
                yield layout.flow(data, start)

    def _layout(self, number: int, content: bytes) -> Layout:
        """Return the layout of a message with this content, which is a `number` in little endian."""
        known = self._layouts[len(content)]
        for layout in known:
            if number & layout.mask == layout.constant:
                return layout
        found = Layout(content, *self._label)
        if len(known) < _MOST:
            known.append(found)
        return found


class Layout:
    """Where everything is in some messages, and what is the same in all of them.

    Those are the messages that are `constant` where `mask` is set, as numbers in little endian. `is_flow` is
    whether they are about flows of IP; only these can be read. Flows are alike if their messages are the same where
    `alike` is set: the layout, who opened the flow, who answers it, and, if it has ports, which one answers.
    `settled` is what whoever reads them found about such flows.
    """

    def __init__(self, content: bytes, byte: int, flag: int) -> None:
        """Walk one of them."""
        walk = _Walk(content)
        self.settled: dict[int, bool] = {}
        addresses = walk.addresses()
        ports = walk.ports() if addresses else []
        self.is_flow = bool(addresses)
        if addresses:
            self._protocol = walk.constant((ORIGINAL, 2, 1), 0, 0xFF)
            self._labelled = bool(walk.constant((LABELS,), byte, flag))
            self._expected = bool(walk.constant((STATUS,), 3, _EXPECTED))
            state = walk.places.get(_TCP_STATE, (0, 0))
            self._state = state[0] if self._protocol == _TCP and state[1] - state[0] == 1 else None
            self._is_four = addresses[0][1] - addresses[0][0] == 4
            found = (walk.whole((kind,)) for kind in (ORIGINAL, ZONE, ID))
            self._handle = [place for place in found if place is not None]
            self._values = _at([*addresses, *ports])
        self.mask = int.from_bytes(walk.mask, "little")
        self.constant = int.from_bytes(content, "little") & self.mask
        for first, last in (*addresses[:3:2], *ports[2:3]):
            walk.mask[first:last] = b"\xff" * (last - first)
        self.alike = int.from_bytes(walk.mask, "little")

    def flow(self, data: bytes, start: int) -> Flow:
        """Return the flow that a message is about, which starts at a place of a buffer."""
        source, destination, answers, client, *ports = self._values(data, start)
        if not self._is_four:
            source, destination, answers, client = map(_number, (source, destination, answers, client))
        one, two, three, four = ports or (0, 0, 0, 0)
        handle = data[start : start + GENERAL.size]
        for first, last in self._handle:
            handle += data[start + first : start + last]
        is_over = self._state is not None and data[start + self._state] in _FINISHED
        # As Ends(...) and Flow(...), in half of the time.
        new = tuple.__new__
        original, reply = new(Ends, (source, destination, one, two)), new(Ends, (answers, client, three, four))
        return new(Flow, (self._protocol, original, reply, self._labelled, self._expected, handle, is_over))


def _number(address: bytes) -> int:
    return V6_FIRST + int.from_bytes(address, "big")


class _Walk:
    """One message, walked: the places of attributes by their types from the outermost on, and what led the way."""

    def __init__(self, content: bytes) -> None:
        self._content = content
        self.mask = bytearray(len(content))
        self.places: dict[tuple[int, ...], Place] = {}
        self._descend((), GENERAL.size, len(content))

    def _descend(self, path: tuple[int, ...], start: int, end: int) -> None:
        for kind, first, last in attributes(self._content, start, end):
            self.mask[first - 4 : first] = b"\xff" * 4
            name = (*path, kind)
            self.places[name] = first, last
            if name in _NESTS:
                self._descend(name, first, last)
            start = last + 3 & ~3
        if start + 4 <= end:
            # Here the walk stopped, because of what is in the header.
            self.mask[start : start + 4] = b"\xff" * 4

    def constant(self, name: tuple[int, ...], byte: int, bits: int) -> int:
        """Return some bits of a byte of an attribute, 0 if it has none, and let them be the same in all messages."""
        first, last = self.places.get(name, (0, 0))
        if first + byte >= last:
            return 0
        self.mask[first + byte] |= bits
        return self._content[first + byte] & bits

    def whole(self, name: tuple[int, ...]) -> Place | None:
        """Return the place of an attribute with its header and padding, None if it is not there."""
        place = self.places.get(name)
        return None if place is None else (place[0] - 4, place[1] + 3 & ~3)

    def addresses(self) -> list[Place]:
        """Return the places of source and destination of both tuples, none if one is missing or not of IP."""
        found = [self.places.get((side, 1, kind)) or self.places.get((side, 1, kind + 2)) for side, kind in _ENDS]
        whole = [place for place in found if place is not None]
        sizes = {last - first for first, last in whole}
        return whole if len(whole) == 4 and sizes in ({4}, {16}) else []

    def ports(self) -> list[Place]:
        """Return the places of the ports of both tuples, none unless all are there."""
        found = [self.places.get((side, 2, kind + 1)) for side, kind in _ENDS]
        whole = [place for place in found if place is not None and place[1] - place[0] == 2]
        return whole if len(whole) == 4 else []


def _at(places: Sequence[Place]) -> Callable[[bytes, int], tuple[Any, ...]]:
    """Return what reads the values at places of a message: numbers, but bytes for addresses of IPv6."""
    order = sorted(places)
    text, end = ">", 0
    for first, last in order:
        text += f"{first - end}x" + _CODES[last - first]
        end = last
    unpack = struct.Struct(text).unpack_from
    if order == list(places):
        return unpack
    pick = itemgetter(*map(order.index, places))
    return lambda data, start: pick(unpack(data, start))
