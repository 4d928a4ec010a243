# SPDX-License-Identifier: Apache-2.0
"""From written namespaces, nodes, Services, endpoints and Ingresses to podfence's objects, as in `convert`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from podfence.kube import objects, wire_cluster
from podfence.kube.convert import labels_of, owner_of, present, texts_of
from podfence.kube.validation.cidr import parse_block
from podfence.sets.addresses import parse_address

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from podfence.kube import wire
    from podfence.kube.convert import Identity

_NAME_LABEL = "kubernetes.io/metadata.name"
_SERVICE_LABEL = "kubernetes.io/service-name"


def namespace(written: wire.Object, identity: Identity) -> objects.Namespace:
    """Return a namespace with the label that names it (semantics 3.7)."""
    meta = written.metadata
    return objects.Namespace(
        name=identity.name,
        labels={**labels_of(meta), _NAME_LABEL: identity.name},
        annotations=texts_of(meta.annotations) if meta is not None and meta.annotations else {},
        origin=identity.origin,
    )


def service(written: wire_cluster.Service, identity: Identity) -> objects.Service:
    """Return a Service; an ExternalName one has no selector, whatever is written."""
    spec = written.spec or wire_cluster.ServiceSpec()
    kind = spec.type or "ClusterIP"
    addresses = present(spec.cluster_ips or ()) or present([spec.cluster_ip])
    balancer = written.status.load_balancer if written.status is not None else None
    # What a load balancer does that is a proxy of its own, nodes do not take over (semantics 7.16).
    given = present([item.ip for item in (balancer and balancer.ingress) or () if item and item.ip_mode != "Proxy"])
    outside = [*present(spec.external_ips or ()), *given]
    return objects.Service(
        namespace=identity.namespace,
        name=identity.name,
        type=kind,
        selector=texts_of(spec.selector) if spec.selector and kind != "ExternalName" else None,
        ports=tuple([_service_port(port) for port in spec.ports or () if port is not None]),
        addresses=tuple([text for text in addresses if text != "None"]),
        external_addresses=tuple(dict.fromkeys(outside)),
        balancer_addresses=given,
        source_ranges=tuple(_ranges(spec.load_balancer_source_ranges or ())) if kind == "LoadBalancer" else (),
        external_traffic_policy=spec.external_traffic_policy or "Cluster",
        headless="None" in addresses,
        origin=identity.origin,
    )


def _ranges(texts: Iterable[str | None]) -> Iterator[str]:
    """Yield CIDRs in their canonical form; a server takes them with spaces around."""
    for text in present(texts):
        block = parse_block(text.strip())
        yield block.text if block else text


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
        service=labels_of(written.metadata).get(_SERVICE_LABEL, "") or _service_owner(written.metadata),
        backends=tuple(
            _backend(item.addresses or (), item, ready=item.conditions is None or item.conditions.ready is not False)
            for item in written.endpoints or ()
            if item is not None
        ),
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
                backends=tuple(
                    _backend([item.ip], item, ready=ready)
                    for ready, items in ((True, subset.addresses), (False, subset.not_ready_addresses))
                    for item in items or ()
                    if item is not None
                ),
                ports=_endpoint_ports(subset.ports),
            )
            for subset in written.subsets or ()
            if subset is not None
        ),
        origin=identity.origin,
    )


def _backend(
    addresses: Iterable[str | None], written: wire_cluster.Endpoint | wire_cluster.EndpointAddress, *, ready: bool
) -> objects.Backend:
    target = written.target_ref
    pod = (target.name or "") if target is not None and target.kind == "Pod" else ""
    return objects.Backend(addresses=present(addresses), pod=pod, ready=ready, node=written.node_name or "")


def _service_owner(meta: wire.Meta | None) -> str:
    owner = owner_of(meta)
    return owner.name if owner is not None and owner.kind == "Service" else ""


def node(written: wire_cluster.Node, identity: Identity) -> objects.Node:
    """Return a node with every IP address of its status."""
    spec, status = written.spec, written.status
    texts = [item.address for item in (status.addresses if status is not None else None) or () if item is not None]
    cidrs = (present(spec.pod_cidrs or ()) or present([spec.pod_cidr])) if spec is not None else ()
    return objects.Node(
        name=identity.name,
        labels=labels_of(written.metadata),
        addresses=tuple(dict.fromkeys(text for text in present(texts) if _is_address(text))),
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
        services=tuple(dict.fromkeys(present(names))),
        origin=identity.origin,
    )
