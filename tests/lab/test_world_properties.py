# SPDX-License-Identifier: Apache-2.0
"""Whatever is asked in whatever order, objects, pods, addresses and events agree."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from podfence.cluster.state import ClusterState, EventType
from podfence.kube.objects import Namespace, NetworkPolicy, Node, Pod, Service
from podfence.lab.addresses import Plan
from podfence.lab.objects.world import World
from podfence.sets.addresses import parse_address
from tests.lab import worlds
from tests.twin.effort import tried

if TYPE_CHECKING:
    from podfence.cluster.members import Member
    from podfence.kube.objects import Key, KubeObject
    from podfence.lab.objects.containers import PodSpec

SPACES = ("default", "shop")
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
            *state.slices.values(), *policies]  # fmt: skip


class Supervised(RuleBasedStateMachine):
    """A world, an agent that follows its events, and what a supervisor would have running."""

    def __init__(self) -> None:
        super().__init__()
        self.world = World(Plan((4, 6)), 1)
        self.agent = ClusterState()
        self.present: dict[Key, KubeObject] = {}
        self.running: dict[Key, PodSpec] = {}
        self.ending: list[Key] = []
        self.seen = 0
        self.taken()

    def taken(self) -> None:
        steps = self.world.take()
        for key in steps.stop:
            assert key in self.running
            assert key not in self.ending
            self.ending.append(key)
        for spec in steps.start:
            # Neither a name nor an address is given while another pod still has it.
            assert spec.key not in self.running
            if not spec.host_network:
                others = {text for other in self.running.values() if not other.host_network for text in other.addresses}
                assert others.isdisjoint(spec.addresses)
            self.running[spec.key] = spec
        for event in steps.events:
            known = event.object.key in self.present
            assert known == (event.type is not EventType.ADDED), event
            self.agent.apply(event)
            if event.type is EventType.DELETED:
                del self.present[event.object.key]
            else:
                self.present[event.object.key] = event.object
        self.seen += len(steps.events)
        assert self.seen == self.world.revision

    @rule(texts=st.lists(st.sampled_from(TEXTS), min_size=1, max_size=4), space=st.sampled_from(SPACES))
    def apply(self, texts: list[str], space: str) -> None:
        self.world.apply(worlds.documents("".join(texts)), space)

    @rule(text=st.sampled_from(TEXTS), space=st.sampled_from(SPACES))
    def apply_twice(self, text: str, space: str) -> None:
        first = self.world.apply(worlds.documents(text), space)
        (second,) = self.world.apply(worlds.documents(text), space)
        assert second.error or second.verb == "unchanged" or first[0].error

    @rule(text=st.sampled_from(TEXTS), space=st.sampled_from(SPACES))
    def delete(self, text: str, space: str) -> None:
        self.world.delete(worlds.documents(text), space)

    @rule(data=st.data())
    def delete_any_pod(self, data: st.DataObject) -> None:
        key = data.draw(st.sampled_from(sorted(self.world.state.pods)))
        (found,) = self.world.delete_named("pod", [key.name], key.namespace)
        assert found.verb == "deleted"

    @rule(space=st.sampled_from(SPACES))
    def delete_a_namespace(self, space: str) -> None:
        self.world.delete_named("namespace", [space])
        assert (space in self.world.state.namespaces) == (space == "default")

    @rule(
        data=st.data(),
        changes=st.dictionaries(st.sampled_from(("app", "own")), st.sampled_from(("web", "x", None)), min_size=1),
    )
    def label_a_pod(self, data: st.DataObject, changes: dict[str, str | None]) -> None:
        key = data.draw(st.sampled_from(sorted(self.world.state.pods)))
        self.world.set_labels("pod", key.namespace, key.name, changes)
        labels = self.world.state.pods[key].template.labels
        assert all(labels.get(name) == value for name, value in changes.items())

    @rule(space=st.sampled_from(SPACES), value=st.sampled_from(("a", "b", None)))
    def label_a_namespace(self, space: str, value: str | None) -> None:
        self.world.set_labels("ns", "", space, {"team": value})

    @rule()
    def take(self) -> None:
        self.taken()

    @precondition(lambda self: self.running.keys() - set(self.ending))
    @rule(data=st.data(), succeeded=st.booleans())
    def a_pod_finishes(self, data: st.DataObject, succeeded: bool) -> None:
        key = data.draw(st.sampled_from(sorted(self.running.keys() - set(self.ending))))
        self.world.pod_finished(key, succeeded=succeeded)

    @precondition(lambda self: self.ending)
    @rule(data=st.data())
    def a_pod_has_stopped(self, data: st.DataObject) -> None:
        key = data.draw(st.sampled_from(sorted(self.ending)))
        self.ending.remove(key)
        del self.running[key]
        self.world.pod_stopped(key)

    @precondition(lambda self: self.running.keys() - set(self.ending))
    @rule(data=st.data())
    def a_pod_goes_unasked(self, data: st.DataObject) -> None:
        self.taken()
        left = sorted(self.running.keys() - set(self.ending))
        if left:
            key = data.draw(st.sampled_from(left))
            del self.running[key]
            self.world.pod_stopped(key)

    @invariant()
    def the_state_is_that_of_a_fresh_load(self) -> None:
        state = self.world.state
        fresh = ClusterState(objects_of(state))
        assert {key: facts(member) for key, member in fresh.members.items()} == {
            key: facts(member) for key, member in state.members.items()
        }
        assert fresh.namespaces.keys() == state.namespaces.keys()
        assert fresh.implied == state.implied

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
        self.taken()
        self.the_agent_sees_the_same_pods()
        # When everything has stopped, nothing waits but for want of addresses, and nothing runs that is not wanted.
        while self.ending:
            key = self.ending.pop()
            del self.running[key]
            self.world.pod_stopped(key)
            self.taken()
        live = {key for key, pod in self.world.state.pods.items() if pod.phase == "Running"}
        assert live == self.running.keys()
        for key, spec in self.running.items():
            numbers = tuple(map(parse_address, spec.addresses))
            assert self.world.state.members[key].addresses == numbers
        self.the_agent_sees_the_same_pods()

    def the_agent_sees_the_same_pods(self) -> None:
        mine = {key: facts(member) for key, member in self.world.state.members.items() if member.pod}
        assert mine == {key: facts(member) for key, member in self.agent.members.items()}
        told = (Namespace, Pod, NetworkPolicy, Node, Service)
        assert {item.key for item in objects_of(self.world.state) if isinstance(item, told)} == self.present.keys()


TestSupervised = Supervised.TestCase
TestSupervised.settings = tried(60)
