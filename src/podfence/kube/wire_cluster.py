# SPDX-License-Identifier: Apache-2.0
"""The written form of the other kinds: services, endpoint slices, nodes and ingresses."""

from __future__ import annotations

import msgspec

from podfence.kube.wire import Fields, Int32, Object, Strings, Texts


class ServicePort(Fields):
    """One item of a Service's `ports`."""

    name: str | None = None
    protocol: str | None = None
    port: Int32 | None = None
    target_port: Int32 | str | None = None
    node_port: Int32 | None = None


class ServiceSpec(Fields):
    """`spec` of a Service."""

    type: str | None = None
    selector: Texts | None = None
    ports: list[ServicePort | None] | None = None
    cluster_ip: str | None = msgspec.field(default=None, name="clusterIP")
    cluster_ips: Strings | None = msgspec.field(default=None, name="clusterIPs")
    external_ips: Strings | None = msgspec.field(default=None, name="externalIPs")
    external_traffic_policy: str | None = None
    load_balancer_source_ranges: Strings | None = None
    publish_not_ready_addresses: bool | None = None


class LoadBalancerIngress(Fields):
    """One item of `status.loadBalancer.ingress`."""

    ip: str | None = None
    ip_mode: str | None = None


class LoadBalancerStatus(Fields):
    """`status.loadBalancer` of a Service."""

    ingress: list[LoadBalancerIngress | None] | None = None


class ServiceStatus(Fields):
    """`status` of a Service."""

    load_balancer: LoadBalancerStatus | None = None


class Service(Object):
    """A Service."""

    spec: ServiceSpec | None = None
    status: ServiceStatus | None = None


class EndpointConditions(Fields):
    """`conditions` of an endpoint."""

    ready: bool | None = None


class TargetReference(Fields):
    """`targetRef` of an endpoint."""

    kind: str | None = None
    name: str | None = None


class Endpoint(Fields):
    """One item of an EndpointSlice's `endpoints`."""

    addresses: Strings | None = None
    conditions: EndpointConditions | None = None
    target_ref: TargetReference | None = None
    node_name: str | None = None


class EndpointPort(Fields):
    """One item of an EndpointSlice's `ports`."""

    name: str | None = None
    protocol: str | None = None
    port: Int32 | None = None


class EndpointSlice(Object):
    """An EndpointSlice."""

    endpoints: list[Endpoint | None] | None = None
    ports: list[EndpointPort | None] | None = None


class EndpointAddress(Fields):
    """One address of Endpoints."""

    ip: str | None = None
    target_ref: TargetReference | None = None
    node_name: str | None = None


class EndpointSubset(Fields):
    """One item of `subsets`: addresses with the same ports."""

    addresses: list[EndpointAddress | None] | None = None
    not_ready_addresses: list[EndpointAddress | None] | None = None
    ports: list[EndpointPort | None] | None = None


class Endpoints(Object):
    """The Endpoints of a Service."""

    subsets: list[EndpointSubset | None] | None = None


class NodeAddress(Fields):
    """One item of `status.addresses`."""

    address: str | None = None


class NodeSpec(Fields):
    """`spec` of a Node."""

    pod_cidr: str | None = msgspec.field(default=None, name="podCIDR")
    pod_cidrs: Strings | None = msgspec.field(default=None, name="podCIDRs")


class NodeStatus(Fields):
    """`status` of a Node."""

    addresses: list[NodeAddress | None] | None = None


class Node(Object):
    """A Node."""

    spec: NodeSpec | None = None
    status: NodeStatus | None = None


class IngressService(Fields):
    """`service` of an Ingress backend."""

    name: str | None = None


class IngressBackend(Fields):
    """A backend of an Ingress; `service_name` is the form before networking.k8s.io/v1."""

    service: IngressService | None = None
    service_name: str | None = None


class IngressPath(Fields):
    """One item of a rule's `http.paths`."""

    backend: IngressBackend | None = None


class IngressPaths(Fields):
    """`http` of an Ingress rule."""

    paths: list[IngressPath | None] | None = None


class IngressRule(Fields):
    """One item of an Ingress' `rules`."""

    http: IngressPaths | None = None


class IngressSpec(Fields):
    """`spec` of an Ingress; `backend` is the form before networking.k8s.io/v1."""

    default_backend: IngressBackend | None = None
    backend: IngressBackend | None = None
    rules: list[IngressRule | None] | None = None


class Ingress(Object):
    """An Ingress."""

    spec: IngressSpec | None = None
