# SPDX-License-Identifier: Apache-2.0
"""Which options decide a connection: those of which another value would decide it otherwise."""

from __future__ import annotations

from typing import TYPE_CHECKING

from podfence.kube.objects import NetworkPolicy
from podfence.policy.ends import NodeEnd, PodEnd
from podfence.policy.legacy import ANNOTATION, is_old
from podfence.policy.options import describe
from podfence.policy.verdict import Direction
from podfence.sets.ports import OTHER_POINT

if TYPE_CHECKING:
    from collections.abc import Iterator

    from podfence.kube.objects import PolicyPort
    from podfence.policy.ends import End
    from podfence.policy.engine import Engine
    from podfence.policy.ruling import Ruling


def deciding(
    engine: Engine, direction: Direction, subject: PodEnd, peer: End, point: int, ruling: Ruling
) -> tuple[str, ...]:
    """Return the options, as ``--set`` takes them, that decide a direction of a connection on one port.

    `ruling` is that of the engine. Only those are tried that can have a say, so a question that no option is about
    costs nothing.
    """
    options = engine.options
    source, destination = (subject, peer) if direction is Direction.EGRESS else (peer, subject)
    decided = _outcome(ruling, point)
    found = []
    for name in dict.fromkeys(_concerned(engine, direction, subject, peer, point, ruling)):
        others = (value for value in describe()[name].values if value not in ("depends", getattr(options, name)))
        changed = (engine.with_options(options.with_value(name, value)) for value in others)
        if any(_outcome(other.ruling(direction, source, destination), point) != decided for other in changed):
            found.append(name.replace("_", "-"))
    return tuple(found)


def _outcome(ruling: Ruling, point: int) -> tuple[bool, bool]:
    """Return whether the port is surely admitted, and whether it may be."""
    return point in ruling.low, point in ruling.high


def _concerned(
    engine: Engine, direction: Direction, subject: PodEnd, peer: End, point: int, ruling: Ruling
) -> Iterator[str]:
    """Yield the options that a question may rest on."""
    space = subject.member.namespace
    written = engine.state.policies.get(space, {}).values()
    known = engine.state.namespaces.get(space)
    if any(map(is_old, written)) or (known is not None and ANNOTATION in known.annotations):
        yield from ("legacy", "legacy_empty_list")
    policies = [item.source for item in ruling.policies]
    rules = [
        rule
        for policy in policies
        if isinstance(policy, NetworkPolicy)
        for rule in (policy.ingress if direction is Direction.INGRESS else policy.egress)
    ]
    if policies and point == OTHER_POINT:
        yield "icmp"
    blocks = any(item.ip_block is not None for rule in rules for item in rule.peers)
    if blocks and isinstance(peer, PodEnd | NodeEnd):
        yield "ip_block_pods" if isinstance(peer, PodEnd) else "ip_block_nodes"
    if isinstance(peer, NodeEnd) and direction is Direction.EGRESS:
        yield "own_node_egress"
    yield from _concerned_by_ports(direction, [port for rule in rules for port in rule.ports], subject, peer)


def _concerned_by_ports(direction: Direction, ports: list[PolicyPort], subject: PodEnd, peer: End) -> Iterator[str]:
    if any(port.end_port is not None for port in ports):
        yield "end_port"
    if any(isinstance(port.port, str) for port in ports):
        destination = subject if direction is Direction.INGRESS else peer
        if direction is Direction.EGRESS:
            yield "named_port_without_peer"
        if isinstance(destination, PodEnd) and any(port.sidecar for port in destination.member.ports):
            yield "init_ports"
