# SPDX-License-Identifier: Apache-2.0
"""Tables: what `kubectl get` prints, with the columns that an API server gives."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

from podfence.lab.apiserver import cells, pod_cells
from podfence.lab.apiserver.status import bad_request

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

Raw = dict[str, Any]

_INCLUDED: Final = ("", "Metadata", "Object", "None")


class Column(NamedTuple):
    """One column; `wide` is one that only ``-o wide`` shows."""

    name: str
    type: str = "string"
    format: str = ""
    wide: bool = False


class Layout(NamedTuple):
    """The columns of a kind and what is in them."""

    columns: tuple[Column, ...]
    cells: cells.Cells


def _layout(fill: cells.Cells, columns: str, wide: str = "") -> Layout:
    """Return a layout of columns, separated by commas; ``#`` ends the name of a number."""
    shown = [(name, False) for name in columns.split(",")] + [(name, True) for name in wide.split(",") if name]
    return Layout(tuple(_column(name, is_wide=is_wide) for name, is_wide in shown), fill)


def _column(name: str, *, is_wide: bool) -> Column:
    form = "name" if name == "Name" else ""
    kind = "integer" if name.endswith("#") else "date" if name == "Created At" else "string"
    return Column(name.removesuffix("#"), kind, form, is_wide)


_OF_PODS: Final = "Containers,Images,Selector"
_PLAIN: Final = "Name,Age"
_LAYOUTS: Final[Mapping[str, Layout]] = {
    "Namespace": _layout(cells.namespace, "Name,Status,Age"),
    "Node": _layout(
        cells.node, "Name,Status,Roles,Age,Version", "Internal-IP,External-IP,OS-Image,Kernel-Version,Container-Runtime"
    ),
    "Pod": _layout(pod_cells.pod, "Name,Ready,Status,Restarts,Age", "IP,Node,Nominated Node,Readiness Gates"),
    "Service": _layout(cells.service, "Name,Type,Cluster-IP,External-IP,Port(s),Age", "Selector"),
    "Endpoints": _layout(cells.endpoints, "Name,Endpoints,Age"),
    "EndpointSlice": _layout(cells.endpoint_slice, "Name,AddressType,Ports,Endpoints,Age"),
    "ReplicationController": _layout(cells.controller, "Name,Desired#,Current#,Ready#,Age", _OF_PODS),
    "ReplicaSet": _layout(cells.replica_set, "Name,Desired#,Current#,Ready#,Age", _OF_PODS),
    "Deployment": _layout(cells.deployment, "Name,Ready,Up-to-date,Available,Age", _OF_PODS),
    "StatefulSet": _layout(cells.stateful_set, "Name,Ready,Age", "Containers,Images"),
    "DaemonSet": _layout(
        cells.daemon_set, "Name,Desired#,Current#,Ready#,Up-to-date#,Available#,Node Selector,Age", _OF_PODS
    ),
    "Job": _layout(cells.job, "Name,Status,Completions,Duration,Age", _OF_PODS),
    "CronJob": _layout(cells.cron_job, "Name,Schedule,Timezone,Suspend,Active#,Last Schedule,Age", _OF_PODS),
    "NetworkPolicy": _layout(cells.policy, "Name,Pod-Selector,Age"),
    "Ingress": _layout(cells.ingress, "Name,Class,Hosts,Address,Ports,Age"),
    "ConfigMap": _layout(cells.config_map, "Name,Data,Age"),
    "Secret": _layout(cells.secret, "Name,Type,Data,Age"),
    "ServiceAccount": _layout(cells.named, _PLAIN),
    "Role": _layout(cells.role, "Name,Created At"),
    "ClusterRole": _layout(cells.role, "Name,Created At"),
    "RoleBinding": _layout(cells.binding, "Name,Role,Age", "Users,Groups,ServiceAccounts"),
    "ClusterRoleBinding": _layout(cells.binding, "Name,Role,Age", "Users,Groups,ServiceAccounts"),
}
_EVENT: Final = Layout(
    (
        *(Column("Last Seen"), Column("Type"), Column("Reason"), Column("Object"), Column("Subobject", wide=True)),
        *(Column("Source", wide=True), Column("Message"), Column("First Seen", wide=True)),
        *(Column("Count", wide=True), Column("Name", format="name", wide=True)),
    ),
    cells.event,
)


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
    layout = _EVENT if kind == "Event" else _LAYOUTS[kind]
    definitions = [
        {"name": name, "type": of, "format": form, "description": "", "priority": int(wide)}
        for name, of, form, wide in layout.columns
    ]
    return {
        "kind": "Table",
        "apiVersion": f"meta.k8s.io/{version}",
        "metadata": meta,
        "columnDefinitions": definitions if first else None,
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
