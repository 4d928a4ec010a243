# SPDX-License-Identifier: Apache-2.0
"""Tables: what `kubectl get` prints, with the columns that an API server gives."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

from podfence.lab.apiserver import cells, pod_cells
from podfence.lab.apiserver.status import bad_request
from podfence.lab.store.metadata import Raw

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


_INCLUDED: Final = ("", "Metadata", "Object", "None")


class Layout(NamedTuple):
    """The columns of a kind, as tables define them, and what is in them."""

    columns: tuple[Raw, ...]
    cells: cells.Cells


def _layout(fill: cells.Cells, columns: str) -> Layout:
    """Return a layout of columns, separated by commas: ``#`` ends the name of a number, ``~`` begins a wide one's."""
    return Layout(tuple(map(_column, columns.split(","))), fill)


def _column(text: str) -> Raw:
    name = text.removeprefix("~").removesuffix("#")
    kind = "integer" if text.endswith("#") else "date" if name == "Created At" else "string"
    form = "name" if name == "Name" else ""
    return {"name": name, "type": kind, "format": form, "description": "", "priority": int(text.startswith("~"))}


_COUNTS: Final = "Name,Desired#,Current#,Ready#"
_PODS: Final = "Age,~Containers,~Images"
_BOUND: Final = _layout(cells.binding, "Name,Role,Age,~Users,~Groups,~ServiceAccounts")
_ROLE: Final = _layout(cells.role, "Name,Created At")
_LAYOUTS: Final[Mapping[str, Layout]] = {
    "Namespace": _layout(cells.namespace, "Name,Status,Age"),
    "Node": _layout(
        cells.node,
        "Name,Status,Roles,Age,Version,~Internal-IP,~External-IP,~OS-Image,~Kernel-Version,~Container-Runtime",
    ),
    "Pod": _layout(pod_cells.pod, "Name,Ready,Status,Restarts,Age,~IP,~Node,~Nominated Node,~Readiness Gates"),
    "Service": _layout(cells.service, "Name,Type,Cluster-IP,External-IP,Port(s),Age,~Selector"),
    "Endpoints": _layout(cells.endpoints, "Name,Endpoints,Age"),
    "EndpointSlice": _layout(cells.endpoint_slice, "Name,AddressType,Ports,Endpoints,Age"),
    "ReplicationController": _layout(cells.controller, f"{_COUNTS},{_PODS},~Selector"),
    "ReplicaSet": _layout(cells.replica_set, f"{_COUNTS},{_PODS},~Selector"),
    "Deployment": _layout(cells.deployment, f"Name,Ready,Up-to-date,Available,{_PODS},~Selector"),
    "StatefulSet": _layout(cells.stateful_set, f"Name,Ready,{_PODS}"),
    "DaemonSet": _layout(cells.daemon_set, f"{_COUNTS},Up-to-date#,Available#,Node Selector,{_PODS},~Selector"),
    "Job": _layout(cells.job, f"Name,Status,Completions,Duration,{_PODS},~Selector"),
    "CronJob": _layout(cells.cron_job, f"Name,Schedule,Timezone,Suspend,Active#,Last Schedule,{_PODS},~Selector"),
    "NetworkPolicy": _layout(cells.policy, "Name,Pod-Selector,Age"),
    "Ingress": _layout(cells.ingress, "Name,Class,Hosts,Address,Ports,Age"),
    "ConfigMap": _layout(cells.config_map, "Name,Data,Age"),
    "Secret": _layout(cells.secret, "Name,Type,Data,Age"),
    "ServiceAccount": _layout(cells.named, "Name,Age"),
    "Role": _ROLE,
    "ClusterRole": _ROLE,
    "RoleBinding": _BOUND,
    "ClusterRoleBinding": _BOUND,
    "Event": _layout(cells.event, "Last Seen,Type,Reason,Object,~Subobject,~Source,Message,~First Seen,~Count,~Name"),
}


def included(text: str) -> str:
    """Return which part of the objects a table is to have beside the cells. Raises RefusedError."""
    if text not in _INCLUDED:
        raise bad_request(
            f'Unable to convert to Table as requested: includeObject: Invalid value: "{text}": '
            "must be 'Metadata', 'Object', 'None', or empty"
        )
    return text or "Metadata"


def table(
    kind: str, objects: Sequence[Raw], meta: Raw, include: str, now: float, *, version: str = "v1", first: bool = True
) -> Raw:
    """Return objects as a table. Only the `first` table of a watch has the definitions of the columns."""
    layout = _LAYOUTS[kind]
    return {
        "kind": "Table",
        "apiVersion": f"meta.k8s.io/{version}",
        "metadata": meta,
        "columnDefinitions": layout.columns if first else None,
        "rows": [_row(kind, obj, layout.cells(obj, now), include, version) for obj in objects],
    }


def _row(kind: str, obj: Raw, shown: list[Any], include: str, version: str) -> Raw:
    row: Raw = {"cells": shown}
    if kind == "Pod" and (ended := pod_cells.conditions(obj)):
        row["conditions"] = ended
    if include == "None":
        row["object"] = None
    else:
        row["object"] = obj if include == "Object" else partial(obj, version)
    return row


def partial(obj: Raw, version: str = "v1") -> Raw:
    """Return the metadata of an object, as an object."""
    return {"kind": "PartialObjectMetadata", "apiVersion": f"meta.k8s.io/{version}", "metadata": obj["metadata"]}
