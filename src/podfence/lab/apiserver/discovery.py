# SPDX-License-Identifier: Apache-2.0
"""Discovery: which resources the server has, in the aggregated form of today's clients and in the older one."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec

from podfence.lab.store.resources import RESOURCES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from podfence.lab.store.resources import Resource

Raw = dict[str, Any]

_VERBS: Final = ("create", "delete", "deletecollection", "get", "list", "patch", "update", "watch")
_STATUS_VERBS: Final = ("get", "patch", "update")


class Review(NamedTuple):
    """A resource that answers a question and keeps nothing."""

    kind: str
    plural: str
    api_version: str


REVIEWS: Final = (
    Review("SelfSubjectReview", "selfsubjectreviews", "authentication.k8s.io/v1"),
    Review("SelfSubjectAccessReview", "selfsubjectaccessreviews", "authorization.k8s.io/v1"),
    Review("SelfSubjectRulesReview", "selfsubjectrulesreviews", "authorization.k8s.io/v1"),
)
_STREAMS: Final = (
    ("attach", "PodAttachOptions", ("create", "get")),
    ("exec", "PodExecOptions", ("create", "get")),
    ("log", "Pod", ("get",)),
)


class _Entry(NamedTuple):
    """A resource or a subresource as discovery has it."""

    name: str
    kind: str
    namespaced: bool
    verbs: tuple[str, ...]
    singular: str = ""
    short: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    group_version: str = ""


def _entries(api_version: str) -> Iterator[_Entry]:
    rows = [row for row in RESOURCES.values() if row.api_version == api_version]
    for row in sorted(rows, key=lambda row: row.plural):
        yield _Entry(row.plural, row.kind, row.namespaced, _VERBS, row.singular, row.short, row.categories)
        yield from _subresources(row)
    for review in REVIEWS:
        if review.api_version == api_version:
            yield _Entry(review.plural, review.kind, False, ("create",), review.kind.lower())  # noqa: FBT003


def _subresources(row: Resource) -> Iterator[_Entry]:
    if row.kind == "Pod":
        for name, kind, verbs in _STREAMS:
            yield _Entry(f"pods/{name}", kind, row.namespaced, verbs)
    if row.has_scale:
        yield _Entry(f"{row.plural}/scale", "Scale", row.namespaced, _STATUS_VERBS, group_version="autoscaling/v1")
    if row.has_status:
        yield _Entry(f"{row.plural}/status", row.kind, row.namespaced, _STATUS_VERBS)


def api_versions() -> list[str]:
    """Return the API versions that are served, the core first."""
    found = [row.api_version for row in RESOURCES.values()] + [review.api_version for review in REVIEWS]
    return list(dict.fromkeys(found))


def groups() -> list[str]:
    """Return the served API groups but for the core, in the order in which kubectl prefers them."""
    return [version.partition("/")[0] for version in api_versions() if "/" in version]


def core_versions(address: str) -> Raw:
    """Return the answer to ``/api``."""
    where = [{"clientCIDR": "0.0.0.0/0", "serverAddress": address}]
    return {"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": where}


def group_list() -> Raw:
    """Return the answer to ``/apis``."""
    return {"kind": "APIGroupList", "apiVersion": "v1", "groups": [_group(name) for name in groups()]}


def group(name: str) -> Raw:
    """Return the answer to ``/apis/GROUP``."""
    return {"kind": "APIGroup", "apiVersion": "v1"} | _group(name)


def _group(name: str) -> Raw:
    versions = [
        {"groupVersion": version, "version": version.partition("/")[2]}
        for version in api_versions()
        if version.partition("/")[0] == name and "/" in version
    ]
    return {"name": name, "versions": versions, "preferredVersion": versions[0]}


def resource_list(api_version: str) -> Raw:
    """Return the answer to ``/api/v1`` or ``/apis/GROUP/VERSION``."""
    found: list[Raw] = []
    for entry in _entries(api_version):
        item: Raw = {"name": entry.name, "singularName": entry.singular, "namespaced": entry.namespaced}
        if entry.group_version:
            item["group"], item["version"] = entry.group_version.split("/")
        item |= {"kind": entry.kind, "verbs": list(entry.verbs)} | _optional(entry)
        found.append(item)
    return {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": api_version, "resources": found}


def aggregated(*, core: bool) -> bytes:
    """Return the answer to ``/api`` or ``/apis`` in the aggregated form."""
    names = [""] if core else groups()
    items = [_aggregated_group(name) for name in dict.fromkeys(names)]
    found = {"kind": "APIGroupDiscoveryList", "apiVersion": "apidiscovery.k8s.io/v2", "metadata": {}, "items": items}
    return msgspec.json.encode(found)


def _aggregated_group(name: str) -> Raw:
    versions = [version for version in api_versions() if version.rpartition("/")[0] == name]
    return {
        "metadata": {"name": name} if name else {},
        "versions": [
            {"version": version.rpartition("/")[2], "resources": _aggregated(version), "freshness": "Current"}
            for version in versions
        ],
    }


def _aggregated(api_version: str) -> list[Raw]:
    found: list[Raw] = []
    for entry in _entries(api_version):
        own = entry.group_version or api_version
        kind = {"group": own.rpartition("/")[0], "version": own.rpartition("/")[2], "kind": entry.kind}
        name, _, sub = entry.name.partition("/")
        if sub:
            parent = found[-1]
            parent.setdefault("subresources", []).append(
                {"subresource": sub, "responseKind": kind, "verbs": list(entry.verbs)}
            )
            continue
        scope = "Namespaced" if entry.namespaced else "Cluster"
        item: Raw = {"resource": name, "responseKind": kind, "scope": scope, "singularResource": entry.singular}
        found.append(item | {"verbs": list(entry.verbs)} | _optional(entry))
    return found


def _optional(entry: _Entry) -> Raw:
    found = {"shortNames": list(entry.short), "categories": list(entry.categories)}
    return {key: value for key, value in found.items() if value}


def etag(body: bytes) -> str:
    """Return a tag that changes with a body."""
    return f'"{hashlib.sha256(body).hexdigest().upper()}"'
