# SPDX-License-Identifier: Apache-2.0
"""Whatever is asked in whatever order, objects, pods and addresses agree."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from podfence.cluster.state import ClusterState
from podfence.kube.objects import Namespace, NetworkPolicy, Node, Pod
from podfence.lab.addresses import Plan
from podfence.lab.objects.view import View
from podfence.lab.objects.world import World
from podfence.lab.store.errors import NotFoundError, StoreError
from podfence.lab.store.history import Change
from podfence.lab.store.resources import RESOURCES
from podfence.sets.addresses import parse_address
from tests.lab import worlds
from tests.twin.effort import tried

if TYPE_CHECKING:
    from podfence.cluster.members import Member
    from podfence.kube.objects import Key, KubeObject
    from podfence.lab.objects.containers import PodSpec
    from podfence.lab.store.store import Propagation

SPACES = ("default", "shop")
WORKLOADS = ("deployments.apps", "statefulsets.apps", "replicasets.apps", "replicationcontrollers")
TEXTS = (
    *(worlds.workload(kind, replicas=count, image=image)
      for kind in ("Deployment", "StatefulSet", "ReplicaSet") for count in (0, 1, 3) for image in ("a", "b")),
    worlds.workload("DaemonSet", replicas=None),
    worlds.workload("Deployment", "crowd", 300),
    worlds.workload("ReplicationController", "old"),
    worlds.job(more="  completions: 2\n"),
    worlds.job(restart="OnFailure"),
    worlds.pod("client"), worlds.pod("client", labels="app: web"), worlds.pod("client", image="b"),
    worlds.pod("web-0"), worlds.pod("host", more="  hostNetwork: true"),
    worlds.policy(), worlds.policy(ingress="[{}]"),
    worlds.namespace("shop"), worlds.namespace("shop", "team: a"), worlds.namespace("default", "team: b"),
    worlds.service(), worlds.service("web", "  type: NodePort"), worlds.service("web", "  clusterIP: None"),
    worlds.service("api", "  type: NodePort", "[{port: 80, nodePort: 30000}]"),
)  # fmt: skip


def facts(member: Member) -> tuple[object, ...]:
    return member.workload, member.labels, member.ports, member.addresses, member.node, member.host


def objects_of(state: ClusterState) -> list[KubeObject]:
    policies = [policy for table in state.policies.values() for policy in table.values()]
    real = [space for name, space in state.namespaces.items() if name not in state.implied]
    return [*real, *state.nodes.values(), *state.workloads.values(), *state.pods.values(), *state.services.values(),
            *state.slices.values(), *state.endpoints.values(), *policies]  # fmt: skip


class Supervised(RuleBasedStateMachine):
    """A world, a client of the store, and what a supervisor would have running."""

    def __init__(self) -> None:
        super().__init__()
        self.world = World(Plan((4, 6)), 1)
        self.running: dict[Key, PodSpec] = {}
        self.ending: list[Key] = []
        self.taken()

    def taken(self) -> bool:
        """Do what is to be done now, but for what is to stop; return whether there was anything."""
        steps = self.world.take()
        for key in steps.stop:
            assert key in self.running
            assert key not in self.ending
            assert self.world.seconds_to_end(key) >= 0
            self.ending.append(key)
        for spec in steps.start:
            # Neither a name nor an address is given while another pod still has it.
            assert spec.key not in self.running
            if not spec.host_network:
                others = {text for other in self.running.values() if not other.host_network for text in other.addresses}
                assert others.isdisjoint(spec.addresses)
            self.running[spec.key] = spec
            worlds.runs(self.world, spec)
        return any(steps)

    def settled(self) -> None:
        """Let everything stop that is to stop, until nothing is left to do."""
        while self.taken() or self.ending:
            for key in tuple(self.ending):
                self.stop(key)

    def stop(self, key: Key) -> None:
        self.ending.remove(key)
        del self.running[key]
        self.world.pod_stopped(key)

    def pods(self) -> list[Key]:
        return sorted(key for key, pod in self.world.state.pods.items() if not pod.terminating)

    @rule(texts=st.lists(st.sampled_from(TEXTS), min_size=1, max_size=4), space=st.sampled_from(SPACES))
    def apply(self, texts: list[str], space: str) -> None:
        worlds.applied(self.world, worlds.documents("".join(texts)), space)

    @rule(text=st.sampled_from(TEXTS), space=st.sampled_from(SPACES))
    def apply_twice(self, text: str, space: str) -> None:
        first = worlds.applied(self.world, worlds.documents(text), space)
        second = worlds.applied(self.world, worlds.documents(text), space)
        # A set that takes a pod over may have enough others.
        taken = "kind: Pod\n" in text and "app: web" in text
        assert second.problems or second.outcomes[0].endswith(" unchanged") or first.problems or taken

    @rule(text=st.sampled_from(TEXTS), space=st.sampled_from(SPACES))
    def delete(self, text: str, space: str) -> None:
        worlds.delete_written(self.world, worlds.documents(text), space)

    @precondition(lambda self: self.pods())
    @rule(data=st.data(), grace=st.sampled_from((None, 0)))
    def delete_any_pod(self, data: st.DataObject, grace: int | None) -> None:
        key = data.draw(st.sampled_from(self.pods()))
        self.world.store.delete("pods", key.namespace, key.name, grace=grace)

    @rule(space=st.sampled_from(SPACES))
    def delete_a_namespace(self, space: str) -> None:
        with suppress(StoreError):
            worlds.delete(self.world, "namespace", space)
        self.settled()
        assert (space in self.world.state.namespaces) == (space == "default")

    @precondition(lambda self: self.pods())
    @rule(
        data=st.data(),
        changes=st.dictionaries(st.sampled_from(("app", "own")), st.sampled_from(("web", "x", None)), min_size=1),
    )
    def label_a_pod(self, data: st.DataObject, changes: dict[str, str | None]) -> None:
        key = data.draw(st.sampled_from(self.pods()))
        worlds.label(self.world, "pod", key.name, changes, namespace=key.namespace)
        pod = self.world.state.pods.get(key)
        # A set that takes it over may have enough others.
        labels = pod.template.labels if pod is not None else changes
        assert all(labels.get(name) == value for name, value in changes.items())

    @rule(space=st.sampled_from(SPACES), value=st.sampled_from(("a", "b", None)))
    def label_a_namespace(self, space: str, value: str | None) -> None:
        with suppress(NotFoundError):
            worlds.label(self.world, "ns", space, {"team": value})

    @rule(data=st.data(), resource=st.sampled_from(WORKLOADS), count=st.integers(0, 4))
    def a_client_scales(self, data: st.DataObject, resource: str, count: int) -> None:
        if found := self.world.store.list(resource)[0]:
            obj = data.draw(st.sampled_from(found))
            self.world.store.update(resource, {**obj, "spec": {**obj["spec"], "replicas": count}})

    @rule(
        data=st.data(),
        resource=st.sampled_from((*WORKLOADS, "daemonsets.apps", "jobs.batch", "services")),
        propagation=st.sampled_from(("Background", "Foreground", "Orphan")),
    )
    def a_client_deletes(self, data: st.DataObject, resource: str, propagation: Propagation) -> None:
        if found := self.world.store.list(resource)[0]:
            known = data.draw(st.sampled_from(found))["metadata"]
            self.world.store.delete(resource, known["namespace"], known["name"], propagation=propagation)

    @rule()
    def take(self) -> None:
        self.taken()

    @precondition(lambda self: self.running.keys() - set(self.ending))
    @rule(data=st.data(), succeeded=st.booleans())
    def a_container_ends(self, data: st.DataObject, succeeded: bool) -> None:
        key = data.draw(st.sampled_from(sorted(self.running.keys() - set(self.ending))))
        (container,) = self.running[key].containers
        worlds.finish(
            self.world, key.name, succeeded=succeeded, container=container.name, namespace=key.namespace
        )  # fmt: skip

    @precondition(lambda self: self.ending)
    @rule(data=st.data())
    def a_pod_has_stopped(self, data: st.DataObject) -> None:
        self.stop(data.draw(st.sampled_from(sorted(self.ending))))

    @invariant()
    def the_state_is_that_of_a_fresh_load(self) -> None:
        self.world.follow()
        state = self.world.state
        fresh = ClusterState(objects_of(state))
        assert {key: facts(member) for key, member in fresh.members.items()} == {
            key: facts(member) for key, member in state.members.items()
        }
        assert fresh.namespaces.keys() == state.namespaces.keys()
        assert not state.implied

    @invariant()
    def no_address_has_two_owners(self) -> None:
        addresses = [
            number for member in self.world.state.members.values() if not member.host for number in member.addresses
        ]
        assert len(addresses) == len(set(addresses))
        services = [text for item in self.world.state.services.values() for text in item.addresses]
        assert len(services) == len(set(services))
        ports = [port.node_port for item in self.world.state.services.values() for port in item.ports if port.node_port]
        assert len(ports) == len(set(ports))

    def teardown(self) -> None:
        while self.taken():
            continue
        self.an_agent_sees_the_same_pods()
        # When everything has stopped, nothing waits but for want of addresses, and nothing runs that is not wanted.
        self.settled()
        live = {key for key, pod in self.world.state.pods.items() if pod.phase == "Running"}
        assert live == self.running.keys()
        for key, spec in self.running.items():
            numbers = tuple(map(parse_address, spec.addresses))
            assert self.world.state.members[key].addresses == numbers
        self.an_agent_sees_the_same_pods()
        self.everything_belongs_to_somebody_and_counts()

    def an_agent_sees_the_same_pods(self) -> None:
        # It lists no workloads, so it knows their names only by those of pods and ReplicaSets.
        agent = View()
        for key in ("namespaces", "nodes", "pods", "networkpolicies.networking.k8s.io"):
            for obj in self.world.store.list(key)[0]:
                agent.take_in(Change("ADDED", key, obj, None, 0))
        mine = {key: facts(member)[1:] for key, member in self.world.state.members.items() if member.pod}
        assert mine == {key: facts(member)[1:] for key, member in agent.state.members.items()}
        listed = (Namespace, Pod, NetworkPolicy, Node)
        assert {item.key for item in objects_of(self.world.state) if isinstance(item, listed)} == agent.objects.keys()

    def everything_belongs_to_somebody_and_counts(self) -> None:
        store = self.world.store
        everything = [item for key, row in RESOURCES.items() if not row.stored_as for item in store.list(key)[0]]
        uids = {item["metadata"]["uid"] for item in everything}
        for item in everything:
            assert "deletionTimestamp" not in item["metadata"]
            assert {owner["uid"] for owner in item["metadata"].get("ownerReferences", ())} <= uids
        for resource in WORKLOADS:
            for item in store.list(resource)[0]:
                wanted, has = item["spec"].get("replicas", 1), item["status"].get("replicas", 0)
                space = item["metadata"]["namespace"]
                # A pod of nobody may have the name of one that a StatefulSet wants.
                others = [
                    key for key, pod in self.world.state.pods.items() if pod.owner is None and key.namespace == space
                ]
                assert has == wanted or (has < wanted and (self.world.waiting or others)), item
        waiting = {key for key, pod in self.world.state.pods.items() if pod.phase == "Pending"}
        assert waiting == set(self.world.waiting)


TestSupervised = Supervised.TestCase
TestSupervised.settings = tried(60)
