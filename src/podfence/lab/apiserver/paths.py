# SPDX-License-Identifier: Apache-2.0
"""What the path of a request names: a resource, a namespace, an object, a subresource."""

from __future__ import annotations

from typing import Final, NamedTuple

from podfence.lab.apiserver import status
from podfence.lab.apiserver.access import REVIEWS, Review
from podfence.lab.store.resources import RESOURCES, Resource

STREAMS: Final = {
    "attach": ("PodAttachOptions", ("create", "get")),
    "exec": ("PodExecOptions", ("create", "get")),
    "log": ("Pod", ("get",)),
}
"""The subresources of pods that are streams, each with its kind and its verbs."""

UNSERVED: Final = {
    "portforward": "podfence labs do not forward ports; use a Service, or exec in a pod",
    "proxy": "podfence labs do not proxy requests to pods; use exec in a pod",
    "eviction": "podfence labs do not evict pods; delete the pod",
    "binding": "podfence labs choose the nodes of pods themselves",
    "ephemeralcontainers": "podfence labs have no ephemeral containers",
    "resize": "podfence labs do not resize pods",
    "token": "podfence labs make no tokens for service accounts",
    "finalize": "podfence labs finalize namespaces themselves",
}


# kubectl asks for these by itself: before it says that there is no such kind, and when it describes a namespace.
_NEVER_ANY: Final = {
    ("apis", "apiextensions.k8s.io", "v1", "customresourcedefinitions"): "CustomResourceDefinitionList",
    ("api", "v1", "namespaces", "*", "resourcequotas"): "ResourceQuotaList",
    ("api", "v1", "namespaces", "*", "limitranges"): "LimitRangeList",
}


def empty_list(parts: list[str]) -> dict[str, str] | None:
    """Return the kind and version of a list that is always empty, None for every other path."""
    place = tuple("*" if index == 3 and parts[2] == "namespaces" else part for index, part in enumerate(parts))
    kind = _NEVER_ANY.get(place)
    version = "/".join(parts[1:3]) if parts[:1] == ["apis"] else "v1"
    return {"kind": kind, "apiVersion": version} if kind else None


class Target(NamedTuple):
    """What a path names. `name` is "" for a list, `namespace` is "" for all or for what has none."""

    row: Resource
    namespace: str
    name: str
    subresource: str = ""
    watch: bool = False


def target_of(parts: list[str]) -> Target | Review:
    """Return what the parts of a path after ``/api`` or ``/apis`` name. Raises RefusedError."""
    version, rest = (parts[1], parts[2:]) if parts[0] == "api" else ("/".join(parts[1:3]), parts[3:])
    watch = rest[:1] == ["watch"]
    if watch:
        rest = rest[1:]
    namespace = ""
    if rest[:1] == ["namespaces"] and len(rest) > 2 and rest[2] not in ("status", "finalize"):
        namespace, rest = rest[1], rest[2:]
    if not rest or len(rest) > 3:
        raise status.not_found()
    found = _resource(version, rest[0])
    if isinstance(found, Review):
        return found
    if namespace and not found.namespaced:
        raise status.not_found()
    name, subresource = (*rest[1:], "", "")[:2]
    if found.namespaced and name and not namespace:
        raise status.not_found()
    if subresource:
        _require_subresource(found, subresource)
    return Target(found, namespace, name, subresource, watch)


def _resource(api_version: str, plural: str) -> Resource | Review:
    rows: list[Resource | Review] = [*RESOURCES.values(), *REVIEWS]
    for row in rows:
        if (row.api_version, row.plural) == (api_version, plural):
            return row
    raise status.not_found()


def _require_subresource(row: Resource, name: str) -> None:
    served = {"status": row.has_status, "scale": row.has_scale, **dict.fromkeys(STREAMS, row.kind == "Pod")}
    if served.get(name):
        return
    raise status.not_found(UNSERVED.get(name, "") if row.kind in ("Pod", "Namespace", "ServiceAccount", "Node") else "")
