# SPDX-License-Identifier: Apache-2.0
"""The kernel's table of flows: read, one label bit set and cleared, entries deleted (nfnetlink_conntrack.h)."""

from __future__ import annotations

import errno
import socket
import struct
from collections import defaultdict
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

from podfence.dataplane.entries import LABELS, ORIGINAL, REPLY, Reader
from podfence.dataplane.flows import Flow, Sides
from podfence.dataplane.listing import FlowText
from podfence.netlink.asking import Netlink, NetlinkError
from podfence.netlink.messages import GENERAL, NETFILTER, attribute, contents, nested
from podfence.sets.addresses import V6_FIRST, family_of

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator


BUCKET: Final = 45
"""Nanoseconds that the kernel needs for a bucket of its table when it walks through it."""

FLOW: Final = 3000
"""Nanoseconds that a flow costs which is given and not asked for."""

_COUNT: Final = Path("/proc/sys/net/netfilter/nf_conntrack_count")
_BUCKETS: Final = Path("/proc/sys/net/netfilter/nf_conntrack_buckets")

_NEW, _GET, _DELETE = 0x100, 0x101, 0x102
_MASK, _FILTER = 23, 25
_BY_SOURCE = struct.pack("=I", 1)
_GET_ADDRESS = 22
_INTERFACE_ADDRESS, _LOCAL_ADDRESS = 1, 2
_OWNED: Final = struct.Struct("=BBBBI")
_WORDS = struct.Struct("=4I")

Settled = Callable[["Flow"], bool]
"""Whether nothing is to be done with a flow: the same for all with equal source, destination, point and flags."""


class Labelled(NamedTuple):
    """What became of flows that were to be labelled, or freed of the label: how many were, and which could not.

    Those that ended meanwhile are neither. The kernel keeps room for labels on flows that began while some rule of
    the node set one; the others are `without_room`.
    """

    done: int
    without_room: tuple[Flow, ...] = ()


class Conntrack(Protocol):
    """What is needed of the kernel that tracks a node's flows."""

    def own_addresses(self) -> frozenset[int]:
        """Return the addresses of the node itself, on all of its interfaces."""

    def flows(self, sides: Sides | None, settled: Settled | None = None, *, quick: bool = False) -> Iterable[Flow]:
        """Return the flows of some sides, or all flows; none that are `settled`.

        A `quick` look may miss a flow, while others end.
        """

    def label(self, flows: Iterable[Flow], *, present: bool) -> Labelled:
        """Set the label bit on flows, or clear it."""

    def forget(self, handles: Collection[bytes]) -> set[bytes]:
        """Delete the entries of flows, by their handles; return those that the kernel keeps for now."""


class KernelConntrack:
    """The connection tracking of the network namespace that the calling thread is in when it makes this."""

    def __init__(self, label: int) -> None:
        """Open the sockets; `label` is the bit. Raises OSError if this kernel lacks them."""
        words = [0, 0, 0, 0]
        words[label // 32] = 1 << label % 32
        self._bit = _WORDS.pack(*words)
        self._byte, self._flag = next((place, value) for place, value in enumerate(self._bit) if value)
        self._table = Netlink(NETFILTER)
        self._routes = Netlink(socket.NETLINK_ROUTE)
        self._text: FlowText | None = None
        # Some kernels are built without it.
        with suppress(OSError):
            self._text = FlowText()

    def close(self) -> None:
        """Close the sockets."""
        if self._text is not None:
            self._text.close()
        self._table.close()
        self._routes.close()

    def own_addresses(self) -> frozenset[int]:
        """Return the addresses of the node itself, on all of its interfaces. Raises NetlinkError."""
        return frozenset().union(*addresses(self._routes).values())

    def flows(self, sides: Sides | None, settled: Settled | None = None, *, quick: bool = False) -> Iterator[Flow]:
        """Yield the flows of some sides, or all flows; none that are `settled`.

        That is asked once of all flows that must have the same answer. A `quick` look may miss a flow, while others
        end. Raises NetlinkError.
        """
        reader = Reader(self._byte, self._flag)

        def left_out(flow: Flow) -> bool:
            # A kernel older than 5.8 knows no filter and gives everything, so what comes is looked at again.
            return not (sides is None or sides.has(flow)) or (settled is not None and settled(flow))

        if (
            quick
            and sides is not None
            and self._text is not None
            and (asked := self._text.requests(sides, _walk())) is not None
        ):
            for data, place in self._table.ask(_GET, asked):
                yield from reader.flows(data, [place], left_out)
            return
        seen: set[bytes] = set()
        for request in [bytes(4)] if sides is None else _requests(sides, most=_most_walks()):
            for data, places in self._table.dump(_GET, request):
                for flow in reader.flows(data, places, left_out):
                    if flow.handle not in seen:
                        seen.add(flow.handle)
                        yield flow

    def label(self, flows: Iterable[Flow], *, present: bool) -> Labelled:
        """Set the label bit on flows, or clear it. Raises NetlinkError if the kernel refuses."""
        value = attribute(LABELS, self._bit if present else bytes(16)) + attribute(_MASK, self._bit)
        asked = list(flows)
        errors = self._table.change(_NEW, [flow.handle + value for flow in asked])
        _require("labelling a flow", errors, errno.ENOSPC)
        without_room = (flow for flow, number in zip(asked, errors, strict=True) if number == errno.ENOSPC)
        return Labelled(errors.count(0), tuple(without_room))

    def forget(self, handles: Collection[bytes]) -> set[bytes]:
        """Delete the entries of flows, by their handles; return those that the kernel keeps for now.

        Those are of flows that were handed to a fast path (EBUSY). Raises NetlinkError if the kernel refuses.
        """
        asked = list(handles)
        errors = self._table.change(_DELETE, asked)
        _require("deleting a flow's entry", errors, errno.EBUSY)
        return {handle for handle, number in zip(asked, errors, strict=True) if number == errno.EBUSY}


def addresses(routes: Netlink) -> dict[int, set[int]]:
    """Return the addresses of the node itself by the number of the interface, over a socket for routes.

    Raises NetlinkError.
    """
    found: dict[int, set[int]] = defaultdict(set)
    for data, messages in routes.dump(_GET_ADDRESS, bytes(_OWNED.size)):
        for start, end in messages:
            parts = contents(data, start + _OWNED.size, end)
            # On a link from point to point the one is the other end's.
            raw = parts.get(_LOCAL_ADDRESS) or parts.get(_INTERFACE_ADDRESS, b"")
            if raw:
                number = int.from_bytes(raw, "big")
                found[_OWNED.unpack_from(data, start)[4]].add(number if len(raw) == 4 else V6_FIRST + number)
    return found


def _require(what: str, errors: Iterable[int], *expected: int) -> None:
    """Raise NetlinkError if there is an error that is neither expected nor that a flow has ended meanwhile."""
    for number in errors:
        if number not in (0, errno.ENOENT, *expected):
            raise NetlinkError(what, number)


def _most_walks() -> int:
    """Return how many walks of the kernel through its whole table are as expensive as to be given all flows once."""
    return 1 + int(_figure(_COUNT) * FLOW / 1e9 / _walk())


def _walk() -> float:
    """Return the seconds of a walk of the kernel through its whole table.

    That is the table of all network namespaces, and its buckets are walked through whatever is in them.
    """
    return max(_figure(_BUCKETS), 1) * BUCKET / 1e9


def _figure(path: Path) -> int:
    try:
        return int(path.read_text(encoding="ascii"))
    except OSError:
        return 0


def _requests(sides: Sides, *, most: int) -> Iterator[bytes]:
    """Yield what to ask for so that all flows of these sides are among the answers, in `most` walks or one."""
    every = [(side, number) for side, ends in zip((ORIGINAL, REPLY), sides, strict=True) for number in ends]
    four = [(side, number) for side, number in every if family_of(number) == 4]
    if len(four) > most and len(four) < len(every):
        # One walk gives the flows of both families.
        yield GENERAL.pack(socket.AF_UNSPEC, 0, 0)
        return
    if len(four) > most:
        yield GENERAL.pack(socket.AF_INET, 0, 0)
    else:
        for side, number in four:
            address = nested(1, [attribute(1, number.to_bytes(4, "big"))])
            flags = nested(_FILTER, [attribute(side, _BY_SOURCE)])
            yield GENERAL.pack(socket.AF_INET, 0, 0) + nested(side, [address]) + flags
    if len(four) < len(every):
        # Not by address: for IPv6 the kernel gives the flows that do not match (ctnetlink_filter_match_tuple, 6.18).
        yield GENERAL.pack(socket.AF_INET6, 0, 0)
