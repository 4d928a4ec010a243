# SPDX-License-Identifier: Apache-2.0
"""Objects as an API server sends them: what is decoded of them, which is what the converters of `kube.convert` read.

Less than `kube.wire` has for manifests, where everything that is written is checked too. A server has
checked its objects, so most of each (managedFields, annotations, environment, conditions) is passed over without
being built. What only newer servers know is passed over too; only inside of a policy's `spec` a field that is
not known is refused, because it may change who can connect (semantics 9.8).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Literal, get_args

import msgspec

from podfence.kube import wire, wire_cluster  # noqa: TC001  the annotations are read at run time
from podfence.kube.registry import KINDS, Need, needed
from podfence.kube.wire import Fields, OwnerReference, Texts

if TYPE_CHECKING:
    from collections.abc import Mapping


class Meta(Fields):
    """`metadata`."""

    name: str | None = None
    namespace: str | None = None
    labels: Texts | None = None
    owner_references: list[OwnerReference | None] | None = None
    resource_version: str | None = None
    creation_timestamp: str | None = None
    deletion_timestamp: str | None = None


class NamespaceMeta(Meta):
    """`metadata` of a Namespace; one of its annotations isolated it before 1.7 (semantics 10.1)."""

    annotations: Texts | None = None


class Name(Fields):
    """The part of `metadata` that names an object."""

    name: str | None = None
    namespace: str | None = None
    resource_version: str | None = None


class Named(Fields):
    """Any object, of which nothing but the name is read."""

    metadata: Name | None = None


class Subject(Fields):
    """The part of a policy's `spec` that says whom it isolates."""

    pod_selector: wire.PolicySelector | None = None
    policy_types: list[Literal["Ingress", "Egress"]] | None = None
    egress: Any = None


class SubjectOnly(Fields):
    """A NetworkPolicy, of which nothing but whom it isolates is read."""

    spec: Subject | None = None


class Namespace(Fields):
    """A Namespace."""

    metadata: NamespaceMeta | None = None


class Container(Fields):
    """A container or an init container."""

    ports: list[wire.ContainerPort | None] | None = None
    restart_policy: str | None = None


class PodSpec(Fields):
    """`spec` of a Pod."""

    containers: list[Container | None] | None = None
    init_containers: list[Container | None] | None = None
    host_network: bool | None = None
    node_name: str | None = None


class Pod(Fields):
    """A Pod."""

    metadata: Meta | None = None
    spec: PodSpec | None = None
    status: wire.PodStatus | None = None


class Workload(Fields):
    """A Deployment, StatefulSet, DaemonSet, ReplicaSet or Job."""

    metadata: Meta | None = None
    spec: wire.WorkloadSpec | None = None


class ReplicationController(Fields):
    """A ReplicationController."""

    metadata: Meta | None = None
    spec: wire.ReplicationControllerSpec | None = None


class CronJob(Fields):
    """A CronJob."""

    metadata: Meta | None = None
    spec: wire.CronJobSpec | None = None


class Service(Fields):
    """A Service."""

    metadata: Meta | None = None
    spec: wire_cluster.ServiceSpec | None = None
    status: wire_cluster.ServiceStatus | None = None


class EndpointSlice(Fields):
    """An EndpointSlice."""

    metadata: Meta | None = None
    endpoints: list[wire_cluster.Endpoint | None] | None = None
    ports: list[wire_cluster.EndpointPort | None] | None = None


class Node(Fields):
    """A Node."""

    metadata: Meta | None = None
    spec: wire_cluster.NodeSpec | None = None
    status: wire_cluster.NodeStatus | None = None


class NetworkPolicy(Fields):
    """A NetworkPolicy, with the strict `spec` of manifests; servers of 1.24 to 1.27 gave it a `status`."""

    metadata: Meta | None = None
    spec: wire.PolicySpec | None = None


Written = Namespace | Pod | Workload | ReplicationController | CronJob | Service | EndpointSlice | Node | NetworkPolicy

WRITTEN: Final[Mapping[str, type[Written]]] = {
    name: next(shape for shape in get_args(Written) if shape.__name__ == KINDS[name].written.__name__)
    for name in needed(Need.LIVE)
}
"""What is decoded of each kind: the shape here that has the name of the one in `kube.wire`."""


class ListMeta(msgspec.Struct, rename="camel", gc=False):
    """`metadata` of a list."""

    resource_version: str | None = None
    continue_: str | None = msgspec.field(default=None, name="continue")
