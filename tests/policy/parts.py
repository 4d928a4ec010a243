# SPDX-License-Identifier: Apache-2.0
"""Short ways to write pods and policies, and to ask whether one reaches another."""

from __future__ import annotations

from typing import TYPE_CHECKING

from podfence.api import Cluster
from podfence.kube.objects import (
    ContainerPort,
    IPBlock,
    KubeObject,
    Namespace,
    NetworkPolicy,
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
    from collections.abc import Iterable, Sequence

    from podfence.kube.objects import Labels

ANYONE = Selector()


def label(key: str, value: str) -> Selector:
    return Selector((Requirement(key, "In", (value,)),))


def app(name: str) -> Selector:
    return label("app", name)


def space(name: str, **labels: str) -> Namespace:
    return Namespace(name=name, labels={**labels, "kubernetes.io/metadata.name": name})


def pod(name: str, *addresses: str, namespace: str = "shop", labels: Labels | None = None, node: str = "",
        host: bool = False, ports: Sequence[ContainerPort] = ()) -> Pod:  # fmt: skip
    """Return a pod with the label app=NAME unless other labels are given."""
    template = PodTemplate(labels={"app": name} if labels is None else labels, ports=tuple(ports), host_network=host, node=node)  # fmt: skip
    return Pod(namespace=namespace, name=name, template=template, addresses=addresses, phase="Running",
               node_addresses=addresses if host else ())  # fmt: skip


def block(cidr: str, *excepts: str) -> Peer:
    return Peer(ip_block=IPBlock(cidr, excepts))


def rule(*peers: Peer, ports: Sequence[PolicyPort] = ()) -> Rule:
    return Rule(peers, tuple(ports))


def policy(name: str, on: Selector = ANYONE, *, ingress: Iterable[Rule] | None = None,
           egress: Iterable[Rule] | None = None, namespace: str = "shop") -> NetworkPolicy:  # fmt: skip
    """Return a policy of the directions that are given."""
    return NetworkPolicy(
        namespace=namespace,
        name=name,
        pod_selector=on,
        ingress=tuple(ingress or ()),
        egress=tuple(egress or ()),
        policy_types=(*(("Ingress",) if ingress is not None else ()), *(("Egress",) if egress is not None else ())),
    )


def decision(
    objects: Iterable[KubeObject], source: str, destination: str, port: str | int | None, *settings: str
) -> str:
    return Cluster.from_objects(objects, Options.parse(settings)).check(source, destination, port).decision.value
