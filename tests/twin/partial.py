# SPDX-License-Identifier: Apache-2.0
"""Random parts of clusters, of which much is not known that policies ask for (semantics 13).

Few names, labels and ranges, so that one unknown is asked for in several places. A Deployment stands for its pods.
"""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING, Literal

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
    Workload,
)

from .twin import NAME_LABEL

if TYPE_CHECKING:
    from podfence.kube.objects import KubeObject, Labels

    Operator = Literal["In", "NotIn", "Exists", "DoesNotExist"]
    Types = tuple[Literal["Ingress", "Egress"], ...]

HASH = "pod-template-hash"
SPACES = ("shop", "dev", "default")
KEYS, VALUES = ("a", "b"), ("x", "y")
NODES = {"n1": ("172.18.0.1",), "n2": ("172.18.0.2",)}
PRIVATE = ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10")
BLOCKS = (
    *(IPBlock(text) for text in (*PRIVATE, "10.0.0.0/9", "0.0.0.0/0", "203.0.113.0/24", "10.3.3.3/32", "::/0")),
    IPBlock("0.0.0.0/0", PRIVATE),
    IPBlock("10.0.0.0/8", ("10.128.0.0/9",)),
    IPBlock("0.0.0.0/0", ("169.254.169.254/32", "10.0.0.1/32")),
)


def partial_cluster(seed: int) -> list[KubeObject]:
    """Return the objects of a part of a cluster."""
    random = Random(seed)
    spaces = [Namespace(name=name, labels={**_labels(random), NAME_LABEL: name})
              for name in SPACES if random.random() < 0.35]  # fmt: skip
    nodes = [Node(name=name, labels={}, addresses=random.choice((addresses, addresses, ())))
             for name, addresses in NODES.items() if random.random() < 0.7]  # fmt: skip
    pods = [_pod(random, number) for number in range(random.randint(2, 4))]
    policies = [_policy(random, number) for number in range(random.randint(3, 5))]
    return [*spaces, *nodes, *pods, *policies]


def _labels(random: Random) -> Labels:
    return {key: random.choice(VALUES) for key in KEYS if random.random() < 0.5}


def _pod(random: Random, number: int) -> Pod | Workload:
    space = random.choice((*SPACES[:2], *SPACES))
    ports = (ContainerPort(random.choice((80, 81)), "TCP", "http"),) if random.random() < 0.5 else ()
    if random.random() < 0.25:
        template = PodTemplate(labels=_labels(random), ports=ports)
        return Workload(kind="Deployment", namespace=space, name=f"w{number}", template=template)
    host = random.random() < 0.2
    node = random.choice(("", "n1", "n2"))
    template = PodTemplate(labels=_labels(random), ports=ports, node=node, host_network=host)
    address = () if host or random.random() < 0.6 else (f"10.0.0.{number + 1}",)
    return Pod(namespace=space, name=f"p{number}", template=template, addresses=address)


def _policy(random: Random, number: int) -> NetworkPolicy:
    several: tuple[Types, ...] = (("Ingress",), ("Ingress",), ("Egress",), ("Ingress", "Egress"))
    types = random.choice(several)
    rules = {kind: tuple(_rule(random) for _ in range(random.randint(0, 2))) for kind in types}
    subjects = Selector() if random.random() < 0.6 else _selector(random, _pod_keys(random))
    return NetworkPolicy(
        namespace=random.choice((*SPACES[:2], *SPACES)),
        name=f"policy{number}",
        pod_selector=subjects,
        ingress=rules.get("Ingress", ()),
        egress=rules.get("Egress", ()),
        policy_types=types,
    )


def _rule(random: Random) -> Rule:
    peers = tuple(_peer(random) for _ in range(random.randint(0, 3)))
    ports = random.choice(((), (), (PolicyPort("TCP", 80),), (PolicyPort("TCP", "http"), PolicyPort("TCP", 81))))
    return Rule(peers, ports)


def _peer(random: Random) -> Peer:
    kind = random.random()
    if kind < 0.35:
        return Peer(ip_block=random.choice(BLOCKS))
    if kind < 0.7:
        return Peer(namespace_selector=_selector(random, KEYS))
    if kind < 0.85:
        return Peer(pod_selector=_selector(random, _pod_keys(random)), namespace_selector=_selector(random, KEYS))
    return Peer(pod_selector=_selector(random, _pod_keys(random)))


def _pod_keys(random: Random) -> tuple[str, ...]:
    return (*KEYS, HASH) if random.random() < 0.5 else KEYS


def _selector(random: Random, keys: tuple[str, ...]) -> Selector:
    return Selector(tuple(_term(random, random.choice(keys)) for _ in range(random.randint(1, 2))))


def _term(random: Random, key: str) -> Requirement:
    operators: tuple[Operator, ...] = ("In", "In", "NotIn", "Exists", "DoesNotExist")
    operator = random.choice(operators)
    values = tuple(random.sample(VALUES, random.randint(1, 2)))
    return Requirement(key, operator, values if operator in ("In", "NotIn") else ())


def as_pods(objects: list[KubeObject]) -> list[KubeObject]:
    """Return the objects with a pod for each Deployment; the value that its controller chooses is not known."""
    return [_of_template(item) if isinstance(item, Workload) else item for item in objects]


def _of_template(item: Workload) -> Pod:
    template = item.template
    labels = {**template.labels, HASH: "?"}
    return Pod(namespace=item.namespace, name=item.name, template=PodTemplate(labels=labels, ports=template.ports))
