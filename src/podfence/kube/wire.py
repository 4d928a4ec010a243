# SPDX-License-Identifier: Apache-2.0
"""Kubernetes objects as they are written: the fields podfence reads, all optional.

Null is the same as absent everywhere, also as a list item (semantics 1.8, 9.11). Only the types of
NetworkPolicy refuse fields they do not know: a misspelt field there changes who may connect
(semantics 9.8). What other kinds hold beyond these fields is not looked at.
"""

from __future__ import annotations

from typing import Annotated, Any

import msgspec

Int32 = Annotated[int, msgspec.Meta(ge=-(2**31), le=2**31 - 1)]
Texts = dict[str, str | None]
Strings = list[str | None]


class Fields(msgspec.Struct, rename="camel", gc=False):
    """A mapping with camelCase keys whose unknown keys are ignored."""


class StrictFields(msgspec.Struct, rename="camel", gc=False, forbid_unknown_fields=True):
    """A mapping with camelCase keys and no others."""


# Metadata ---------------------------------------------------------------------------------------


class OwnerReference(Fields):
    """One item of `metadata.ownerReferences`."""

    api_version: str | None = None
    kind: str | None = None
    name: str | None = None
    uid: str | None = None
    controller: bool | None = None


class Meta(Fields):
    """`metadata`."""

    name: str | None = None
    generate_name: str | None = None
    namespace: str | None = None
    labels: Texts | None = None
    annotations: Texts | None = None
    owner_references: list[OwnerReference | None] | None = None
    finalizers: Strings | None = None
    uid: str | None = None
    resource_version: str | None = None
    creation_timestamp: str | None = None
    deletion_timestamp: str | None = None
    managed_fields: Any = None


class Object(Fields):
    """An object, or a template of one."""

    metadata: Meta | None = None


class StrictMeta(Meta, forbid_unknown_fields=True):
    """`metadata` of a NetworkPolicy."""

    deletion_grace_period_seconds: int | None = None
    generation: int | None = None
    self_link: str | None = None


# Label selectors --------------------------------------------------------------------------------


class Requirement(Fields):
    """One item of a selector's `matchExpressions`."""

    key: str | None = None
    operator: str | None = None
    values: Strings | None = None


class LabelSelector(Fields):
    """A label selector of a workload."""

    match_labels: Texts | None = None
    match_expressions: list[Requirement | None] | None = None


# NetworkPolicy ----------------------------------------------------------------------------------


class PolicyRequirement(Requirement, forbid_unknown_fields=True):
    """One item of a policy selector's `matchExpressions`."""


class PolicySelector(LabelSelector, forbid_unknown_fields=True):
    """A label selector in a policy."""

    match_expressions: list[PolicyRequirement | None] | None = None  # type: ignore[assignment]  # stricter


class IPBlock(StrictFields):
    """`ipBlock` of a peer."""

    cidr: str | None = None
    excepts: Strings | None = msgspec.field(default=None, name="except")


class Peer(StrictFields):
    """One item of `from` or `to`."""

    pod_selector: PolicySelector | None = None
    namespace_selector: PolicySelector | None = None
    ip_block: IPBlock | None = None


class Port(StrictFields):
    """One item of a rule's `ports`."""

    protocol: str | None = None
    port: Int32 | str | None = None
    end_port: Int32 | None = None


class IngressRule(StrictFields):
    """One item of `spec.ingress`."""

    ports: list[Port | None] | None = None
    peers: list[Peer | None] | None = msgspec.field(default=None, name="from")


class EgressRule(StrictFields):
    """One item of `spec.egress`."""

    ports: list[Port | None] | None = None
    peers: list[Peer | None] | None = msgspec.field(default=None, name="to")


class PolicySpec(StrictFields):
    """`spec` of a NetworkPolicy."""

    pod_selector: PolicySelector | None = None
    ingress: list[IngressRule | None] | None = None
    egress: list[EgressRule | None] | None = None
    policy_types: Strings | None = None


class NetworkPolicy(StrictFields):
    """A NetworkPolicy of either API group."""

    api_version: Any = None
    kind: Any = None
    metadata: StrictMeta | None = None
    spec: PolicySpec | None = None


# Pods and what holds templates of them ----------------------------------------------------------


class ContainerPort(Fields):
    """One item of a container's `ports`."""

    name: str | None = None
    container_port: Int32 | None = None
    host_port: Int32 | None = None
    protocol: str | None = None


class EnvVar(Fields):
    """One item of a container's `env`."""

    name: str | None = None
    value: str | None = None


class Container(Fields):
    """A container or an init container."""

    name: str | None = None
    image: str | None = None
    command: Strings | None = None
    args: Strings | None = None
    env: list[EnvVar | None] | None = None
    ports: list[ContainerPort | None] | None = None
    restart_policy: str | None = None


class PodSpec(Fields):
    """`spec` of a pod."""

    containers: list[Container | None] | None = None
    init_containers: list[Container | None] | None = None
    host_network: bool | None = None
    node_name: str | None = None
    restart_policy: str | None = None


class PodAddress(Fields):
    """One item of `status.podIPs` or `status.hostIPs`."""

    ip: str | None = None


class PodStatus(Fields):
    """`status` of a pod."""

    phase: str | None = None
    pod_ip: str | None = msgspec.field(default=None, name="podIP")
    pod_ips: list[PodAddress | None] | None = msgspec.field(default=None, name="podIPs")
    host_ip: str | None = msgspec.field(default=None, name="hostIP")
    host_ips: list[PodAddress | None] | None = msgspec.field(default=None, name="hostIPs")


class PodTemplate(Object):
    """A pod template: metadata and a pod's spec."""

    spec: PodSpec | None = None


class Pod(PodTemplate):
    """A Pod."""

    status: PodStatus | None = None


class Ordinals(Fields):
    """`spec.ordinals` of a StatefulSet."""

    start: Int32 | None = None


class WorkloadSpec(Fields):
    """`spec` of a Deployment, StatefulSet, DaemonSet, ReplicaSet or Job."""

    replicas: Int32 | None = None
    selector: LabelSelector | None = None
    template: PodTemplate | None = None
    parallelism: Int32 | None = None
    ordinals: Ordinals | None = None
    completions: Int32 | None = None
    completion_mode: str | None = None


class Workload(Object):
    """A Deployment, StatefulSet, DaemonSet, ReplicaSet or Job, or the template of a CronJob's Jobs."""

    spec: WorkloadSpec | None = None


class CustomWorkloadSpec(Fields):
    """`spec` of a workload of another project's kind; how many pods there are may be said in any way."""

    replicas: Any = None
    template: PodTemplate | None = None


class CustomWorkload(Object):
    """An object with a pod template at `spec.template`."""

    spec: CustomWorkloadSpec | None = None


class ReplicationControllerSpec(Fields):
    """`spec` of a ReplicationController, whose selector is a plain mapping."""

    replicas: Int32 | None = None
    selector: Texts | None = None
    template: PodTemplate | None = None


class ReplicationController(Object):
    """A ReplicationController."""

    spec: ReplicationControllerSpec | None = None


class CronJobSpec(Fields):
    """`spec` of a CronJob."""

    job_template: Workload | None = None


class CronJob(Object):
    """A CronJob."""

    spec: CronJobSpec | None = None
