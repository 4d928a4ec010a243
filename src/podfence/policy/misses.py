# SPDX-License-Identifier: Apache-2.0
"""The nearest miss: which rule comes closest to admitting a denied connection, by what it misses."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from podfence.cluster.members import display_name
from podfence.cluster.selection import may_hold
from podfence.policy.ends import AddressEnd, End, NodeEnd, PodEnd
from podfence.policy.engine import kind_of
from podfence.policy.grants import rule_ports, rules_of
from podfence.policy.references import rule_ref
from podfence.policy.verdict import Direction, Miss
from podfence.policy.wording import Wanted, admits_text, end_name, label_text
from podfence.sets import PortSet
from podfence.sets.addresses import AddressSet, format_address
from podfence.sets.ports import LAST_PORT, OTHER_POINT

if TYPE_CHECKING:
    from podfence.cluster.members import Member
    from podfence.kube.objects import IPBlock, Labels, Peer, PolicyPort, Rule, Selector
    from podfence.policy.engine import Engine
    from podfence.policy.grants import CompiledPolicy
    from podfence.policy.ruling import Ruling

# How far a kind of miss is from a match. Ports come cheap: the right peer on the wrong port is the
# most frequent mistake; an address where pods are meant can only be mended with another peer.
_WRONG_PORT = 2
_FAILED_REQUIREMENT = 3
_OTHER_NAMESPACE = 4
_OTHER_KIND = 12


class _Gap(Struct, frozen=True):
    """One thing that keeps a rule from matching: its cost, and what is the case."""

    cost: int
    fact: str


def nearest_miss(
    engine: Engine,
    direction: Direction,
    subject: PodEnd,
    peer: End,
    wanted: Wanted,
    ruling: Ruling,
) -> Miss | None:
    """Return the nearest rule of the policies that isolate the pod; None if they have no rule.

    `ruling` is that which denies: it says which peers of which rules match. Of equally near rules the first by policy
    name and index is returned.
    """
    found = (
        (
            policy,
            index,
            rule,
            _gaps(engine, direction, subject, peer, wanted, policy, rule, ruling.matched(policy, index)),
        )
        for policy in ruling.policies
        for index, rule in enumerate(() if policy.refused else rules_of(policy.source, direction))
    )
    nearest = min(found, key=lambda item: _cost(item[3]), default=None)
    if nearest is None:
        return None
    policy, index, rule, gaps = nearest
    return Miss(
        rule=rule_ref(policy, direction, index),
        admits=admits_text(rule, direction, policy.key.namespace),
        gap=_joined(gaps) or _by_option(engine, wanted),
    )


def _cost(gaps: list[_Gap]) -> int:
    return sum(gap.cost for gap in gaps)


def _joined(gaps: list[_Gap]) -> str:
    """Return all that is missed: ``the source has app=web and tier=front``."""
    texts: list[str] = []
    before = ""
    for gap in gaps:
        who, has, rest = gap.fact.partition(" has ")
        texts.append(rest if has and who == before else gap.fact)
        before = who if has else ""
    return " and ".join(texts)


def _by_option(engine: Engine, wanted: Wanted) -> str:
    """Return which option keeps a rule from matching that misses nothing else."""
    if wanted.point == OTHER_POINT:
        return f"option icmp={engine.options.icmp} admits no ICMP"
    value = engine.options.named_port_without_peer
    return f"option named-port-without-peer={value} does not look up the port's name here"


def _gaps(
    engine: Engine,
    direction: Direction,
    subject: PodEnd,
    peer: End,
    wanted: Wanted,
    policy: CompiledPolicy,
    rule: Rule,
    matched: dict[int, bool],
) -> list[_Gap]:
    choices = (
        []
        if matched.get(number)
        else _peer_gaps(engine, direction, peer, policy.key.namespace, item, maybe=number in matched)
        for number, item in enumerate(rule.peers)
    )
    gaps = min(choices, key=_cost, default=[])
    destination = subject if direction is Direction.INGRESS else peer
    ports, names = rule_ports(rule.ports, end_port=engine.options.end_port)
    if isinstance(destination, PodEnd):
        ports |= engine.named_ports(destination.member, names)
    return gaps if wanted.point in ports else [*gaps, _port_gap(engine, rule, destination, wanted)]


def _port_gap(engine: Engine, rule: Rule, destination: End, wanted: Wanted) -> _Gap:
    names = [item for item in rule.ports if isinstance(item.port, str)]
    if names and len(names) == len(rule.ports):
        item = names[0]
        if not isinstance(destination, PodEnd):
            fact = f"{end_name(destination)} has no named ports"
        elif engine.has_unknown_ports(destination):
            fact = f"the port names of {end_name(destination)} are not known"
        elif found := engine.named_ports(destination.member, ((str(item.port), item.protocol),)):
            port = wanted if wanted.alone else "another"
            fact = f"{item.port} is {found} on {end_name(destination)}, and the port is {port}"
        else:
            fact = f"{end_name(destination)} has no {item.protocol} port named {item.port}"
    elif wanted.point == OTHER_POINT:
        fact = "a rule with ports never matches ICMP"
    else:
        fact = f"the port is {wanted}" if wanted.alone else "the port is none of these"
    if also := _near_port(engine, rule, destination, wanted):
        fact += f" ({also})"
    return _Gap(_WRONG_PORT, fact)


def _near_port(engine: Engine, rule: Rule, destination: End, wanted: Wanted) -> str:
    """Return why an item of a rule that looks as if it meant the port does not, "" if none does."""
    if not wanted.alone or wanted.point == OTHER_POINT:
        return ""
    number = wanted.point & LAST_PORT
    for item in rule.ports:
        if isinstance(item.port, str):
            if isinstance(destination, PodEnd) and (why := _near_name(engine, item, destination.member, number)):
                return why
        elif item.port and item.end_port and wanted.point in PortSet.of(item.protocol, item.port, item.end_port):
            return "option end-port=first reads the first port of a range alone"
    return ""


def _near_name(engine: Engine, item: PolicyPort, member: Member, number: int) -> str:
    who = display_name(member.key)
    for port in member.ports:
        if (port.name, port.number) == (item.port, number):
            if port.protocol != item.protocol:
                return f"{port.name} is {port.protocol} {number} on {who}"
            if port.sidecar:
                return f"option init-ports=containers leaves {port.name} out, which belongs to a sidecar of {who}"
    found = engine.state.workloads.get(member.key)
    template = member.pod.template if member.pod else found.template if found else None
    for port in template.init_ports if template else ():
        if (port.name, port.number, port.protocol) == (item.port, number, item.protocol):
            return f"{port.name} belongs to an init container of {who}, semantics 5.8"
    return ""


def _peer_gaps(
    engine: Engine, direction: Direction, peer: End, namespace: str, item: Peer, *, maybe: bool
) -> list[_Gap]:
    role = "source" if direction is Direction.INGRESS else "destination"
    if item.ip_block is not None:
        return [] if maybe else [_block_gap(engine, peer, item.ip_block, role)]
    if not isinstance(peer, PodEnd):
        kind = "a node" if isinstance(peer, NodeEnd) else "an address outside"
        return [_Gap(_OTHER_KIND, f"the {role} is {kind}, and selectors match pods only")]
    member = peer.member
    gaps: list[_Gap] = []
    if item.namespace_selector is None:
        if member.namespace != namespace:
            gaps.append(_Gap(_OTHER_NAMESPACE, f"the {role} is in namespace {member.namespace}"))
    else:
        name = member.namespace
        labels, whole = engine.state.labels_of_namespace(name), not engine.world.has_unknown_labels(name)
        gaps += _label_gaps(item.namespace_selector, labels, f"namespace {name}", whole=whole)
    if item.pod_selector is not None:
        gaps += _label_gaps(item.pod_selector, member.labels, f"the {role}", whole=not peer.more)
    return gaps


def _label_gaps(selector: Selector, labels: Labels, who: str, *, whole: bool) -> list[_Gap]:
    """Return a gap for each requirement that does not surely hold; there may be more labels if not `whole`."""
    answers = ((item.key, may_hold(item, labels, whole=whole)) for item in selector.requirements)
    return [
        _Gap(
            _FAILED_REQUIREMENT,
            f"{who} has {label_text(labels, key)}" if holds is False else f"label {key} of {who} is not known",
        )
        for key, holds in answers
        if not holds
    ]


def _block_gap(engine: Engine, peer: End, block: IPBlock, role: str) -> _Gap:
    inside = AddressSet.block(block.cidr, block.excepts)
    if peer.address is None:
        return _Gap(_OTHER_KIND, _unknown_address(engine, peer, inside, role))
    if peer.address in inside:
        kind = "pods" if isinstance(peer, PodEnd) else "nodes"
        return _Gap(_OTHER_KIND, f"an ipBlock does not match {kind} here")
    if peer.address in AddressSet.cidr(block.cidr):
        who = end_name(peer) if isinstance(peer, AddressEnd) else format_address(peer.address)
        fact = f"{who} is in an `except` of the rule"
    elif isinstance(peer, AddressEnd):
        fact = f"the {role} is {end_name(peer)}"
    else:
        fact = f"the {role} has the address {format_address(peer.address)}"
    return _Gap(_FAILED_REQUIREMENT if isinstance(peer, AddressEnd) else _OTHER_KIND, fact)


def _unknown_address(engine: Engine, peer: PodEnd | NodeEnd, inside: AddressSet, role: str) -> str:
    if not inside & AddressSet.of_family(peer.family):
        return f"the connection is over IPv{peer.family}"
    if inside & engine.world.unset_addresses(kind_of(peer), peer.family):
        return f"the address of the {role} is not known"
    return f"the {role} has no address in it"
