# SPDX-License-Identifier: Apache-2.0
"""Short ways to write the objects that these tables are about."""

from __future__ import annotations

from typing import TYPE_CHECKING

from podfence.cluster.members import display_name
from podfence.cluster.state import ClusterState, Event, EventType
from podfence.kube.objects import ContainerPort, KubeObject, Owner, Pod, PodTemplate, Workload

if TYPE_CHECKING:
    from podfence.kube.objects import Labels


def pod(name: str, *addresses: str, owner: str = "", namespace: str = "shop", labels: Labels | None = None,
        phase: str = "Running", node: str = "", host: bool = False, ports: tuple[ContainerPort, ...] = ()) -> Pod:  # fmt: skip
    """Return a pod; `owner` is written ``Kind/name``."""
    return Pod(
        namespace=namespace,
        name=name,
        template=PodTemplate(labels=labels or {}, ports=ports, host_network=host, node=node),
        owner=owner_of(owner),
        addresses=addresses,
        node_addresses=addresses if host else (),
        phase=phase,
    )


def workload(
    kind: str, name: str, *, owner: str = "", namespace: str = "shop", labels: Labels | None = None, replicas: int = 1
) -> Workload:
    template = PodTemplate(labels=labels or {})
    return Workload(
        kind=kind, namespace=namespace, name=name, template=template, replicas=replicas, owner=owner_of(owner)
    )


def owner_of(text: str) -> Owner | None:
    return Owner(*text.split("/")) if text else None


def names(state: ClusterState) -> list[str]:
    """Return what is judged, as people see it: pods, and workloads that stand for the pods they would have."""
    return sorted(display_name(key) for key in state.members)


def belongs(state: ClusterState) -> dict[str, str]:
    """Return the workload of each member, "" for a bare pod."""
    return {member.name: display_name(member.workload) if member.workload else "" for member in state.members.values()}


def added(item: KubeObject) -> Event:
    return Event(EventType.ADDED, item)


def modified(item: KubeObject) -> Event:
    return Event(EventType.MODIFIED, item)


def deleted(item: KubeObject) -> Event:
    return Event(EventType.DELETED, item)
