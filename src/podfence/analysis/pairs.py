# SPDX-License-Identifier: Apache-2.0
"""A question taken apart: the single connections it covers, equal ones once."""

from __future__ import annotations

from bisect import bisect_right
from typing import TYPE_CHECKING

from msgspec import Struct
from msgspec.structs import replace

from podfence.analysis.endpoints import AddressesEndpoint, Endpoint, NodeEndpoint, PodsEndpoint, SelfEndpoint
from podfence.cluster.members import Member, display_name
from podfence.cluster.nodes import node_addresses
from podfence.errors import EndpointError
from podfence.policy.ends import AddressEnd, End, NodeEnd, PodEnd
from podfence.policy.grants import cuts_of
from podfence.policy.unknown import service
from podfence.sets.addresses import AddressSet, Family, family_of, format_address
from podfence.sets.spans import cut

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from podfence.policy.engine import Engine
    from podfence.policy.verdict import Dependency
    from podfence.sets import PortSet


class Arrival(Struct, frozen=True):
    """A connection as its destination sees it, after the rewriting of addresses and ports on the way."""

    source: End
    destination: End
    ports: PortSet


class Pair(Struct, frozen=True):
    """One connection of a question; `source_name` and `destination_name` tell it from its siblings.

    `addresses` are the addresses a range's piece stands for, None for other ends. `arrival` is set where what arrives
    is not what was sent. Where a connection may be this pair or another one, `matter` says what decides, and `variant`
    which one this is.
    """

    source: End
    destination: End
    source_name: str
    destination_name: str
    addresses: AddressSet | None = None
    arrival: Arrival | None = None
    matter: tuple[Dependency, ...] = ()
    variant: str = ""

    @property
    def family(self) -> Family:
        """The address family that is used; for a pod's loopback that of the address."""
        return self.source.family


class NoCommonFamilyError(Exception):
    """No pair of addresses of the two ends is of one family; nothing can be sent, whatever the policies."""


def pairs(engine: Engine, source: Endpoint, destination: Endpoint) -> list[Pair]:
    """Return the single connections between two endpoints (a Service is taken apart before).

    Raises NoCommonFamilyError if there are pods and none can reach another.
    """
    cuts = _cuts(engine, source, destination)
    result: list[Pair] = []
    if isinstance(source, SelfEndpoint) or isinstance(destination, SelfEndpoint):
        return _itself(engine, source, destination, cuts)
    sources, destinations = _groups(source, cuts), _groups(destination, cuts)
    several = len(sources) > 1 or len(destinations) > 1
    for left in sources:
        for right in destinations:
            if several and _one_pod(left, right):
                continue
            result.extend(_between(engine, left, right, source.name, destination.name))
    if not result:
        raise NoCommonFamilyError
    return result


def _itself(engine: Engine, source: Endpoint, destination: Endpoint, cuts: list[int]) -> list[Pair]:
    """Return the connections of each pod to itself; raises EndpointError where the other end is no pod."""
    other = destination if isinstance(source, SelfEndpoint) else source
    if not isinstance(other, PodsEndpoint):
        raise EndpointError(f"self is the pod at the other end, and {other.name} is none")
    result = []
    for group in _groups(other, cuts):
        name = _name(group, other.name)
        for end in as_ends(engine, group.members[0]):
            one = replace(end, itself=True) if isinstance(end, PodEnd) else end
            result.append(Pair(one, one, name, name))
    return result


def as_ends(engine: Engine, member: Member) -> tuple[End, ...]:
    """Return the ends of a pod, one for each address (semantics 7.13); its node's if it is hostNetwork (7.6)."""
    if not engine.is_judged(member):
        # A member that is not the state's own is one asked about at a single address.
        whole = engine.state.members.get(member.key) is member
        known = node_addresses(engine.state).get(member.node) if whole else None
        ends = node_ends(engine, member.node, known or member.addresses)
        if member.pod is None and not member.node:
            return tuple(replace(end, anywhere=True) for end in ends)
        return ends
    return engine.pod_ends(member)


def node_ends(engine: Engine, name: str, addresses: tuple[int, ...]) -> tuple[NodeEnd, ...]:
    """Return the ends of a node, one for each of its addresses, or for each family it may have one of."""
    if addresses:
        return tuple(NodeEnd(name, number, family_of(number)) for number in addresses)
    return tuple(NodeEnd(name, None, family) for family in engine.assumed_families())


class _Group(Struct, frozen=True):
    """Ends of a question that are judged alike: pods (any stands for all), a piece of a range, or a node.

    Whose an address is, is asked only of one that is `named`: of a range only those of nobody are meant.
    """

    members: tuple[Member, ...] = ()
    piece: AddressSet | None = None
    named: bool = False
    node: NodeEndpoint | None = None


def _groups(endpoint: Endpoint, cuts: list[int]) -> list[_Group]:
    match endpoint:
        case PodsEndpoint(members=members):
            alike: dict[object, list[Member]] = {}
            for member in members:
                alike.setdefault(_likeness(member, cuts), []).append(member)
            return [_Group(members=tuple(group)) for group in alike.values()]
        case AddressesEndpoint(addresses=addresses):
            first, last = addresses.spans[0]
            named = addresses.spans == ((first, last),) and first == last
            return [_Group(piece=AddressSet((piece,)), named=named) for piece in cut(addresses.spans, cuts)]
        case NodeEndpoint() as node:
            return [_Group(node=node)]
        case other:
            raise TypeError(f"{other.name} is taken apart before")


def _likeness(member: Member, cuts: list[int]) -> object:
    cells = tuple(bisect_right(cuts, number) for number in member.addresses)
    labels = tuple(sorted(member.labels.items()))
    return member.namespace, labels, member.ports, cells, member.node, member.host


def _cuts(engine: Engine, *endpoints: Endpoint) -> list[int]:
    """Return where the policies of the pods concerned change their mind about addresses."""
    namespaces = {m.namespace for e in endpoints if isinstance(e, PodsEndpoint) for m in e.members}
    return sorted(cuts_of(policy for namespace in namespaces for policy in engine.policies_over(namespace)))


def _between(engine: Engine, left: _Group, right: _Group, source: str, destination: str) -> Iterator[Pair]:
    one, other = _representatives(left, right)
    for a, a_addresses in _ends(engine, one):
        for b, b_addresses in _ends(engine, other):
            if not (a.family == b.family or _is_loopback(a) or _is_loopback(b)):
                continue
            if isinstance(b, AddressEnd) and other.named and not isinstance(a, AddressEnd):
                b = _perhaps_service(engine, b)  # noqa: PLW2901  the same end, with what is not known of it
            pair = Pair(a, b, _name(one, source), _name(other, destination), a_addresses or b_addresses)
            yield from _by_node(pair) if engine.world.is_open("Pod") else (pair,)


def may_be_service_address(engine: Engine, end: Endpoint) -> bool:
    """Return whether an end is a single address of nobody that may be a Service's (semantics 13.8)."""
    if not isinstance(end, AddressesEndpoint):
        return False
    (first, _), (_, last) = end.addresses.spans[0], end.addresses.spans[-1]
    return first == last and first in engine.world.service_addresses()


def _perhaps_service(engine: Engine, end: AddressEnd) -> AddressEnd:
    """Return an address with what may stand behind it, if it may be a Service's (semantics 13.8)."""
    if end.address not in engine.world.service_addresses():
        return end
    return replace(end, behind=service(format_address(end.address)))


def _by_node(pair: Pair) -> Iterator[Pair]:
    """Yield a connection with a workload of hostNetwork for its pod on the other's node, and for its other pods.

    The first is the other's own node (semantics 7.3), and nothing says where pods of the workload run (13.5).
    """
    one, other = pair.source, pair.destination
    for own in (True, False):
        if isinstance(one, NodeEnd) and one.anywhere and isinstance(other, PodEnd):
            yield replace(pair, source=replace(one, own=own), source_name=_placed(pair.source_name, own=own))
        elif isinstance(other, NodeEnd) and other.anywhere and isinstance(one, PodEnd):
            name = _placed(pair.destination_name, own=own)
            yield replace(pair, destination=replace(other, own=own), destination_name=name)
        elif own:
            yield pair


def _placed(name: str, *, own: bool) -> str:
    return f"the pod of {name} on the same node" if own else f"pods of {name} on other nodes"


def _one_pod(left: _Group, right: _Group) -> bool:
    """Return whether both are one and the same pod; asked with others, its access to itself is not what is meant."""
    return len(left.members) == len(right.members) == 1 and left.members[0].key == right.members[0].key


def _representatives(left: _Group, right: _Group) -> tuple[_Group, _Group]:
    """Let one pod stand for each group, two different ones where a workload is asked about itself."""
    chosen = [(one, other) for one in left.members[:2] for other in right.members[:2]]
    apart = [(one, other) for one, other in chosen if one.key != other.key] or chosen
    if not apart:
        return replace(left, members=left.members[:1]), replace(right, members=right.members[:1])
    return replace(left, members=apart[0][:1]), replace(right, members=apart[0][1:])


def unread_end(engine: Engine, number: int) -> PodEnd | None:
    """Return the pod that only an endpoint tells of, and that has an address (semantics 13.7)."""
    member = engine.world.unread_pod(number)
    return PodEnd(member, number, family_of(number), more=True) if member else None


def _ends(engine: Engine, group: _Group) -> Iterable[tuple[End, AddressSet | None]]:
    if group.piece is not None:
        number = group.piece.spans[0][0]
        end = unread_end(engine, number) if group.named else None
        return [(end or AddressEnd(number), group.piece)]
    if group.node is not None:
        found = node_ends(engine, group.node.node, group.node.addresses)
        # Whether a node is a pod's own is a matter of its name, if it has one.
        own = True if group.node.own else None if group.node.node else False
        return [(replace(end, own=own), None) for end in found]
    return [(end, None) for end in as_ends(engine, group.members[0])]


def _is_loopback(end: End) -> bool:
    """Return whether an end is the pod itself by an address that every pod has, of either family."""
    return isinstance(end, AddressEnd) and end.address in AddressSet.LOOPBACK


def _name(group: _Group, endpoint: str) -> str:
    return display_name(group.members[0].key) if group.members else endpoint
