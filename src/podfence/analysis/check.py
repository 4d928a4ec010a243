# SPDX-License-Identifier: Apache-2.0
"""Is this connection allowed, and by what: the verdict for a question of people."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, replace
from functools import reduce
from operator import or_
from typing import TYPE_CHECKING

from podfence.analysis.endpoints import (
    AddressesEndpoint,
    Endpoint,
    NodeEndpoint,
    PodsEndpoint,
    ServiceEndpoint,
)
from podfence.analysis.pairs import NoCommonFamilyError, Pair, pairs
from podfence.cluster.members import display_name
from podfence.cluster.services import ServiceBackend, backends, selected
from podfence.errors import EndpointError
from podfence.policy.ends import AddressEnd, NodeEnd, PodEnd
from podfence.policy.engine import Bound
from podfence.policy.reasons import reason
from podfence.policy.verdict import Decision, Direction, Reason, Tier, Verdict
from podfence.sets import PortSet
from podfence.sets.addresses import AddressSet, format_address
from podfence.sets.ports import point

if TYPE_CHECKING:
    from podfence.analysis.ports import PortQuestion
    from podfence.cluster.members import Member
    from podfence.kube.objects import Service, ServicePort
    from podfence.policy.engine import Engine

_NO_FAMILY = "the two have no address family in common"


@dataclass(frozen=True, slots=True)
class _Part:
    """A part of a question that is decided as one: a connection, ports, and how they are decided."""

    pair: Pair
    ports: PortSet
    decision: Decision


def check(engine: Engine, source: Endpoint, destination: Endpoint, port: PortQuestion) -> Verdict:
    """Return the verdict for a question; raises EndpointError for a port the destination does not have."""
    if isinstance(source, ServiceEndpoint):
        message = f"{source.name} is a Service: it opens no connections; name a workload or a pod as the source"
        raise EndpointError(message)
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
    return _verdict(engine, source.name, destination.name, port, parts)


def _judge(engine: Engine, pair: Pair, asked: PortSet) -> list[_Part]:
    """Return one connection's ports by decision: those surely allowed, those that depend, those denied."""
    low = engine.allowed(pair.source, pair.destination, Bound.PESSIMISTIC) & asked
    high = engine.allowed(pair.source, pair.destination, Bound.OPTIMISTIC) & asked
    decided = (
        (Decision.ALLOWED, low),
        (Decision.DEPENDS, high - low),
        (Decision.DENIED, asked - high),
    )
    return [_Part(pair, ports, decision) for decision, ports in decided if ports]


def _verdict(engine: Engine, source: str, destination: str, port: PortQuestion, parts: list[_Part]) -> Verdict:
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
            depends_on=_open_matter(egress, ingress) if part.decision is Decision.DEPENDS else "",
        )
    asked = [part.pair.addresses for part in parts if part.pair.addresses is not None]
    everything = reduce(or_, asked, AddressSet.EMPTY)
    details = tuple(
        _part_verdict(engine, _named(part, source, destination, everything if asked else None))
        for part in _merge(parts)
    )
    # The reasons shown first are those of what is not allowed: that is what people ask about.
    shown = next(detail for detail in details if detail.decision is not Decision.ALLOWED)
    return Verdict(
        source=source,
        destination=destination,
        port=port.text,
        decision=Decision.DEPENDS,
        egress=shown.egress,
        ingress=shown.ingress,
        depends_on=_differs(parts),
        parts=details,
    )


def _part_verdict(engine: Engine, part: _Part) -> Verdict:
    egress, ingress = _reasons(engine, part)
    return Verdict(
        source=part.pair.source_name,
        destination=part.pair.destination_name,
        port=str(part.ports),
        decision=part.decision,
        egress=egress,
        ingress=ingress,
        depends_on=_open_matter(egress, ingress) if part.decision is Decision.DEPENDS else "",
    )


def _named(part: _Part, source: str, destination: str, everything: AddressSet | None = None) -> _Part:
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


def _merge(parts: list[_Part]) -> list[_Part]:
    """Join the pieces of address ranges that are decided alike."""
    merged: dict[tuple[str, str, PortSet, Decision, int], _Part] = {}
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


def _differs(parts: list[_Part]) -> str:
    """Return what the parts of a question that are decided differently differ in."""
    by_pair: dict[Pair, set[Decision]] = {}
    for part in parts:
        by_pair.setdefault(part.pair, set()).add(part.decision)
    if all(len(decisions) > 1 for decisions in by_pair.values()):
        return "the port"
    all_pairs = list(by_pair)
    if len({type(pair.source) for pair in all_pairs}) > 1:
        return "option service-source"
    if len({pair.source_name for pair in all_pairs}) > 1:
        return "the source pod"
    if len({pair.destination_name for pair in all_pairs}) > 1:
        return "the destination pod"
    if any(pair.addresses is not None for pair in all_pairs):
        return "the address"
    return "the address family" if len(all_pairs) > 1 else "the port"


def _open_matter(egress: Reason, ingress: Reason) -> str:
    names = dict.fromkeys((*egress.options, *ingress.options))
    named = [name.replace("_", "-") for name in names]
    return f"option {', '.join(named)}"


def _reasons(engine: Engine, part: _Part) -> tuple[Reason, Reason]:
    source, destination = part.pair.source, part.pair.destination
    telling = _telling_point(engine, part)
    alone = part.ports.spans == ((telling, telling),)
    return (
        reason(engine, Direction.EGRESS, source, destination, telling, alone=alone),
        reason(engine, Direction.INGRESS, source, destination, telling, alone=alone),
    )


def _telling_point(engine: Engine, part: _Part) -> int:
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
    service = destination.service
    if service.type == "ExternalName":
        message = f"{destination.name} is an ExternalName Service, an alias for a name outside; ask about its address"
        raise EndpointError(message)
    if service.headless and service.selector is not None:
        members = tuple(selected(engine.state, service))
        if not members:
            return _unreachable(source.name, destination.name, port.text, f"{destination.name} has no backend", "7.7")
        return check(engine, source, PodsEndpoint(destination.name, members), port)
    parts: list[_Part] = []
    for item in _service_ports(destination, port):
        for backend in backends(engine.state, service, item):
            parts += _judge_backend(engine, source, service, backend)
    if not parts:
        return _unreachable(source.name, destination.name, port.text, f"{destination.name} has no backend", "7.7")
    return _verdict(engine, source.name, destination.name, port, parts)


def _service_ports(destination: ServiceEndpoint, port: PortQuestion) -> list[ServicePort]:
    service = destination.service
    if port.name:
        found = [p for p in service.ports if p.name == port.name and port.protocol in ("", p.protocol)]
    else:
        found = [p for p in service.ports if point(p.protocol, p.port) in port.ports]
    if not found:
        known = ", ".join(f"{p.port}/{p.protocol.lower()}{f' ({p.name})' if p.name else ''}" for p in service.ports)
        message = f"{destination.name} has no port {port.text}; it has {known or 'no ports'}"
        raise EndpointError(message)
    return found


def _judge_backend(engine: Engine, source: Endpoint, service: Service, backend: ServiceBackend) -> list[_Part]:
    ports = PortSet.single(backend.protocol, backend.number)
    target: Endpoint
    if backend.member is not None:
        target = PodsEndpoint(display_name(backend.member.key), (backend.member,))
    elif backend.address is not None:
        target = AddressesEndpoint(format_address(backend.address), AddressSet.single(backend.address))
    else:
        return []
    try:
        connections = pairs(engine, source, target)
    except NoCommonFamilyError:
        return []
    result: list[_Part] = []
    for pair in connections:
        through = _through_service(pair)
        result += _judge(engine, through, ports)
        if isinstance(source, AddressesEndpoint) and _masqueraded(service):
            result = _with_node_sources(engine, through, ports, result, engine.options.service_source)
    return result


def _through_service(pair: Pair) -> Pair:
    if isinstance(pair.destination, PodEnd):
        return replace(pair, destination=replace(pair.destination, through_service=True))
    return pair


def _masqueraded(service: Service) -> bool:
    """Return whether outside traffic may arrive with a node's address (semantics 7.9)."""
    return service.type in ("NodePort", "LoadBalancer") and service.external_traffic_policy == "Cluster"


def _with_node_sources(engine: Engine, pair: Pair, ports: PortSet, as_client: list[_Part], option: str) -> list[_Part]:
    if option == "client" or not isinstance(pair.destination, PodEnd):
        return as_client
    own = NodeEnd(pair.destination.member.node or "", None, pair.destination.family)
    other = NodeEnd("", None, pair.destination.family)
    as_node = [
        part
        for end, name in ((own, "the pod's own node"), (other, "another node"))
        for part in _judge(engine, replace(pair, source=end, source_name=name, addresses=None), ports)
    ]
    return as_node if option == "node" else as_client + as_node


# Named ports, and questions without an answer by policy


def _check_named(engine: Engine, source: Endpoint, destination: Endpoint, port: PortQuestion) -> Verdict:
    """Judge a named port on each destination pod with the pod's own number (semantics 5.4)."""
    if not isinstance(destination, PodsEndpoint):
        message = f"port {port.text!r}: only pods and Services have named ports; give a number"
        raise EndpointError(message)
    parts: list[_Part] = []
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
