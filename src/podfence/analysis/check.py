# SPDX-License-Identifier: Apache-2.0
"""Is this connection allowed, and by what: the verdict for a question of people."""

from __future__ import annotations

from functools import reduce
from operator import or_
from typing import TYPE_CHECKING

import msgspec
from msgspec.structs import replace

from podfence.analysis.endpoints import (
    AddressesEndpoint,
    Endpoint,
    PodsEndpoint,
    SelfEndpoint,
    ServiceEndpoint,
    alone,
)
from podfence.analysis.judging import MOST_TOLD, extent_of, judged
from podfence.analysis.parts import Part, differs
from podfence.analysis.routes import addressed, routes
from podfence.analysis.services import hides_clients, namesake, pods_of_headless, refuse_as_source, translation
from podfence.errors import EndpointError
from podfence.policy.ends import AddressEnd, End, PodEnd
from podfence.policy.reasons import reason
from podfence.policy.unknown import RULES
from podfence.policy.verdict import Decision, Direction, Reason, Tier, Verdict
from podfence.sets import PortSet
from podfence.sets.addresses import AddressSet
from podfence.sets.ports import point

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from podfence.analysis.pairs import Pair
    from podfence.analysis.ports import PortQuestion
    from podfence.policy.engine import Engine
    from podfence.policy.extent import Extent
    from podfence.policy.verdict import Dependency


def check(
    engine: Engine, source: Endpoint, destination: Endpoint, port: PortQuestion, *, mend: bool = False
) -> Verdict:
    """Return the verdict for a question, with changes that would admit what is denied if `mend`.

    Raises EndpointError for a port the destination does not have.
    """
    refuse_as_source(source)
    if isinstance(source, SelfEndpoint) and isinstance(destination, SelfEndpoint):
        raise EndpointError("self is the pod at the other end: name that")
    for end in (source, destination):
        if isinstance(end, AddressesEndpoint) and end.addresses.spans[0][0] == end.addresses.spans[-1][1]:
            engine = engine.naming(end.addresses)
    parts = judged(engine, source, destination, port)
    verdict = _verdict(engine, source.name, destination.name, port, parts, mend=mend)
    notes = [*verdict.notes, *_notes(engine, source, destination, port)]
    if verdict.decision is not Decision.ALLOWED:
        notes += addressed(engine, source, destination, port)
    return replace(verdict, translation=_translation(engine, source, destination, port), notes=tuple(notes))


def _translation(engine: Engine, source: Endpoint, destination: Endpoint, port: PortQuestion) -> str:
    """Return what the ports asked about are where they lead, "" if nothing is translated."""
    outside = isinstance(source, AddressesEndpoint)
    if isinstance(destination, ServiceEndpoint):
        if pods_of_headless(engine.state, destination):
            return ""
        text = translation(engine.state, destination, port)
        return f"{text}{_client_seen(destination)}" if text and outside else text
    found = routes(engine, destination, port.ports)[0]
    return "; ".join(
        f"{route.text}{_client_seen(route.service)}" if outside and route.service and not route.entry else route.text
        for route in found
    )


def _client_seen(destination: ServiceEndpoint) -> str:
    """Return whom the pods of a Service see as the source of what comes from outside (semantics 7.9)."""
    service = destination.service
    if service.type not in ("NodePort", "LoadBalancer"):
        return ""
    seen = "the client or a node" if hides_clients(service) else "the client"
    return f" (externalTrafficPolicy {service.external_traffic_policy}: its pods see {seen})"


def _notes(engine: Engine, source: Endpoint, destination: Endpoint, port: PortQuestion) -> Iterator[str]:
    if other := namesake(engine.state, destination, port):
        yield other
    if isinstance(source, PodsEndpoint) and source == destination and not alone(source.members):
        yield f"{source.name} to itself means two different pods; `self` means one pod and itself"


def _verdict(
    engine: Engine, source: str, destination: str, port: PortQuestion, parts: list[Part], *, mend: bool
) -> Verdict:
    decisions = {part.decision for part in parts}
    if len(decisions) == 1:
        whole = _part_verdict(engine, _named(parts[0]), over="", mend=mend)
        whole = replace(whole, source=source, destination=destination, port=port.text)
        if len(parts) == 1 or whole.decision is Decision.ALLOWED or (whole.decision is Decision.DENIED and not mend):
            return whole
        if len(parts) > MOST_TOLD:
            pair = parts[0].pair
            note = f"this is about {pair.source_name} -> {pair.destination_name}, the first of {len(parts)} connections"
            return replace(whole, notes=(note,))
        return _with_parts(whole, _details(engine, parts, mend=mend))
    details = _details(engine, parts, mend=mend)
    # The reasons shown first are those of what is not allowed: that is what people ask about.
    shown = next(detail for detail in details if detail.decision is not Decision.ALLOWED)
    return Verdict(
        source=source,
        destination=destination,
        port=port.text,
        decision=Decision.DEPENDS,
        egress=shown.egress,
        ingress=shown.ingress,
        depends_on=tuple({item.text: item for item in (*differs(parts), *_unknown_in(details))}.values()),
        parts=details,
    )


def _with_parts(whole: Verdict, details: tuple[Verdict, ...]) -> Verdict:
    """Return a verdict with its parts if these depend on other things, or need other changes to be admitted."""
    told = {
        (item.depends_on, tuple(remedy.text for reason in (item.egress, item.ingress) for remedy in reason.remedies))
        for item in details
    }
    if len(told) == 1:
        return whole
    unknown = {item.text: item for detail in details for item in detail.depends_on}
    return replace(whole, depends_on=tuple(unknown.values()), parts=details)


def _details(engine: Engine, parts: list[Part], *, mend: bool) -> tuple[Verdict, ...]:
    """Return the verdict of each part; those that differ in nothing a reader would see, such as the family, are one."""
    asked = [part.pair.addresses for part in parts if part.pair.addresses is not None]
    everything = reduce(or_, asked, AddressSet.EMPTY) if asked else None
    named = [_named(part, everything) for part in _merge(parts)]
    return _unique(_part_verdict(engine, part, over=_told(part, named), mend=mend) for part in named)


def _unique(verdicts: Iterable[Verdict]) -> tuple[Verdict, ...]:
    """Return verdicts in order, those that say the same once; the labels in them have no hash."""
    return tuple({msgspec.json.encode(verdict): verdict for verdict in verdicts}.values())


def _unknown_in(parts: Iterable[Verdict]) -> tuple[Dependency, ...]:
    """Return what is not known that parts depend on."""
    several = (item for part in parts if part.decision is Decision.DEPENDS for item in part.depends_on)
    return tuple(item for item in several if item.what in RULES)


def _part_verdict(engine: Engine, part: Part, *, over: str, mend: bool) -> Verdict:
    if part.plain is not None:
        pair = part.pair
        return _plain(pair.source_name, pair.destination_name, f"{part.ports}{over}", part.decision, part.plain)
    egress, ingress = _reasons(engine, part, mend=mend)
    return Verdict(
        source=part.pair.source_name,
        destination=part.pair.destination_name,
        port=f"{part.ports}{over}",
        decision=part.decision,
        egress=egress,
        ingress=ingress,
        depends_on=_open_matter(egress, ingress) if part.decision is Decision.DEPENDS else (),
    )


def _named(part: Part, everything: AddressSet | None = None) -> Part:
    """Return a part whose piece of a range is called what it is: the range as asked, or its blocks if it is less."""
    pair = part.pair
    if pair.addresses is None:
        return part
    less = everything is not None and pair.addresses != everything
    text = ", ".join(str(block) for block in pair.addresses.blocks()) if less else ""
    if isinstance(pair.source, AddressEnd):
        name = text or pair.source_name
        arrival = pair.arrival
        if arrival is not None and isinstance(arrival.source, AddressEnd):
            arrival = replace(arrival, source=replace(arrival.source, name=name))
        source_end = replace(pair.source, name=name)
        return replace(part, pair=replace(pair, source=source_end, source_name=name, arrival=arrival))
    if isinstance(pair.destination, AddressEnd):
        name = text or pair.destination_name
        return replace(
            part, pair=replace(pair, destination=replace(pair.destination, name=name), destination_name=name)
        )
    return part


def _told(part: Part, parts: list[Part]) -> str:
    """Return what tells a part from others of the same ends: its variant, and the address family if that decides."""
    pair = part.pair
    variant = f" {pair.variant}" if pair.variant.startswith("where ") else ""
    return variant + ("" if pair.addresses is not None else _family_told(pair, part, parts))


def _family_told(pair: Pair, part: Part, parts: list[Part]) -> str:
    """Return `` over IPv4`` if the same ends are decided otherwise in the other address family."""
    told = any(
        other.decision is not part.decision
        and (other.pair.source_name, other.pair.destination_name) == (pair.source_name, pair.destination_name)
        and other.pair.variant == pair.variant
        and other.pair.family != pair.family
        and other.ports & part.ports
        for other in parts
    )
    return f" over IPv{pair.family}" if told else ""


def _merge(parts: list[Part]) -> list[Part]:
    """Join the pieces of address ranges that are decided alike."""
    merged: dict[tuple[str, str, str, PortSet, Decision, int], Part] = {}
    for number, part in enumerate(parts):
        pair = part.pair
        # Only pieces of ranges are joined; other connections stand for themselves.
        own = number if pair.addresses is None else -1
        key = (pair.source_name, pair.destination_name, pair.variant, part.ports, part.decision, own)
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


def _reasons(engine: Engine, part: Part, *, mend: bool) -> tuple[Reason, Reason]:
    decided = part.extent or extent_of(engine, part.pair, part.ports)

    def side(direction: Direction, source: End, destination: End, ports: PortSet, *, known: bool = False) -> Reason:
        telling = _telling_point(decided, destination, ports)
        single = known or ports.spans == ((telling, telling),)
        asked = ports if mend else None
        return reason(engine, direction, source, destination, telling, alone=single, mend=asked, decided=decided)

    sent = part.pair
    egress = side(Direction.EGRESS, sent.source, sent.destination, part.ports)
    if (met := sent.arrival) is not None:
        return egress, side(Direction.INGRESS, met.source, met.destination, met.ports, known=True)
    return egress, side(Direction.INGRESS, sent.source, sent.destination, part.ports)


def _telling_point(decided: Extent, destination: End, ports: PortSet) -> int:
    """Return the port of a set that explains it best: one the destination declares, or one a rule names."""
    if isinstance(destination, PodEnd):
        for item in destination.member.ports:
            declared = point(item.protocol, item.number)
            if declared in ports:
                return declared
    for direction in (Direction.INGRESS, Direction.EGRESS):
        for policy in decided.rulings[direction].policies:
            for grant in policy.grants[direction]:
                named = grant.ports & ports
                if named and grant.ports != PortSet.ALL:
                    return named.spans[0][0]
    return ports.spans[0][0]


def _plain(source: str, destination: str, port: str, decision: Decision, why: tuple[str, str]) -> Verdict:
    summary, rule = why
    egress, ingress = (
        Reason(direction=direction, decision=decision, tier=Tier.DEFAULT, summary=summary, semantics=rule)
        for direction in (Direction.EGRESS, Direction.INGRESS)
    )
    return Verdict(source=source, destination=destination, port=port, decision=decision, egress=egress, ingress=ingress)
