# SPDX-License-Identifier: Apache-2.0
"""The connections of a question that have an end among this node's pods, each judged by engine and program.

To be called in the loop's thread, where model and program agree.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from podfence.analysis.endpoints import AlternativesEndpoint, Endpoint, PodsEndpoint
from podfence.analysis.pairs import NoCommonFamilyError, pairs
from podfence.cluster.members import display_name
from podfence.dataplane.drops import TUNNEL, UNKNOWN_SOURCE
from podfence.dataplane.ruleset import BRIDGE_TABLE, TABLE, address_text
from podfence.dataplane.tracing import Side, side, tunnel_ports
from podfence.policy.ends import NodeEnd, PodEnd
from podfence.policy.engine import Bound
from podfence.policy.verdict import Direction
from podfence.sets import PortSet

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from podfence.agent.node.view import View
    from podfence.analysis.ports import PortQuestion
    from podfence.cluster.members import Member
    from podfence.dataplane.enforcer import Enforcer
    from podfence.dataplane.program import NodeProgram
    from podfence.policy.ends import End
    from podfence.policy.engine import Engine


@dataclass(frozen=True, slots=True)
class JudgedEnd:
    """One end: what the engine surely and possibly admits there, and what the program does."""

    direction: Direction
    end: PodEnd
    address: int
    certain: PortSet
    possible: PortSet
    side: Side


@dataclass(frozen=True, slots=True)
class Asked:
    """A connection, with the ports asked about, and what engine and program say of each end on this node."""

    source: End
    destination: End
    ports: PortSet
    sides: tuple[JudgedEnd, ...]


def connections(
    engine: Engine, node: str, source: Endpoint, destination: Endpoint, port: PortQuestion, skipped: dict[str, None]
) -> Iterator[tuple[End, End, PortSet]]:
    """Yield the connections with an end among the node's pods, with the ports asked about."""
    for left in _single(source):
        for right in _single(destination):
            ports = port.on(right.members if isinstance(right, PodsEndpoint) else ())
            if not any(_is_local(item, node) for item in (left, right)):
                continue
            try:
                found = pairs(engine, left, right)
            except NoCommonFamilyError:
                continue
            for pair in found:
                one, other = pair.source, pair.destination
                if isinstance(one, PodEnd) and isinstance(other, PodEnd) and one.member.key == other.member.key:
                    skipped["packets from a pod to itself do not pass the kernel's table"] = None
                elif one.address is None or other.address is None:
                    skipped["the kernel does not know an end without an address"] = None
                else:
                    yield one, other, ports


def _single(endpoint: Endpoint) -> Iterator[Endpoint]:
    match endpoint:
        case PodsEndpoint(members=members, hypothetical=hypothetical):
            for member in members:
                yield PodsEndpoint(display_name(member.key), (member,), hypothetical)
        case AlternativesEndpoint(ends=ends):
            yield from ends
        case _:
            yield endpoint


def _is_local(endpoint: Endpoint, node: str) -> bool:
    return isinstance(endpoint, PodsEndpoint) and any(_is_here(member, node) for member in endpoint.members)


def _is_here(member: Member, node: str) -> bool:
    return member.node == node and not member.host and member.pod is not None


def judge(enforcer: Enforcer, source: End, destination: End, ports: PortSet) -> Asked:
    """Say what engine and program admit at each end that is a pod of this node."""
    compiler = enforcer.compiler
    engine, program = compiler.model.engine, compiler.program
    sides: list[JudgedEnd] = []
    for direction, local, peer in (
        (Direction.EGRESS, source, destination),
        (Direction.INGRESS, destination, source),
    ):
        if not isinstance(local, PodEnd) or not _is_here(local.member, compiler.node):
            continue
        if local.address is None or peer.address is None:
            continue
        own_node = isinstance(peer, NodeEnd) and peer.name == compiler.node
        certain, possible = (
            engine.admitted(direction, source, destination, bound) & ports
            for bound in (Bound.PESSIMISTIC, Bound.OPTIMISTIC)
        )
        if own_node and (direction is Direction.INGRESS or not program.judges_own_node):
            found = Side(None, PortSet.ALL)
        else:
            found = side(program, direction, local.address, peer.address)
            if direction is Direction.EGRESS:
                # What no policy decides is no difference between the engine and the program (see `tunnelled`).
                beyond = tunnel_ports(program, local.address, peer.address)
                certain, possible = certain - beyond, possible - beyond
        sides.append(JudgedEnd(direction, local, local.address, certain, possible, found))
    return Asked(source, destination, ports, tuple(sides))


def bound(view: View, found: Iterable[tuple[End, End, PortSet]]) -> Iterator[str]:
    """Say of each source on this node what becomes of its packets if they have another's address."""
    if view.binding == "off" or view.agent.links is None:
        return
    pods = {link.pod: link for link in view.agent.links.pods}
    sources = (source.member for source, _, _ in found if isinstance(source, PodEnd))
    for member in dict.fromkeys(member for member in sources if _is_here(member, view.node)):
        name = display_name(member.key)
        link = pods.get(name)
        if link is None:
            yield f"{name} is not bound to a link: it can send with any source address, also that of another pod"
        elif link.exempt:
            yield f"{name} may send with any address: its namespace is exempt on this node (--unbound-namespace)"
        else:
            where = f"port {link.interface} of bridge {link.bridge}" if link.bridge else f"link {link.interface}"
            table = BRIDGE_TABLE if link.bridge else TABLE
            own = ", ".join(map(address_text, link.addresses)) or "an address, which its status does not have yet,"
            end = "dropped" if view.binding == "enforce" else "told of, and passes,"
            yield (
                f"what {name} sends by {where} with another source than {own} is {end} "
                f"as {UNKNOWN_SOURCE} by table {table.address}, before any policy is asked"
            )


def tunnelled(program: NodeProgram, found: Iterable[tuple[End, End, PortSet]]) -> Iterator[str]:
    """Say which of the ports that are asked about nodes keep to themselves."""
    for source, destination, ports in found:
        if not isinstance(source, PodEnd) or source.address is None or destination.address is None:
            continue
        beyond = tunnel_ports(program, source.address, destination.address) & ports
        if beyond:
            yield (
                f"{beyond} of {address_text(destination.address)} is where a node takes packets out of a tunnel: "
                f"what pods send there is dropped as {TUNNEL}, whatever policies admit"
            )
