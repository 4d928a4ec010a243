# SPDX-License-Identifier: Apache-2.0
"""What a change opens: the connections of one direction that are admitted after it, and were not before."""

from __future__ import annotations

from copy import copy
from itertools import product
from typing import TYPE_CHECKING, Final

from msgspec.structs import replace

from podfence.cluster.members import display_name
from podfence.cluster.selection import Selection
from podfence.policy.changes import Opened
from podfence.policy.ends import AddressEnd, End, NodeEnd, PodEnd, is_one_pod
from podfence.policy.engine import Bound, Engine
from podfence.policy.verdict import Direction
from podfence.policy.wording import end_name
from podfence.sets import AddressSet, PortSet

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from podfence.cluster.members import Member
    from podfence.kube.objects import Key, Labels, NetworkPolicy
    from podfence.policy.grants import CompiledPolicy, Grant

_MOST: Final = 20_000
"""How many pairs of pods are looked at; a change that is about more is not proposed."""

EVERY_SOURCE: Final = "every source"
EVERY_DESTINATION: Final = "every destination"


class TooLargeError(Exception):
    """A change is about more pods than are looked at."""


class Asked:
    """The connection that a change is to admit: `subject` and `peer` on `ports`, in a direction."""

    def __init__(self, direction: Direction, subject: PodEnd, peer: End, ports: PortSet) -> None:
        """Take the ends as they are judged."""
        self.direction = direction
        self.subject = subject
        self.peer = peer
        self.ports = ports

    def is_admitted(self, engine: Engine, peer: End | None = None) -> bool:
        """Return whether the connection is surely admitted in its direction, with this peer or its own."""
        return self.ports <= _admitted(engine, self.direction, self.subject, peer or self.peer, Bound.PESSIMISTIC)

    def rest(self, subject: End, peer: End, ports: PortSet) -> PortSet:
        """Return the ports that are not what was asked, between two ends or others of their workloads."""
        same = _owner(subject) == _owner(self.subject) and _owner(peer) == _owner(self.peer)
        return ports - self.ports if same else ports


def with_policy(engine: Engine, policy: NetworkPolicy) -> Engine:
    """Return an engine for the same cluster with a policy that is new or changed."""
    state = copy(engine.state)
    state.policies = {
        **engine.state.policies,
        policy.namespace: {**engine.state.policies.get(policy.namespace, {}), policy.name: policy},
    }
    return Engine(state, engine.options, engine.world.of(state), engine.clusterwide)


def opened_by_policy(before: Engine, after: Engine, policy: NetworkPolicy, asked: Asked) -> tuple[Opened, ...]:
    """Return what a policy that is new or changed admits besides what was asked; raises TooLargeError."""
    compiled = next(_compiled(after, policy))
    known = next(_compiled(before, policy), None)
    subjects = _subjects(before, compiled, asked)
    direction = asked.direction
    if known is not None and known.isolates(direction) and not compiled.isolates(direction):
        every = [end for end in subjects if not after.concerned(direction, end)[0]]
        return _named((end, None, PortSet.ALL) for end in every) if direction is Direction.INGRESS else ()
    old = known.grants.get(direction, ()) if known is not None else ()
    new = [grant for grant in compiled.grants.get(direction, ()) if grant not in old]
    found: list[tuple[End, End | None, PortSet]] = []
    for subject in subjects:
        for grant in new:
            if grant.peer is None:
                ports = grant.ports - _everybody(before, direction, subject)
                found += [(subject, None, ports)] if ports else []
    for subject, peer in _pairs(before, subjects, new, asked):
        ports = asked.rest(subject, peer, _gained(before, after, direction, subject, peer))
        if ports and not any(grant.peer is None for grant in new):
            found.append((subject, peer, ports))
    return _named(found, direction)


def opened_by_labels(engine: Engine, member: Member, labels: Labels, asked: Asked) -> tuple[Opened, ...]:
    """Return what further labels of the peer's pods open besides what was asked; raises TooLargeError."""
    changed = replace(member, labels={**member.labels, **labels})
    found: list[tuple[str, str, PortSet]] = []
    others = [other for other in _judged(engine) if other.key != member.key and other.workload != member.workload]
    for other in _apart(others):
        for peer, subject in product(engine.pod_ends(member), engine.pod_ends(other)):
            for direction in Direction if peer.family == subject.family else ():
                now, before = (
                    _admitted(engine, direction, subject, end, Bound.OPTIMISTIC)
                    for end in (replace(peer, member=changed), peer)
                )
                ports = asked.rest(subject, peer, now - before) if direction is asked.direction else now - before
                if ports:
                    found.append((*direction.ordered(end_text(subject), end_text(peer)), ports))
    return _joined(found)


def isolates_others(before: Engine, after: Engine, policy: NetworkPolicy, asked: Asked) -> bool:
    """Return whether a policy isolates a pod that was not isolated before."""
    subjects = _subjects(before, next(_compiled(after, policy)), asked)
    return any(not any(before.concerned(asked.direction, end)) for end in subjects)


def is_for_workload_only(engine: Engine, policy: CompiledPolicy, asked: Asked) -> bool:
    """Return whether a policy selects no pods but those of the workload of the subject."""
    return all(_owner(end) == _owner(asked.subject) for end in _subjects(engine, policy, asked))


def end_text(end: End) -> str:
    """Return an end as it is named in what a change opens: the workload of a pod."""
    return display_name(end.member.owner) if isinstance(end, PodEnd) else end_name(end)


def _compiled(engine: Engine, policy: NetworkPolicy) -> Iterator[CompiledPolicy]:
    """Yield the policy of that name, if there is one."""
    return (item for item in engine.policies(policy.namespace) if item.key == policy.key)


def _subjects(engine: Engine, policy: CompiledPolicy, asked: Asked) -> list[PodEnd]:
    """Return the pods that a policy means, the one that was asked about first, those that are alike once."""
    space = asked.subject.member.namespace
    members = [
        member
        for member in _judged(engine)
        if member.namespace == space
        and member.key != asked.subject.member.key
        and policy.subject.matches_labels(member.labels)
    ]
    subject = asked.subject
    # It was asked about at one of its addresses.
    whole = engine.pod_ends(engine.state.members.get(subject.member.key, subject.member))
    others = [end for end in whole if (end.address, end.family) != (subject.address, subject.family)]
    return [subject, *others, *(end for member in _apart(members) for end in engine.pod_ends(member))]


def _pairs(engine: Engine, subjects: list[PodEnd], grants: list[Grant], asked: Asked) -> Iterator[tuple[PodEnd, End]]:
    members = [member for member in _judged(engine) if any(_may_mean(engine, grant, member) for grant in grants)]
    peers: list[End] = [end for member in _apart(members) for end in engine.pod_ends(member)]
    if isinstance(asked.peer, AddressEnd | NodeEnd) or asked.peer.member.key not in engine.state.members:
        peers.append(asked.peer)
    if len(subjects) * len(peers) > _MOST:
        raise TooLargeError
    for subject in subjects:
        for peer in peers:
            if peer.family == subject.family and not is_one_pod(subject, peer):
                yield subject, peer


def _may_mean(engine: Engine, grant: Grant, member: Member) -> bool:
    peer = grant.peer
    if isinstance(peer, Selection):
        return any(engine.selects(peer, end) is not False for end in engine.pod_ends(member)[:1])
    return peer is None or not member.addresses or any(number in peer for number in member.addresses)


def _gained(before: Engine, after: Engine, direction: Direction, subject: PodEnd, peer: End) -> PortSet:
    admitted = ([_admitted(engine, direction, subject, peer, bound) for engine in (after, before)] for bound in Bound)
    return PortSet.union(now - earlier for now, earlier in admitted)


def _admitted(engine: Engine, direction: Direction, subject: PodEnd, peer: End, bound: Bound) -> PortSet:
    return engine.admitted(direction, *direction.ordered(subject, peer), bound)


def _everybody(engine: Engine, direction: Direction, subject: PodEnd) -> PortSet:
    """Return the ports on which rules admit every peer of a pod already."""
    sure, _ = engine.concerned(direction, subject)
    return PortSet.union([grant.ports for policy in sure for grant in policy.grants[direction] if grant.peer is None])


def _judged(engine: Engine) -> list[Member]:
    return list(filter(engine.is_judged, engine.state.members.values()))


def _apart(members: Iterable[Member]) -> list[Member]:
    """Return members that no policy is likely to take for another, one of each workload at least."""
    found = {
        (member.owner, tuple(sorted(member.labels.items())), member.ports, member.addresses): member
        for member in members
    }
    return list(found.values())


def _owner(end: End) -> Key | str:
    match end:
        case PodEnd(member=member):
            return member.owner
        case AddressEnd():
            return end.name or str(AddressSet.single(end.address))
        case NodeEnd():
            return f"node:{end.name}"


def _named(
    found: Iterable[tuple[End, End | None, PortSet]], direction: Direction = Direction.INGRESS
) -> tuple[Opened, ...]:
    everybody = EVERY_SOURCE if direction is Direction.INGRESS else EVERY_DESTINATION
    return _joined(
        (*direction.ordered(end_text(subject), everybody if peer is None else end_text(peer)), ports)
        for subject, peer, ports in found
    )


def _joined(found: Iterable[tuple[str, str, PortSet]]) -> tuple[Opened, ...]:
    together: dict[tuple[str, str], PortSet] = {}
    for source, destination, ports in found:
        together[source, destination] = together.get((source, destination), PortSet.EMPTY) | ports
    return tuple(
        Opened(source=source, destination=destination, ports=str(ports))
        for (source, destination), ports in sorted(together.items(), key=lambda item: item[0])
    )
