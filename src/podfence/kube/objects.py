# SPDX-License-Identifier: Apache-2.0
"""Kubernetes objects as podfence uses them: defaulted, validated, immutable.

These are not the wire shapes (`podfence.kube.wire`): absent, null and empty are already the same
(semantics 1.8), protocols and policy types are filled in (9.9), and every namespaced object has a
namespace (3.7). Objects compare by identity; `key` names them. Values that hold only texts and such
values are kept from the garbage collector (`gc=False`), which took most of the time of reading.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple

import msgspec

from podfence.kube.origin import Origin

if TYPE_CHECKING:
    from collections.abc import Iterator

Labels = dict[str, str]
Operator = Literal["In", "NotIn", "Exists", "DoesNotExist"]
Protocol = Literal["TCP", "UDP", "SCTP"]


class Key(NamedTuple):
    """The name of an object inside one cluster: kind, namespace ("" for cluster-scoped), name."""

    kind: str
    namespace: str
    name: str

    def __str__(self) -> str:
        """Return ``Pod shop/web``, the form used in messages, or ``Node n1`` without a namespace."""
        return f"{self.kind} {self.namespace}/{self.name}" if self.namespace else f"{self.kind} {self.name}"


class Requirement(msgspec.Struct, frozen=True, gc=False):
    """One term of a selector: `key` `operator` `values` (semantics 4)."""

    key: str
    operator: Operator
    values: tuple[str, ...] = ()

    def is_met(self, value: str | None) -> bool:
        """Return whether a label's value is one asked for, None being that of no label (semantics 4.3)."""
        match self.operator:
            case "In":
                return value is not None and value in self.values
            case "NotIn":
                return value is None or value not in self.values
            case "Exists":
                return value is not None
            case "DoesNotExist":
                return value is None


class Selector(msgspec.Struct, frozen=True, gc=False):
    """A label selector: all requirements hold (semantics 4.1); no requirement matches everything.

    `matchLabels` entries are requirements with operator ``In`` and one value (semantics 4.2).
    """

    requirements: tuple[Requirement, ...] = ()


class IPBlock(msgspec.Struct, frozen=True, gc=False):
    """An address block: `cidr` and the blocks taken out of it, as text, already masked (semantics 6)."""

    cidr: str
    excepts: tuple[str, ...] = ()


class Peer(msgspec.Struct, frozen=True, gc=False):
    """One item of `from` or `to`; unset selectors are None, which differs from empty (semantics 1.8)."""

    pod_selector: Selector | None = None
    namespace_selector: Selector | None = None
    ip_block: IPBlock | None = None


class PolicyPort(msgspec.Struct, frozen=True, gc=False):
    """One item of `ports`: a protocol and a number, a name, a range, or nothing (every port)."""

    protocol: Protocol = "TCP"
    port: int | str | None = None
    end_port: int | None = None


class Rule(msgspec.Struct, frozen=True, gc=False):
    """One ingress or egress rule; no peers means every peer, no ports every port (semantics 3.2).

    `empty_peers` and `empty_ports` say that the list was written and empty (``from: []``), which only
    the old form of the API may tell from an absent one (semantics 10.5).
    """

    peers: tuple[Peer, ...] = ()
    ports: tuple[PolicyPort, ...] = ()
    empty_peers: bool = False
    empty_ports: bool = False


class Named(msgspec.Struct, frozen=True, eq=False, kw_only=True):
    """An object of a cluster; `origin` is where it was read, if that is known."""

    name: str
    origin: Origin | None = None

    @property
    def key(self) -> Key:
        """The name of the object inside its cluster."""
        return Key(type(self).__name__, "", self.name)


class Namespaced(Named, frozen=True, kw_only=True):
    """An object of a namespace."""

    namespace: str

    @property
    def key(self) -> Key:
        """The name of the object inside its cluster."""
        return Key(type(self).__name__, self.namespace, self.name)


class NetworkPolicy(Namespaced, frozen=True, kw_only=True):
    """A NetworkPolicy of either API group; `api_version` tells which (semantics 10).

    `left_out_types` says that `policyTypes` was not written, or empty, and `policy_types` follow from the rules (2.3).
    `left_out` is how much there was in the policy (`podfence.policy.budget.Size`), if its rules are not remembered.
    """

    pod_selector: Selector = Selector()
    ingress: tuple[Rule, ...] = ()
    egress: tuple[Rule, ...] = ()
    policy_types: tuple[Literal["Ingress", "Egress"], ...] = ("Ingress",)
    left_out_types: bool = False
    left_out: tuple[int, ...] = ()
    api_version: str = "networking.k8s.io/v1"

    def peers(self) -> Iterator[Peer]:
        """Yield the peers of all rules, of both directions."""
        return (peer for rule in (*self.ingress, *self.egress) for peer in rule.peers)


class Namespace(Named, frozen=True, kw_only=True):
    """A namespace; `labels` include ``kubernetes.io/metadata.name`` (semantics 3.7)."""

    labels: Labels
    annotations: Labels = {}


class ContainerPort(msgspec.Struct, frozen=True, gc=False):
    """A declared container port; `name` is "" when unnamed; `sidecar` marks restartable init containers (5.8).

    `host_port` is the port of the node that leads to it, 0 for none.
    """

    number: int
    protocol: Protocol = "TCP"
    name: str = ""
    sidecar: bool = False
    host_port: int = 0


class Owner(msgspec.Struct, frozen=True, gc=False):
    """The controlling owner of an object, from `metadata.ownerReferences`."""

    kind: str
    name: str


class PodTemplate(msgspec.Struct, frozen=True, kw_only=True):
    """What pods of a workload look like, and what a Pod object itself says of the same.

    `init_ports` are those of containers that end before the others begin: their names mean nothing (semantics 5.8).
    """

    labels: Labels = {}
    ports: tuple[ContainerPort, ...] = ()
    init_ports: tuple[ContainerPort, ...] = ()
    host_network: bool = False
    node: str = ""


class Pod(Namespaced, frozen=True, kw_only=True):
    """A pod: its template's facts and what its status says.

    `addresses` are the texts of `status.podIPs` (semantics 7.13); `phase` is "" when there is no status.
    `node_addresses` are `status.hostIPs`, meaningful for hostNetwork pods. `created` is
    `metadata.creationTimestamp` as text (it sorts as time), "" if absent (semantics 8.6).
    """

    template: PodTemplate = PodTemplate()
    owner: Owner | None = None
    addresses: tuple[str, ...] = ()
    node_addresses: tuple[str, ...] = ()
    phase: str = ""
    terminating: bool = False
    created: str = ""


class Workload(Namespaced, frozen=True, kw_only=True):
    """An object with a pod template: one of `kube.registry.WORKLOADS`, or of another project's kind.

    `first` is the number of a StatefulSet's first pod, `indexes` how many pods of a Job have an index of their own.
    """

    kind: str
    template: PodTemplate
    replicas: int = 1
    first: int = 0
    indexes: int = 0
    owner: Owner | None = None

    @property
    def key(self) -> Key:
        """Return the name of the object inside its cluster."""
        return Key(self.kind, self.namespace, self.name)


class ServicePort(msgspec.Struct, frozen=True, gc=False):
    """A port of a Service; `target` is a number or the name of a container port (defaults to `port`)."""

    port: int
    target: int | str
    protocol: Protocol = "TCP"
    name: str = ""
    node_port: int = 0


class Service(Namespaced, frozen=True, kw_only=True):
    """A Service; `selector` is None when it has none, and its backends come from EndpointSlices then.

    `external_addresses` are those that nodes translate: not those of a load balancer that is a proxy. Of these,
    `balancer_addresses` are a load balancer's, to which `source_ranges` say who may connect, if there are any.
    """

    type: str = "ClusterIP"
    selector: Labels | None = None
    ports: tuple[ServicePort, ...] = ()
    addresses: tuple[str, ...] = ()
    external_addresses: tuple[str, ...] = ()
    balancer_addresses: tuple[str, ...] = ()
    source_ranges: tuple[str, ...] = ()
    external_traffic_policy: str = "Cluster"
    headless: bool = False


class EndpointPort(msgspec.Struct, frozen=True, gc=False):
    """A port of an EndpointSlice; `number` is None for every port."""

    number: int | None
    protocol: Protocol = "TCP"
    name: str = ""


class Backend(msgspec.Struct, frozen=True, gc=False):
    """An endpoint of an EndpointSlice: its addresses, and the pod and the node that it names, if any."""

    addresses: tuple[str, ...]
    pod: str = ""
    ready: bool = True
    node: str = ""


class EndpointSlice(Namespaced, frozen=True, kw_only=True):
    """The backends of a Service, as the cluster recorded them; `service` is the owning Service's name."""

    service: str
    backends: tuple[Backend, ...] = ()
    ports: tuple[EndpointPort, ...] = ()


class Endpoints(Namespaced, frozen=True, kw_only=True):
    """The backends of the Service of the same name, as clusters recorded them before EndpointSlices.

    Each of `slices` holds the addresses that have the same ports.
    """

    slices: tuple[EndpointSlice, ...] = ()


class Node(Named, frozen=True, kw_only=True):
    """A node; `addresses` are all IP addresses of `status.addresses`."""

    labels: Labels
    addresses: tuple[str, ...] = ()
    pod_cidrs: tuple[str, ...] = ()


class Ingress(Namespaced, frozen=True, kw_only=True):
    """An Ingress; `services` are the names of the Services it sends requests to."""

    services: tuple[str, ...] = ()


class Kept(Namespaced, frozen=True, kw_only=True):
    """An object that no answer uses and a lab keeps; `namespace` is "" if its `kind` has none."""

    kind: str

    @property
    def key(self) -> Key:
        """The name of the object inside its cluster."""
        return Key(self.kind, self.namespace, self.name)


KubeObject = Namespace | Pod | Workload | Service | EndpointSlice | Endpoints | Node | Ingress | NetworkPolicy | Kept
