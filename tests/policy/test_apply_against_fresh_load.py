# SPDX-License-Identifier: Apache-2.0
"""A cluster that arrived by events answers as one loaded in that state, and says truly what each event changed."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st

from podfence.analysis.pairs import as_ends
from podfence.api import Cluster
from podfence.cluster.state import Event, EventType
from podfence.errors import EndpointError
from podfence.kube.objects import Owner, Pod, PodTemplate, Workload
from podfence.policy.ends import AddressEnd, PodEnd
from podfence.policy.engine import Bound
from podfence.policy.options import Options
from podfence.policy.verdict import Direction
from podfence.sets.addresses import parse_address
from tests.twin import boundaries, strategies
from tests.twin.effort import tried

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hypothesis.strategies import DrawFn

    from podfence.kube.objects import Key, KubeObject
    from podfence.policy.ends import End
    from podfence.policy.model import Change
    from podfence.sets import PortSet

MANY = tried(150)

PATIENCE = st.sampled_from((0, 1, 64))
"""After how much that nobody looks at any more it is given up."""


def following(objects: Sequence[KubeObject], options: Options, patience: int) -> Cluster:
    cluster = Cluster.from_objects(objects, options)
    cluster.model.index.looks.patience = patience
    return cluster


Row = dict[tuple[object, Bound], "PortSet"]
"""What one direction of one pod admits, by peer."""


def as_event(event: strategies.Event) -> Event:
    return Event(EventType(event[0]), event[1])


@st.composite
def steps(draw: DrawFn, history: Sequence[strategies.Event]) -> list[list[Event]]:
    """Cut a history into events that are taken in together, most of them one at a time."""
    found: list[list[Event]] = []
    for event in history:
        if found and draw(st.sampled_from((False, False, True))):
            found[-1].append(as_event(event))
        else:
            found.append([as_event(event)])
    return found


def expanded(cluster: Cluster) -> dict[tuple[str, str], set[tuple[str, str]]]:
    found: dict[tuple[str, str], set[tuple[str, str]]] = defaultdict(set)
    for item in cluster.pod_connections():
        found[item.source, item.destination].add((str(item.ports), item.depends))
    return found


def verdicts(cluster: Cluster, names: Sequence[str]) -> list[object]:
    found: list[object] = []
    for source in names:
        for destination in names:
            try:
                verdict = cluster.check(source, destination)
            except EndpointError as error:
                found.append(str(error))
            else:
                parts = [(part.source, part.destination, part.port, part.decision) for part in verdict.parts]
                found.append((source, destination, verdict.decision, sorted(parts)))
    return found


def assert_same_answers(followed: Cluster, objects: Sequence[KubeObject], options: Options) -> None:
    fresh = Cluster.from_objects(objects, options)

    assert followed.notes == fresh.notes
    assert expanded(followed) == expanded(fresh)
    assert set(followed.state.members) == set(fresh.state.members)
    names = [*sorted(member.name.replace("/", "/po/", 1) if member.pod else member.name
                     for member in fresh.state.members.values()), "203.0.113.7", "2001:db8::7"]  # fmt: skip
    assert verdicts(followed, names) == verdicts(fresh, names)


@MANY
@given(data=st.data(), objects=strategies.clusters(), options=strategies.options(), patience=PATIENCE)
def test_answers_after_events_are_those_of_a_fresh_load(
    data: st.DataObject, objects: list[KubeObject], options: Options, patience: int
) -> None:
    history = data.draw(strategies.events(objects))
    followed = following(objects, options, patience)
    for some in data.draw(steps(history)):
        followed.apply(*some)

    assert_same_answers(followed, strategies.replay(objects, history), options)


@tried(100)
@given(data=st.data(), options=strategies.options(), patience=PATIENCE)
def test_answers_after_each_of_the_first_events_of_an_empty_cluster_are_those_of_a_fresh_load(
    data: st.DataObject, options: Options, patience: int
) -> None:
    history = data.draw(strategies.events(max_size=6))
    followed = following((), options, patience)
    for number, event in enumerate(history, 1):
        followed.apply(as_event(event))
        assert_same_answers(followed, strategies.replay((), history[:number]), options)


# Workloads: links of the chain of owners come and go in any order.


@st.composite
def owned_objects(draw: DrawFn) -> KubeObject:
    labels = {"a": draw(st.sampled_from(("x", "y")))}
    kind = draw(st.sampled_from(("Pod", "Pod", "ReplicaSet", "Deployment", "Job", "CronJob", "NetworkPolicy")))
    number = draw(st.sampled_from(("1", "2")))
    template = PodTemplate(labels=labels)
    match kind:
        case "Pod":
            owner = draw(st.sampled_from((Owner("ReplicaSet", "web-1"), Owner("ReplicaSet", "web-2"), Owner("Deployment", "web"),
                                          Owner("Job", "tick-28000001"), Owner("Node", "n1"), None)))  # fmt: skip
            hashed = {"pod-template-hash": "1"} if draw(st.booleans()) else {}
            phase = draw(st.sampled_from(("Running", "Running", "Succeeded")))
            return Pod(namespace="default", name=f"pod-{number}", template=PodTemplate(labels=labels | hashed), owner=owner, phase=phase)  # fmt: skip
        case "ReplicaSet":
            owner = draw(st.sampled_from((Owner("Deployment", "web"), None)))
            return Workload(kind=kind, namespace="default", name=f"web-{number}", template=template, owner=owner)
        case "Job":
            owner = draw(st.sampled_from((Owner("CronJob", "tick"), None)))
            return Workload(kind=kind, namespace="default", name="tick-28000001", template=template, owner=owner)
        case "Deployment" | "CronJob":
            owner = draw(st.sampled_from((None, None, Owner("Platform", "all"))))
            name = "web" if kind == "Deployment" else "tick"
            return Workload(
                kind=kind, namespace="default", name=name, template=template, owner=owner, replicas=int(number) - 1
            )
        case _:
            return draw(strategies.policies("default", f"p{number}"))


@st.composite
def workload_events(draw: DrawFn) -> list[strategies.Event]:
    present: dict[Key, KubeObject] = {}
    found: list[strategies.Event] = []
    for _ in range(draw(st.integers(1, 10))):
        if present and draw(st.sampled_from((False, False, True))):
            found.append(("deleted", present.pop(draw(st.sampled_from(sorted(present))))))
            continue
        item = draw(owned_objects())
        found.append(("modified" if item.key in present else "added", item))
        present[item.key] = item
    return found


@tried(150)
@given(history=workload_events())
def test_workloads_and_pods_in_any_order_amount_to_a_fresh_load(history: list[strategies.Event]) -> None:
    followed = Cluster.from_objects(())
    for event in history:
        followed.apply(as_event(event))
    objects = strategies.replay((), history)
    fresh = Cluster.from_objects(objects)

    assert {key: member.workload for key, member in followed.state.members.items()} == {
        key: member.workload for key, member in fresh.state.members.items()
    }
    assert_same_answers(followed, objects, Options())


# What an event says it changed


def rows(cluster: Cluster, direction: Direction, addresses: Sequence[str]) -> dict[Key, Row]:
    """Return what each pod admits in a direction, for every peer that is a pod or outside."""
    engine = cluster.model.engine
    pods = {
        key: [end for end in as_ends(engine, member) if isinstance(end, PodEnd)]
        for key, member in cluster.state.members.items()
        if cluster.model.index.class_of(key)
    }
    outside: list[tuple[object, End]] = [(text, AddressEnd(parse_address(text))) for text in addresses]
    found: dict[Key, Row] = {}
    for key, subjects in pods.items():
        peers: list[tuple[object, End]] = [(peer, end) for peer, ends in pods.items() for end in ends if peer != key]
        row = found[key] = {}
        for subject in subjects:
            for name, peer in [*peers, *outside]:
                source, destination = (subject, peer) if direction is Direction.EGRESS else (peer, subject)
                for bound in Bound:
                    ports = engine.admitted(direction, source, destination, bound)
                    row[(name, getattr(peer, "family", 0), peer.address, subject.address), bound] = ports
    return found


def assert_unnamed_rows_are_unchanged(
    change: Change, cluster: Cluster, before: dict[Direction, dict[Key, Row]], addresses: Sequence[str]
) -> None:
    named = {Direction.INGRESS: change.ingress, Direction.EGRESS: change.egress}
    for direction in Direction:
        for key, row in rows(cluster, direction, addresses).items():
            found = cluster.model.index.class_of(key)
            if key in change.pods or found is None or found.id in named[direction]:
                continue
            known = before[direction][key]
            for place, ports in row.items():
                if place[0][0] not in change.pods:  # type: ignore[index]
                    assert ports == known[place], (direction, key, place)


Meant = dict["Key", dict[Direction, tuple[frozenset[int], object]]]
"""For each policy and direction, the classes of its subjects, and for each grant the classes its peer means."""


def meant(cluster: Cluster) -> Meant:
    """Work out, by a member of each class, which classes the policies are about."""
    engine, classes = cluster.model.engine, cluster.model.index.classes
    one_of = {number: next(iter(found.members.values())) for number, found in classes.items()}
    ends = [(number, end) for number, member in one_of.items() for end in as_ends(engine, member)]
    found: Meant = {}
    for space in cluster.state.namespaces:
        for policy in engine.policies(space):
            subjects = frozenset(
                n for n, member in one_of.items() if engine.selects(policy.subject, PodEnd(member, None, 4))
            )
            for direction, grants in policy.grants.items():
                peers = tuple(
                    (grant, frozenset((n, end.family, found) for n, end in ends if isinstance(end, PodEnd)
                                      for found in (engine.matches(grant, end),) if found is not False))
                    for grant in grants if grant.peer is not None
                )  # fmt: skip
                found.setdefault(policy.key, {})[direction] = subjects, peers
    return found


def assert_changed_policies_and_their_subjects_are_named(change: Change, before: Meant, after: Meant) -> None:
    named = {Direction.INGRESS: change.ingress, Direction.EGRESS: change.egress}
    for key in before.keys() | after.keys():
        for direction in Direction:
            old = before.get(key, {}).get(direction, (frozenset(), None))
            new = after.get(key, {}).get(direction, (frozenset(), None))
            if old == new:
                continue
            assert key in change.policies, key
            concerned = new[0] if old[1] != new[1] else new[0] - old[0]
            assert concerned <= named[direction], (key, direction)


@tried(200)
@given(data=st.data(), objects=strategies.clusters(), options=strategies.options(), patience=PATIENCE)
def test_a_change_names_every_policy_whose_classes_differ_and_the_subjects_of_those(
    data: st.DataObject, objects: list[KubeObject], options: Options, patience: int
) -> None:
    cluster = following(objects, options, patience)
    for some in data.draw(strategies.events(objects, max_size=6).flatmap(steps)):
        before = meant(cluster)
        change = cluster.apply(*some)
        assert_changed_policies_and_their_subjects_are_named(change, before, meant(cluster))


@tried(200)
@given(data=st.data(), objects=strategies.clusters(), options=strategies.options(), patience=PATIENCE)
def test_what_a_change_does_not_name_has_the_same_reach_as_before(
    data: st.DataObject, objects: list[KubeObject], options: Options, patience: int
) -> None:
    history = data.draw(strategies.events(objects, max_size=5))
    everything = [*objects, *(item for _, item in history)]
    addresses = [text for text in boundaries.addresses(everything) if text not in ("127.0.0.1", "::1")]
    cluster = following(objects, options, patience)
    for some in data.draw(steps(history)):
        before = {direction: rows(cluster, direction, addresses) for direction in Direction}
        old_classes = {key: cluster.model.index.class_of(key) for key in cluster.state.members}
        change = cluster.apply(*some)
        assert_unnamed_rows_are_unchanged(change, cluster, before, addresses)
        for key in cluster.state.members:
            if key not in old_classes and cluster.model.index.class_of(key):
                assert key in change.pods
        assert change.ingress | change.egress <= set(cluster.model.index.classes)
