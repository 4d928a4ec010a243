# SPDX-License-Identifier: Apache-2.0
"""Random clusters in which nearly everything meets: running pods with addresses, policies that select them.

Drawn from a seed, so that thousands are tried in the time that a shrinking search takes for a hundred.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from podfence.cluster.state import Event, EventType
from podfence.kube.objects import (
    ContainerPort,
    IPBlock,
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

if TYPE_CHECKING:
    from random import Random

    from podfence.kube.objects import KubeObject

ANYONE = Selector()
ADDRESSES = (
    ("10.0.0.1",),
    ("10.0.0.2", "fd00::2"),
    ("10.0.0.3",),
    ("fd00::4", "10.0.0.4"),
    ("10.0.0.5", "fd00::5"),
    ("10.0.0.6",),
    ("fd00::7",),
)
BLOCKS = (
    IPBlock("10.0.0.0/29", ("10.0.0.2/31", "10.0.0.3/32")),
    IPBlock("10.0.0.4/30"),
    IPBlock("0.0.0.0/0", ("10.0.0.5/32",)),
    IPBlock("fd00::4/126"),
    IPBlock("::/0"),
    IPBlock("172.18.0.0/24", ("172.18.0.1/32",)),
)
PORTS = (
    PolicyPort("TCP", "http"),
    PolicyPort("UDP", "http"),
    PolicyPort("TCP", "http"),
    PolicyPort("TCP", 80),
    PolicyPort("TCP", 80, 443),
    PolicyPort("TCP", 1, 80),
    PolicyPort("UDP", 53),
    PolicyPort("TCP"),
)
DECLARED = (
    ContainerPort(8080, "TCP", "http"),
    ContainerPort(81, "TCP", "http"),
    ContainerPort(82, "TCP", "http", sidecar=True),
    ContainerPort(53, "UDP", "http"),
)
NODES = (
    Node(name="n1", labels={}, addresses=("172.18.0.1",)),
    Node(name="n2", labels={}, addresses=("172.18.0.2",)),
)
CHOICES = {
    "hairpin": ("allowed", "policy"),
    "named_port_without_peer": ("any-pod", "own-namespace", "never"),
    "init_ports": ("sidecars", "containers"),
    "icmp": ("portless", "denied", "allowed"),
    "end_port": ("range", "first"),
    "own_node_egress": ("policy", "allowed"),
}


def options(random: Random) -> Options:
    """Return options that can be enforced, the default about every other time."""
    found = Options(world="closed")
    for name, values in CHOICES.items():
        found = found.with_value(name, random.choice((values[0], *values)))
    return found


def label(random: Random) -> dict[str, str]:
    return {"a": random.choice("xy")}


def selector(random: Random) -> Selector:
    requirement = Requirement("a", random.choice(("In", "In", "NotIn")), (random.choice("xy"),))
    return random.choice((ANYONE, Selector((requirement,))))


def peer(random: Random) -> Peer:
    form = random.choice(("pods", "pods", "namespaces", "both", "block"))
    if form == "block":
        return Peer(ip_block=random.choice(BLOCKS))
    return Peer(
        pod_selector=selector(random) if form in ("pods", "both") else None,
        namespace_selector=selector(random) if form in ("namespaces", "both") else None,
    )


def rules(random: Random) -> tuple[Rule, ...]:
    return tuple(
        Rule(
            tuple(peer(random) for _ in range(random.choice((0, 1, 1, 2)))),
            tuple(random.choice(PORTS) for _ in range(random.choice((0, 1, 1, 2)))),
        )
        for _ in range(random.choice((0, 1, 2)))
    )


def policy(random: Random) -> NetworkPolicy:
    types = random.choice((("Ingress",), ("Egress",), ("Ingress", "Egress")))
    return NetworkPolicy(
        namespace=random.choice(("default", "dev")),
        name=random.choice(("p1", "p2", "p3")),
        pod_selector=selector(random),
        ingress=rules(random),
        egress=rules(random),
        policy_types=types,  # type: ignore[arg-type]
    )


def pod(random: Random) -> Pod:
    return Pod(
        namespace=random.choice(("default", "dev")),
        name=random.choice(("web", "db", "api", "dns")),
        template=PodTemplate(
            labels=label(random),
            ports=tuple(random.choice(DECLARED) for _ in range(random.choice((0, 1, 2)))),
            node=random.choice(("n1", "n1", "n2")),
        ),
        addresses=random.choice(ADDRESSES),
        phase=random.choice(("Running", "Running", "Running", "Running", "Pending", "Succeeded")),
        created=random.choice(("2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z")),
    )


def namespace(random: Random) -> Namespace:
    name = random.choice(("default", "dev"))
    return Namespace(name=name, labels={**label(random), "kubernetes.io/metadata.name": name})


def cluster(random: Random) -> list[KubeObject]:
    found: list[KubeObject] = [*NODES]
    found += [namespace(random) for _ in range(3)]
    found += [pod(random) for _ in range(random.randint(3, 9))]
    found += [policy(random) for _ in range(random.randint(1, 5))]
    return list({item.key: item for item in found}.values())


def events(random: Random, start: list[KubeObject], count: int) -> list[Event]:
    """Return events that can follow, deletions among them."""
    present = {item.key: item for item in start}
    found: list[Event] = []
    for _ in range(count):
        if random.random() < 0.3:
            gone = present.pop(random.choice(sorted(key for key in present if key.kind != "Node") or [NODES[0].key]))
            found.append(Event(EventType.DELETED, gone))
            continue
        item = random.choice((pod, pod, policy, namespace))(random)
        found.append(Event(EventType.MODIFIED if item.key in present else EventType.ADDED, item))
        present[item.key] = item
    return found


def policy_events(random: Random, start: list[KubeObject], count: int) -> list[Event]:
    """Return events of policies mostly, which often admit more than before: rules come, and policies go."""
    present = {item.key: item for item in start}
    found: list[Event] = []
    while len(found) < count:
        written = [item for item in present.values() if isinstance(item, NetworkPolicy)]
        kind = random.choice(("put", "more", "more", "gone", "pod"))
        if kind in ("more", "gone") and not written:
            kind = "put"
        if kind == "gone":
            found.append(Event(EventType.DELETED, present.pop(random.choice(written).key)))
            continue
        item: KubeObject = policy(random) if kind == "put" else pod(random)
        if kind == "more":
            known = random.choice(written)
            item = replace(known, ingress=known.ingress + rules(random), egress=known.egress + rules(random))
        found.append(Event(EventType.MODIFIED if item.key in present else EventType.ADDED, item))
        present[item.key] = item
    return found


def after(start: list[KubeObject], history: list[Event]) -> list[KubeObject]:
    """Return the objects that are there in the end."""
    present = {item.key: item for item in start}
    for event in history:
        present.pop(event.object.key, None)
        if event.type is not EventType.DELETED:
            present[event.object.key] = event.object
    return list(present.values())
