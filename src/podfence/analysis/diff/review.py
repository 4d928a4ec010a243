# SPDX-License-Identifier: Apache-2.0
"""Which differences a review refuses: kinds of them, and what somebody has allowed for a reason until a day."""

from __future__ import annotations

import datetime as dt
import re
from typing import TYPE_CHECKING, Final, NamedTuple, TypeVar

from msgspec.structs import replace

from podfence.analysis.diff.answer import AbsentChange, ConnectionChange, GapChange, ObjectChange
from podfence.sets.ports import PortSet

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Sequence

    from podfence.analysis.answers import Ports
    from podfence.analysis.diff.answer import Difference

_Change = TypeVar("_Change", ConnectionChange, AbsentChange)

KINDS: Final = {
    "opened": "connections that were denied and are allowed",
    "closed": "connections that were allowed and are denied",
    "added": "connections of workloads that only NEW has",
    "removed": "connections of workloads that only OLD has",
    "unknown": 'connections for which the answer is "depends" in NEW only',
    "known": 'connections for which the answer is "depends" in OLD only',
    "internet": "allowed or unknown connections to or from public addresses",
    "cross-namespace": "allowed or unknown connections between namespaces",
    "unseen": "changes of policies for pods that are not in the input",
    "incomplete": "places that may have a policy and were not read, in NEW only",
    "complete": "places that may have a policy and were not read, in OLD only",
}
"""The kinds of differences, and what is one. A difference may be of several kinds."""


class Allowance(NamedTuple):
    """Connections that a change may open: all whose ends and ports match, up to and including the day `expires`.

    `sources` and `destinations` are ends as answers name them; a star stands for any text. `place` says where this is
    written.
    """

    change: str
    sources: tuple[str, ...]
    destinations: tuple[str, ...]
    ports: PortSet
    reason: str
    expires: dt.date
    place: str

    def is_expired(self, today: dt.date) -> bool:
        """Return whether its last day is over."""
        return self.expires < today

    def __str__(self) -> str:
        """Return ``migration of the shop, until 2027-01-31``."""
        return f"{self.reason}, until {self.expires}"


def kinds(item: ConnectionChange | AbsentChange | ObjectChange | GapChange) -> frozenset[str]:
    """Return the kinds of a difference."""
    if isinstance(item, ObjectChange):
        return frozenset({"unseen"} if item.unseen else ())
    if isinstance(item, GapChange):
        return frozenset({"added": {"incomplete"}, "removed": {"complete"}, "kept": ()}[item.change])
    if isinstance(item, AbsentChange):
        return frozenset((item.change,))
    found = {item.change if item.ends == "kept" or item.change in {"unknown", "known"} else str(item.ends)}
    if item.change in {"opened", "unknown"}:
        found |= {"internet"} if item.internet else set()
        found |= {"cross-namespace"} if item.cross_namespace else set()
    return frozenset(found)


def reviewed(answer: Difference, *, fail_on: Collection[str] = (), allowed: Sequence[Allowance] = ()) -> Difference:
    """Return a difference with what is allowed said at each change, and with the kinds of `fail_on` that the rest has.

    Allowances that are expired today allow nothing.
    """
    today = dt.datetime.now(tz=dt.UTC).date()
    in_force = [one for one in allowed if not one.is_expired(today)]
    answer = replace(
        answer,
        connections=tuple(_with_reason(item, in_force) for item in answer.connections),
        absent=tuple(_with_reason(item, in_force) for item in answer.absent),
    )
    found = {kind for item in remaining(answer) for kind in kinds(item)}
    return replace(answer, fails=tuple(kind for kind in KINDS if kind in found and kind in fail_on))


def remaining(answer: Difference) -> Iterator[ConnectionChange | AbsentChange | ObjectChange | GapChange]:
    """Yield the differences that nobody has allowed."""
    yield from (item for item in answer.objects if item.unseen)
    yield from (item for item in answer.changes if not item.allowed)
    yield from (item for item in answer.gaps if item.change != "kept")


def _with_reason(item: _Change, allowed: Iterable[Allowance]) -> _Change:
    """Return a change with the reasons why all of it is allowed, if it is."""
    fitting = [one for one in allowed if one.change in {item.change, *kinds(item)}]
    sources, destinations, ports = _ends(item)
    reasons: dict[str, None] = {}
    for source in sources:
        for destination in destinations:
            covering = [
                one for one in fitting if _matches(source, one.sources) and _matches(destination, one.destinations)
            ]
            if not ports <= PortSet.union(one.ports for one in covering):
                return item
            reasons.update(dict.fromkeys(str(one) for one in covering if one.ports & ports))
    return replace(item, allowed="; ".join(reasons))


def _ends(item: ConnectionChange | AbsentChange) -> tuple[tuple[str, ...], tuple[str, ...], PortSet]:
    if isinstance(item, ConnectionChange):
        return item.sources.items(), item.destinations.items(), port_set(item.ports)
    one, other = item.connection.subjects.items(), (str(item.connection.peers),)
    # Names of ports have no numbers here, so that only who allows every port allows them.
    ports = PortSet.ALL if item.connection.port_names else port_set(item.connection.ports)
    return *item.connection.direction.ordered(one, other), ports


def port_set(ports: Ports) -> PortSet:
    """Return the ports of an answer as a set."""
    if ports.everything:
        return PortSet.ALL
    return PortSet.union(
        PortSet.OTHER if item.first is None or item.last is None else PortSet.of(item.protocol, item.first, item.last)
        for item in ports.ranges
    )


def _matches(text: str, patterns: Iterable[str]) -> bool:
    return any(re.fullmatch(".*".join(map(re.escape, pattern.split("*"))), text, re.DOTALL) for pattern in patterns)
