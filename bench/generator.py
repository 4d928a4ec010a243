# SPDX-License-Identifier: Apache-2.0
"""Clusters of any size as people run them, from a seed: namespaces of teams, workloads, Services, policies.

Of every five namespaces two are denied both ways with a rule for DNS, two are denied ingress, and one
has no policies; `bench.policies` says what else they allow. `bench.manifests` writes it all as YAML.
"""

from __future__ import annotations

from itertools import accumulate, pairwise
from random import Random
from typing import TYPE_CHECKING, Final, NamedTuple

from bench.policies import MONITORING, NAME_LABEL, SYSTEM, App, Place, Port, Posture, policies_of
from podfence.kube.objects import (
    ContainerPort,
    KubeObject,
    Namespace,
    Node,
    Owner,
    Pod,
    PodTemplate,
    Service,
    ServicePort,
    Workload,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from bench.size import Size

_METRICS: Final = Port("metrics", 9090)
_APPS: Final = (
    App("web", "frontend", (Port("http", 8080), _METRICS)),
    App("api", "backend", (Port("http", 8080), Port("grpc", 9000), _METRICS)),
    App("db", "data", (Port("postgres", 5432), Port("metrics", 9187)), "StatefulSet"),
    App("worker", "backend", (_METRICS,)),
    App("cache", "data", (Port("redis", 6379), Port("metrics", 9121))),
    App("auth", "backend", (Port("https", 8443), _METRICS)),
    App("queue", "data", (Port("amqp", 5672), Port("management", 15672)), "StatefulSet"),
    App("search", "data", (Port("http", 9200), Port("transport", 9300)), "StatefulSet"),
    App("media", "backend", (Port("rtp", 5004, "UDP"), Port("http", 8080))),
    App("signal", "backend", (Port("m3ua", 2905, "SCTP"), _METRICS)),
    App("mail", "backend", (Port("smtp", 2525), _METRICS)),
    App("report", "batch", (_METRICS,)),
)
_DNS: Final = App("kube-dns", "system", (Port("dns", 53, "UDP"), Port("dns-tcp", 53), Port("metrics", 9153)))
_PROXY: Final = App("kube-proxy", "system", (Port("metrics", 10249),), "DaemonSet")
_PROMETHEUS: Final = App("prometheus", "system", (Port("web", 9090),), "StatefulSet")
_AGENT: Final = App("node-agent", "system", (Port("metrics", 9100),), "DaemonSet")

_POSTURES: Final[tuple[Posture, ...]] = ("both", "ingress", "both", "ingress", "open")
_ENVIRONMENTS: Final = ("prod", "staging", "dev")
_HASH_LETTERS: Final = "bcdfghjklmnpqrstvwxz2456789"
_NAMESPACES_PER_TEAM: Final = 8
_LEAST_PODS: Final = 10
_LEAST_NAMESPACES: Final = 3


class _Group(NamedTuple):
    """The pods of one workload."""

    namespace: str
    app: App
    version: str
    replicas: int


def generate(size: Size) -> tuple[KubeObject, ...]:
    """Return the objects of a cluster: namespaces, nodes, pods or Deployments, Services, policies.

    Exactly as many pods, namespaces and policies as asked; at least 10 pods and 3 namespaces can be asked
    for. In mode ``workloads`` the replicas of the Deployments add up to the pods, and there are no nodes.
    """
    if size.pods < _LEAST_PODS or size.namespaces < _LEAST_NAMESPACES:
        message = f"a cluster has at least {_LEAST_PODS} pods and {_LEAST_NAMESPACES} namespaces"
        raise ValueError(message)
    random = Random(size.seed)
    live = size.mode == "pods"
    nodes = _nodes(max(2, size.pods // size.per_node)) if live else []
    system = [_Group(SYSTEM, _DNS, "v1", 2), _Group(MONITORING, _PROMETHEUS, "v2", 2)]
    if live:
        system += [_Group(SYSTEM, _PROXY, "v1", len(nodes)), _Group(MONITORING, _AGENT, "v1", len(nodes))]
    rest = size.pods - sum(group.replicas for group in system)

    names = [_name(index) for index in range(size.namespaces - 2)]
    shares = _shares(rest, [random.choice((1, 1, 2, 2, 3, 5)) for _ in names])
    groups, places, namespaces = (
        list(system),
        [],
        [_namespace(SYSTEM, {}), _namespace(MONITORING, {"team": "platform"})],
    )
    for index, (name, share) in enumerate(zip(names, shares, strict=True)):
        own = list(_groups(name, share, random))
        team = f"team-{index // _NAMESPACES_PER_TEAM}"
        groups += own
        places.append(Place(name, team, _POSTURES[index % len(_POSTURES)], tuple(group.app for group in own)))
        namespaces.append(_namespace(name, {"team": team, "env": _environment(index)}))

    counts = _shares(size.policies, [0 if place.posture == "open" else random.choice((1, 2, 2, 3)) for place in places])
    policies = [
        policy
        for place, count in zip(places, counts, strict=True)
        for policy in policies_of(place, count, places, random)
    ]
    running = _pods(groups, nodes, random) if live else (_deployment(group) for group in groups)
    return (*namespaces, *nodes, *running, *_services(groups), *policies)


def _shares(total: int, weights: Sequence[int]) -> list[int]:
    """Divide a number by weights, exactly."""
    whole = sum(weights)
    marks = [total * mark // whole for mark in accumulate(weights, initial=0)]
    return [after - before for before, after in pairwise(marks)]


def _environment(index: int) -> str:
    return _ENVIRONMENTS[index % len(_ENVIRONMENTS)]


def _name(index: int) -> str:
    return f"shop-{index:04}-{_environment(index)}"


def _namespace(name: str, labels: dict[str, str]) -> Namespace:
    return Namespace(name=name, labels={NAME_LABEL: name, **labels})


def _nodes(count: int) -> list[Node]:
    return [
        Node(
            name=f"node-{index:04}",
            labels={"kubernetes.io/hostname": f"node-{index:04}", "kubernetes.io/os": "linux"},
            addresses=(f"172.16.{index // 250}.{index % 250 + 1}",),
            pod_cidrs=(f"10.{128 + index // 256}.{index % 256}.0/24",),
        )
        for index in range(count)
    ]


def _groups(namespace: str, pods: int, random: Random) -> Iterator[_Group]:
    """Yield the workloads of a namespace, of one to four pods each, until all pods are in one."""
    number = 0
    start = random.randrange(3)
    while pods:
        replicas = min(pods, random.choice((1, 1, 2, 2, 3, 4)))
        kind = _APPS[(start + number) % len(_APPS)]
        lap = (start + number) // len(_APPS)
        app = kind._replace(name=f"{kind.name}-{lap + 1}") if lap else kind
        yield _Group(namespace, app, random.choice(("v1", "v2", "v2", "v3")), replicas)
        pods -= replicas
        number += 1


def _labels(group: _Group) -> dict[str, str]:
    labels = {"app": group.app.name, "tier": group.app.tier, "version": group.version}
    return {**labels, "k8s-app": group.app.name} if group.namespace == SYSTEM else labels


def _container_ports(app: App) -> tuple[ContainerPort, ...]:
    return tuple(ContainerPort(port.number, port.protocol, port.name) for port in app.ports)


def _deployment(group: _Group) -> Workload:
    template = PodTemplate(labels=_labels(group), ports=_container_ports(group.app))
    return Workload(
        kind="Deployment",
        namespace=group.namespace,
        name=group.app.name,
        template=template,
        replicas=group.replicas,
    )


def _pods(groups: Sequence[_Group], nodes: Sequence[Node], random: Random) -> Iterator[Pod]:
    """Yield the pods of all workloads; they go to the nodes in turn, those of a DaemonSet one to each."""
    used = [0] * len(nodes)
    turn = 0
    for group in groups:
        template_hash = "".join(random.choices(_HASH_LETTERS, k=10))
        daemon = group.app.kind == "DaemonSet"
        for index in range(group.replicas):
            place = index if daemon else turn % len(nodes)
            turn += 0 if daemon else 1
            suffix = str(index) if group.app.kind == "StatefulSet" else "".join(random.choices(_HASH_LETTERS, k=5))
            yield _pod(group, template_hash, suffix, nodes[place], used[place])
            used[place] += 1


def _pod(group: _Group, template_hash: str, suffix: str, node: Node, used: int) -> Pod:
    labels, name = _labels(group), group.app.name
    owner = Owner(group.app.kind, name)
    if group.app.kind == "Deployment":
        owner = Owner("ReplicaSet", f"{name}-{template_hash}")
        labels["pod-template-hash"] = template_hash
    else:
        labels["controller-revision-hash"] = template_hash
    if group.app.kind == "StatefulSet":
        labels["statefulset.kubernetes.io/pod-name"] = f"{name}-{suffix}"
    host = group.app is _PROXY
    template = PodTemplate(labels=labels, ports=_container_ports(group.app), host_network=host, node=node.name)
    address = node.addresses[0] if host else f"{node.pod_cidrs[0].removesuffix('0/24')}{used + 2}"
    return Pod(
        namespace=group.namespace,
        name=f"{owner.name}-{suffix}",
        template=template,
        owner=owner,
        addresses=(address,),
        node_addresses=node.addresses,
        phase="Running",
        created=f"2026-01-{used % 28 + 1:02}T08:{used % 60:02}:00Z",
    )


def _services(groups: Sequence[_Group]) -> Iterator[Service]:
    for index, group in enumerate(group for group in groups if group.app.kind != "DaemonSet"):
        headless = group.app.kind == "StatefulSet"
        address = f"172.{20 + index // 65_536}.{index // 256 % 256}.{index % 256}"
        yield Service(
            namespace=group.namespace,
            name=group.app.name,
            selector={"app": group.app.name},
            ports=tuple(ServicePort(p.number, p.name, p.protocol, p.name) for p in group.app.ports),
            addresses=() if headless else (address,),
            headless=headless,
        )
