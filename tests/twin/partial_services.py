# SPDX-License-Identifier: Apache-2.0
"""Services of a random part of a cluster, of which often nobody knows what is behind them (semantics 13.7)."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING

import msgspec

from podfence.cluster.controllers import UNKNOWN
from podfence.kube.objects import Backend, EndpointPort, EndpointSlice, Pod, Service, ServicePort, Workload

from .partial import HASH, KEYS, NODES, SPACES, VALUES

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from podfence.kube.objects import KubeObject, Labels

NODE_PORT, HOST_PORT = 30080, 444
TYPES = ("ClusterIP", "NodePort", "NodePort", "LoadBalancer")
RANGES = ((), ("203.0.113.0/24",), ("10.0.0.0/8", "203.0.113.8/29"), ("0.0.0.0/0",), ("0.0.0.0/0", "::/0"))
"""The `loadBalancerSourceRanges` of load balancers."""

UNREAD = "unread"
"""How pods are called that only endpoints name."""

BACKENDS = ("203.0.113.7", "172.18.0.1", "10.3.3.3", "10.0.9.9")


def with_host_ports(seed: int, objects: Sequence[KubeObject]) -> list[KubeObject]:
    """Return the objects with a hostPort for some of the pods that declare a port."""
    random = Random(f"host ports of {seed}")
    return [
        _with_host_port(item) if isinstance(item, Pod) and item.template.ports and random.random() < 0.5 else item
        for item in objects
    ]


def _with_host_port(pod: Pod) -> Pod:
    ports = tuple(msgspec.structs.replace(port, host_port=HOST_PORT) for port in pod.template.ports)
    return msgspec.structs.replace(pod, template=msgspec.structs.replace(pod.template, ports=ports))


def partial_services(seed: int, objects: Sequence[KubeObject]) -> list[KubeObject]:
    """Return some Services for the objects of a part of a cluster, and the EndpointSlices of some of them."""
    random = Random(f"services of {seed}")
    return [item for number in range(random.randint(1, 3)) for item in _service(random, number, objects)]


def _service(random: Random, number: int, objects: Sequence[KubeObject]) -> Iterator[KubeObject]:
    pods = [item for item in objects if isinstance(item, Pod)]
    like = random.choice(pods) if pods and random.random() < 0.6 else None
    space = like.namespace if like else random.choice(SPACES[:2])
    labels = like.template.labels if like and like.template.labels else _labels(random)
    selector = random.choice((labels, dict([random.choice(sorted(labels.items()))]), None, None))
    if selector is not None:
        selector = {key: random.choice(VALUES) if value == UNKNOWN else value for key, value in selector.items()}
    kind = random.choice(TYPES)
    headless = kind == "ClusterIP" and random.random() < 0.25
    external = (f"198.51.100.{number + 1}",) if kind == "LoadBalancer" or random.random() < 0.3 else ()
    balanced = kind == "LoadBalancer" and random.random() < 0.7
    service = Service(
        namespace=space,
        name=f"s{number}",
        type=kind,
        selector=selector,
        ports=tuple(_ports(random, number, at_nodes=kind != "ClusterIP")),
        addresses=() if headless else (f"10.96.0.{number + 1}",),
        external_addresses=external,
        balancer_addresses=external if balanced else (),
        source_ranges=random.choice(RANGES) if kind == "LoadBalancer" else (),
        external_traffic_policy=random.choice(("Cluster", "Local")),
        headless=headless,
    )
    yield service
    backed = selector is not None and any(
        item.namespace == space and selector.items() <= item.template.labels.items()
        for item in objects
        if isinstance(item, Pod | Workload)
    )
    if not backed and random.random() < 0.5:
        yield _slice(random, service, [pod for pod in pods if pod.namespace == space])


def _labels(random: Random) -> Labels:
    keys = random.sample((*KEYS, HASH), random.randint(1, 2))
    return {key: random.choice(VALUES) for key in keys}


def _ports(random: Random, number: int, *, at_nodes: bool) -> Iterator[ServicePort]:
    first = NODE_PORT + 10 * number
    yield ServicePort(80, random.choice((80, 81, "http")), "TCP", "one", node_port=first if at_nodes else 0)
    if random.random() < 0.3:
        yield ServicePort(53, 53, "UDP", "two", node_port=first + 1 if at_nodes else 0)


def _slice(random: Random, service: Service, pods: Sequence[Pod]) -> EndpointSlice:
    """Return endpoints: pods by their address, one that nobody has read, and others."""
    known = [Backend(pod.addresses, pod.name, node=pod.template.node) for pod in pods if pod.addresses]
    # What a Service with a selector leads to are pods; who has the address of a node is known by that.
    texts = BACKENDS if service.selector is None else ("172.18.0.1", f"10.0.7.{service.name[1:]}")
    others = [Backend((text,), node="n1" if text in NODES["n1"] else random.choice(("", *NODES))) for text in texts]
    named = f"10.0.8.{service.name[1:]}", f"{UNREAD}-{service.name}"
    others.append(Backend(named[:1], named[1], node=random.choice(("", *NODES))))
    several = (*known, *random.sample(others, 3))
    return EndpointSlice(
        namespace=service.namespace,
        name=f"{service.name}-1",
        service=service.name,
        backends=tuple(random.sample(several, random.randint(0, min(2, len(several))))),
        ports=tuple(
            EndpointPort(random.choice((80, 81)) if port.protocol == "TCP" else 53, port.protocol, port.name)
            for port in service.ports
        ),
    )
