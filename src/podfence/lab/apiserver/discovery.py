# SPDX-License-Identifier: Apache-2.0
"""Discovery: which resources the server has, in the aggregated form of today's clients and in the older one."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec

from podfence.kube.registry import LEGACY_POLICY
from podfence.lab.apiserver.reviews import REVIEWS
from podfence.lab.store.resources import RESOURCES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from podfence.lab.store.metadata import Raw
    from podfence.lab.store.resources import Resource


_VERBS: Final = ("create", "delete", "deletecollection", "get", "list", "patch", "update", "watch")
_STATUS_VERBS: Final = ("get", "patch", "update")


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


class Discovery:
    """What is served. With `legacy`, clients prefer extensions/v1beta1, where policies were at first."""

    def __init__(self, *, legacy: bool = False) -> None:
        """Serve all resources."""
        self._legacy = legacy
        found = [row.api_version for row in RESOURCES.values()] + [review.api_version for review in REVIEWS]
        # kubectl takes the first group that has a resource.
        first = ["v1", LEGACY_POLICY] if legacy else ["v1"]
        last = [] if legacy else [LEGACY_POLICY]
        middle = [version for version in found if version not in (*first, *last)]
        self.api_versions = list(dict.fromkeys([*first, *middle, *last]))
        """The served API versions, in the order in which clients prefer them."""
        self.groups = [version.partition("/")[0] for version in self.api_versions if "/" in version]
        """The served API groups but for the core, in the same order."""

    def core_versions(self, address: str) -> Raw:
        """Return the answer to ``/api``."""
        where = [{"clientCIDR": "0.0.0.0/0", "serverAddress": address}]
        return {"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": where}

    def group_list(self) -> Raw:
        """Return the answer to ``/apis``."""
        return {"kind": "APIGroupList", "apiVersion": "v1", "groups": [self._group(name) for name in self.groups]}

    def group(self, name: str) -> Raw:
        """Return the answer to ``/apis/GROUP``."""
        return {"kind": "APIGroup", "apiVersion": "v1"} | self._group(name)

    def _group(self, name: str) -> Raw:
        versions = [
            {"groupVersion": version, "version": version.partition("/")[2]}
            for version in self.api_versions
            if version.partition("/")[0] == name and "/" in version
        ]
        return {"name": name, "versions": versions, "preferredVersion": versions[0]}

    def resource_list(self, api_version: str) -> Raw:
        """Return the answer to ``/api/v1`` or ``/apis/GROUP/VERSION``."""
        found: list[Raw] = []
        for entry in self._entries(api_version):
            item: Raw = {"name": entry.name, "singularName": entry.singular, "namespaced": entry.namespaced}
            if entry.group_version:
                item["group"], item["version"] = entry.group_version.split("/")
            item |= {"kind": entry.kind, "verbs": list(entry.verbs)} | _optional(entry)
            found.append(item)
        return {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": api_version, "resources": found}

    def aggregated(self, *, core: bool) -> bytes:
        """Return the answer to ``/api`` or ``/apis`` in the aggregated form."""
        items = [self._aggregated_group(name) for name in ([""] if core else self.groups)]
        found = {"kind": "APIGroupDiscoveryList", "apiVersion": "apidiscovery.k8s.io/v2", "metadata": {}}
        return msgspec.json.encode({**found, "items": items})

    def _aggregated_group(self, name: str) -> Raw:
        versions = [version for version in self.api_versions if version.rpartition("/")[0] == name]
        return {
            "metadata": {"name": name} if name else {},
            "versions": [
                {"version": version.rpartition("/")[2], "resources": self._aggregated(version), "freshness": "Current"}
                for version in versions
            ],
        }

    def _aggregated(self, api_version: str) -> list[Raw]:
        found: list[Raw] = []
        for entry in self._entries(api_version):
            own = entry.group_version or api_version
            kind = {"group": own.rpartition("/")[0], "version": own.rpartition("/")[2], "kind": entry.kind}
            name, _, sub = entry.name.partition("/")
            if sub:
                below = {"subresource": sub, "responseKind": kind, "verbs": list(entry.verbs)}
                found[-1].setdefault("subresources", []).append(below)
                continue
            scope = "Namespaced" if entry.namespaced else "Cluster"
            item: Raw = {"resource": name, "responseKind": kind, "scope": scope, "singularResource": entry.singular}
            found.append(item | {"verbs": list(entry.verbs)} | _optional(entry))
        return found

    def _entries(self, api_version: str) -> Iterator[_Entry]:
        rows = [row for row in RESOURCES.values() if row.api_version == api_version]
        for row in sorted(rows, key=lambda row: row.plural):
            # A short name that two groups have makes kubectl warn.
            twice = row.kind == "NetworkPolicy" and (row.api_version == LEGACY_POLICY) is not self._legacy
            short = () if twice else row.short
            yield _Entry(row.plural, row.kind, row.namespaced, _VERBS, row.singular, short, row.categories)
            yield from _subresources(row)
        for review in REVIEWS:
            if review.api_version == api_version:
                yield _Entry(review.plural, review.kind, False, ("create",), review.kind.lower())  # noqa: FBT003 - a tuple with names


def _subresources(row: Resource) -> Iterator[_Entry]:
    if row.kind == "Pod":
        for name, kind, verbs in _STREAMS:
            yield _Entry(f"pods/{name}", kind, row.namespaced, verbs)
    if row.has_scale:
        yield _Entry(f"{row.plural}/scale", "Scale", row.namespaced, _STATUS_VERBS, group_version="autoscaling/v1")
    if row.has_status:
        yield _Entry(f"{row.plural}/status", row.kind, row.namespaced, _STATUS_VERBS)


def _optional(entry: _Entry) -> Raw:
    found = {"shortNames": list(entry.short), "categories": list(entry.categories)}
    return {key: value for key, value in found.items() if value}


def etag(body: bytes) -> str:
    """Return a tag that changes with a body."""
    return f'"{hashlib.sha256(body).hexdigest().upper()}"'
