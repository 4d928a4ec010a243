# SPDX-License-Identifier: Apache-2.0
"""Is this connection allowed, and by what: the verdict for a question of people."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from functools import reduce
from operator import or_
from typing import TYPE_CHECKING

import msgspec

from podfence.analysis.endpoints import (
    AddressesEndpoint,
    Endpoint,
    NodeEndpoint,
    PodsEndpoint,
    ServiceEndpoint,
)
from podfence.analysis.pairs import NoCommonFamilyError, Pair, pairs
from podfence.analysis.parts import Part, differs
from podfence.analysis.services import (
    Target,
    hides_clients,
    namesake,
    node_sources,
    pods_of_headless,
    refuse_as_source,
    targets,
    translation,
)
from podfence.errors import EndpointError
from podfence.policy.ends import AddressEnd, PodEnd
from podfence.policy.extent import extent
from podfence.policy.reasons import reason
from podfence.policy.unknown import RULES
from podfence.policy.verdict import Decision, Direction, Reason, Tier, Verdict
from podfence.sets import PortSet
from podfence.sets.addresses import AddressSet
from podfence.sets.ports import point

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from podfence.analysis.ports import PortQuestion
    from podfence.cluster.members import Member
    from podfence.kube.objects import Service
    from podfence.policy.engine import Engine
    from podfence.policy.verdict import Dependency

_NO_FAMILY = "the two have no address family in common"


def check(engine: Engine, source: Endpoint, destination: Endpoint, port: PortQuestion) -> Verdict:
    """Return the verdict for a question; raises EndpointError for a port the destination does not have."""
    refuse_as_source(source)
    if isinstance(destination, ServiceEndpoint):
        return _check_service(engine, source, destination, port)
    if isinstance(destination, NodeEndpoint | AddressesEndpoint) and isinstance(
        source, NodeEndpoint | AddressesEndpoint
    ):
        return _no_pod(source, destination, port)
    if port.name:
        return _check_named(engine, source, destination, port)
    try:
        connections = pairs(engine, source, destination)
    except NoCommonFamilyError:
        return _unreachable(source.name, destination.name, port.text, _NO_FAMILY, "7.13")
    parts = [part for pair in connections for part in _judge(engine, pair, port.ports)]
    verdict = _verdict(engine, source.name, destination.name, port, parts)
    other = namesake(engine.state, destination, port)
    return msgspec.structs.replace(verdict, notes=(other,)) if other else verdict


def _judge(engine: Engine, pair: Pair, asked: PortSet) -> list[Part]:
    """Return one connection's ports by decision: those surely allowed, those that depend, those denied."""
    low, high, _ = extent(engine, pair.source, pair.destination, asked)
    decided = (
        (Decision.ALLOWED, low),
        (Decision.DEPENDS, high - low),
        (Decision.DENIED, asked - high),
    )
    return [Part(pair, ports, decision) for decision, ports in decided if ports]


def _verdict(engine: Engine, source: str, destination: str, port: PortQuestion, parts: list[Part]) -> Verdict:
    decisions = {part.decision for part in parts}
    if len(decisions) == 1:
        part = _named(parts[0], source, destination)
        egress, ingress = _reasons(engine, part)
        return Verdict(
            source=source,
            destination=destination,
            port=port.text,
            decision=part.decision,
            egress=egress,
            ingress=ingress,
            depends_on=_open_matter(egress, ingress) if part.decision is Decision.DEPENDS else (),
        )
    asked = [part.pair.addresses for part in parts if part.pair.addresses is not None]
    everything = reduce(or_, asked, AddressSet.EMPTY) if asked else None
    named = [_named(part, source, destination, everything) for part in _merge(parts)]
    # Parts that differ in nothing a reader would see, such as the address family, are one.
    details = tuple(dict.fromkeys(_part_verdict(engine, part, over=_family_told(part, named)) for part in named))
    # The reasons shown first are those of what is not allowed: that is what people ask about.
    shown = next(detail for detail in details if detail.decision is not Decision.ALLOWED)
    return Verdict(
        source=source,
        destination=destination,
        port=port.text,
        decision=Decision.DEPENDS,
        egress=shown.egress,
        ingress=shown.ingress,
        depends_on=(*differs(parts), *_unknown_in(details)),
        parts=details,
    )


def _unknown_in(parts: Iterable[Verdict]) -> tuple[Dependency, ...]:
    """Return what is not known that parts depend on, each thing once."""
    several = (item for part in parts if part.decision is Decision.DEPENDS for item in part.depends_on)
    return tuple({item.text: item for item in several if item.what in RULES}.values())


def _part_verdict(engine: Engine, part: Part, *, over: str) -> Verdict:
    egress, ingress = _reasons(engine, part)
    return Verdict(
        source=part.pair.source_name,
        destination=part.pair.destination_name,
        port=f"{part.ports}{over}",
        decision=part.decision,
        egress=egress,
        ingress=ingress,
        depends_on=_open_matter(egress, ingress) if part.decision is Decision.DEPENDS else (),
    )


def _named(part: Part, source: str, destination: str, everything: AddressSet | None = None) -> Part:
    """Return a part whose piece of a range is called what it is: the range as asked, or its blocks if it is less."""
    pair = part.pair
    if pair.addresses is None:
        return part
    less = everything is not None and pair.addresses != everything
    text = ", ".join(str(block) for block in pair.addresses.blocks()) if less else ""
    if isinstance(pair.source, AddressEnd):
        name = text or source
        return replace(part, pair=replace(pair, source=replace(pair.source, name=name), source_name=name))
    if isinstance(pair.destination, AddressEnd):
        name = text or destination
        return replace(
            part, pair=replace(pair, destination=replace(pair.destination, name=name), destination_name=name)
        )
    return part


def _family_told(part: Part, parts: list[Part]) -> str:
    """Return `` over IPv4`` if the same ends are decided otherwise in the other address family."""
    pair = part.pair
    if pair.addresses is not None:
        return ""
    told = any(
        other.decision is not part.decision
        and (other.pair.source_name, other.pair.destination_name) == (pair.source_name, pair.destination_name)
        and other.pair.family != pair.family
        and other.ports & part.ports
        for other in parts
    )
    return f" over IPv{pair.family}" if told else ""


def _merge(parts: list[Part]) -> list[Part]:
    """Join the pieces of address ranges that are decided alike."""
    merged: dict[tuple[str, str, PortSet, Decision, int], Part] = {}
    for number, part in enumerate(parts):
        pair = part.pair
        # Only pieces of ranges are joined; other connections stand for themselves.
        own = number if pair.addresses is None else -1
        key = (pair.source_name, pair.destination_name, part.ports, part.decision, own)
        found = merged.get(key)
        if found is not None and found.pair.addresses is not None and pair.addresses is not None:
            addresses = found.pair.addresses | pair.addresses
            merged[key] = replace(found, pair=replace(found.pair, addresses=addresses))
        else:
            merged[key] = part
    return list(merged.values())


def _open_matter(egress: Reason, ingress: Reason) -> tuple[Dependency, ...]:
    sides = (side for side in (egress, ingress) if side.decision is Decision.DEPENDS)
    return tuple({item.text: item for side in sides for item in side.depends_on}.values())


def _reasons(engine: Engine, part: Part) -> tuple[Reason, Reason]:
    source, destination = part.pair.source, part.pair.destination
    telling = _telling_point(engine, part)
    alone = part.ports.spans == ((telling, telling),)
    return (
        reason(engine, Direction.EGRESS, source, destination, telling, alone=alone),
        reason(engine, Direction.INGRESS, source, destination, telling, alone=alone),
    )


def _telling_point(engine: Engine, part: Part) -> int:
    """Return the port of a set that explains it best: one the destination declares, or one a rule names."""
    destination = part.pair.destination
    if isinstance(destination, PodEnd):
        for item in destination.member.ports:
            declared = point(item.protocol, item.number)
            if declared in part.ports:
                return declared
    for direction, end in ((Direction.INGRESS, destination), (Direction.EGRESS, part.pair.source)):
        if isinstance(end, PodEnd):
            for policy in engine.applicable(direction, end.member):
                for grant in policy.grants[direction]:
                    named = grant.ports & part.ports
                    if named and grant.ports != PortSet.ALL:
                        return named.spans[0][0]
    return part.ports.spans[0][0]


# Services


def _check_service(engine: Engine, source: Endpoint, destination: ServiceEndpoint, port: PortQuestion) -> Verdict:
    """Judge a Service on every backend at its target port (semantics 7.7)."""
    members = pods_of_headless(engine.state, destination)
    if members:
        return check(engine, source, PodsEndpoint(destination.name, members), port)
    found = targets(engine.state, destination, port) if members is None else []
    parts = [part for target in found for part in _judge_target(engine, source, destination.service, target)]
    if parts:
        verdict = _verdict(engine, source.name, destination.name, port, parts)
        return msgspec.structs.replace(verdict, translation=translation(engine.state, destination, port))
    why = _NO_FAMILY if found else f"{destination.name} has no backend"
    return _unreachable(source.name, destination.name, port.text, why, "7.13" if found else "7.7")


def _judge_target(engine: Engine, source: Endpoint, service: Service, target: Target) -> Iterator[Part]:
    try:
        connections = [_through_service(pair) for pair in pairs(engine, source, target.endpoint)]
    except NoCommonFamilyError:
        return
    hidden = isinstance(source, AddressesEndpoint) and hides_clients(service)
    option = engine.options.service_source if hidden else "client"
    for pair in connections if option != "node" else ():
        yield from _judge(engine, pair, target.ports)
    if option == "client":
        return
    # The client's address is not seen behind a node's: all pieces of a range are judged as one there.
    for pair in {pair.destination: pair for pair in connections}.values():
        if isinstance(pair.destination, PodEnd):
            for end, name in node_sources(pair.destination):
                as_node = replace(pair, source=end, source_name=name, addresses=None)
                yield from _judge(engine, as_node, target.ports)
        elif option == "node":
            yield from _judge(engine, pair, target.ports)


def _through_service(pair: Pair) -> Pair:
    if isinstance(pair.destination, PodEnd):
        return replace(pair, destination=replace(pair.destination, through_service=True))
    return pair


# Named ports, and questions without an answer by policy


def _check_named(engine: Engine, source: Endpoint, destination: Endpoint, port: PortQuestion) -> Verdict:
    """Judge a named port on each destination pod with the pod's own number (semantics 5.4)."""
    if not isinstance(destination, PodsEndpoint):
        message = f"port {port.text!r}: only pods and Services have named ports; give a number"
        raise EndpointError(message)
    parts: list[Part] = []
    named = False
    for member in destination.members:
        numbers = _numbers(member, port)
        if not numbers:
            continue
        alone = PodsEndpoint(destination.name, (member,), destination.hypothetical)
        named = True
        with suppress(NoCommonFamilyError):
            for pair in pairs(engine, source, alone):
                parts += _judge(engine, pair, numbers)
    if not named:
        names = sorted(
            {
                f"{item.name} ({item.number}/{item.protocol.lower()})"
                for m in destination.members
                for item in m.ports
                if item.name
            }
        )
        message = f"{destination.name} has no port named {port.text}; it has {', '.join(names) or 'no named ports'}"
        raise EndpointError(message)
    if not parts:
        return _unreachable(source.name, destination.name, port.text, _NO_FAMILY, "7.13")
    return _verdict(engine, source.name, destination.name, port, parts)


def _numbers(member: Member, port: PortQuestion) -> PortSet:
    result = PortSet.EMPTY
    for item in member.ports:
        if item.name == port.name and port.protocol in ("", item.protocol):
            result |= PortSet.single(item.protocol, item.number)
    return result


def _no_pod(source: Endpoint, destination: Endpoint, port: PortQuestion) -> Verdict:
    summary = "not judged (NetworkPolicy concerns only connections with a pod at one end)"
    return _plain(source.name, destination.name, port.text, Decision.ALLOWED, summary, "1.3")


def _unreachable(source: str, destination: str, port: str, why: str, rule: str) -> Verdict:
    return _plain(source, destination, port, Decision.DENIED, f"cannot be reached: {why}", rule)


def _plain(source: str, destination: str, port: str, decision: Decision, summary: str, rule: str) -> Verdict:
    sides = (
        Reason(direction=direction, decision=decision, tier=Tier.DEFAULT, summary=summary, semantics=rule)
        for direction in (Direction.EGRESS, Direction.INGRESS)
    )
    egress, ingress = sides
    return Verdict(source=source, destination=destination, port=port, decision=decision, egress=egress, ingress=ingress)
