# SPDX-License-Identifier: Apache-2.0
"""A program that followed relabelled pods and namespaces is the one compiled from what there is then."""

from __future__ import annotations

from dataclasses import replace
from itertools import count
from random import Random
from typing import TYPE_CHECKING

import msgspec
import pytest

from podfence.api import Cluster
from podfence.cluster.state import Event, EventType
from podfence.dataplane.compiler import Compiler
from podfence.dataplane.groups import MOST_SHARED
from podfence.dataplane.ownership import Ownership
from podfence.dataplane.program import NodeProgram, SharedKey
from podfence.kube.objects import ContainerPort, IPBlock, Namespace, NetworkPolicy, Peer, Pod, PolicyPort, Rule
from podfence.policy.model import Change
from podfence.policy.options import Options
from podfence.sets import PortSet
from tests.policy.parts import ANYONE, app, pod, policy, rule, space
from tests.twin.effort import part

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from podfence.kube.objects import Key, KubeObject, Selector

SPACES = ("shop", "bank", "blog")
APPS = ("web", "db", "api", "job")
TEAMS = ("red", "blue")
PORTS = (PolicyPort("TCP", 80), PolicyPort("TCP", 81), PolicyPort("UDP", 53), PolicyPort("TCP", "http"))


def relabelled(random: Random, item: Pod) -> Pod:
    labels = {"app": random.choice(APPS)}
    return msgspec.structs.replace(item, template=msgspec.structs.replace(item.template, labels=labels))


def a_namespace(random: Random, name: str) -> Namespace:
    return msgspec.structs.replace(
        space(name), labels={"kubernetes.io/metadata.name": name, "app": random.choice(TEAMS)}
    )


def a_pod(random: Random, number: int) -> Pod:
    ports = [ContainerPort(random.choice((80, 81)), "TCP", "http")] if random.random() < 0.4 else []
    node = random.choice(("n1", "n2"))
    address = f"10.0.0.{random.choice((number, number, number, 1)) + 1}"
    found = pod(f"p{number}", address, labels={"app": random.choice(APPS)}, node=node, ports=ports)
    return msgspec.structs.replace(found, namespace=SPACES[number % len(SPACES)])


def a_peer(random: Random) -> Peer:
    if random.random() < 0.2:
        return Peer(ip_block=IPBlock(random.choice(("10.0.0.0/28", "10.0.0.8/29", "0.0.0.0/0"))))
    pods: Selector | None = random.choice((None, ANYONE, *map(app, APPS)))
    spaces: Selector | None = random.choice((None, ANYONE, *map(app, TEAMS)))
    return Peer(pod_selector=ANYONE if pods is None and spaces is None else pods, namespace_selector=spaces)


def a_rule(random: Random) -> Rule:
    peers = [a_peer(random) for _ in range(random.randrange(MOST_SHARED))]
    return rule(*peers, ports=random.sample(PORTS, random.randrange(3)))


def a_policy(random: Random, number: int) -> NetworkPolicy:
    ingress, egress = ([a_rule(random) for _ in range(random.randrange(4))] for _ in range(2))
    found = policy(f"p{number}", random.choice((ANYONE, *map(app, APPS))), ingress=ingress, egress=egress)
    return msgspec.structs.replace(found, namespace=random.choice(SPACES))


def a_change(random: Random, now: dict[Key, KubeObject]) -> Event:
    """Return an event, most of them relabels, and let `now` be what there is after it."""
    item = now[random.choice(list(now))]
    other: KubeObject
    if isinstance(item, Namespace):
        other = a_namespace(random, item.name)
    elif isinstance(item, Pod) and random.random() < 0.7:
        other = relabelled(random, item)
    elif isinstance(item, Pod):
        del now[item.key]
        other = a_pod(random, int(item.name[1:]))
    else:
        del now[item.key]
        return Event(EventType.DELETED, item)
    now[other.key] = other
    return Event(EventType.MODIFIED, other)


def merged(changes: Sequence[Change]) -> Change:
    def together(name: str) -> frozenset[object]:
        return frozenset().union(*(getattr(item, name) for item in changes))

    parts = {name: together(name) for name in ("pods", "policies", "ingress", "egress")}
    return Change(changes[-1].event, **parts)  # type: ignore[arg-type]


def begun(seed: int) -> tuple[Random, dict[Key, KubeObject], Cluster]:
    """Return a random cluster, its objects by key, and the chances that are left."""
    random = Random(seed)
    objects: list[KubeObject] = [a_namespace(random, name) for name in SPACES]
    objects += [a_pod(random, number) for number in range(24)]
    objects += [a_policy(random, number) for number in range(8)]
    cluster = Cluster.from_objects(objects, Options(world="closed"))
    cluster.model.index.looks.patience = seed % 2 * 64
    return random, {item.key: item for item in objects}, cluster


@pytest.mark.parametrize("start", range(0, part(400), 20))
def test_a_program_after_changes_of_labels_is_that_of_a_fresh_start(start: int) -> None:
    for seed in range(start, start + 20):
        random, now, cluster = begun(seed)
        shared_from = random.choice((1, 2, 3, 5, 256))
        listed, at_once = random.choice((0, 3, 10, 4096)), random.choice((1, 5, 16_000))
        compiler = Compiler(cluster.model, "n1", shared_from=shared_from, most_listed=listed, at_once=at_once)
        for _ in range(12):
            changes = [cluster.apply(a_change(random, now)) for _ in range(random.choice((1, 1, 3)))]
            before = dict(compiler.program.sets)
            compiler.follow(merged(changes))
            fresh = Compiler(
                Cluster.from_objects(now.values(), Options(world="closed")).model,
                "n1",
                shared_from=shared_from,
                most_listed=listed,
            )
            assert_is_on_the_way(before, compiler.program, fresh.program)
            if random.random() < 0.3:
                continue
            while compiler.program.late:
                compiler.catch_up()
            assert compiler.program == fresh.program, seed


def assert_is_on_the_way(before: Mapping[SharedKey, frozenset[int]], program: NodeProgram, final: NodeProgram) -> None:
    """Assert that sets lack only what is new in them, and that flows are judged by what they will be."""
    assert all(addresses & before.get(key, frozenset()) <= program.sets[key] for key, addresses in final.sets.items())
    assert {key: program.late.get(key, addresses) for key, addresses in program.sets.items()} == final.sets
    assert all(addresses <= final.sets[key] for key, addresses in program.sets.items())
    assert replace(program, sets={}, late={}) == replace(final, sets={})


def a_policy_change(random: Random, now: dict[Key, KubeObject]) -> Event:
    """Return an event of a policy, and let `now` be what there is after it."""
    policies = [item for item in now.values() if isinstance(item, NetworkPolicy)]
    if policies and random.random() < 0.3:
        item = random.choice(policies)
        del now[item.key]
        return Event(EventType.DELETED, item)
    other = a_policy(random, random.randrange(8))
    kind = EventType.MODIFIED if other.key in now else EventType.ADDED
    now[other.key] = other
    return Event(kind, other)


def of_others(compiler: Compiler, owners: Compiler, behind: Collection[str]) -> dict[object, object]:
    """Return the groups, and what they admit, of local addresses whose owners are in none of some namespaces."""
    program = compiler.program
    return {
        (direction, address): (key, program.groups[key])
        for direction, table in program.group_of.items()
        for address, key in table.items()
        if (owner := owners.owner(address)) is None or owner.namespace not in behind
    }


@pytest.mark.parametrize("start", range(0, part(400), 20))
def test_policies_that_are_compiled_in_slices_end_as_those_of_a_fresh_start(start: int) -> None:
    for seed in range(start, start + 20):
        random, now, cluster = begun(seed)
        shared_from = random.choice((1, 2, 3, 5, 256))
        # One thing that is compiled has taken long enough for a slice, and two for the first time; or three a slice.
        effort = count(0, random.choice((1, 0.012))).__next__
        compiler = Compiler(cluster.model, "n1", shared_from=shared_from, effort=effort)
        behind = frozenset(policy.namespace for policy in compiler.late())
        for _ in range(20):
            only_policies = random.random() < 0.6
            make = a_policy_change if only_policies else a_change
            events = [make(random, now) for _ in range(random.choice((1, 1, 3)))]
            kinds = {type(event.object) for event in events}
            later = frozenset(random.sample(SPACES, random.randrange(3)))
            found = merged([cluster.apply(event) for event in events])
            compiler.follow(found, only=kinds.pop() if len(kinds) == 1 else None, later=later)
            fresh = Compiler(
                Cluster.from_objects(now.values(), Options(world="closed")).model, "n1", shared_from=shared_from
            )
            behind = behind | later if compiler.is_behind else frozenset()
            assert of_others(compiler, compiler, behind) == of_others(fresh, compiler, behind), seed
            if random.random() < 0.4:
                compiler.catch_up()
            if random.random() < 0.5:
                continue
            while compiler.is_behind:
                compiler.catch_up()
            assert not compiler.late()
            assert compiler.program == fresh.program, seed


def test_a_set_of_pods_has_the_addresses_of_its_classes_whichever_came_and_went() -> None:
    random = Random(5)
    pods = [a_pod(random, number) for number in range(30)]
    cluster = Cluster.from_objects([*pods, policy("p", ingress=[rule(Peer(pod_selector=app("web")))])])
    index = cluster.model.index
    owned = Ownership(index)
    for number, pod_class in index.classes.items():
        for member in pod_class.members.values():
            owned.take(member, number)
    keys = [SharedKey(None), SharedKey(None, resolved=PortSet.ALL)]
    for _ in range(200):
        key, bits = random.choice(keys), index.all & random.getrandbits(len(index.classes))
        if random.random() < 0.3:
            owned.changed(random.sample(sorted(index.classes), 2))
        expected = {address for number in index.classes if bits >> number & 1 for address in owned.of_class(number)}
        assert owned.size(key, bits) == len(expected)
        assert owned.pool(key, bits) == expected
