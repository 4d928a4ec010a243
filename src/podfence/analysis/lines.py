# SPDX-License-Identifier: Apache-2.0
"""Connectivity as lines between sets of classes: computed, merged, not yet named."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from typing import TYPE_CHECKING

from msgspec import Struct

from podfence.analysis.doubts import outcomes
from podfence.analysis.pairs import as_ends
from podfence.analysis.unread import as_read
from podfence.policy.ends import NodeEnd, PodEnd
from podfence.policy.engine import Bound
from podfence.policy.extent import Extent
from podfence.policy.verdict import Direction
from podfence.sets import AddressSet, PortSet, members
from podfence.sets.partition import disjoint

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from podfence.analysis.doubts import Doubts
    from podfence.analysis.source_ranges import Limit
    from podfence.analysis.unread import Piece, Unread
    from podfence.analysis.view import View
    from podfence.policy.options import Options
    from podfence.policy.peers import Scenario
    from podfence.policy.reach import AddressPartition, Partition, Reach
    from podfence.sets.addresses import Family

Progress = Callable[[float, int], None]
"""Is told how much is done, and how much there is to do."""

Between = dict[tuple[int, PortSet, str], int]
"""The destinations of sources by these, their ports, and what the connections depend on; both ends are classes."""

Outside = dict[tuple[AddressSet, PortSet, str], int]
"""The classes that exchange connections with addresses outside by these, the ports, and what that depends on."""

_Vector = tuple[PortSet | None, ...]
"""The ports of a pair in each scenario, None where it has none of its addresses."""

_Said = tuple[bool, tuple[tuple[PortSet, str], ...]]
"""Whether something is open, and the ports with what they depend on otherwise."""

_LARGE = 8
_CHUNK = 512
_CHUNKS = 20


class Line(Struct, frozen=True):
    """Every source may connect to every destination on the ports; both ends are classes (bits) and addresses.

    Where one end is pods only the other may be addresses; `sources` may be pods and addresses together.
    """

    sources: int
    source_addresses: AddressSet
    destinations: int
    destination_addresses: AddressSet
    ports: PortSet
    depends: str


class Question(Struct, frozen=True):
    """What to list: bits of sources and destinations (in pairs), addresses at either end, and ports.

    `blocks` are the combinations asked for, disjoint in their destinations. `ports_into` gives the ports
    asked about for a destination class (None for an address). `hidden`: the destinations are reached through a Service
    behind which addresses outside may show as a node's (semantics 7.9). `no_pods`: both ends are addresses. `limit`:
    they are behind a load balancer that may limit its sources.
    """

    blocks: tuple[tuple[int, int], ...]
    inside_sources: int
    inside_destinations: int
    from_addresses: AddressSet
    to_addresses: AddressSet
    ports_into: Callable[[int | None], PortSet]
    hidden: bool = False
    no_pods: bool = False
    limit: Limit | None = None


def lines(
    view: View,
    reach: Reach,
    doubts: Doubts,
    unread: Unread,
    question: Question,
    progress: Progress | None = None,
) -> list[Line]:
    """Return the connectivity asked about; each pair and port is in one line at most."""
    pods = _between_pods(reach, question, doubts, unread, progress)
    incoming = _outside(reach, Direction.INGRESS, question, view.engine.options, doubts, unread)
    if question.hidden:
        incoming = _behind_nodes(view, question, incoming, unread)
    if question.limit is not None:
        incoming = question.limit.of_addresses(incoming)
    outgoing = _outside(reach, Direction.EGRESS, question, view.engine.options, doubts, unread)
    result = list(_everything_first(view.index.all, pods, incoming))
    result += [Line(0, addresses, bits, AddressSet.EMPTY, p, d) for (addresses, p, d), bits in incoming.items() if bits]
    result += [Line(bits, AddressSet.EMPTY, 0, addresses, p, d) for (addresses, p, d), bits in outgoing.items()]
    if question.no_pods:
        # Neither end is judged (semantics 1.3).
        result.append(Line(0, question.from_addresses, 0, question.to_addresses, question.ports_into(None), ""))
    return result


def _everything_first(everyone: int, pods: Between, incoming: Outside) -> Iterator[Line]:
    """Yield the lines between pods, joined with those from every address where all pods are sources too."""
    for (sources, ports, depends), destinations in pods.items():
        rest = destinations
        if sources == everyone:
            common = destinations & incoming.get((AddressSet.ALL, ports, depends), 0)
            if common:
                yield Line(sources, AddressSet.ALL, common, AddressSet.EMPTY, ports, depends)
                incoming[AddressSet.ALL, ports, depends] ^= common
                rest ^= common
        if rest:
            yield Line(sources, AddressSet.EMPTY, rest, AddressSet.EMPTY, ports, depends)


def _between_pods(
    reach: Reach, question: Question, doubts: Doubts, unread: Unread, progress: Progress | None
) -> Between:
    scenarios = doubts.scenarios
    found: Between = defaultdict(int)
    known: dict[_Vector, tuple[dict[Family, Extent], _Said]] = {}
    total = sum(destinations.bit_count() for destinations, sources in question.blocks if sources)
    done = 0
    for destinations, sources in _chunks(question.blocks):
        if progress:
            progress(done, total)
        done += destinations.bit_count()
        answers = [reach.into(scenario, destinations, sources) for scenario in scenarios]
        # What policies that were not read can allow at most.
        anything = (
            [reach.into(scenario, destinations, sources, unread.bits) for scenario in doubts.widest]
            if unread.bits
            else []
        )
        universes = [reach.universe(scenario) for scenario in scenarios]
        for number in members(destinations):
            asked = question.ports_into(number)
            rows = [answer.get(number) for answer in answers]
            pieces: Iterable[Piece] = _combine(doubts, number, universes, rows, sources, known)
            if unread.bits:
                possible = disjoint(item for row in anything for item in row.get(number, {}).items())
                pieces = unread.told(number, sources, pieces, possible)
            for ports, bits, depends in pieces:
                wanted = ports & asked
                if not wanted:
                    continue
                limit = question.limit
                for some, why in ((bits, depends),) if limit is None else limit.of_pods(bits, depends):
                    for part in _parts(some, reach, scenarios[0], number):
                        found[part, wanted, why] |= 1 << number
    return _joined(found)


def _chunks(blocks: tuple[tuple[int, int], ...]) -> Iterator[tuple[int, int]]:
    """Yield the blocks in pieces small enough to tell of progress in between, and few."""
    for destinations, sources in blocks:
        if not sources:
            continue
        size = max(_CHUNK, destinations.bit_length() // _CHUNKS + 1)
        for start in range(0, destinations.bit_length(), size):
            piece = destinations & (((1 << size) - 1) << start)
            if piece:
                yield piece, sources


def _parts(bits: int, reach: Reach, scenario: Scenario, destination: int) -> list[int]:
    """Return a set of sources, taken apart if it is large and large parts of it serve other destinations too.

    A thousand destinations that all admit the same namespaces, and each one workload more, are then
    a thousand short lines and one long one, instead of a thousand long ones.
    """
    parts = []
    rest = bits
    if bits.bit_count() > _LARGE:
        for shared in sorted(reach.shared_sources(scenario, destination), key=int.bit_count, reverse=True):
            if shared.bit_count() > _LARGE and not shared & ~rest:
                parts.append(shared)
                rest ^= shared
    return [*parts, rest] if rest else parts


def _joined(found: Between) -> Between:
    """Join lines that differ in their sources only."""
    by_destination: dict[tuple[int, PortSet, str], int] = defaultdict(int)
    for (sources, ports, depends), destinations in found.items():
        by_destination[destinations, ports, depends] |= sources
    result: Between = defaultdict(int)
    for (destinations, ports, depends), sources in by_destination.items():
        result[sources, ports, depends] |= destinations
    return result


def _combine(
    doubts: Doubts,
    number: int,
    universes: list[int],
    rows: list[Partition | None],
    sources: int,
    known: dict[_Vector, tuple[dict[Family, Extent], _Said]],
) -> Iterator[tuple[PortSet, int, str]]:
    """Yield (ports, sources, what it depends on) of one destination from its answer in each scenario.

    `known` is what was said before of equal answers in all scenarios.
    """
    scenarios = doubts.scenarios
    unsure = sources if doubts.unsure >> number & 1 else sources & doubts.unsure
    if len(scenarios) == 1 and not unsure:
        for ports, bits in (rows[0] or {}).items():
            yield ports, bits, ""
        return
    blocks: list[tuple[int, _Vector]] = [(sources, ())]
    for universe, row in zip(universes, rows, strict=True):
        blocks = [piece for bits, vector in blocks for piece in _refine(bits, vector, universe, row)]
    for bits, vector in blocks:
        found = known.get(vector)
        if found is None:
            bounds = _extents(scenarios, vector)
            is_open = any(item.low != item.high for item in bounds.values())
            found = known[vector] = bounds, (is_open, tuple(outcomes(bounds, "")))
        bounds, (is_open, firm) = found
        doubtful = bits if is_open else bits & unsure
        for apart, settled in doubts.settled(number, doubtful, bounds) if doubtful else ():
            yield from ((ports, apart, why) for ports, why in settled.outcomes)
        if bits ^ doubtful:
            yield from ((ports, bits ^ doubtful, why) for ports, why in firm)


def _refine(bits: int, vector: _Vector, universe: int, row: Partition | None) -> Iterator[tuple[int, _Vector]]:
    rest = bits
    for ports, there in (row or {}).items():
        common = rest & there
        if common:
            yield common, (*vector, ports)
            rest ^= common
    # Without an address of the family at both ends the scenario does not exist for the pair.
    inside = rest & universe if row is not None else 0
    if inside:
        yield inside, (*vector, PortSet.EMPTY)
    if rest ^ inside:
        yield rest ^ inside, (*vector, None)


def _extents(scenarios: tuple[Scenario, ...], vector: _Vector) -> dict[Family, Extent]:
    """Return how far a pair is allowed in each family that both have."""
    found: dict[Family, Extent] = {}
    for scenario, ports in zip(scenarios, vector, strict=True):
        if ports is not None:
            known = found.get(scenario.family, Extent(ports, ports))
            found[scenario.family] = Extent(known.low & ports, known.high | ports)
    return found


def _outside(
    reach: Reach, direction: Direction, question: Question, options: Options, doubts: Doubts, unread: Unread
) -> Outside:
    """Return the classes by the addresses, ports and doubts of their connections with the outside."""
    incoming = direction is Direction.INGRESS
    wanted = question.from_addresses if incoming else question.to_addresses
    classes = question.inside_destinations if incoming else question.inside_sources
    found: Outside = defaultdict(int)
    if not wanted:
        return found
    low = reach.outside(direction, Bound.PESSIMISTIC, classes)
    high = reach.outside(direction, Bound.OPTIMISTIC, classes) if options.icmp == "depends" else {}
    for number in members(classes):
        asked = question.ports_into(number if incoming else None)
        clause = unread.about(number) if unread.bits else ""
        why = "icmp"
        if doubts.unsure >> number & 1:
            low[number], high[number], why = doubts.outside(direction, number)
        for ports, addresses in low[number].items():
            _note(found, addresses & wanted, ports & asked, as_read(clause, ""), number)
        for ports, addresses in _difference(high.get(number, {}), low[number]):
            _note(found, addresses & wanted, ports & asked, as_read(clause, f"depends on {why}"), number)
        if clause:
            for ports, addresses in _difference({PortSet.ALL: AddressSet.ALL}, high.get(number, low[number])):
                _note(found, addresses & wanted, ports & asked, clause, number)
    return found


def _behind_nodes(view: View, question: Question, clients: Outside, unread: Unread) -> Outside:
    """Return connections from outside as `service-source` has it: as the clients', as a node's, or as either's."""
    option = view.engine.options.service_source
    if option == "client" or not question.from_addresses:
        return clients
    why = "depends on service-source" if option == "depends" else "depends on the node it comes from"
    found: Outside = defaultdict(int)
    for number in members(question.inside_destinations):
        asked = question.ports_into(number)
        if clause := unread.about(number):
            _note(found, question.from_addresses, asked, clause, number)
            continue
        rows = [(addresses, ports) for (addresses, ports, _), bits in clients.items() if bits >> number & 1]
        for family, reached in _from_other_nodes(view, number).items():
            # The pod's own node always reaches it (semantics 7.3), so what other nodes may not depends.
            from_nodes = reached & asked
            rest = question.from_addresses & family
            for addresses, ports in rows if option == "depends" else [(rest, asked)]:
                _note(found, addresses & family, ports & from_nodes, "", number)
                _note(found, addresses & family, asked - (ports & from_nodes), why, number)
                rest -= addresses
            _note(found, rest, asked, why, number)
    return found


def _from_other_nodes(view: View, number: int) -> dict[AddressSet, PortSet]:
    """Return the ports on which any node other than its own surely reaches a pod of a class, by address family.

    Families with the same ports are one; a family that the pod does not have is as the other one.
    """
    member = next(iter(view.index.classes[number].members.values()))
    ports = {
        end.family: view.engine.allowed(NodeEnd("", None, end.family, own=False), end, Bound.PESSIMISTIC)
        for end in as_ends(view.engine, member)
        if isinstance(end, PodEnd)
    }
    one, other = (ports.get(family, next(iter(ports.values()), PortSet.ALL)) for family in (4, 6))
    return {AddressSet.ALL: one} if one == other else {AddressSet.V4: one, AddressSet.V6: other}


def _note(found: Outside, addresses: AddressSet, ports: PortSet, why: str, number: int) -> None:
    if addresses and ports:
        found[addresses, ports, why] |= 1 << number


def _difference(high: AddressPartition, low: AddressPartition) -> Iterator[tuple[PortSet, AddressSet]]:
    for ports, addresses in high.items():
        rest = addresses
        for sure, there in low.items():
            common = rest & there
            if common:
                yield ports - sure, common
                rest -= common
        yield ports, rest
