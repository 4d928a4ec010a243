# SPDX-License-Identifier: Apache-2.0
"""The kernel's table of flows as text, to find the flows of a few addresses quickly (/proc/net/nf_conntrack).

Over netlink the kernel takes a lock for each bucket of its table, which has a quarter of a million; for this text it
takes none. So where flows are few, it costs the processor a tenth to find in it who there is, and to ask for each.

A flow may be missed while others end, so this is for a first look, after which there is one over netlink.
"""

from __future__ import annotations

import re
import socket
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

from podfence.dataplane.entries import ORIGINAL, ZONE
from podfence.netlink.messages import GENERAL, attribute, nested
from podfence.sets.addresses import V4_LAST, V6_FIRST

if TYPE_CHECKING:
    from podfence.dataplane.flows import Sides

MOST_ENDS: Final = 32
"""How many addresses are looked for at most."""

MOST_ASKED: Final = 500
"""How many flows are asked for at most: each costs as much as some hundred buckets."""

MOST_READ: Final = 5_000
"""How many flows the text is read of at first, if there are no more: each takes some two microseconds."""

_PATH: Final = Path("/proc/thread-self/net/nf_conntrack")
_COUNT: Final = Path("/proc/sys/net/netfilter/nf_conntrack_count")
_CHUNK: Final = 1 << 18
_LINE: Final = re.compile(
    rb"(?P<family>ipv[46]) +\d+ \S+ +(?P<protocol>\d+) (?:\S+ )*?"
    rb"src=(?P<source>\S+) dst=(?P<destination>\S+) "
    rb"(?:sport=(?P<sport>\d+) dport=(?P<dport>\d+) |type=(?P<type>\d+) code=(?P<code>\d+) id=(?P<id>\d+) )?"
    rb"(?:packets=\d+ bytes=\d+ )?(?:\[\w+\] )*src=(?:.* )?zone=(?P<zone>\d+) "
)
"""A flow of a protocol that has ports, or is ICMP, or has nothing but its number; in one zone in both directions."""

_WITHOUT_PORTS: Final = frozenset((47,))
"""GRE, whose tuples have keys that are written in another way."""

_ICMP: Final = {1: (4, 5, 6), 58: (7, 8, 9)}
"""The attributes of ICMP's identifier, type and code in a tuple."""


class FlowText:
    """The text of the network namespace that the calling thread is in when it makes this."""

    def __init__(self) -> None:
        """Open it; raises OSError if this kernel has none."""
        self._file = _PATH.open("rb", buffering=0)
        self._count = _COUNT.open("rb", buffering=0)
        self._most = MOST_READ

    def close(self) -> None:
        """Close it."""
        self._file.close()
        self._count.close()

    def requests(self, sides: Sides, seconds: float) -> list[bytes] | None:
        """Return what asks the kernel for each flow of some sides, and perhaps for others.

        None if that would cost more than the `seconds` of a look over netlink, or if a flow cannot be asked for.
        Before Linux 6.17 the time of reading grows with the square of what there is, so how many flows are too many is
        learned.
        """
        ends = sides.opened | sides.answering
        if len(ends) > MOST_ENDS:
            return None
        try:
            text = self._read(seconds)
        except OSError:
            return None
        if text is None:
            return None
        wanted = re.compile(rb"src=(?:" + b"|".join(map(_written, sorted(ends))) + rb") ")
        starts = {text.rfind(b"\n", 0, match.start()) + 1 for match in wanted.finditer(text)}
        if len(starts) > MOST_ASKED:
            return None
        found = [request for start in starts if (request := _request(text, start)) is not None]
        return found if len(found) == len(starts) else None

    def _read(self, seconds: float) -> bytes | None:
        """Return the text, None if it is too long to be read within some seconds of the processor."""
        self._count.seek(0)
        count = int(self._count.read(_CHUNK))
        if count > self._most:
            return None
        until = time.thread_time() + seconds
        parts: list[bytes] = []
        self._file.seek(0)
        while part := self._file.read(_CHUNK):
            parts.append(part)
            if time.thread_time() > until:
                self._most = sum(part.count(b"\n") for part in parts) // 2
                return None
        self._most = max(self._most, 2 * count)
        return b"".join(parts)


def _written(number: int) -> bytes:
    """Return an address as the text has it, where those of IPv6 are not shortened."""
    if number <= V4_LAST:
        return re.escape(socket.inet_ntoa(number.to_bytes(4, "big")).encode())
    digits = (number - V6_FIRST).to_bytes(16, "big").hex()
    return ":".join(digits[place : place + 4] for place in range(0, 32, 4)).encode()


def _request(text: bytes, start: int) -> bytes | None:
    """Return what asks for the flow of a line, None if it is one of those that cannot be asked for by their text."""
    match = _LINE.match(text, start, text.find(b"\n", start))
    if match is None or int(match["protocol"]) in _WITHOUT_PORTS:
        return None
    is_four = match["family"] == b"ipv4"
    family, base = (socket.AF_INET, 1) if is_four else (socket.AF_INET6, 3)
    ends = (match["source"], match["destination"])
    addresses = [attribute(base + place, socket.inet_pton(family, end.decode())) for place, end in enumerate(ends)]
    protocol = int(match["protocol"])
    parts = [attribute(1, bytes((protocol,)))]
    if match["sport"] is not None:
        parts += [attribute(place, int(match[name]).to_bytes(2, "big")) for place, name in ((2, "sport"), (3, "dport"))]
    elif match["id"] is not None:
        if protocol not in _ICMP:
            return None
        number, kind, code = _ICMP[protocol]
        parts.append(attribute(number, int(match["id"]).to_bytes(2, "big")))
        parts += [attribute(place, bytes((int(match[name]),))) for place, name in ((kind, "type"), (code, "code"))]
    flow = nested(ORIGINAL, [nested(1, addresses), nested(2, parts)])
    return GENERAL.pack(family, 0, 0) + flow + attribute(ZONE, int(match["zone"]).to_bytes(2, "big"))
