# SPDX-License-Identifier: Apache-2.0
"""The cluster that most of the twin's tables are about, and short ways to write its parts."""

from __future__ import annotations

from typing import TYPE_CHECKING

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
    Requirement,
    Rule,
    Selector,
)
from podfence.policy.options import Options

from .question import AddressEnd, PodEnd, Traffic

if TYPE_CHECKING:
    from collections.abc import Sequence

    from podfence.kube.objects import Labels

TCP80 = Traffic("TCP", 80)
ICMP = Traffic("ICMP")
ALL = Rule()
OUTSIDE, OUTSIDE_V6 = AddressEnd("203.0.113.9"), AddressEnd("2001:db8::9")
ANY_POD = Selector()


def label(key: str, value: str) -> Selector:
    return Selector((Requirement(key, "In", (value,)),))


def pod(name: str, *addresses: str, namespace: str = "default", labels: Labels | None = None, node: str = "n1",
        host: bool = False, declares: tuple[ContainerPort, ...] = (), phase: str = "Running", terminating: bool = False,
        created: str = "") -> Pod:  # fmt: skip
    template = PodTemplate(labels=labels or {}, ports=declares, host_network=host, node=node)
    return Pod(namespace=namespace, name=name, template=template, addresses=addresses, phase=phase,
               terminating=terminating, created=created)  # fmt: skip


def policy(
    *rules: Rule, on: Selector = ANY_POD, egress: Sequence[Rule] | None = None, name: str = "p"
) -> NetworkPolicy:
    if egress is None:
        return NetworkPolicy(namespace="default", name=name, pod_selector=on, ingress=rules)
    return NetworkPolicy(
        namespace="default", name=name, pod_selector=on, egress=tuple(egress), policy_types=("Egress",)
    )


def block(cidr: str, *excepts: str) -> Peer:
    return Peer(ip_block=IPBlock(cidr, excepts))


def setting(*settings: str) -> Options:
    return Options.parse(settings)


# The peers of most tables: `me` in default is asked about, web and other are pods, n1 is me's node.
ME, WEB, OTHER = PodEnd("default", "me"), PodEnd("default", "web"), PodEnd("dev", "other")
CAST: tuple[KubeObject, ...] = (
    Namespace(name="dev", labels={"team": "dev"}),
    Node(name="n1", labels={}, addresses=("172.18.0.1",)),
    Node(name="n2", labels={}, addresses=("172.18.0.2",)),
    pod("me", "10.0.0.1", labels={"app": "me"}, declares=(
        ContainerPort(80, "TCP", "http"), ContainerPort(81, "TCP", "http", sidecar=True), ContainerPort(53, "UDP", "dns"))),
    pod("web", "10.0.0.2", labels={"app": "web"}, node="n2", declares=(ContainerPort(8080, "TCP", "http"),)),
    pod("other", "10.0.1.3", namespace="dev", labels={"app": "web"}, node="n2", declares=(ContainerPort(80, "TCP", "http"),)),
    pod("host", "172.18.0.2", namespace="dev", labels={"app": "web"}, node="n2", host=True),
)  # fmt: skip
HOST = PodEnd("dev", "host")
