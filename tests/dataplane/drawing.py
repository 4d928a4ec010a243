# SPDX-License-Identifier: Apache-2.0
"""Random clusters on the addresses of the fabric, and what happens to them, all from one seed.

Few names, labels, ports and blocks, so that everything meets; the corners of the API are among them: the
old form, sidecars, ranges, names with several numbers, addresses that two pods claim, pods that are
finished or have no address yet.
"""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING, Final, Literal, NamedTuple

import msgspec

from podfence.cluster.state import Event, EventType
from podfence.dataplane.settings import Settings
from podfence.kube.objects import (
    ContainerPort,
    IPBlock,
    KubeObject,
    Namespace,
    NetworkPolicy,
    Node,
    Peer,
    Pod,
    PodTemplate,
    PolicyPort,
    Requirement,
    Rule,
    Selector,
)
from podfence.policy.options import Options
from tests.dataplane.fabric import NODES, POD_RANGES, PODS
from tests.twin.clusterwide import ClusterPolicy, Parts, drawn
from tests.twin.strategies import ANNOTATIONS
from tests.twin.twin import NAME_LABEL, OLD_API

if TYPE_CHECKING:
    from collections.abc import Sequence

    from podfence.kube.objects import Key

How = Literal["one by one", "at once", "in slices", "agents were down"]

API: Final = "networking.k8s.io/v1"
FEWEST: Final = 5
SPACES: Final = ("default", "dev", "prod")
POD_NAMES: Final = ("api", "db", "dns", "web", "web-1", "web-2", "web-3")
ENDS: Final = tuple((node, addresses) for node, ends in PODS.items() for addresses in ends)
BLOCKS: Final = (
    IPBlock("10.0.0.0/29", ("10.0.0.2/31", "10.0.0.3/32")),
    IPBlock("10.0.0.0/29", ("10.0.0.1/32", "10.0.0.4/32")),
    IPBlock("10.0.0.4/30"),
    IPBlock("10.0.0.1/32"),
    IPBlock("0.0.0.0/0"),
    IPBlock("0.0.0.0/0", ("10.0.0.0/8", "192.0.2.0/25")),
    IPBlock("0.0.0.0/1", ("10.0.0.5/32",)),
    IPBlock("192.0.0.0/2", ("203.0.113.8/30",)),
    IPBlock("203.0.113.9/32"),
    IPBlock("172.18.0.0/24", ("172.18.0.1/32",)),
    IPBlock("::/0"),
    IPBlock("::/0", ("fd00::4/126",)),
    IPBlock("fd00::/125", ("fd00::1/128", "fd00::6/127")),
    IPBlock("2001:db8::/32"),
    IPBlock("fd00::/8", ("fd01::/16",)),
)
PORTS: Final = (
    PolicyPort("TCP", "http"),
    PolicyPort("TCP", "http"),
    PolicyPort("UDP", "http"),
    PolicyPort("TCP", "metrics"),
    PolicyPort("TCP", "absent"),
    PolicyPort("TCP", 80),
    PolicyPort("TCP", 8080),
    PolicyPort("TCP", 80, 443),
    PolicyPort("TCP", 81, 8080),
    PolicyPort("TCP", 1, 65535),
    PolicyPort("UDP", 53),
    PolicyPort("UDP", 53, 81),
    PolicyPort("SCTP", 80),
    PolicyPort("TCP"),
    PolicyPort("UDP"),
)
DECLARED: Final = (
    ContainerPort(8080, "TCP", "http"),
    ContainerPort(81, "TCP", "http"),
    ContainerPort(80, "TCP", "http", sidecar=True),
    ContainerPort(53, "UDP", "http"),
    ContainerPort(444, "TCP", "metrics"),
    ContainerPort(81, "UDP"),
)
CHOICES: Final = {
    "hairpin": ("allowed", "policy"),
    "named_port_without_peer": ("any-pod", "own-namespace", "never"),
    "init_ports": ("sidecars", "containers"),
    "icmp": ("portless", "denied", "allowed"),
    "end_port": ("range", "first"),
    "own_node_egress": ("policy", "allowed"),
    "legacy": ("auto", "v1", "v1beta1"),
    "legacy_empty_list": ("all", "none"),
}


_TIERED: Final = 4
"""Of so many cases one has policies in all tiers."""


class Step(NamedTuple):
    """Events, and how the agents take them: each alone, all in one, or after they were away meanwhile."""

    events: tuple[Event, ...]
    how: How


class Case(NamedTuple):
    """A cluster, what happens to it, and how it is enforced.

    `revokes` says whether established flows are cut too, `direct` whether nft is passed by where it can be.
    `clusterwide` are policies of the tiers around NetworkPolicies; one case in four has some.
    """

    seed: int
    objects: tuple[KubeObject, ...]
    steps: tuple[Step, ...]
    options: Options
    settings: Settings
    shared_from: int
    revokes: bool
    direct: bool
    clusterwide: tuple[ClusterPolicy, ...] = ()


def case(seed: int, steps: int) -> Case:
    """Return the case of a seed."""
    random = Random(seed)
    drawing = Drawing(random)
    objects = drawing.start()
    return Case(
        seed,
        objects,
        tuple(drawing.step() for _ in range(steps)),
        _options(random),
        Settings(reject=random.random() < 0.1),
        random.choice((256, 256, 1, 2, 3)),
        random.random() < 0.5,
        random.random() < 0.5,
        drawing.clusterwide() if seed % _TIERED == _TIERED - 1 else (),
    )


def after(objects: Sequence[KubeObject], steps: Sequence[Step]) -> list[KubeObject]:
    """Return the objects that are there in the end."""
    present = {item.key: item for item in objects}
    for step in steps:
        for event in step.events:
            present.pop(event.object.key, None)
            if event.type is not EventType.DELETED:
                present[event.object.key] = event.object
    return list(present.values())


def _options(random: Random) -> Options:
    found = Options(world="closed")
    for name, values in CHOICES.items():
        found = found.with_value(name, random.choice((*[values[0]] * 3, *values)))
    return found


class Drawing:
    """A cluster in the making, and then in motion."""

    def __init__(self, random: Random, *, held: bool | None = None) -> None:
        """Begin with nothing; `present` are the objects by key. `held` says whether nodes hold unknown addresses."""
        self.random = random
        self.present: dict[Key, KubeObject] = {}
        self._made = 0
        # About one cluster in eight knows the old form, and has it everywhere.
        self._old = random.random() < 0.12
        self._held = random.random() < 0.4 if held is None else held
        # Every block cuts the few addresses further, until no two pods are alike; so not all in one cluster.
        self._blocks = tuple(random.sample(BLOCKS, random.choice((0, 1, 2, 5))))

    def start(self) -> tuple[KubeObject, ...]:
        """Return the objects of the first load."""
        random = self.random
        found: list[KubeObject] = [self._node(name) for name in NODES]
        found += [self._space(name) for name in SPACES if random.random() < 0.8]
        self.present = {item.key: item for item in found}
        free = list(ENDS)
        random.shuffle(free)
        for end in free[: random.randint(3, 7)]:
            pod = self._pod(*end)
            self.present.setdefault(pod.key, pod)
        for item in [self._policy() for _ in range(random.randint(2, 8))]:
            self.present[item.key] = item
        return tuple(self.present.values())

    def step(self) -> Step:
        """Return what happens next: something to a policy, a namespace, a pod, or a node."""
        count = self.random.choice((1, 1, 1, 2, 4))
        kinds = (self._put_policy, self._edit_policy, self._drop_policy, self._relabel_pod, self._relabel_space,
                 self._put_pod, self._drop_pod, self._hand_over, self._hand_over, self._put_node)  # fmt: skip
        events = [event for _ in range(count) for event in self.random.choice(kinds)()]
        return Step(tuple(events), self.random.choice(("one by one", "in slices", "at once", "agents were down")))

    # What happens

    def _put_policy(self) -> list[Event]:
        return [self._put(self._policy())]

    def _edit_policy(self) -> list[Event]:
        """Add rules to a policy, or take one out: most of what it admitted it goes on admitting."""
        policies = [item for item in self.present.values() if isinstance(item, NetworkPolicy)]
        if not policies:
            return []
        policy = self.random.choice(policies)
        side = "egress" if policy.policy_types == ("Egress",) else "ingress"
        rules = list(getattr(policy, side))
        if rules and self.random.random() < 0.4:
            rules.remove(self.random.choice(rules))
        else:
            rules[:0] = self._rules(policy.api_version == OLD_API)
        return [self._put(msgspec.structs.replace(policy, **{side: tuple(rules[:6])}))]

    def _drop_policy(self) -> list[Event]:
        return self._drop(NetworkPolicy) if self._count(NetworkPolicy) > FEWEST else self._put_policy()

    def _drop_pod(self) -> list[Event]:
        return self._drop(Pod) if self._count(Pod) > FEWEST else self._put_pod()

    def _put_pod(self) -> list[Event]:
        return [self._put(self._pod(*self.random.choice(ENDS)))]

    def _put_node(self) -> list[Event]:
        self._held = not self._held
        return [self._put(self._node(self.random.choice(tuple(NODES))))]

    def _relabel_pod(self) -> list[Event]:
        """Change the labels, the ports or the phase of a pod; it keeps its address."""
        pods = [item for item in self.present.values() if isinstance(item, Pod)]
        if not pods:
            return []
        pod = self.random.choice(pods)
        template = msgspec.structs.replace(pod.template, labels=self._labels())
        if self.random.random() < 0.3:
            template = msgspec.structs.replace(pod.template, ports=self._declared())
        phase = "Succeeded" if self.random.random() < 0.1 else pod.phase
        terminating = self.random.random() < 0.1
        return [self._put(msgspec.structs.replace(pod, template=template, phase=phase, terminating=terminating))]

    def _relabel_space(self) -> list[Event]:
        return (
            self._drop(Namespace)
            if self.random.random() < 0.2
            else [self._put(self._space(self.random.choice(SPACES)))]
        )

    def _hand_over(self) -> list[Event]:
        """Delete a pod and give its address to another at once; the two events come in either order."""
        pods = [item for item in self.present.values() if isinstance(item, Pod) and item.addresses and not item.template.host_network]  # fmt: skip
        if not pods:
            return []
        old = self.random.choice(pods)
        new = self._pod(old.template.node, old.addresses)
        if new.key == old.key:
            return [self._put(new)]
        events = [Event(EventType.DELETED, old), self._put(new)]
        del self.present[old.key]
        return self.random.choice((events, events[::-1]))

    def _put(self, item: KubeObject) -> Event:
        known = item.key in self.present
        self.present[item.key] = item
        return Event(EventType.MODIFIED if known else EventType.ADDED, item)

    def _count(self, kind: type[KubeObject]) -> int:
        return sum(isinstance(item, kind) for item in self.present.values())

    def _drop(self, kind: type[KubeObject]) -> list[Event]:
        found = [item for item in self.present.values() if isinstance(item, kind)]
        if not found:
            return []
        gone = self.random.choice(found)
        del self.present[gone.key]
        return [Event(EventType.DELETED, gone)]

    # Objects

    def clusterwide(self) -> tuple[ClusterPolicy, ...]:
        """Return policies of the tiers around NetworkPolicies."""
        parts = Parts(lambda _: self._selector(), lambda _: self._space_selector(), self._blocks or BLOCKS, PORTS)
        return tuple(drawn(self.random, parts))

    def _node(self, name: str) -> Node:
        return Node(name=name, labels={}, addresses=NODES[name], pod_cidrs=POD_RANGES[name] if self._held else ())

    def _space(self, name: str) -> Namespace:
        annotations = self.random.choice(ANNOTATIONS[:4]) if self._old else {}
        return Namespace(name=name, labels={**self._labels(), NAME_LABEL: name}, annotations=annotations)

    def _pod(self, node: str, addresses: tuple[str, ...]) -> Pod:
        random = self.random
        self._made += 1
        host = random.random() < 0.06
        space, labels, ports = random.choice(SPACES), self._labels(), self._declared()
        pods = [item for item in self.present.values() if isinstance(item, Pod)]
        if pods and random.random() < 0.4:
            like = random.choice(pods)
            space, labels, ports = like.namespace, like.template.labels, like.template.ports
        # A pod of one family leaves the other address of its place to nobody, or to another pod.
        found = random.choice((addresses, addresses, addresses, addresses, addresses[:1], ()))
        return Pod(
            namespace=space,
            name=random.choice(POD_NAMES),
            template=PodTemplate(labels=labels, ports=ports, node=node, host_network=host),
            addresses=NODES[node] if host else found,
            node_addresses=NODES[node] if host else (),
            phase=random.choice(("Running",) * 7 + ("Pending", "Unknown", "Succeeded")),
            terminating=random.random() < 0.08,
            created=f"2026-01-01T00:00:{self._made // 2:02}Z",
        )

    def _labels(self) -> dict[str, str]:
        return {key: self.random.choice(("x", "y")) for key in ("a", "b") if self.random.random() < 0.7}

    def _declared(self) -> tuple[ContainerPort, ...]:
        return tuple(self.random.choice(DECLARED) for _ in range(self.random.choice((0, 1, 2, 3))))

    def _policy(self) -> NetworkPolicy:
        random = self.random
        old = self._old and random.random() < 0.6
        return NetworkPolicy(
            namespace=random.choice(SPACES),
            name=random.choice(("p1", "p2", "p3")),
            pod_selector=self._selector(),
            ingress=self._rules(old),
            egress=() if old else self._rules(old),
            policy_types=("Ingress",) if old else random.choice((("Ingress",), ("Egress",), ("Ingress", "Egress"))),
            api_version=OLD_API if old else API,
        )

    def _rules(self, old: bool) -> tuple[Rule, ...]:
        random = self.random
        found = []
        for _ in range(random.choice((0, 1, 1, 2, 3))):
            peers = tuple(self._peer(old) for _ in range(random.choice((0, 1, 1, 2))))
            ports = tuple(random.choice(PORTS) for _ in range(random.choice((0, 1, 1, 2))))
            written = random.random() < 0.5
            found.append(Rule(peers, ports, empty_peers=written and not peers, empty_ports=written and not ports))
        return tuple(found)

    def _peer(self, old: bool) -> Peer:
        forms = ("pods", "pods", "spaces", *(() if old else ("both", *("block" for _ in self._blocks[:2]))))
        form = self.random.choice(forms)
        if form == "block":
            return Peer(ip_block=self.random.choice(self._blocks))
        return Peer(
            pod_selector=self._selector() if form in ("pods", "both") else None,
            namespace_selector=self._space_selector() if form in ("spaces", "both") else None,
        )

    def _space_selector(self) -> Selector:
        if self.random.random() < 0.3:
            return Selector((Requirement(NAME_LABEL, "In", (self.random.choice(SPACES),)),))
        return self._selector()

    def _selector(self) -> Selector:
        return Selector(tuple(self._requirement() for _ in range(self.random.choice((0, 0, 1, 1, 2)))))

    def _requirement(self) -> Requirement:
        operator = self.random.choice(("In", "In", "NotIn", "Exists", "DoesNotExist"))
        values = (self.random.choice(("x", "y")),) if operator in ("In", "NotIn") else ()
        return Requirement(self.random.choice(("a", "b")), operator, values)  # type: ignore[arg-type]
