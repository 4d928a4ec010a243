# SPDX-License-Identifier: Apache-2.0
"""Which members have which ports, when several overlapping sets of members each bring some."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from podfence.sets.addresses import AddressSet
from podfence.sets.layers import Layer, sweep
from podfence.sets.ports import PortSet

if TYPE_CHECKING:
    from collections.abc import Iterable

_Set = TypeVar("_Set", int, AddressSet)


def split(pieces: list[_Set], splitters: Iterable[_Set]) -> list[_Set]:
    """Return pieces taken apart, so that each is all inside of a splitter or all outside of it; none is empty."""
    for splitter in splitters:
        halves = [(piece, piece & splitter) for piece in pieces]
        pieces = [part for piece, inside in halves for part in (inside, piece - inside) if part]
    return pieces


def disjoint(pieces: Iterable[tuple[PortSet, int]]) -> dict[PortSet, int]:
    """Return the partition in which each member, a bit, has the union of the ports of all pieces it is in.

    Empty pieces and pieces without ports may be among them; neither is in the result.
    """
    result: dict[PortSet, int] = {}
    for ports, bring in pieces:
        if not ports:
            continue
        rest = bring
        for known, there in list(result.items()):
            common = rest & there
            if not common:
                continue
            joined = known | ports
            if joined != known:
                if there == common:
                    del result[known]
                else:
                    result[known] = there - common
                result[joined] = result[joined] | common if joined in result else common
            rest = rest - common
            if not rest:
                break
        if rest:
            result[ports] = result[ports] | rest if ports in result else rest
    return result


def disjoint_addresses(pieces: Iterable[tuple[PortSet, AddressSet]]) -> dict[PortSet, AddressSet]:
    """Return the same for addresses, which lie on a line: the cost follows the length of pieces and result."""
    swept = sweep([Layer(there.spans, ports.spans, 0) for ports, there in pieces])
    found: dict[int, list[tuple[int, int]]] = {}
    for first, last, number in swept.ranges:
        found.setdefault(number, []).append((first, last))
    return {
        PortSet(tuple((first, last) for first, last, _ in swept.covers[number])): AddressSet(tuple(ranges))
        for number, ranges in found.items()
    }
