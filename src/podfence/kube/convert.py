# SPDX-License-Identifier: Apache-2.0
"""From written objects to podfence's: defaults filled in, spellings made canonical (semantics 1.8, 2.3, 9.9).

Every function expects an object that validation found sound.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any, cast

import msgspec

from podfence.kube import objects, wire, wire_cluster
from podfence.kube.source import Origin
from podfence.kube.validation.cidr import parse_block
from podfence.sets.addresses import parse_address

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

_EVERYTHING = objects.Selector()
_EVERY_PEER = objects.Rule()
_ANY_TCP = objects.PolicyPort()
_NO_PEER = wire.Peer()
_NAME_LABEL = "kubernetes.io/metadata.name"
_SERVICE_LABEL = "kubernetes.io/service-name"


class Identity(msgspec.Struct, frozen=True):
    """What is known of an object before its content is read."""

    kind: str
    api_version: str
    namespace: str
    name: str
    origin: Origin | None = None


# NetworkPolicy ----------------------------------------------------------------------------------


def network_policy(written: wire.NetworkPolicy, identity: Identity) -> objects.NetworkPolicy:
    """Return a policy with protocols and policy types filled in (semantics 2.3, 9.9)."""
    spec = written.spec or wire.PolicySpec()
    types = spec.policy_types or (("Ingress", "Egress") if spec.egress else ("Ingress",))
    return objects.NetworkPolicy(
        namespace=identity.namespace,
        name=identity.name,
        pod_selector=_EVERYTHING if spec.pod_selector is None else _selector(spec.pod_selector),
        ingress=_rules(spec.ingress) if spec.ingress else (),
        egress=_rules(spec.egress) if spec.egress else (),
        policy_types=cast("Any", tuple(types)),
        left_out_types=not spec.policy_types,
        api_version=identity.api_version,
        origin=identity.origin,
    )


def _selector(written: wire.PolicySelector) -> objects.Selector:
    labels, expressions = written.match_labels, written.match_expressions
    if not expressions:
        if not labels:
            return _EVERYTHING
        return objects.Selector(
            tuple([objects.Requirement(key, "In", (value or "",)) for key, value in labels.items()])
        )
    requirements = [objects.Requirement(key, "In", (value or "",)) for key, value in (labels or {}).items()]
    requirements += [
        objects.Requirement(
            term.key or "", cast("Any", term.operator), tuple([value or "" for value in term.values or ()])
        )
        for term in expressions
        if term is not None
    ]
    return objects.Selector(tuple(requirements))


def _rules(written: Sequence[wire.IngressRule | wire.EgressRule | None]) -> tuple[objects.Rule, ...]:
    return tuple([_EVERY_PEER if rule is None else _rule(rule) for rule in written])


def _rule(written: wire.IngressRule | wire.EgressRule) -> objects.Rule:
    peers, ports = written.peers, written.ports
    return objects.Rule(
        tuple([_peer(peer or _NO_PEER) for peer in peers]) if peers else (),
        tuple([_ANY_TCP if port is None else _port(port) for port in ports]) if ports else (),
        peers is not None and not peers,
        ports is not None and not ports,
    )


def _peer(written: wire.Peer) -> objects.Peer:
    pods, namespaces, block = written.pod_selector, written.namespace_selector, written.ip_block
    return objects.Peer(
        None if pods is None else _selector(pods),
        None if namespaces is None else _selector(namespaces),
        None if block is None else _ip_block(block),
    )


def _ip_block(written: wire.IPBlock) -> objects.IPBlock:
    return objects.IPBlock(_block(written.cidr), tuple([_block(text) for text in written.excepts or ()]))


def _block(text: str | None) -> str:
    block = parse_block(text or "")
    return "" if block is None else block.text


def _port(written: wire.Port) -> objects.PolicyPort:
    return _shared_port(written.protocol or "TCP", written.port, written.end_port)


@lru_cache(1 << 14)
def _shared_port(protocol: str, port: int | str | None, end_port: int | None) -> objects.PolicyPort:
    return objects.PolicyPort(cast("Any", protocol), port, end_port)


# Metadata ---------------------------------------------------------------------------------------


def _labels(meta: wire.Meta | None) -> objects.Labels:
    return _texts(meta.labels) if meta is not None and meta.labels else {}


def _texts(written: wire.Texts) -> dict[str, str]:
    return {key: value or "" for key, value in written.items()}


def _owner(meta: wire.Meta | None) -> objects.Owner | None:
    if meta is not None and meta.owner_references:
        for owner in meta.owner_references:
            if owner is not None and owner.controller:
                return objects.Owner(owner.kind or "", owner.name or "")
    return None


def _present(texts: Iterable[str | None]) -> tuple[str, ...]:
    return tuple([text for text in texts if text])


# Pods and workloads -----------------------------------------------------------------------------


def pod(written: wire.Pod, identity: Identity) -> objects.Pod:
    """Return a pod with what its status says."""
    meta, status = written.metadata, written.status
    addresses: tuple[str, ...] = ()
    node_addresses: tuple[str, ...] = ()
    if status is not None:
        addresses = _present([item.ip for item in status.pod_ips or () if item]) or _present([status.pod_ip])
        node_addresses = _present([item.ip for item in status.host_ips or () if item]) or _present([status.host_ip])
    return objects.Pod(
        namespace=identity.namespace,
        name=identity.name,
        template=_template(_labels(meta), written.spec),
        owner=_owner(meta),
        addresses=addresses,
        node_addresses=node_addresses,
        phase=(status.phase or "") if status is not None else "",
        terminating=meta is not None and bool(meta.deletion_timestamp),
        created=(meta.creation_timestamp or "") if meta is not None else "",
        origin=identity.origin,
    )


def _template(labels: objects.Labels, spec: wire.PodSpec | None) -> objects.PodTemplate:
    if spec is None:
        return objects.PodTemplate(labels=labels)
    ports: list[objects.ContainerPort] = []
    init_ports: list[objects.ContainerPort] = []
    for container in spec.containers or ():
        if container is not None and container.ports:
            ports += [_container_port(port, sidecar=False) for port in container.ports if port is not None]
    for container in spec.init_containers or ():
        if container is not None and container.ports:
            sidecar = container.restart_policy == "Always"
            found = ports if sidecar else init_ports
            found += [_container_port(port, sidecar=sidecar) for port in container.ports if port is not None]
    return objects.PodTemplate(
        labels=labels,
        ports=tuple(ports),
        init_ports=tuple(init_ports),
        host_network=bool(spec.host_network),
        node=spec.node_name or "",
    )


def _container_port(written: wire.ContainerPort, *, sidecar: bool) -> objects.ContainerPort:
    return objects.ContainerPort(
        written.container_port or 0,
        cast("Any", written.protocol or "TCP"),
        written.name or "",
        sidecar,
        written.host_port or 0,
    )


def _pod_template(written: wire.PodTemplate | None) -> objects.PodTemplate:
    if written is None:
        return objects.PodTemplate()
    return _template(_labels(written.metadata), written.spec)


def workload(written: wire.Workload | wire.ReplicationController, identity: Identity) -> objects.Workload:
    """Return a workload; absent replicas mean one, and so does a DaemonSet."""
    spec = written.spec
    replicas = None if spec is None or identity.kind == "DaemonSet" else spec.replicas
    first = indexes = 0
    if identity.kind == "Job" and isinstance(spec, wire.WorkloadSpec):
        replicas = spec.parallelism
        indexes = (spec.completions or 0) if spec.completion_mode == "Indexed" else 0
    elif isinstance(spec, wire.WorkloadSpec) and spec.ordinals is not None:
        first = spec.ordinals.start or 0
    return objects.Workload(
        kind=identity.kind,
        namespace=identity.namespace,
        name=identity.name,
        template=_pod_template(spec.template if spec is not None else None),
        replicas=1 if replicas is None else max(0, replicas),
        first=max(0, first),
        indexes=max(0, indexes),
        owner=_owner(written.metadata),
        origin=identity.origin,
    )


def custom_workload(written: wire.CustomWorkload, identity: Identity) -> objects.Workload:
    """Return a workload of another project's kind."""
    spec = written.spec
    replicas = spec.replicas if spec is not None and isinstance(spec.replicas, int) else 1
    return objects.Workload(
        kind=identity.kind,
        namespace=identity.namespace,
        name=identity.name,
        template=_pod_template(spec.template if spec is not None else None),
        replicas=max(0, replicas),
        owner=_owner(written.metadata),
        origin=identity.origin,
    )


def cron_job(written: wire.CronJob, identity: Identity) -> objects.Workload:
    """Return a CronJob as a workload of the pods its jobs make."""
    template = written.spec.job_template if written.spec is not None else None
    spec = template.spec if template is not None else None
    return objects.Workload(
        kind=identity.kind,
        namespace=identity.namespace,
        name=identity.name,
        template=_pod_template(spec.template if spec is not None else None),
        indexes=(spec.completions or 0) if spec is not None and spec.completion_mode == "Indexed" else 0,
        owner=_owner(written.metadata),
        origin=identity.origin,
    )


# The rest ---------------------------------------------------------------------------------------


def namespace(written: wire_cluster.Namespace, identity: Identity) -> objects.Namespace:
    """Return a namespace with the label that names it (semantics 3.7)."""
    meta = written.metadata
    return objects.Namespace(
        name=identity.name,
        labels={**_labels(meta), _NAME_LABEL: identity.name},
        annotations=_texts(meta.annotations) if meta is not None and meta.annotations else {},
        origin=identity.origin,
    )


def service(written: wire_cluster.Service, identity: Identity) -> objects.Service:
    """Return a Service; an ExternalName one has no selector, whatever is written."""
    spec = written.spec or wire_cluster.ServiceSpec()
    kind = spec.type or "ClusterIP"
    addresses = _present(spec.cluster_ips or ()) or _present([spec.cluster_ip])
    balancer = written.status.load_balancer if written.status is not None else None
    # What a load balancer does that is a proxy of its own, nodes do not take over (semantics 7.16).
    given = (item.ip for item in (balancer and balancer.ingress) or () if item and item.ip_mode != "Proxy")
    outside = [*(spec.external_ips or ()), *given]
    return objects.Service(
        namespace=identity.namespace,
        name=identity.name,
        type=kind,
        selector=_texts(spec.selector) if spec.selector and kind != "ExternalName" else None,
        ports=tuple([_service_port(port) for port in spec.ports or () if port is not None]),
        addresses=tuple([text for text in addresses if text != "None"]),
        external_addresses=tuple(dict.fromkeys(_present(outside))),
        external_traffic_policy=spec.external_traffic_policy or "Cluster",
        headless="None" in addresses,
        publish_not_ready=bool(spec.publish_not_ready_addresses),
        origin=identity.origin,
    )


def _service_port(written: wire_cluster.ServicePort) -> objects.ServicePort:
    port = written.port or 0
    return objects.ServicePort(
        port=port,
        target=written.target_port or port,
        protocol=cast("Any", written.protocol or "TCP"),
        name=written.name or "",
        node_port=written.node_port or 0,
    )


def endpoint_slice(written: wire_cluster.EndpointSlice, identity: Identity) -> objects.EndpointSlice:
    """Return an EndpointSlice; an endpoint is ready unless it says otherwise."""
    return objects.EndpointSlice(
        namespace=identity.namespace,
        name=identity.name,
        service=_labels(written.metadata).get(_SERVICE_LABEL, "") or _service_owner(written.metadata),
        backends=tuple([_backend(item) for item in written.endpoints or () if item is not None]),
        ports=_endpoint_ports(written.ports),
        origin=identity.origin,
    )


def _endpoint_ports(written: Iterable[wire_cluster.EndpointPort | None] | None) -> tuple[objects.EndpointPort, ...]:
    return tuple(
        [
            objects.EndpointPort(port.port, cast("Any", port.protocol or "TCP"), port.name or "")
            for port in written or ()
            if port is not None
        ]
    )


def endpoints(written: wire_cluster.Endpoints, identity: Identity) -> objects.Endpoints:
    """Return Endpoints as the EndpointSlices that a cluster would make of them."""
    return objects.Endpoints(
        namespace=identity.namespace,
        name=identity.name,
        slices=tuple(
            objects.EndpointSlice(
                namespace=identity.namespace,
                name=identity.name,
                service=identity.name,
                backends=(
                    *_addressed(subset.addresses, ready=True),
                    *_addressed(subset.not_ready_addresses, ready=False),
                ),
                ports=_endpoint_ports(subset.ports),
            )
            for subset in written.subsets or ()
            if subset is not None
        ),
        origin=identity.origin,
    )


def _addressed(
    written: Iterable[wire_cluster.EndpointAddress | None] | None, *, ready: bool
) -> Iterator[objects.Backend]:
    for address in written or ():
        if address is not None:
            target = address.target_ref
            pod = (target.name or "") if target is not None and target.kind == "Pod" else ""
            yield objects.Backend(addresses=_present([address.ip]), pod=pod, ready=ready)


def _service_owner(meta: wire.Meta | None) -> str:
    owner = _owner(meta)
    return owner.name if owner is not None and owner.kind == "Service" else ""


def _backend(written: wire_cluster.Endpoint) -> objects.Backend:
    target, conditions = written.target_ref, written.conditions
    return objects.Backend(
        addresses=_present(written.addresses or ()),
        pod=(target.name or "") if target is not None and target.kind == "Pod" else "",
        ready=conditions is None or conditions.ready is not False,
    )


def node(written: wire_cluster.Node, identity: Identity) -> objects.Node:
    """Return a node with every IP address of its status."""
    spec, status = written.spec, written.status
    texts = [item.address for item in (status.addresses if status is not None else None) or () if item is not None]
    cidrs = (_present(spec.pod_cidrs or ()) or _present([spec.pod_cidr])) if spec is not None else ()
    return objects.Node(
        name=identity.name,
        labels=_labels(written.metadata),
        addresses=tuple(dict.fromkeys(text for text in _present(texts) if _is_address(text))),
        pod_cidrs=cidrs,
        origin=identity.origin,
    )


def _is_address(text: str) -> bool:
    try:
        parse_address(text)
    except ValueError:
        return False
    return True


def ingress(written: wire_cluster.Ingress, identity: Identity) -> objects.Ingress:
    """Return an Ingress with the Services of all its backends, in order."""
    spec = written.spec or wire_cluster.IngressSpec()
    backends = [spec.default_backend, spec.backend]
    for rule in spec.rules or ():
        if rule is not None and rule.http is not None:
            backends += [path.backend for path in rule.http.paths or () if path is not None]
    names = [
        (backend.service.name if backend.service is not None else backend.service_name)
        for backend in backends
        if backend is not None
    ]
    return objects.Ingress(
        namespace=identity.namespace,
        name=identity.name,
        services=tuple(dict.fromkeys(_present(names))),
        origin=identity.origin,
    )
