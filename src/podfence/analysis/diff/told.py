# SPDX-License-Identifier: Apache-2.0
"""Differences as an answer tells them: pieces with their causes, joined to as few and as large sets as can be."""

from __future__ import annotations

from collections import defaultdict
from functools import cache, cached_property
from typing import TYPE_CHECKING, Final, NamedTuple

from podfence.analysis.absent import absent_pods
from podfence.analysis.answers import AbsentConnection, Endpoints
from podfence.analysis.diff.answer import AbsentChange, Cause, ConnectionChange, ConnectionWord, Ends, Family
from podfence.analysis.diff.states import steps
from podfence.analysis.naming import Namer, as_ports
from podfence.cluster.addresses import known_addresses
from podfence.policy.verdict import Direction, first_place
from podfence.sets import AddressSet, PortSet, members

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from podfence.analysis.diff.absent import AbsentPiece
    from podfence.analysis.diff.causes import Because, Causes
    from podfence.analysis.diff.compare import Piece
    from podfence.analysis.diff.states import State
    from podfence.analysis.diff.units import Units
    from podfence.cluster.pod_class import PodClass
    from podfence.kube.omissions import Gap

_ORDER: Final[tuple[ConnectionWord, ...]] = ("opened", "closed", "unknown", "known")
_FEW: Final = 4
_NOT_THERE: Final = "does not exist"


class _What(NamedTuple):
    """What a line says of its ends: lines that say the same are one."""

    ends: Ends
    word: ConnectionWord
    family: Family
    before: str
    after: str
    ports: PortSet
    causes: tuple[Cause, ...]
    joint: bool


class _Sets(NamedTuple):
    """Both ends of a line: pods (bits of groups) and addresses."""

    sources: int
    source_addresses: AddressSet
    destinations: int
    destination_addresses: AddressSet


class Named:
    """Groups that have names: those on both sides, with those of one side if a line is about them."""

    def __init__(self, classes: Mapping[int, PodClass]) -> None:
        """Keep the groups as classes."""
        self.classes = classes
        self._inside: dict[str, int] = defaultdict(int)
        self.all = 0
        for number, item in classes.items():
            self._inside[item.namespace] |= 1 << number
            self.all |= 1 << number

    def in_namespace(self, name: str) -> int:
        """Return the groups of one namespace."""
        return self._inside.get(name, 0)

    def namespaces_of(self, bits: int) -> set[str]:
        """Return the namespaces of groups."""
        return {self.classes[number].namespace for number in members(bits)}


class Telling:
    """Takes pieces, and returns the changes that they make."""

    def __init__(self, units: Units, causes: Causes, gaps: tuple[Gap, ...]) -> None:
        """Start without a piece; `gaps` are where policies of either side may lie that were not read."""
        self._units = units
        self._causes = causes
        self._gaps = gaps
        self._pods: dict[tuple[int, _What], int] = defaultdict(int)
        self._addresses: dict[tuple[Direction, int, _What], AddressSet] = {}
        self._absent: dict[tuple[Ends, AbsentPiece], int] = defaultdict(int)
        self._names = cache(self._named)

    # Taking

    def take(self, piece: Piece) -> None:
        """Take connections that differ."""
        here = self._units.groups[piece.group].ends
        there: tuple[Ends, ...] = ("kept",) if piece.addresses else ("kept", "added", "removed")
        for ends in there:
            others = piece.others & self._units.with_ends[ends]
            if not (others or piece.addresses):
                continue
            if here == ends == "kept":
                for alike in self._causes.of(piece._replace(others=others)):
                    self._take(piece, ends, alike.others, alike.addresses, alike.because)
            else:
                self._take(piece, here if ends == "kept" else ends, others, piece.addresses, ())

    def _take(self, piece: Piece, ends: Ends, others: int, addresses: AddressSet, because: tuple[Because, ...]) -> None:
        for what in _whats(ends, piece.before, piece.after, because):
            if not addresses:
                self._pods[others, what] |= 1 << piece.group
                continue
            key = (piece.direction, piece.group, what)
            known = self._addresses.get(key)
            self._addresses[key] = addresses if known is None else known | addresses

    def take_absent(self, piece: AbsentPiece) -> None:
        """Take what differs for peers that are nobody."""
        ends = self._units.groups[piece.group].ends
        self._absent[ends, piece._replace(group=-1)] |= 1 << piece.group

    # Telling

    def connections(self) -> tuple[ConnectionChange, ...]:
        """Return all connections that differ, in a stable order."""
        found = [self._change(sets, what) for what, sets in self._joined()]
        return tuple(sorted(found, key=_place))

    def absent(self) -> tuple[AbsentChange, ...]:
        """Return what differs for peers that are nobody, in a stable order."""
        found = [self._absent_change(ends, piece, groups) for (ends, piece), groups in self._absent.items()]
        return tuple(sorted(found, key=_absent_place))

    def _joined(self) -> Iterator[tuple[_What, _Sets]]:
        inward: dict[tuple[int, _What], int] = defaultdict(int)
        for (others, what), groups in self._pods.items():
            inward[groups, what] |= others
        by_addresses: dict[tuple[Direction, AddressSet, _What], int] = defaultdict(int)
        for (direction, group, what), addresses in self._addresses.items():
            by_addresses[direction, addresses, what] |= 1 << group
        none = AddressSet.EMPTY
        outward: dict[tuple[int, _What], AddressSet] = {}
        for (direction, addresses, what), groups in by_addresses.items():
            if direction is Direction.INGRESS:
                yield what, _Sets(inward.pop((groups, what), 0), addresses, groups, none)
            else:
                outward[groups, what] = outward.get((groups, what), none) | addresses
        for (groups, what), others in inward.items():
            yield what, _Sets(others, none, groups, outward.pop((others, what), none))
        for (groups, what), addresses in outward.items():
            yield what, _Sets(groups, none, 0, addresses)

    def _change(self, sets: _Sets, what: _What) -> ConnectionChange:
        named, namer = self._names(what.ends)
        sources = named.namespaces_of(sets.sources)
        destinations = named.namespaces_of(sets.destinations)
        return ConnectionChange(
            change=what.word,
            sources=_endpoints(namer, sets.sources, sets.source_addresses, self._own(sets)),
            destinations=_endpoints(namer, sets.destinations, sets.destination_addresses),
            ports=as_ports(what.ports),
            before=what.before,
            after=what.after,
            ends=what.ends,
            family=what.family,
            incomplete=self._incomplete(sources | destinations),
            causes=what.causes,
            joint=what.joint,
            internet=bool((sets.source_addresses | sets.destination_addresses) & self._internet),
            cross_namespace=bool(sources and destinations) and len(sources | destinations) > 1,
        )

    def _own(self, sets: _Sets) -> int:
        """Return the destination if it is one pod: it always reaches itself (semantics 7.1)."""
        allowed = self._units.new.engine.options.self_traffic == "allowed"
        alone = sets.destinations.bit_count() == 1 and not sets.destination_addresses
        if not (allowed and alone) or sets.sources == sets.destinations:
            return 0
        return sets.destinations if self._units.groups[sets.destinations.bit_length() - 1].alone else 0

    def _absent_change(self, ends: Ends, piece: AbsentPiece, groups: int) -> AbsentChange:
        named, namer = self._names(ends)
        connection = AbsentConnection(
            direction=piece.direction,
            subjects=_endpoints(namer, groups),
            peers=absent_pods(piece.peer, some_here=piece.some_here),
            ports=as_ports(piece.because.ports),
            port_names=piece.names,
        )
        is_opened = piece.word == "opened"
        missing = _NOT_THERE if ends != "kept" else "denied"
        return AbsentChange(
            change=piece.word,
            connection=connection,
            before=missing if is_opened else "allowed",
            after="allowed" if is_opened else missing,
            ends=ends,
            incomplete=self._incomplete(named.namespaces_of(groups)),
            causes=piece.because.causes,
            joint=piece.because.joint,
        )

    def _incomplete(self, namespaces: set[str]) -> str:
        touching = [str(gap) for gap in self._gaps if gap.touches(namespaces)]
        return f"policies that were not read: {first_place(touching)}" if touching else ""

    @cached_property
    def _internet(self) -> AddressSet:
        return AddressSet.ALL - AddressSet.PRIVATE - known_addresses(self._units.new.engine.state)

    def _named(self, ends: Ends) -> tuple[Named, Namer]:
        named = Named(self._units.only(ends))
        return named, Namer(named)


def _endpoints(namer: Namer, groups: int, addresses: AddressSet = AddressSet.EMPTY, optional: int = 0) -> Endpoints:
    """Return ends by name; few are named one by one, for whole namespaces would say more than has changed."""
    only = namer.whole_names(groups) if groups.bit_count() <= _FEW else None
    return namer.endpoints(groups, addresses, optional=optional, only=only)


def _whats(ends: Ends, before: State, after: State, because: tuple[Because, ...]) -> Iterator[_What]:
    for step in steps(before, after):
        told_before = _NOT_THERE if ends == "added" else step.before
        told_after = _NOT_THERE if ends == "removed" else step.after
        if ends != "kept":
            yield _What(ends, step.word, step.family, told_before, told_after, step.ports, (), joint=False)
            continue
        for ports, causes, joint in because:
            if common := step.ports & ports:
                yield _What(ends, step.word, step.family, told_before, told_after, common, causes, joint)


def _place(change: ConnectionChange) -> tuple[object, ...]:
    return (
        change.ends != "kept",
        _ORDER.index(change.change),
        change.destinations.items(),
        change.sources.items(),
        str(change.ports),
        change.before,
        change.after,
        change.family,
        [cause.text for cause in change.causes],
    )


def _absent_place(change: AbsentChange) -> tuple[object, ...]:
    item = change.connection
    return (
        change.ends != "kept",
        _ORDER.index(change.change),
        item.direction,
        str(item.subjects),
        str(item.peers),
        item.ports_text,
        [cause.text for cause in change.causes],
    )
