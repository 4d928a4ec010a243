# SPDX-License-Identifier: Apache-2.0
"""The parts of a question that are decided differently, and in what they differ."""

from __future__ import annotations

from collections import defaultdict
from operator import attrgetter
from typing import TYPE_CHECKING

from msgspec import Struct
from msgspec.structs import replace

from podfence.analysis.services import OTHER_NODE, OWN_NODE
from podfence.policy.ends import NodeEnd
from podfence.policy.unknown import option, part
from podfence.sets import PortSet

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from podfence.analysis.pairs import Pair
    from podfence.policy.extent import Extent
    from podfence.policy.verdict import Decision, Dependency


class Part(Struct, frozen=True):
    """A part of a question that is decided as one: a connection, ports, and how they are decided.

    `plain` is why, and by which rule of the semantics, where no policy is asked. `extent` is how far the connection is
    allowed otherwise; it rests on something only if nothing but these ports was asked about.
    """

    pair: Pair
    ports: PortSet
    decision: Decision
    plain: tuple[str, str] | None = None
    extent: Extent | None = None


def differs(parts: list[Part]) -> tuple[Dependency, ...]:
    """Return in what the parts differ that are decided differently: the port, the destination pod.

    Something counts if parts that are equal in all else are decided differently because of it.
    """
    found = _variants(parts)
    rest = [item for item in parts if not item.pair.matter]
    found += _matters(rest if found else parts)
    return tuple(found) or (part(_most_likely(parts)),)


def _variants(parts: list[Part]) -> list[Dependency]:
    """Return what decides between variants of one connection that are not decided alike."""
    by_matter: dict[tuple[Dependency, ...], list[Part]] = defaultdict(list)
    for item in parts:
        if item.pair.matter:
            by_matter[item.pair.matter].append(item)
    return list(dict.fromkeys(what for matter, several in by_matter.items() if _vary(several) for what in matter))


def _vary(parts: list[Part]) -> bool:
    """Return whether variants are not decided alike; one may be asked at another port than the next."""
    for kinds in _grouped(parts, attrgetter("destination_name", "family"), attrgetter("variant")):
        asked = {PortSet.union([*kind.values()]) for kind in kinds}
        if _unlike(kinds) or (len(asked) > 1 and len({frozenset(kind) for kind in kinds}) > 1):
            return True
    return False


def _port(parts: list[Part]) -> bool:
    by_pair: dict[Pair, set[Decision]] = defaultdict(set)
    for item in parts:
        # What a port of a Service leads to has its own name, and a port that leads nowhere the Service's.
        by_pair[replace(item.pair, destination_name="")].add(item.decision)
    return any(len(decisions) > 1 for decisions in by_pair.values())


def _matters(parts: list[Part]) -> Iterator[Dependency]:
    """Yield what decides between parts that agree in all else."""
    seen = [item for item in parts if not _is_hidden(item.pair)]
    ranges = [item for item in parts if item.pair.addresses is not None]
    source, destination = attrgetter("source_name"), attrgetter("destination_name")
    if _port(parts):
        yield part("the port")
    # A Service may hide its clients behind a node (semantics 7.9).
    if _differ(parts, attrgetter("destination_name", "family"), _is_hidden):
        yield option("service-source")
    if not seen and _differ(parts, attrgetter("destination_name", "family"), source):
        yield part("the node the connection comes from")
    if _differ(seen, attrgetter("destination_name", "family", "addresses"), source):
        yield part("the source pod")
    if _differ(parts, attrgetter("source_name", "family", "addresses"), destination):
        yield part("the destination pod")
    if _differ(ranges, attrgetter("source_name", "destination_name", "family"), attrgetter("addresses")):
        yield part("the address")
    elif _differ(parts, attrgetter("source_name", "destination_name"), attrgetter("family")):
        yield part("the address family")


def _differ(parts: Iterable[Part], same: Callable[[Pair], object], telling: Callable[[Pair], object]) -> bool:
    """Return whether parts that agree in what is `same`, and not in what is `telling`, are decided differently."""
    return any(map(_unlike, _grouped(parts, same, telling)))


def _grouped(
    parts: Iterable[Part], same: Callable[[Pair], object], telling: Callable[[Pair], object]
) -> list[list[dict[Decision, PortSet]]]:
    """Return the ports by decision, for each group of what is the `same` and each kind of what is `telling`."""
    groups: dict[object, dict[object, dict[Decision, PortSet]]] = defaultdict(lambda: defaultdict(dict))
    for item in parts:
        found = groups[same(item.pair)][telling(item.pair)]
        found[item.decision] = found.get(item.decision, PortSet.EMPTY) | item.ports
    return [list(group.values()) for group in groups.values()]


def _unlike(kinds: Iterable[dict[Decision, PortSet]]) -> bool:
    """Return whether a port is decided in one way by one kind of parts and in another by an earlier one."""
    before: dict[Decision, PortSet] = {}
    for kind in kinds:
        if any(
            ports & before.get(other, PortSet.EMPTY)
            for one, ports in kind.items()
            for other in before
            if other is not one
        ):
            return True
        for decision, ports in kind.items():
            before[decision] = before.get(decision, PortSet.EMPTY) | ports
    return False


def _is_hidden(pair: Pair) -> bool:
    return isinstance(pair.source, NodeEnd) and pair.source_name in (OWN_NODE, OTHER_NODE)


def _most_likely(parts: list[Part]) -> str:
    """Return what differs where nothing does alone, as when each pod is asked about at a port of its own."""
    pairs = [item.pair for item in parts]
    if len({pair.source_name for pair in pairs}) > 1:
        return "the source pod"
    return "the destination pod" if len({pair.destination_name for pair in pairs}) > 1 else "the address family"
