# SPDX-License-Identifier: Apache-2.0
"""From written objects to podfence's: defaults filled in, spellings made canonical (semantics 1.8, 2.3, 9.9).

Every function expects an object that validation found sound.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any, cast

import msgspec

from podfence.kube import objects, wire
from podfence.kube.origin import Origin
from podfence.kube.validation.cidr import parse_block

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_EVERYTHING = objects.Selector()
_EVERY_PEER = objects.Rule()
_ANY_TCP = objects.PolicyPort()


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
        pod_selector=_EVERYTHING if spec.pod_selector is None else selector(spec.pod_selector),
        ingress=_rules(spec.ingress) if spec.ingress else (),
        egress=_rules(spec.egress) if spec.egress else (),
        policy_types=cast("Any", tuple(types)),
        left_out_types=not spec.policy_types,
        api_version=identity.api_version,
        origin=identity.origin,
    )


def selector(written: wire.LabelSelector) -> objects.Selector:
    """Return a selector; a value that is null is empty."""
    labels, expressions = written.match_labels or {}, written.match_expressions or ()
    if not labels and not expressions:
        return _EVERYTHING
    requirements = [objects.Requirement(key, "In", (value or "",)) for key, value in labels.items()]
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
        tuple([_peer(peer or wire.Peer()) for peer in peers]) if peers else (),
        tuple([_port(port.protocol or "TCP", port.port, port.end_port) if port else _ANY_TCP for port in ports or ()]),
        peers is not None and not peers,
        ports is not None and not ports,
    )


def _peer(written: wire.Peer) -> objects.Peer:
    pods, namespaces, block = written.pod_selector, written.namespace_selector, written.ip_block
    return objects.Peer(
        None if pods is None else selector(pods),
        None if namespaces is None else selector(namespaces),
        None if block is None else objects.IPBlock(_block(block.cidr), tuple(map(_block, block.excepts or ()))),
    )


def _block(text: str | None) -> str:
    block = parse_block(text or "")
    return "" if block is None else block.text


@lru_cache(1 << 14)
def _port(protocol: str, port: int | str | None, end_port: int | None) -> objects.PolicyPort:
    return objects.PolicyPort(cast("Any", protocol), port, end_port)


# Metadata ---------------------------------------------------------------------------------------


def labels_of(meta: wire.Meta | None) -> objects.Labels:
    """Return the labels of an object; a value that is null is empty."""
    return texts_of(meta.labels) if meta is not None and meta.labels else {}


def texts_of(written: wire.Texts) -> dict[str, str]:
    """Return a mapping of texts; a value that is null is empty."""
    return {key: value or "" for key, value in written.items()}


def owner_of(meta: wire.Meta | None) -> objects.Owner | None:
    """Return the controller that an object belongs to."""
    if meta is not None and meta.owner_references:
        for owner in meta.owner_references:
            if owner is not None and owner.controller:
                return objects.Owner(owner.kind or "", owner.name or "")
    return None


def present(texts: Iterable[str | None]) -> tuple[str, ...]:
    """Return the texts that are not null or empty."""
    return tuple([text for text in texts if text])


# Pods and workloads -----------------------------------------------------------------------------


def pod(written: wire.Pod, identity: Identity) -> objects.Pod:
    """Return a pod with what its status says."""
    meta, status = written.metadata or wire.Meta(), written.status or wire.PodStatus()
    addresses = [item.ip for item in status.pod_ips or () if item]
    node_addresses = [item.ip for item in status.host_ips or () if item]
    return objects.Pod(
        namespace=identity.namespace,
        name=identity.name,
        template=_template(labels_of(meta), written.spec),
        owner=owner_of(meta),
        addresses=present(addresses) or present([status.pod_ip]),
        node_addresses=present(node_addresses) or present([status.host_ip]),
        phase=status.phase or "",
        terminating=bool(meta.deletion_timestamp),
        created=meta.creation_timestamp or "",
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


def _workload(
    meta: wire.Meta | None,
    identity: Identity,
    template: wire.PodTemplate | None,
    *,
    replicas: int | None = None,
    first: int | None = None,
    indexes: int | None = None,
) -> objects.Workload:
    return objects.Workload(
        kind=identity.kind,
        namespace=identity.namespace,
        name=identity.name,
        template=objects.PodTemplate() if template is None else _template(labels_of(template.metadata), template.spec),
        replicas=1 if replicas is None else max(0, replicas),
        first=max(0, first or 0),
        indexes=max(0, indexes or 0),
        owner=owner_of(meta),
        origin=identity.origin,
    )


def workload(written: wire.Workload | wire.ReplicationController, identity: Identity) -> objects.Workload:
    """Return a workload; absent replicas mean one, and so does a DaemonSet."""
    spec = written.spec or wire.WorkloadSpec()
    replicas = None if identity.kind == "DaemonSet" else spec.replicas
    first = indexes = None
    if identity.kind == "Job" and isinstance(spec, wire.WorkloadSpec):
        replicas, indexes = spec.parallelism, _indexes(spec)
    elif isinstance(spec, wire.WorkloadSpec) and spec.ordinals is not None:
        first = spec.ordinals.start
    return _workload(written.metadata, identity, spec.template, replicas=replicas, first=first, indexes=indexes)


def custom_workload(written: wire.CustomWorkload, identity: Identity) -> objects.Workload:
    """Return a workload of another project's kind."""
    spec = written.spec or wire.CustomWorkloadSpec()
    replicas = spec.replicas if isinstance(spec.replicas, int) else None
    return _workload(written.metadata, identity, spec.template, replicas=replicas)


def kept(_written: wire.Object, identity: Identity) -> objects.Kept:
    """Return an object of which nobody needs more than its name."""
    return objects.Kept(kind=identity.kind, namespace=identity.namespace, name=identity.name, origin=identity.origin)


def cron_job(written: wire.CronJob, identity: Identity) -> objects.Workload:
    """Return a CronJob as a workload of the pods its jobs make."""
    job = written.spec.job_template if written.spec is not None else None
    spec = (job.spec if job is not None else None) or wire.WorkloadSpec()
    return _workload(written.metadata, identity, spec.template, indexes=_indexes(spec))


def _indexes(job: wire.WorkloadSpec) -> int | None:
    return job.completions if job.completion_mode == "Indexed" else None
