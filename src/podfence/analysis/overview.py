# SPDX-License-Identifier: Apache-2.0
"""The listing as people read it: few lines, which may overlap, each about what a rule says."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Final, NamedTuple

from msgspec import Struct
from msgspec.structs import replace

from podfence.analysis.absent import absent_connections
from podfence.analysis.asked import Asked, ListQuestion, Side
from podfence.analysis.cover import cover
from podfence.analysis.naming import Namer, as_ports, group_names
from podfence.analysis.view import counts_of
from podfence.policy.verdict import Direction
from podfence.sets import AddressSet

if TYPE_CHECKING:
    from podfence.analysis.answers import AbsentConnection, Ports
    from podfence.analysis.lines import Line, Progress
    from podfence.policy.model import Model
    from podfence.sets import PortSet

_ELSEWHERE = 2

_CROWDED = 200
"""More classes than this are named as what a set lacks only if they are fewer than those that it has."""


class Ends(NamedTuple):
    """A set of endpoints: the union of `items`; where there are `excepts`, the last item is without those.

    Items are written as those of `podfence.analysis.answers.Endpoints`: ``shop/*``, ``all pods``, ``open pods``.
    """

    items: tuple[str, ...]
    excepts: tuple[str, ...] = ()

    def __str__(self) -> str:
        """Return ``all pods except istio-system/*``."""
        text = ", ".join(self.items)
        return f"{text} except {', '.join(self.excepts)}" if self.excepts else text


_NOBODY: Final = Ends(())


class OverviewLine(Struct, frozen=True):
    """Every source may connect to every destination on `ports`; `depends` says on what, if it does.

    One end may be pods of which none is in the input.
    """

    sources: Ends
    destinations: Ends
    ports: Ports | str
    depends: str = ""


class Overview(Struct, frozen=True):
    """The connections of a `Connectivity`, neither more nor fewer; here a pair and a port may be in several lines.

    `groups` are sets with a name; `open_sources` and `open_destinations` define what "open pods" stands for. `unread`
    are pods about which policies may say anything that were not read: of these the lines say what was read.
    """

    lines: tuple[OverviewLine, ...]
    groups: tuple[tuple[str, Ends], ...]
    open_sources: Ends
    open_destinations: Ends
    workloads: int
    pods: int
    policies: int
    unread: Ends = _NOBODY

    def __len__(self) -> int:
        """Return the number of lines."""
        return len(self.lines)


def overview(model: Model, question: ListQuestion, progress: Progress | None = None) -> Overview:
    """Return who can reach whom; raises EndpointError and tells of progress as `connectivity` does."""
    asked = Asked(model, question, unread_once=True)
    words = _Words(asked)
    found: dict[Side, list[Line]] = {side: [] for side in asked.destinations}
    for side, line in asked.lines(progress):
        own = asked.own(line.destinations)
        if not own or line.sources != own or line.source_addresses:
            found[side].append(line)
    lines = [words.line(side, line) for side, several in found.items() for line in cover(several, Measure(words, side))]
    lines += map(_absent, absent_connections(asked, words.namer))
    lines.sort(key=lambda line: (line.destinations, line.sources, str(line.ports), line.depends))
    lines, groups = _grouped(lines)
    return Overview(
        tuple(lines),
        groups,
        Ends(words.namer.endpoints(words.open_sources).items()),
        Ends(words.namer.endpoints(words.open_destinations).items()),
        **counts_of(asked.view.engine)._asdict(),
        unread=Ends(words.namer.endpoints(asked.unread.classes & asked.classes).items()),
    )


def _absent(item: AbsentConnection) -> OverviewLine:
    """Return what a rule admits with pods of which none is there as a line."""
    here, there = Ends(item.subjects.items()), Ends((str(item.peers),))
    return OverviewLine(*item.direction.ordered(here, there), item.ports_text, item.depends)


class _Words:
    """What the sets of one question are called."""

    def __init__(self, asked: Asked) -> None:
        self._asked = asked
        self.namer = Namer(asked.view.index, asked.internet)
        self.open_sources, self.open_destinations = (asked.reach.open_pods(way) for way in Direction)
        self._ends = lru_cache(maxsize=None)(self._named)

    def line(self, side: Side, line: Line) -> OverviewLine:
        return OverviewLine(
            self.sources(line.sources, line.source_addresses, line.destinations),
            self.destinations(line.destinations, side, line.destination_addresses),
            as_ports(line.ports),
            line.depends,
        )

    def sources(self, bits: int, addresses: AddressSet, destinations: int) -> Ends:
        """Return the name of sources; a single pod as the destination may be named among them or not."""
        return self._ends(bits, addresses, self.open_sources, self._asked.own(destinations), self._asked.source.only)

    def destinations(self, bits: int, side: Side, addresses: AddressSet = AddressSet.EMPTY) -> Ends:
        return self._ends(bits, addresses, self.open_destinations, 0, side.only)

    def _named(self, bits: int, addresses: AddressSet, opened: int, optional: int, only: frozenset[str] | None) -> Ends:
        plain = Ends(self.namer.endpoints(bits, addresses, opened=opened, optional=optional, only=only).items())
        rest = self._asked.view.index.all & ~(bits | optional)
        if only is not None or not bits or not rest or rest.bit_count() > max(bits.bit_count(), _CROWDED):
            return plain
        excepts = self.namer.endpoints(rest).items()
        outside = self.namer.endpoints(0, addresses).items()
        everyone = ("everything",) if addresses == AddressSet.ALL else (*outside, "all pods")
        return min(plain, Ends(everyone, excepts), key=lambda ends: (_length(ends), len(str(ends))))


class Measure:
    """How long it is to say the sets of lines to one side of a question, in names."""

    def __init__(self, words: _Words, side: Side) -> None:
        """Say them in these words."""
        self._words = words
        self._side = side

    def sources(self, sources: int, addresses: AddressSet, destinations: int) -> int:
        """Return how long it is to say a set of sources of connections to some destinations."""
        return _length(self._words.sources(sources, addresses, destinations))

    def destinations(self, destinations: int) -> int:
        """Return how long it is to say a set of destinations."""
        return _length(self._words.destinations(destinations, self._side))

    def ports(self, ports: PortSet) -> int:
        """Return how long it is to say a set of ports."""
        return len(str(as_ports(ports)))


def _length(ends: Ends) -> int:
    """Return how many names have to be read; what "open pods" stands for is told elsewhere."""
    return len(ends.items) + len(ends.excepts) + (_ELSEWHERE if "open pods" in ends.items else 0)


def _grouped(lines: list[OverviewLine]) -> tuple[list[OverviewLine], tuple[tuple[str, Ends], ...]]:
    """Name long sets that several lines use."""
    names = group_names((ends for line in lines for ends in (line.sources, line.destinations)), _length)

    def named(ends: Ends) -> Ends:
        return Ends((names[ends],)) if ends in names else ends

    shown = [replace(line, sources=named(line.sources), destinations=named(line.destinations)) for line in lines]
    return shown, tuple((name, ends) for ends, name in names.items())
