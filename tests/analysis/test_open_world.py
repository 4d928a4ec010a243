# SPDX-License-Identifier: Apache-2.0
"""What is not in the input is not known: each unknown, at each end, with each option (semantics 13)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import pytest

from podfence.api import Cluster
from podfence.cli.question import exit_code
from podfence.cluster.state import ClusterState
from podfence.errors import EndpointError
from podfence.kube.load import Loaded
from podfence.kube.objects import (
    Backend,
    ContainerPort,
    EndpointPort,
    EndpointSlice,
    Node,
    Peer,
    PodTemplate,
    PolicyPort,
    Requirement,
    Selector,
    Service,
    ServicePort,
    Workload,
)
from podfence.kube.omissions import Gap
from podfence.policy.options import Options
from podfence.policy.verdict import Decision, Matter, told
from podfence.report.verdict_text import chain
from tests.policy.parts import app, block, label, pod, policy, rule, space

if TYPE_CHECKING:
    from collections.abc import Sequence

    from podfence.kube.objects import KubeObject

Row = tuple[str, list["KubeObject"], str, str, str, str, str, str]
"""Title, objects, source, destination, port, settings, decision, and a piece of the clause."""

NAME = "kubernetes.io/metadata.name"
SHOP, SYSTEM = space("shop"), space("kube-system")
PRIVATE = ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10")


def spaces(*terms: Requirement) -> Peer:
    return Peer(namespace_selector=Selector(terms))


def term(key: str, operator: str, *values: str) -> Requirement:
    return Requirement(key, operator, values)  # type: ignore[arg-type]


def of(name: str, kind: str = "Deployment", *, host: bool = False, labels: dict[str, str] | None = None) -> Workload:
    template = PodTemplate(labels=labels or {"app": name}, host_network=host)
    return Workload(kind=kind, namespace="shop", name=name, template=template)


def svc(name: str, selector: dict[str, str] | None, *, target: int | str = 8080, headless: bool = False,
        address: str = "10.96.0.9") -> Service:  # fmt: skip
    addresses = () if headless else (address,)
    return Service(namespace="shop", name=name, selector=selector, ports=(ServicePort(80, target),),
                   addresses=addresses, headless=headless)  # fmt: skip


# Labels of namespaces: `ctl` is in ingress, for which there is no Namespace.

WEB = pod("web", "10.1.0.1", node="n1")
CTL = pod("ctl", "10.1.0.2", namespace="ingress", node="n2")
ROLE = "the labels of namespace ingress (give it: kubectl get ns ingress -o yaml)"
IN, NOT_IN = spaces(term("role", "In", "edge")), spaces(term("role", "NotIn", "edge"))
EXISTS, ABSENT = spaces(term("role", "Exists")), spaces(term("role", "DoesNotExist"))


def admits(*peers: Peer) -> list[KubeObject]:
    return [SHOP, WEB, CTL, policy("p", app("web"), ingress=[rule(*peers)])]


def sends(*peers: Peer) -> list[KubeObject]:
    return [SHOP, WEB, CTL, policy("p", app("web"), egress=[rule(*peers)])]


def within(*, egress: Peer, ingress: Peer) -> list[KubeObject]:
    """Return two pods of one namespace of which nothing is known, and policies that ask for its labels at both ends."""
    ends = [pod("web", "10.1.0.1", namespace="lost"), pod("db", "10.1.0.3", namespace="lost")]
    return [*ends, policy("out", app("web"), egress=[rule(egress)], namespace="lost"),
            policy("in", app("db"), ingress=[rule(ingress)], namespace="lost")]  # fmt: skip


def to_80(peer: Peer) -> list[KubeObject]:
    return [SHOP, WEB, CTL, policy("p", app("web"), ingress=[rule(peer, ports=[PolicyPort("TCP", 80)])])]


NAMESPACES: list[Row] = [
    ("In", admits(IN), "ingress/ctl", "shop/web", "80", "", "depends", ROLE),
    ("NotIn", admits(NOT_IN), "ingress/ctl", "shop/web", "80", "", "depends", ROLE),
    ("Exists", admits(EXISTS), "ingress/ctl", "shop/web", "80", "", "depends", ROLE),
    ("DoesNotExist", admits(ABSENT), "ingress/ctl", "shop/web", "80", "", "depends", ROLE),
    ("In, closed", admits(IN), "ingress/ctl", "shop/web", "80", "world=closed", "denied", ""),
    ("NotIn, closed", admits(NOT_IN), "ingress/ctl", "shop/web", "80", "world=closed", "allowed", ""),
    ("In, closed of this kind", admits(IN), "ingress/ctl", "shop/web", "80", "world=closed:Namespace", "denied", ""),
    ("In, closed of another kind", admits(IN), "ingress/ctl", "shop/web", "80", "world=closed:Node,Pod", "depends", ROLE),
    ("the namespace is given with the label", [*admits(IN), space("ingress", role="edge")], "ingress/ctl", "shop/web", "80", "", "allowed", ""),
    ("the namespace is given with another label", [*admits(IN), space("ingress", role="core")], "ingress/ctl", "shop/web", "80", "", "denied", ""),
    ("the namespace is given without labels", [*admits(IN), space("ingress")], "ingress/ctl", "shop/web", "80", "", "denied", ""),
    ("by name", admits(spaces(term(NAME, "In", "ingress"))), "ingress/ctl", "shop/web", "80", "", "allowed", ""),
    ("by another name", admits(spaces(term(NAME, "In", "edge"))), "ingress/ctl", "shop/web", "80", "", "denied", ""),
    ("by not another name", admits(spaces(term(NAME, "NotIn", "edge"))), "ingress/ctl", "shop/web", "80", "", "allowed", ""),
    ("by another name and a label", admits(spaces(term(NAME, "In", "edge"), term("role", "Exists"))), "ingress/ctl", "shop/web", "80", "", "denied", ""),
    ("every namespace", admits(spaces()), "ingress/ctl", "shop/web", "80", "", "allowed", ""),
    ("In and NotIn of one label admit together", admits(IN, NOT_IN), "ingress/ctl", "shop/web", "80", "", "allowed", ""),
    ("Exists and DoesNotExist of one label", admits(EXISTS, ABSENT), "ingress/ctl", "shop/web", "80", "", "allowed", ""),
    ("Exists and NotIn of one label", admits(EXISTS, NOT_IN), "ingress/ctl", "shop/web", "80", "", "allowed", ""),
    ("In and DoesNotExist leave other values", admits(IN, ABSENT), "ingress/ctl", "shop/web", "80", "", "depends", ROLE),
    ("In and NotIn of two labels", admits(IN, spaces(term("tier", "NotIn", "edge"))), "ingress/ctl", "shop/web", "80", "", "depends", ROLE),
    ("one selector that nothing can match", admits(spaces(term("role", "In", "edge"), term("role", "NotIn", "edge"))), "ingress/ctl", "shop/web", "80", "", "denied", ""),
    ("pods with another label", admits(Peer(app("x"), Selector((term("role", "Exists"),)))), "ingress/ctl", "shop/web", "80", "", "denied", ""),
    ("pods with their label", admits(Peer(app("ctl"), Selector((term("role", "Exists"),)))), "ingress/ctl", "shop/web", "80", "", "depends", ROLE),
    ("a port that the rule does not have", to_80(IN), "ingress/ctl", "shop/web", "81", "", "denied", ""),
    ("a port that the rule has", to_80(IN), "ingress/ctl", "shop/web", "80", "", "depends", ROLE),
    ("towards it, In", sends(IN), "shop/web", "ingress/ctl", "80", "", "depends", ROLE),
    ("towards it, NotIn", sends(NOT_IN), "shop/web", "ingress/ctl", "80", "", "depends", ROLE),
    ("towards it, both", sends(IN, NOT_IN), "shop/web", "ingress/ctl", "80", "", "allowed", ""),
    ("towards it, closed", sends(IN), "shop/web", "ingress/ctl", "80", "world=closed", "denied", ""),
    ("from a pod that need not exist", admits(IN), "ingress/app=x", "shop/web", "80", "", "depends", ROLE),
    ("default has no label", [pod("ctl", "10.1.0.2", namespace="default"), *admits(IN)], "default/ctl", "shop/web", "80", "", "denied", ""),
    ("kube-public has no label", [pod("ctl", "10.1.0.2", namespace="kube-public"), *admits(NOT_IN)], "kube-public/ctl", "shop/web", "80", "", "allowed", ""),
    ("kube-system may have labels", [pod("dns", "10.1.0.2", namespace="kube-system"), *admits(IN)], "kube-system/dns", "shop/web", "80", "", "depends", "the labels of namespace kube-system"),
    ("asked for at both ends, the same", within(egress=IN, ingress=IN), "lost/web", "lost/db", "80", "", "depends", "the labels of namespace lost"),
    ("asked for at both ends, opposites", within(egress=IN, ingress=NOT_IN), "lost/web", "lost/db", "80", "", "denied", ""),
    ("asked for at both ends, two values", within(egress=IN, ingress=spaces(term("role", "In", "core"))), "lost/web", "lost/db", "80", "", "denied", ""),
    ("asked for at both ends, two values, closed", within(egress=IN, ingress=spaces(term("role", "In", "core"))), "lost/web", "lost/db", "80", "world=closed", "denied", ""),
    ("denied at the other end", [*admits(IN), policy("deny", namespace="ingress", egress=[])], "ingress/ctl", "shop/web", "80", "", "denied", ""),
    ("an address outside", admits(IN), "203.0.113.7", "shop/web", "80", "", "denied", ""),
]  # fmt: skip

# Nodes: `web` runs on no known node in FLOATING.

FLOATING, DENY = pod("web", "10.1.0.1"), policy("deny", ingress=[], egress=[])
N1, N2, BARE = (
    Node(name="n1", labels={}, addresses=("172.18.0.1",)),
    Node(name="n2", labels={}),
    Node(name="n2", labels={}, addresses=()),
)
ON_NODE = "the node that shop/web runs on"
HOSTED, LOST_HOST = pod("host", "172.18.0.1", node="n1", host=True), pod("host", host=True)
NODES: list[Row] = [
    ("a node to a pod without one", [SHOP, N1, FLOATING, DENY], "node:n1", "shop/web", "80", "", "depends", ON_NODE),
    ("a node to a pod without one, closed", [SHOP, N1, FLOATING, DENY], "node:n1", "shop/web", "80", "world=closed", "denied", ""),
    ("a node to a pod without one, pods closed", [SHOP, N1, FLOATING, DENY], "node:n1", "shop/web", "80", "world=closed:Pod", "denied", ""),
    ("a node to a pod without one, nodes closed", [SHOP, N1, FLOATING, DENY], "node:n1", "shop/web", "80", "world=closed:Node", "depends", ON_NODE),
    ("a node to a pod of its own", [SHOP, N1, pod("web", node="n1"), DENY], "node:n1", "shop/web", "80", "", "allowed", ""),
    ("a node to a pod of another", [SHOP, N1, pod("web", node="n3"), DENY], "node:n1", "shop/web", "80", "", "denied", ""),
    ("a node to a pod that nothing isolates", [SHOP, N1, FLOATING], "node:n1", "shop/web", "80", "", "allowed", ""),
    ("a node to a pod without one that admits it", [SHOP, N1, FLOATING, policy("p", ingress=[rule(block("172.18.0.0/16"))])], "node:n1", "shop/web", "80", "", "allowed", ""),
    ("a node by its address", [SHOP, N1, FLOATING, DENY], "172.18.0.1", "shop/web", "80", "", "depends", ON_NODE),
    ("a node to a workload", [SHOP, N1, of("web"), DENY], "node:n1", "shop/deploy/web", "80", "", "depends", "the node that shop/deploy/web runs on"),
    ("a pod without one to a node", [SHOP, N1, FLOATING, DENY], "shop/web", "node:n1", "80", "", "denied", ""),
    ("a pod without one to a node, exempt", [SHOP, N1, FLOATING, DENY], "shop/web", "node:n1", "80", "own-node-egress=allowed", "depends", ON_NODE),
    ("a pod without one to a node, open", [SHOP, N1, FLOATING, DENY], "shop/web", "node:n1", "80", "own-node-egress=depends", "depends", ON_NODE),
    ("a pod of its own to a node, exempt", [SHOP, N1, pod("web", node="n1"), DENY], "shop/web", "node:n1", "80", "own-node-egress=allowed", "allowed", ""),
    ("a hostNetwork pod to a pod without one", [SHOP, HOSTED, FLOATING, DENY], "shop/host", "shop/web", "80", "", "depends", ON_NODE),
    ("a hostNetwork pod without a node to a pod with one", [SHOP, LOST_HOST, WEB, DENY], "shop/host", "shop/web", "80", "", "depends", ON_NODE),
    ("a hostNetwork pod to a pod elsewhere", [SHOP, HOSTED, pod("web", node="n3"), DENY], "shop/host", "shop/web", "80", "", "denied", ""),
    ("a hostNetwork pod as a pod", [SHOP, LOST_HOST, WEB, DENY], "shop/host", "shop/web", "80", "host-network=pod", "denied", ""),
    ("a hostNetwork workload", [SHOP, of("host", "DaemonSet", host=True), WEB, DENY], "shop/ds/host", "shop/web", "80", "", "depends", "the source pod"),
    ("a hostNetwork workload, closed", [SHOP, of("host", "DaemonSet", host=True), WEB, DENY], "shop/ds/host", "shop/web", "80", "world=closed", "denied", ""),
    ("a hostNetwork workload to a pod that nothing isolates", [SHOP, of("host", "DaemonSet", host=True), WEB], "shop/ds/host", "shop/web", "80", "", "allowed", ""),
    ("a pod to a hostNetwork workload", [SHOP, of("host", host=True), WEB, DENY], "shop/web", "shop/deploy/host", "80", "", "denied", ""),
    ("a pod to a hostNetwork workload, exempt", [SHOP, of("host", host=True), WEB, DENY], "shop/web", "shop/deploy/host", "80", "own-node-egress=allowed", "depends", "the destination pod"),
    ("the own node", [SHOP, FLOATING, DENY], "own-node", "shop/web", "80", "", "allowed", ""),
    ("another node", [SHOP, FLOATING, DENY], "node", "shop/web", "80", "", "denied", ""),
    ("another node in a block", [SHOP, FLOATING, policy("p", ingress=[rule(block("10.0.0.0/8"))])], "node", "shop/web", "80", "", "depends", "the address of the node"),
    ("another node in a public block", [SHOP, FLOATING, policy("p", ingress=[rule(block("203.0.113.0/24"))])], "node", "shop/web", "80", "", "denied", ""),
    ("a node without addresses in a block", [SHOP, N2, WEB, policy("p", ingress=[rule(block("10.0.0.0/8"))])], "node:n2", "shop/web", "80", "", "depends", "the address of node n2"),
    ("a node without addresses in a block, closed", [SHOP, N2, WEB, policy("p", ingress=[rule(block("10.0.0.0/8"))])], "node:n2", "shop/web", "80", "world=closed:Node", "denied", ""),
    ("a node without addresses, never matched", [SHOP, N2, WEB, policy("p", ingress=[rule(block("10.0.0.0/8"))])], "node:n2", "shop/web", "80", "ip-block-nodes=never", "denied", ""),
]  # fmt: skip

# Addresses of pods: `you` has none.

ME, YOU = pod("me", "10.9.0.9", node="n1"), pod("you", node="n2")
ADDRESS = "the address of shop/you (give its pods: kubectl get pods -n shop -o yaml, or --set pod-cidrs=CIDR)"


def from_blocks(*peers: Peer) -> list[KubeObject]:
    return [SHOP, ME, YOU, policy("p", app("me"), ingress=[rule(*peers)])]


def to_blocks(*peers: Peer) -> list[KubeObject]:
    return [SHOP, ME, YOU, policy("p", app("me"), egress=[rule(*peers)])]


ADDRESSES: list[Row] = [
    ("in a part of the private ranges", from_blocks(block("10.0.0.0/8")), "shop/you", "shop/me", "80", "", "depends", ADDRESS),
    ("in a part, closed", from_blocks(block("10.0.0.0/8")), "shop/you", "shop/me", "80", "world=closed", "denied", ""),
    ("in a part, pods closed", from_blocks(block("10.0.0.0/8")), "shop/you", "shop/me", "80", "world=closed:Pod", "denied", ""),
    ("in a part, never matched", from_blocks(block("10.0.0.0/8")), "shop/you", "shop/me", "80", "ip-block-pods=never", "denied", ""),
    ("in a part, matched or not", from_blocks(block("10.0.0.0/8")), "shop/you", "shop/me", "80", "ip-block-pods=depends", "depends", "the address of shop/you"),
    ("in all private ranges together", from_blocks(*map(block, PRIVATE)), "shop/you", "shop/me", "80", "", "allowed", ""),
    ("in all private ranges but one", from_blocks(*map(block, PRIVATE[1:])), "shop/you", "shop/me", "80", "", "depends", ADDRESS),
    ("everywhere", from_blocks(block("0.0.0.0/0")), "shop/you", "shop/me", "80", "", "allowed", ""),
    ("everywhere but the private ranges", from_blocks(block("0.0.0.0/0", *PRIVATE)), "shop/you", "shop/me", "80", "", "denied", ""),
    ("everywhere but one private range", from_blocks(block("0.0.0.0/0", "10.0.0.0/8")), "shop/you", "shop/me", "80", "", "depends", ADDRESS),
    ("everywhere but the address of metadata", from_blocks(block("0.0.0.0/0", "169.254.169.254/32")), "shop/you", "shop/me", "80", "", "allowed", ""),
    ("everywhere but link-local addresses", from_blocks(block("0.0.0.0/0", "169.254.0.0/16")), "shop/you", "shop/me", "80", "", "allowed", ""),
    ("a single private address", from_blocks(block("10.0.0.7/32")), "shop/you", "shop/me", "80", "", "denied", ""),
    ("everywhere but a single private address", from_blocks(block("0.0.0.0/0", "10.0.0.7/32")), "shop/you", "shop/me", "80", "", "allowed", ""),
    ("a public block", from_blocks(block("203.0.113.0/24")), "shop/you", "shop/me", "80", "", "denied", ""),
    ("a public block, pods anywhere", from_blocks(block("203.0.113.0/24")), "shop/you", "shop/me", "80", "pod-cidrs=any", "depends", ADDRESS),
    ("link-local addresses, pods anywhere", from_blocks(block("169.254.0.0/16")), "shop/you", "shop/me", "80", "pod-cidrs=any", "denied", ""),
    ("the block is the range", from_blocks(block("10.244.0.0/16")), "shop/you", "shop/me", "80", "pod-cidrs=10.244.0.0/16", "allowed", ""),
    ("the block is beside the range", from_blocks(block("10.245.0.0/16")), "shop/you", "shop/me", "80", "pod-cidrs=10.244.0.0/16", "denied", ""),
    ("the block is half of the range", from_blocks(block("10.244.0.0/17")), "shop/you", "shop/me", "80", "pod-cidrs=10.244.0.0/16", "depends", ADDRESS),
    ("both halves of the range", from_blocks(block("10.244.0.0/17"), block("10.244.128.0/17")), "shop/you", "shop/me", "80", "pod-cidrs=10.244.0.0/16", "allowed", ""),
    ("the range of the nodes", [*from_blocks(block("10.244.0.0/16")), Node(name="n9", labels={}, pod_cidrs=("10.244.9.0/24",))], "shop/you", "shop/me", "80", "", "allowed", ""),
    ("beside the range of the nodes", [*from_blocks(block("10.245.0.0/16")), Node(name="n9", labels={}, pod_cidrs=("10.244.9.0/24",))], "shop/you", "shop/me", "80", "", "denied", ""),
    ("a block of the other family", from_blocks(block("fd00::/8")), "shop/you", "shop/me", "80", "", "denied", ""),
    ("IPv6 may be any", from_blocks(block("fd00::/8")), "shop/you", "shop/me", "80", "pod-families=ipv6", "denied", ""),
    ("by its labels as well", from_blocks(block("10.0.0.0/8"), Peer(pod_selector=app("you"))), "shop/you", "shop/me", "80", "", "allowed", ""),
    ("towards it", to_blocks(block("10.0.0.0/8")), "shop/me", "shop/you", "80", "", "depends", ADDRESS),
    ("towards it, closed", to_blocks(block("10.0.0.0/8")), "shop/me", "shop/you", "80", "world=closed", "denied", ""),
    ("towards it, everywhere but the private ranges", to_blocks(block("0.0.0.0/0", *PRIVATE)), "shop/me", "shop/you", "80", "", "denied", ""),
    ("a workload", [SHOP, ME, of("you"), policy("p", app("me"), ingress=[rule(block("10.0.0.0/8"))])], "shop/deploy/you", "shop/me", "80", "", "depends", "the address of shop/deploy/you"),
    ("a pod that need not exist", from_blocks(block("10.0.0.0/8")), "shop/app=x", "shop/me", "80", "", "depends", "the address of"),
]  # fmt: skip

# Services: their backends, and addresses in their ranges.

FREE, TO_DB = (
    pod("web", "10.1.0.1", node="n1"),
    policy("p", app("web"), egress=[rule(Peer(pod_selector=app("db")), ports=[PolicyPort("TCP", 8080)])]),
)


def slices(service: str, *addresses: str) -> EndpointSlice:
    backends = tuple(Backend((address,), pod=f"{service}-1" if service == "db" else "") for address in addresses)
    return EndpointSlice(
        namespace="shop", name=f"{service}-1", service=service, backends=backends, ports=(EndpointPort(8080),)
    )


def beside(node: str, service: str = "db") -> EndpointSlice:
    return EndpointSlice(namespace="shop", name=f"{service}-1", service=service, ports=(EndpointPort(8080),),
                         backends=(Backend(("10.1.0.3",), node=node),))  # fmt: skip


def outside(node: str) -> EndpointSlice:
    return msgspec.structs.replace(beside(node, "any"), backends=(Backend(("203.0.113.9",), node=node),))


def both_places() -> EndpointSlice:
    return msgspec.structs.replace(beside("", "any"), backends=(Backend(("203.0.113.9",)), Backend(("172.18.0.1",))))


def svc_at(address: str) -> Service:
    return msgspec.structs.replace(svc("web", {"app": "web"}), external_addresses=(address,))


UNNAMED = beside("")
OF_DB, OF_ANY = "the backends of Service shop/db", "the backends of Service shop/any"
DB, ANY = svc("db", {"app": "db"}), svc("any", None)
SLICE = slices("any", "203.0.113.9")
LOCAL = msgspec.structs.replace(
    ANY, type="NodePort", ports=(ServicePort(80, 8080, node_port=30080),), external_traffic_policy="Local"
)
AT = "whether 10.96.0.5 is the address of a Service"
SERVICES: list[Row] = [
    ("a selector that no pod has", [SHOP, FREE, DB], "shop/web", "shop/svc/db", "80", "", "depends", OF_DB),
    ("a selector that no pod has, closed", [SHOP, FREE, DB], "shop/web", "shop/svc/db", "80", "world=closed", "denied", ""),
    ("a selector that no pod has, pods closed", [SHOP, FREE, DB], "shop/web", "shop/svc/db", "80", "world=closed:Pod", "denied", ""),
    ("a selector that no pod has, and an empty slice says so", [SHOP, FREE, DB, slices("db")], "shop/web", "shop/svc/db", "80", "", "denied", ""),
    ("a selector of a pod that was not read, in a slice", [SHOP, FREE, DB, slices("db", "10.1.0.3")], "shop/web", "shop/svc/db", "80", "", "allowed", ""),
    ("a selector of a pod that was not read, in a slice, and a rule about labels", [SHOP, FREE, DB, slices("db", "10.1.0.3"), policy("deny", label("tier", "x"), ingress=[])], "shop/web", "shop/svc/db", "80", "", "depends", "the labels and ports of shop/db-1, which was not read"),
    ("no selector, and an empty slice", [SHOP, FREE, ANY, slices("any")], "shop/web", "shop/svc/any", "80", "", "denied", ""),
    ("a selector that a pod has", [SHOP, FREE, DB, pod("db", "10.1.0.3")], "shop/web", "shop/svc/db", "80", "", "allowed", ""),
    ("egress admits such pods", [SHOP, FREE, DB, TO_DB], "shop/web", "shop/svc/db", "80", "", "depends", OF_DB),
    ("egress admits such pods at another port", [SHOP, FREE, svc("db", {"app": "db"}, target=9090), TO_DB], "shop/web", "shop/svc/db", "80", "", "denied", ""),
    ("egress admits other pods only", [SHOP, FREE, svc("x", {"app": "x"}), TO_DB], "shop/web", "shop/svc/x", "80", "", "denied", ""),
    ("egress admits nobody", [SHOP, FREE, DB, policy("deny", egress=[])], "shop/web", "shop/svc/db", "80", "", "denied", ""),
    ("such pods admit nobody", [SHOP, FREE, DB, policy("deny", app("db"), ingress=[])], "shop/web", "shop/svc/db", "80", "", "denied", ""),
    ("such pods may admit nobody", [SHOP, FREE, DB, policy("deny", label("tier", "x"), ingress=[])], "shop/web", "shop/svc/db", "80", "", "depends", OF_DB),
    ("a name as the port", [SHOP, FREE, svc("db", {"app": "db"}, target="http"), TO_DB], "shop/web", "shop/svc/db", "80", "", "depends", OF_DB),
    ("by the Service's address", [SHOP, FREE, DB], "shop/web", "10.96.0.9", "80", "", "depends", OF_DB),
    ("headless", [SHOP, FREE, svc("db", {"app": "db"}, headless=True)], "shop/web", "shop/svc/db", "80", "", "depends", OF_DB),
    ("no selector and nothing recorded", [SHOP, FREE, ANY], "shop/web", "shop/svc/any", "80", "", "depends", OF_ANY),
    ("no selector, closed", [SHOP, FREE, ANY], "shop/web", "shop/svc/any", "80", "world=closed:EndpointSlice", "denied", ""),
    ("no selector and a slice", [SHOP, FREE, ANY, SLICE], "shop/web", "shop/svc/any", "80", "", "allowed", ""),
    ("no selector, egress admits something", [SHOP, FREE, ANY, TO_DB], "shop/web", "shop/svc/any", "80", "", "depends", OF_ANY),
    ("no selector, egress admits nobody", [SHOP, FREE, ANY, policy("deny", egress=[])], "shop/web", "shop/svc/any", "80", "", "denied", ""),
    ("no selector, egress admits UDP only", [SHOP, FREE, ANY, policy("p", egress=[rule(ports=[PolicyPort("UDP", 53)])])], "shop/web", "shop/svc/any", "80", "", "denied", ""),
    ("no selector, from outside", [SHOP, FREE, ANY], "203.0.113.7", "shop/svc/any", "80", "", "depends", OF_ANY),
    ("an address in a Service range", [SHOP, FREE, TO_DB], "shop/web", "10.96.0.5", "443", "", "depends", AT),
    ("an address in a Service range, admitted as such", [SHOP, FREE, policy("p", egress=[rule(block("10.96.0.5/32"))])], "shop/web", "10.96.0.5", "443", "", "depends", AT),
    ("an address in a Service range, closed", [SHOP, FREE, policy("p", egress=[rule(block("10.96.0.5/32"))])], "shop/web", "10.96.0.5", "443", "world=closed:Service", "allowed", ""),
    ("an address in a Service range, egress admits nobody", [SHOP, FREE, policy("p", egress=[])], "shop/web", "10.96.0.5", "443", "", "denied", ""),
    ("an address in a Service range, egress admits the other family only", [SHOP, FREE, policy("p", egress=[rule(block("::/0"))])], "shop/web", "10.96.0.5", "443", "", "denied", ""),
    ("an address beside the Service range", [SHOP, FREE, policy("p", egress=[rule(block("10.96.0.5/32"))])], "shop/web", "10.96.0.5", "443", "service-cidrs=10.200.0.0/16", "allowed", ""),
    ("an address in a range that is told", [SHOP, FREE, policy("p", egress=[rule(block("192.0.2.0/24"))])], "shop/web", "192.0.2.5", "443", "service-cidrs=192.0.2.0/24", "depends", "whether 192.0.2.5 is the address of a Service"),
    ("an address of nobody elsewhere", [SHOP, FREE, policy("p", egress=[rule(block("192.0.2.0/24"))])], "shop/web", "192.0.2.5", "443", "", "allowed", ""),
    ("a range that holds Service addresses", [SHOP, FREE, policy("p", egress=[rule(block("10.96.0.0/12"))])], "shop/web", "10.96.0.0/12", "443", "", "allowed", ""),
    ("an address in a Service range, from a node", [SHOP, N1], "node:n1", "10.96.0.5", "443", "", "depends", AT),
    ("an address in a Service range, from a node, closed", [SHOP, N1], "node:n1", "10.96.0.5", "443", "world=closed:Service", "allowed", ""),
    ("an address in a Service range, from another node", [SHOP, WEB], "node", "10.96.0.5", "443", "", "depends", AT),
    ("an address in a Service range, from a hostNetwork pod", [SHOP, HOSTED], "shop/host", "10.96.0.5", "443", "", "depends", AT),
    ("an address in a Service range, from a hostNetwork workload", [SHOP, of("host", "DaemonSet", host=True)], "shop/ds/host", "10.96.0.5", "443", "", "depends", AT),
    ("an address in a Service range, from a hostNetwork pod that is like others", [SHOP, HOSTED, policy("p", egress=[])], "shop/host", "10.96.0.5", "443", "host-network=pod", "denied", ""),
    ("an address beside the Service ranges, from a node", [SHOP, N1], "node:n1", "10.200.0.5", "443", "", "allowed", ""),
    ("an address in a Service range, from outside", [SHOP], "203.0.113.7", "10.96.0.5", "443", "", "allowed", ""),
    ("an endpoint without a name, of a Service that selects pods", [SHOP, FREE, DB, UNNAMED], "shop/web", "shop/svc/db", "80", "", "allowed", ""),
    ("an endpoint without a name, and a rule about labels", [SHOP, FREE, DB, UNNAMED, policy("deny", label("tier", "x"), ingress=[])], "shop/web", "shop/svc/db", "80", "", "depends", "the labels and ports of the pod with address 10.1.0.3"),
    ("an endpoint without a name, and a rule about labels, at its address", [SHOP, FREE, DB, UNNAMED, policy("deny", label("tier", "x"), ingress=[])], "shop/web", "10.1.0.3", "8080", "", "depends", "the labels and ports of the pod with address 10.1.0.3"),
    ("an endpoint without a name, egress admits the selector's labels", [SHOP, FREE, DB, UNNAMED, TO_DB], "shop/web", "shop/svc/db", "80", "", "allowed", ""),
    ("an endpoint without a name, that the selector's labels deny", [SHOP, FREE, DB, UNNAMED, policy("deny", app("db"), ingress=[])], "shop/web", "shop/svc/db", "80", "", "denied", ""),
    ("an endpoint without a name, pods closed", [SHOP, FREE, DB, UNNAMED, policy("deny", app("db"), ingress=[])], "shop/web", "shop/svc/db", "80", "world=closed:Pod", "allowed", ""),
    ("an endpoint without a name, of a Service without a selector", [SHOP, FREE, ANY, SLICE, policy("deny", label("tier", "x"), ingress=[])], "shop/web", "shop/svc/any", "80", "", "allowed", ""),
    ("an endpoint without a name, that is a pod that was read", [SHOP, FREE, svc("db", {"app": "lost"}), UNNAMED, pod("db", "10.1.0.3"), policy("deny", app("db"), ingress=[])], "shop/web", "shop/svc/db", "80", "", "denied", ""),
    ("an endpoint without a name, from the node that it names", [SHOP, N1, DB, beside("n1"), policy("deny", ingress=[])], "node:n1", "shop/svc/db", "80", "", "allowed", ""),
    ("an endpoint without a name, from a node that it does not name", [SHOP, N1, DB, beside("n2"), policy("deny", ingress=[])], "node:n1", "shop/svc/db", "80", "", "denied", ""),
    ("an endpoint without a name or a node, from a node", [SHOP, N1, DB, UNNAMED, policy("deny", ingress=[])], "node:n1", "shop/svc/db", "80", "", "depends", "the node that shop/endpoint/10.1.0.3 runs on"),
    ("an endpoint outside beside the node, Local", [SHOP, N1, LOCAL, outside("n1")], "203.0.113.7", "node:n1", "30080", "", "allowed", ""),
    ("an endpoint outside beside another node, Local", [SHOP, N1, LOCAL, outside("n2")], "203.0.113.7", "node:n1", "30080", "", "denied", ""),
    ("an endpoint outside beside no node, Local", [SHOP, N1, LOCAL, outside("")], "203.0.113.7", "node:n1", "30080", "", "denied", ""),
    ("an endpoint outside beside another node, from a pod of the node, Local", [SHOP, N1, WEB, LOCAL, outside("n2")], "shop/web", "node:n1", "30080", "", "allowed", ""),
    ("a pod that was not read beside the node, Local", [SHOP, N1, msgspec.structs.replace(LOCAL, selector={"app": "db"}), beside("n1", "any")], "203.0.113.7", "node:n1", "30080", "", "allowed", ""),
    ("a pod that was not read beside another node, Local", [SHOP, N1, msgspec.structs.replace(LOCAL, selector={"app": "db"}), beside("n2", "any")], "203.0.113.7", "node:n1", "30080", "", "denied", ""),
    ("an external address that leads a pod without a node to itself", [SHOP, FLOATING, svc_at("198.51.100.9"), DENY], "shop/web", "198.51.100.9", "80", "", "allowed", ""),
    ("an external address that leads a workload without nodes to its pods", [SHOP, of("web"), svc_at("198.51.100.9"), DENY], "shop/deploy/web", "198.51.100.9", "80", "", "denied", ""),
    ("endpoints beside no node and on the node, from a pod without a node, Local", [SHOP, N1, FLOATING, LOCAL, both_places()], "shop/web", "node:n1", "30080", "", "allowed", ""),
    ("an address in a Service range as the source", [SHOP, FREE, policy("p", ingress=[rule(block("10.96.0.5/32"))])], "10.96.0.5", "shop/web", "443", "", "allowed", ""),
]  # fmt: skip

# Labels whose values controllers choose.

HASH, JOB = "pod-template-hash", "job-name"
OF_HASH = "the pod-template-hash of shop/deploy/api"
API = of("api", labels={"app": "api"})


def by_hash(*terms: Requirement, **directions: Sequence[object]) -> list[KubeObject]:
    return [SHOP, FREE, API, policy("p", Selector(terms), **directions)]  # type: ignore[arg-type]


def from_hash(*terms: Requirement) -> list[KubeObject]:
    return [SHOP, FREE, API, policy("p", app("web"), ingress=[rule(Peer(pod_selector=Selector((item,)))) for item in terms])]  # fmt: skip


LABELS: list[Row] = [
    ("a peer by value", from_hash(term(HASH, "In", "5d4f")), "shop/deploy/api", "shop/web", "80", "", "depends", OF_HASH),
    ("a peer by value, closed", from_hash(term(HASH, "In", "5d4f")), "shop/deploy/api", "shop/web", "80", "world=closed", "denied", ""),
    ("a peer by not a value", from_hash(term(HASH, "NotIn", "5d4f")), "shop/deploy/api", "shop/web", "80", "", "depends", OF_HASH),
    ("a peer by both", from_hash(term(HASH, "In", "5d4f"), term(HASH, "NotIn", "5d4f")), "shop/deploy/api", "shop/web", "80", "", "allowed", ""),
    ("a peer that has the label", from_hash(term(HASH, "Exists")), "shop/deploy/api", "shop/web", "80", "", "allowed", ""),
    ("a peer without the label", from_hash(term(HASH, "DoesNotExist")), "shop/deploy/api", "shop/web", "80", "", "denied", ""),
    ("a subject by value that admits nobody", by_hash(term(HASH, "In", "5d4f"), ingress=[]), "shop/web", "shop/deploy/api", "80", "", "depends", OF_HASH),
    ("a subject by value that admits nobody, closed", by_hash(term(HASH, "In", "5d4f"), ingress=[]), "shop/web", "shop/deploy/api", "80", "world=closed", "allowed", ""),
    ("a subject by value that admits everybody", by_hash(term(HASH, "In", "5d4f"), ingress=[rule()]), "shop/web", "shop/deploy/api", "80", "", "allowed", ""),
    ("a subject by value and by not, that admit nobody", [*by_hash(term(HASH, "In", "5d4f"), ingress=[]), policy("q", Selector((term(HASH, "NotIn", "5d4f"),)), ingress=[])], "shop/web", "shop/deploy/api", "80", "", "denied", ""),
    ("a subject isolated in any case, admitted by value", [*by_hash(term(HASH, "In", "5d4f"), ingress=[rule()]), policy("q", ingress=[])], "shop/web", "shop/deploy/api", "80", "", "depends", OF_HASH),
    ("a subject by value, as the source", by_hash(term(HASH, "In", "5d4f"), egress=[]), "shop/deploy/api", "shop/web", "80", "", "depends", OF_HASH),
    ("a job's name", [SHOP, FREE, of("run", "Job"), policy("p", app("web"), ingress=[rule(Peer(pod_selector=label(JOB, "run")))])], "shop/job/run", "shop/web", "80", "", "allowed", ""),
    ("a cron job's job's name", [SHOP, FREE, of("run", "CronJob"), policy("p", app("web"), ingress=[rule(Peer(pod_selector=label(JOB, "run-28")))])], "shop/cj/run", "shop/web", "80", "", "depends", "the job-name of shop/cj/run"),
    ("a cron job's job's name cannot be another's", [SHOP, FREE, of("run", "CronJob"), policy("p", app("web"), ingress=[rule(Peer(pod_selector=label(JOB, "other")))])], "shop/cj/run", "shop/web", "80", "", "denied", ""),
    ("a name that begins as a cron job's does, both spellings", [SHOP, FREE, of("run", "CronJob"), policy("p", app("web"), ingress=[rule(Peer(pod_selector=Selector((term(JOB, "In", "run-28"), term("batch.kubernetes.io/job-name", "NotIn", "run-28")))))])], "shop/cj/run", "shop/web", "80", "", "denied", ""),
]  # fmt: skip

ROWS = [
    pytest.param(row, id=f"{kind}: {row[0]}")
    for kind, rows in (("namespace", NAMESPACES), ("node", NODES), ("address", ADDRESSES), ("service", SERVICES), ("label", LABELS))
    for row in rows
]  # fmt: skip


@pytest.mark.parametrize("row", ROWS)
def test_what_is_not_known_leaves_open_what_it_could_turn(row: Row) -> None:
    _, objects, source, destination, port, settings, decision, clause = row
    cluster = Cluster.from_objects(objects, Options.parse(settings.split()))
    verdict = cluster.check(source, destination, port)

    assert verdict.decision == decision, str(verdict)
    assert clause in told(verdict.depends_on), str(verdict)
    assert bool(verdict.depends_on) == (decision == "depends")
    assert exit_code(verdict) == {"allowed": 0, "denied": 1, "depends": 3}[decision]


# Policies that nobody has read.

EVERYWHERE, ELSEWHERE = (
    Gap("chart.yaml is not rendered", "helm template ."),
    Gap("other.yaml", "", frozenset({"other"})),
)
IN_SHOP = Gap("shop.yaml", "", frozenset({"shop"}))
BACKED: list[KubeObject] = [DB, pod("db", "10.1.0.3"), pod("a", namespace="other")]
OTHER_API = policy("api", namespace="other", egress=[rule(Peer(label("tier", "api"), Selector()))])
UNREAD = [
    ("allowed", [SHOP, WEB, YOU], EVERYWHERE, "shop/you", "shop/web", "depends"),
    ("denied", [SHOP, WEB, YOU, DENY], EVERYWHERE, "shop/you", "shop/web", "depends"),
    ("in another namespace", [SHOP, WEB, YOU], ELSEWHERE, "shop/you", "shop/web", "allowed"),
    ("in the namespace of the source alone, denied", [SHOP, WEB, DENY, pod("a", namespace="other")], ELSEWHERE, "other/a", "shop/web", "denied"),
    ("in the namespace of the source alone, allowed", [SHOP, WEB, pod("a", namespace="other")], ELSEWHERE, "other/a", "shop/web", "depends"),
    ("a Service that was read, of which more pods may be there", [SHOP, *BACKED, OTHER_API], IN_SHOP, "other/a", "shop/svc/db", "depends"),
    ("a Service that was read, and no pod of it can be sent to", [SHOP, *BACKED, policy("none", namespace="other", egress=[])], IN_SHOP, "other/a", "shop/svc/db", "denied"),
    ("a Service that was read, all else being read", [SHOP, *BACKED, OTHER_API], ELSEWHERE, "other/a", "shop/svc/db", "depends"),
    ("the address of a Service that was read, of which more pods may be there", [SHOP, *BACKED, OTHER_API], IN_SHOP, "other/a", "10.96.0.9", "depends"),
    ("the own node", [SHOP, WEB, DENY], EVERYWHERE, "own-node", "shop/web", "allowed"),
    ("the pod itself", [SHOP, WEB, DENY], EVERYWHERE, "self", "shop/web", "allowed"),
    ("a node of its own", [SHOP, N1, WEB, DENY], EVERYWHERE, "node:n1", "shop/web", "allowed"),
]  # fmt: skip


@pytest.mark.parametrize("row", UNREAD, ids=[row[0] for row in UNREAD])
def test_a_policy_that_was_not_read_may_say_anything_where_it_may_lie(
    row: tuple[str, list[KubeObject], Gap, str, str, str],
) -> None:
    title, objects, gap, source, destination, decision = row
    read = Loaded((), (), {}, gaps=(gap,))
    verdict = Cluster(ClusterState(objects), Options(), read=read).check(source, destination, 80)

    assert verdict.decision == decision, str(verdict)
    assert (Matter.POLICIES in [item.what for item in verdict.depends_on]) == (decision == "depends")
    assert "backends" not in told(verdict.depends_on) or "of which more pods may be there" in title


def test_a_dependency_says_what_each_value_would_mean_and_how_to_give_it() -> None:
    """The values told are those that selectors name; all others mean the last."""
    verdict = Cluster.from_objects(admits(IN, spaces(term("team", "In", "a")))).check("ingress/ctl", "shop/web", 80)
    found = verdict.depends_on[0]

    assert (found.what, found.object) == (Matter.NAMESPACE_LABELS, "ingress")
    assert found.supply == "give it: kubectl get ns ingress -o yaml"
    assert [(item.value, item.decision) for item in found.values] == [
        ("role=edge", Decision.ALLOWED), ("role=another value, team=a", Decision.ALLOWED),
        ("no label role, team=a", Decision.ALLOWED), ("anything else", Decision.DENIED)]  # fmt: skip


def test_an_explanation_says_what_each_value_would_mean() -> None:
    lines = list(chain(Cluster.from_objects(admits(IN)).explain("ingress/ctl", "shop/web", 80)))

    assert lines[1:4] == [f"depends on {ROLE}", "  with role=edge: allowed", "  otherwise: denied"]


def test_a_listing_depends_where_check_does_in_one_line_for_a_rule() -> None:
    objects: list[KubeObject] = [SHOP, WEB, YOU, CTL, pod("a", namespace="lost"), pod("b", namespace="lost"), policy("p", app("web"), ingress=[rule(IN)])]  # fmt: skip
    answer = Cluster.from_objects(objects).connectivity(destination="shop/web")

    assert [str(item.sources) + ": " + item.depends for item in answer] == [
        "lost/*, ingress/ctl: depends on the labels of the sources' namespaces"]  # fmt: skip
    assert [item.object for item in answer.unknown] == ["ingress", "lost"]


@pytest.mark.parametrize(
    ("piece", "name"), [(slices("db", "10.1.0.3"), "shop/db-1"), (UNNAMED, "shop/endpoint/10.1.0.3")]
)
def test_a_listing_of_a_service_says_to_ask_check_about_pods_that_were_not_read(
    piece: EndpointSlice, name: str
) -> None:
    with pytest.raises(EndpointError, match=f"^{name} was not read, and list shows what was; ask `podfence check`"):
        Cluster.from_objects([SHOP, FREE, DB, piece]).connectivity(destination="shop/svc/db")


def test_a_closed_world_assumes_nothing_of_what_is_not_read_and_an_open_one_says_what() -> None:
    closed = Cluster.from_objects([WEB], Options.parse(["world=closed"]))
    opened = Cluster.from_objects([WEB], Options.parse(["pod-cidrs=10.244.0.0/16"]))

    assert closed.assumes == ("there are no NetworkPolicies except those that were read",)
    assert (
        "a pod whose address is not known has an IPv4 address (option pod-families) in 10.244.0.0/16, and no /32 or /128 block names it"
        in opened.assumes
    )


@pytest.mark.parametrize(
    ("families", "said"),
    [("ipv4", "an IPv4 address (option pod-families) in 10.0.0.0/8"), ("ipv6", "an IPv6 address (option pod-families) in ::/0"), ("dual", "an IPv4 and an IPv6 address (option pod-families) in 10.0.0.0/8")],
)  # fmt: skip
def test_what_is_assumed_of_addresses_names_their_families(families: str, said: str) -> None:
    found = Cluster.from_objects([WEB], Options.parse([f"pod-families={families}"])).assumes
    assert any(said in text for text in found), found


def test_named_ports_of_what_may_be_behind_a_service_may_be_any() -> None:
    ports = [ContainerPort(8080, "TCP", "http")]
    objects: list[KubeObject] = [SHOP, FREE, svc("db", {"app": "db"}, target="http"), policy("p", egress=[rule(ports=[PolicyPort("TCP", "http")])])]  # fmt: skip

    assert Cluster.from_objects(objects).check("shop/web", "shop/svc/db", 80).decision == "depends"
    there: list[KubeObject] = [*objects, pod("db", "10.1.0.3", ports=ports)]
    assert Cluster.from_objects(there).check("shop/web", "shop/svc/db", 80).decision == "allowed"
