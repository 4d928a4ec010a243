# SPDX-License-Identifier: Apache-2.0
"""Sets of (protocol, port), other protocols included.

All protocols lie on one line of integers: port p of TCP is p, of UDP 65536 + p, of SCTP 131072 + p,
and one last point stands for every other IP protocol (ICMP among them), which has no ports. Ports
run from 1 to 65535; the unused point 0 of each protocol, the others' too, keeps their intervals apart.
"""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING, Final

from podfence.sets import spans
from podfence.sets.spans import SpanSet

if TYPE_CHECKING:
    from collections.abc import Iterable


PROTOCOLS: Final = ("TCP", "UDP", "SCTP")
OTHER_POINT: Final = (3 << 16) + 1
LAST_PORT: Final = 65535


class PortSet(SpanSet):
    """An immutable set of ports of TCP, UDP and SCTP, and of "other protocols" as a whole.

    Its members are points on the line of protocols (see `point`).
    """

    __slots__ = ()

    EMPTY: PortSet
    ALL: PortSet
    OTHER: PortSet

    @classmethod
    def of(cls, protocol: str, first: int, last: int) -> PortSet:
        """Return the ports `first` to `last` of a protocol (TCP, UDP, SCTP); those outside 1..65535 are left out."""
        base = PROTOCOLS.index(protocol) << 16
        return cls(spans.normalize([(base + max(first, 1), base + min(last, LAST_PORT))]))

    @classmethod
    def whole(cls, protocol: str) -> PortSet:
        """Return every port of one protocol."""
        return cls.of(protocol, 1, LAST_PORT)

    @classmethod
    def single(cls, protocol: str, port: int) -> PortSet:
        """Return one port of one protocol."""
        return cls(((point(protocol, port),) * 2,))

    @classmethod
    def union(cls, parts: Iterable[PortSet]) -> PortSet:
        """Return the ports in any of several sets, at the cost of their length and not of its square."""
        return cls(spans.normalize(chain.from_iterable(part.spans for part in parts)))

    def __repr__(self) -> str:
        """Return a form for debugging."""
        return f"PortSet({self})"

    def ranges(self) -> tuple[tuple[str, int | None, int | None], ...]:
        """Return (protocol, first, last) in order; ("other", None, None) for the other protocols."""
        result: list[tuple[str, int | None, int | None]] = []
        for first, last in self.spans:
            if first == OTHER_POINT:
                result.append(("other", None, None))
            else:
                result.append((PROTOCOLS[first >> 16], first & LAST_PORT, last & LAST_PORT))
        return tuple(result)

    def __str__(self) -> str:
        """Return ``TCP 80,443; UDP 53``, ``all TCP``, ``all ports`` or ``no port``."""
        return "all ports" if self == PortSet.ALL else ranges_text(self.ranges()) or "no port"


def ranges_text(ranges: Iterable[tuple[str, int | None, int | None]]) -> str:
    """Return what `PortSet.ranges` gives as text: ``TCP 80,443; UDP 53``, ``all TCP``, or "" for nothing."""
    texts: dict[str, list[str]] = {}
    for protocol, first, last in ranges:
        parts = texts.setdefault(protocol, [])
        if first is not None and (first, last) != (1, LAST_PORT):
            parts.append(str(first) if first == last else f"{first}-{last}")
    named = (f"{protocol} {','.join(parts)}" if parts else f"all {protocol}" for protocol, parts in texts.items())
    return "; ".join("other protocols" if text == "all other" else text for text in named)


def point(protocol: str, port: int) -> int:
    """Return the point of one port on the line of protocols."""
    return (PROTOCOLS.index(protocol) << 16) + port


PortSet.EMPTY = PortSet(())
PortSet.OTHER = PortSet(((OTHER_POINT, OTHER_POINT),))
PortSet.ALL = PortSet(tuple((base + 1, base + LAST_PORT) for base in (0, 1 << 16, 2 << 16)) + PortSet.OTHER.spans)
