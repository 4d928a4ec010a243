# SPDX-License-Identifier: Apache-2.0
"""A small town for packets: pods of five namespaces on two nodes, Services, and policies of every form.

All pods run one server, and differ in labels and in the ports they declare; each answers with its own name.
"""

from __future__ import annotations

import ipaddress
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import yaml

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from tests.kubernetes.harness import Bed

Manifest = dict[str, Any]

NAMESPACES: Final[Mapping[str, Mapping[str, str]]] = {
    "verify-a": {"team": "blue", "tier": "front"},
    "verify-b": {"team": "blue", "tier": "back"},
    "verify-c": {"team": "green", "empty": ""},
    "verify-d": {"team": "red", "tier": "front"},
    "verify-e": {},
}
IMAGE: Final = "agnhost:latest"
"""Of Kubernetes' own tests; its command `porter` answers on ports that its environment names."""

TCP_PORTS: Final = (80, 81, 5000)
UDP_PORTS: Final = (80, 5353)
HOST_PORTS: Final = (18080, 18081)

# What each role declares: the same name is another number, or another protocol, elsewhere.
ROLES: Final[Mapping[str, tuple[Mapping[str, str], tuple[tuple[str, int, str], ...]]]] = {
    "web": ({"app": "web", "public": "yes"}, (("http", 80, "TCP"), ("alt", 81, "TCP"), ("dns", 5353, "UDP"))),
    "api": ({"app": "api", "version": "2"}, (("http", 5000, "TCP"), ("dns", 80, "UDP"))),
    "db": ({"app": "db", "version": ""}, (("alt", 80, "TCP"), ("http", 5353, "UDP"))),
}


class Node(NamedTuple):
    """A node: its number in the bed, its address, and the block of its pods."""

    name: str
    number: int
    address: str
    pods: str


def nodes_of(bed: Bed) -> tuple[Node, ...]:
    """Return the two nodes that the fixture uses."""
    found = []
    for item in listed(bed, "nodes"):
        name = item["metadata"]["name"]
        address = next(entry["address"] for entry in item["status"]["addresses"] if entry["type"] == "InternalIP")
        found.append(Node(name, int(name.removeprefix("n")), address, item["spec"].get("podCIDR", "")))
    return tuple(sorted(found)[:2])


def listed(bed: Bed, kinds: str, *arguments: str) -> list[Manifest]:
    """Return objects as the API server has them."""
    items: list[Manifest] = json.loads(bed.kubectl("get", kinds, *arguments, "-o", "json").stdout)["items"]
    return items


def apply(bed: Bed, items: Iterable[Manifest]) -> None:
    """Create objects, or make them what they are given as."""
    text = json.dumps({"apiVersion": "v1", "kind": "List", "items": list(items)})
    bed.kubectl("apply", "--server-side", "--force-conflicts", "-f", "-", text=text)


def namespace(name: str, labels: Mapping[str, str]) -> Manifest:
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": dict(labels)}}


def pod(
    space: str,
    name: str,
    labels: Mapping[str, str],
    node: str,
    ports: Iterable[tuple[str, int, str]] = (),
    *,
    host: bool = False,
) -> Manifest:
    """Return a pod that answers on every port with its own name, and declares `ports` (name, number, protocol)."""
    served = [("TCP", number) for number in (HOST_PORTS if host else TCP_PORTS)]
    served += [("UDP", number) for number in (HOST_PORTS if host else UDP_PORTS)]
    declared = [{"name": label, "containerPort": number, "protocol": protocol} for label, number, protocol in ports]
    container: Manifest = {
        "name": "server",
        "image": IMAGE,
        "imagePullPolicy": "IfNotPresent",
        "args": ["porter"],
        "env": [{"name": f"SERVE_{protocol}_PORT_{number}", "value": f"{space}/{name}"} for protocol, number in served],
        "ports": declared,
    }
    if not host:
        container["readinessProbe"] = {"tcpSocket": {"port": 80}, "periodSeconds": 1, "failureThreshold": 60}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": space, "labels": dict(labels)},
        "spec": {
            "nodeName": node,
            "hostNetwork": host,
            "terminationGracePeriodSeconds": 0,
            "enableServiceLinks": False,
            "automountServiceAccountToken": False,
            "containers": [container],
        },
    }


def pods(nodes: Sequence[Node]) -> list[Manifest]:
    """Return all pods: of each namespace one of each role on each node, some odd ones, and one on each node's network."""
    found = [
        pod(space, f"{role}-{node.number}", labels, node.name, ports)
        for space in NAMESPACES
        for role, (labels, ports) in ROLES.items()
        for node in nodes
    ]
    one, other = nodes
    found += [
        pod("verify-a", "bare", {}, one.name),
        pod("verify-c", "bare", {}, other.name),
        pod("verify-b", "loner", {"app": "web", "quarantine": "yes"}, other.name, ROLES["web"][1]),
        *(pod("verify-d", f"host-{node.number}", {"app": "web"}, node.name, host=True) for node in nodes),
    ]
    return found


def services() -> list[Manifest]:
    """Return a Service of each kind."""

    def service(space: str, name: str, app: str, ports: list[Manifest], **spec: object) -> Manifest:
        body = {"selector": {"app": app}, "ports": ports, **spec}
        return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": space}, "spec": body}

    http = {"name": "http", "port": 8080, "targetPort": "http", "protocol": "TCP"}
    return [
        service(
            "verify-a",
            "web",
            "web",
            [http, {"name": "plain", "port": 81}, {"name": "dns", "port": 53, "targetPort": "dns", "protocol": "UDP"}],
        ),
        service("verify-b", "api", "api", [{"name": "http", "port": 80, "targetPort": "http"}]),
        service("verify-c", "headless", "web", [http], clusterIP="None"),
        service("verify-c", "outer", "web", [http], type="NodePort"),
        service("verify-d", "outer", "web", [http], type="NodePort", externalTrafficPolicy="Local"),
        service("verify-e", "outer", "db", [{"name": "alt", "port": 80, "targetPort": "alt"}], type="NodePort"),
        service("verify-e", "nobody", "nothing-like-that", [http]),
    ]


# One document for each form; @NAME@ stands for what the bed has as addresses.
_POLICIES: Final = """
a/deny-all: {podSelector: {matchLabels: {app: db}}, policyTypes: [Ingress, Egress]}
a/web-in:
  podSelector: {matchExpressions: [{key: app, operator: In, values: [web, shop]}]}
  ingress:
  - from: [{podSelector: {matchLabels: {app: api}}}, {namespaceSelector: {matchLabels: {team: green}}}]
    ports: [{port: http}, {port: 81}]
  - from: [{namespaceSelector: {matchLabels: {team: blue}}, podSelector: {matchLabels: {app: web}}}]
    ports: [{protocol: UDP, port: 5353}]
  - from: [{ipBlock: {cidr: 203.0.113.0/24, except: [203.0.113.128/25]}}]
a/api-out:
  podSelector: {matchLabels: {app: api}}
  policyTypes: [Egress]
  egress:
  - to: [{namespaceSelector: {matchExpressions: [{key: tier, operator: Exists}]}}]
    ports: [{port: http}]
  - to: [{namespaceSelector: {matchExpressions: [{key: tier, operator: DoesNotExist}]}, podSelector: {}}]
    ports: [{protocol: UDP}]
  - to: [{ipBlock: {cidr: 0.0.0.0/0, except: [@PODS@, @LAN@]}}]
b/ingress-default: {podSelector: {}, policyTypes: [Ingress]}
b/api-in:
  podSelector: {matchLabels: {app: api}}
  ingress: [{from: [{namespaceSelector: {matchExpressions: [{key: team, operator: NotIn, values: [red]}]}}], ports: [{port: 4990, endPort: 5010}]}]
b/web-in:
  podSelector: {matchLabels: {app: web}}
  ingress: [{ports: [{protocol: UDP, port: dns}, {port: 80}]}, {from: [{podSelector: {}}]}]
b/quarantine: {podSelector: {matchLabels: {quarantine: "yes"}}, policyTypes: [Egress], egress: []}
c/allow-all: {podSelector: {matchLabels: {app: web}}, policyTypes: [Ingress, Egress], ingress: [{}], egress: [{}]}
c/blocks:
  podSelector: {matchExpressions: [{key: app, operator: NotIn, values: [web]}]}
  ingress:
  - from: [{ipBlock: {cidr: @PODS@, except: [@PODS1@]}}]
    ports: [{port: 80, endPort: 81}, {protocol: UDP, port: 80, endPort: 5353}]
  - from: [{ipBlock: {cidr: @NODE2@/32}}, {ipBlock: {cidr: 198.51.100.0/25}}]
c/db-out:
  podSelector: {matchLabels: {app: db}}
  policyTypes: [Egress]
  egress:
  - ports: [{port: http}, {protocol: UDP, port: http}]
  - to: [{podSelector: {matchExpressions: [{key: version, operator: Exists}]}}]
  - to: [{ipBlock: {cidr: 198.51.100.0/24}}]
    ports: [{port: 443}]
d/web-both:
  podSelector: {matchLabels: {app: web}}
  policyTypes: [Ingress, Egress]
  ingress: [{from: [{namespaceSelector: {}}], ports: [{port: 80}]}]
  egress: [{to: [{namespaceSelector: {}, podSelector: {matchExpressions: [{key: app, operator: In, values: [web, db]}]}}], ports: [{protocol: UDP}, {port: 80}]}]
d/api-open-ports: {podSelector: {matchLabels: {app: api}}, ingress: [{ports: [{}]}]}
d/db-in: {podSelector: {matchExpressions: [{key: version, operator: In, values: [""]}]}, ingress: [{from: [{podSelector: {matchExpressions: [{key: version, operator: DoesNotExist}]}}]}]}
e/egress-default: {podSelector: {matchExpressions: [{key: public, operator: DoesNotExist}]}, policyTypes: [Egress]}
e/dns:
  podSelector: {}
  policyTypes: [Egress]
  egress: [{ports: [{protocol: UDP, port: 53}, {protocol: UDP, port: dns}, {port: 80}]}]
e/db-in: {podSelector: {matchLabels: {app: db}}, ingress: [{from: [{namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: verify-a}}}, {ipBlock: {cidr: 203.0.113.0/25}}], ports: [{port: alt}]}]}
"""


def policies(nodes: Sequence[Node]) -> dict[tuple[str, str], Manifest]:
    """Return all policies, by namespace and name."""
    one, other = nodes
    lan = ipaddress.ip_network(f"{one.address}/24", strict=False)
    every = ipaddress.ip_network(one.pods)
    while not every.supernet_of(ipaddress.ip_network(other.pods)) or every.prefixlen > 16:  # type: ignore[arg-type]
        every = every.supernet()
    text = _POLICIES
    for name, value in {"PODS": every, "PODS1": one.pods, "LAN": lan, "NODE2": other.address}.items():
        text = text.replace(f"@{name}@", str(value))
    return {
        (f"verify-{space}", name): policy(f"verify-{space}", name, spec)
        for key, spec in yaml.safe_load(text).items()
        for space, _, name in [key.partition("/")]
    }


def policy(space: str, name: str, spec: Manifest) -> Manifest:
    metadata = {"name": name, "namespace": space}
    return {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": metadata, "spec": spec}


@dataclass
class Town:
    """The fixture as it is in the cluster now: what was asked for, and by what."""

    bed: Bed
    nodes: tuple[Node, ...]
    namespaces: dict[str, dict[str, str]] = field(default_factory=dict)
    pods: dict[tuple[str, str], Manifest] = field(default_factory=dict)
    policies: dict[tuple[str, str], Manifest] = field(default_factory=dict)

    def build(self) -> None:
        """Make everything, and wait until all pods are ready."""
        self.namespaces = {name: dict(labels) for name, labels in NAMESPACES.items()}
        apply(self.bed, [namespace(name, labels) for name, labels in self.namespaces.items()])
        self.pods = {(item["metadata"]["namespace"], item["metadata"]["name"]): item for item in pods(self.nodes)}
        self.policies = policies(self.nodes)
        wait_for_accounts(self.bed, self.namespaces)
        apply(self.bed, [*self.pods.values(), *services()])
        self.wait_ready()
        apply(self.bed, self.policies.values())

    def wait_ready(self) -> None:
        """Wait until every pod there is runs and answers."""
        for space in self.namespaces:
            if any(key[0] == space for key in self.pods):
                self.bed.kubectl(
                    "-n", space, "wait", "--for=condition=Ready", "pod", "--all", "--timeout=180s", timeout=200
                )

    def destroy(self) -> None:
        """Delete all namespaces, with what is in them."""
        self.bed.kubectl("delete", "namespace", *NAMESPACES, "--ignore-not-found", "--timeout=180s", timeout=200)


def wait_for_accounts(bed: Bed, spaces: Iterable[str]) -> None:
    """Wait until pods can be made in namespaces that are new."""
    for space in spaces:
        bed.kubectl("-n", space, "wait", "--for=create", "serviceaccount/default", "--timeout=60s")
