# SPDX-License-Identifier: Apache-2.0
"""Which options decide a connection: those of which another value would decide it otherwise."""

from __future__ import annotations

from typing import TYPE_CHECKING

from podfence.policy.ends import NodeEnd, PodEnd
from podfence.policy.grants import rules_of
from podfence.policy.legacy import ANNOTATION, is_old
from podfence.policy.options import describe
from podfence.policy.verdict import Direction
from podfence.sets import AddressSet, PortSet
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
    source, destination = direction.ordered(subject, peer)
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
    if ruling.policies and point == OTHER_POINT:
        yield "icmp"
    blocks = [
        grant.peer
        for policy in ruling.policies
        for grant in policy.grants[direction]
        if isinstance(grant.peer, AddressSet) and (grant.names or point in grant.ports)
    ]
    if isinstance(peer, PodEnd | NodeEnd) and any(peer.address is None or peer.address in block for block in blocks):
        yield "ip_block_pods" if isinstance(peer, PodEnd) else "ip_block_nodes"
    if isinstance(peer, NodeEnd) and direction is Direction.EGRESS:
        yield "own_node_egress"
    items = [item for policy in ruling.policies for rule in rules_of(policy.source, direction) for item in rule.ports]
    if any(point in _range(item) for item in items):
        yield "end_port"
    destination = subject if direction is Direction.INGRESS else peer
    if isinstance(destination, PodEnd):
        names = {(item.port, item.protocol) for item in items}
        named = [port for port in destination.member.ports if (port.name, port.protocol) in names]
        found = [port for port in named if point in PortSet.single(port.protocol, port.number)]
        if direction is Direction.EGRESS and (found or engine.has_unknown_ports(destination)):
            yield "named_port_without_peer"
        if any(port.sidecar for port in found):
            yield "init_ports"


def _range(item: PolicyPort) -> PortSet:
    """Return the ports of an item that has an `endPort`, whatever the option `end-port` says of it."""
    if isinstance(item.port, int) and item.end_port is not None:
        return PortSet.of(item.protocol, item.port, item.end_port)
    return PortSet.EMPTY
