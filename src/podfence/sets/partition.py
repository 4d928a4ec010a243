# SPDX-License-Identifier: Apache-2.0
"""Which members have which ports, when several overlapping sets of members each bring some."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, Self, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterable

    from podfence.sets.ports import PortSet


class Members(Protocol):
    """A set of members: classes as bits of an integer, or addresses.

    Subtraction is only asked of a subset, where it is set difference for the bits of an integer too.
    """

    def __and__(self, other: Self, /) -> Self:
        """Return the common members."""

    def __or__(self, other: Self, /) -> Self:
        """Return the members of either."""

    def __sub__(self, other: Self, /) -> Self:
        """Return the members that are not in a subset."""


_Members = TypeVar("_Members", bound=Members)


def disjoint(pieces: Iterable[tuple[PortSet, _Members]]) -> dict[PortSet, _Members]:
    """Return the partition in which each member has the union of the ports of all pieces it is in.

    Empty pieces and pieces without ports may be among them; neither is in the result.
    """
    result: dict[PortSet, _Members] = {}
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
