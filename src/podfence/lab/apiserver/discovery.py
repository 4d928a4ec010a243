# SPDX-License-Identifier: Apache-2.0
"""What the server says of itself: its resources, for new and older clients, its version, and that it is well."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Final

import msgspec
from aiohttp import web

from podfence.kube.registry import LEGACY_POLICY
from podfence.lab.apiserver import media, openapi, status
from podfence.lab.apiserver.access import REVIEWS
from podfence.lab.apiserver.media import NOT_CACHED, json_answer
from podfence.lab.apiserver.paths import STREAMS
from podfence.lab.store.resources import RESOURCES

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from podfence.lab.store.metadata import Raw
    from podfence.lab.store.resources import Resource

MINOR: Final = 36
"""The minor version of Kubernetes whose answers these are."""

_VERSION: Final = {
    "major": "1",
    "minor": str(MINOR),
    "gitVersion": f"v1.{MINOR}.0+podfence",
    "gitCommit": "",
    "gitTreeState": "clean",
    "buildDate": "1970-01-01T00:00:00Z",
    "goVersion": "",
    "compiler": "python",
    "platform": "linux",
}
_HEALTH: Final = ("healthz", "livez", "readyz")
_VERBS: Final = ("create", "delete", "deletecollection", "get", "list", "patch", "update", "watch")
_STATUS_VERBS: Final = ("get", "patch", "update")


class Discovery:
    """What is served. With `legacy`, clients prefer extensions/v1beta1, where policies were at first."""

    def __init__(self, *, legacy: bool) -> None:
        """Serve all resources."""
        self._legacy = legacy
        found = [row.api_version for row in RESOURCES.values()] + [review.api_version for review in REVIEWS]
        # kubectl takes the first group that has a resource.
        places = {"v1": 0, LEGACY_POLICY: 1 if legacy else 3}
        self._versions = sorted(dict.fromkeys(found), key=lambda version: places.get(version, 2))
        self._groups = [version.partition("/")[0] for version in self._versions if "/" in version]

    def answer(self, request: web.Request, parts: list[str]) -> web.Response:
        """Answer a GET of a path that names no object. Raises RefusedError."""
        match parts:
            case []:
                return json_answer({"paths": self._paths()})
            case ["version"]:
                return json_answer(_VERSION)
            case [word, *_] if word in _HEALTH:
                return web.Response(text="ok", headers={"X-Content-Type-Options": "nosniff", **NOT_CACHED})
            case ["openapi", "v2"]:
                body = openapi.kinds()
                headers = {"ETag": _etag(body), "Content-Type": openapi.KINDS_TYPE, **NOT_CACHED}
                return web.Response(body=body, headers=headers)
            case ["openapi", "v3"]:
                return web.Response(body=openapi.index(), content_type="application/json", headers=NOT_CACHED)
            case ["openapi", "v3", *path]:
                try:
                    body = openapi.document("/".join(path))
                except KeyError:
                    raise status.not_found() from None
                headers = {"Cache-Control": "public, immutable"}
                return web.Response(body=body, content_type="application/json", headers=headers)
            case ["api"] | ["apis"]:
                return self._known_groups(request, core=parts == ["api"])
            case ["api", "v1"]:
                return json_answer(self._resource_list("v1"))
            case ["apis", group, version] if f"{group}/{version}" in self._versions:
                return json_answer(self._resource_list(f"{group}/{version}"))
            case ["apis", group] if group in self._groups:
                return json_answer({"kind": "APIGroup", "apiVersion": "v1"} | self._group(group))
            case ["api" | "apis", _, *_] if len(parts) != 2 or parts[0] == "api":
                raise status.not_found()
        return web.Response(status=404, text="404 page not found\n")

    def _paths(self) -> list[str]:
        found = ["/api", "/api/v1", "/apis", "/apis/", *(f"/apis/{name}" for name in self._groups)]
        found += [f"/apis/{version}" for version in self._versions if "/" in version]
        found += [f"/{word}" for word in _HEALTH]
        return sorted({*found, "/openapi/v2", "/openapi/v3", "/openapi/v3/", "/version"})

    def _known_groups(self, request: web.Request, *, core: bool) -> web.Response:
        if media.accepted(request.headers.get("Accept", "")).shape != "APIGroupDiscoveryList":
            if core:
                where = [{"clientCIDR": "0.0.0.0/0", "serverAddress": request.host}]
                return json_answer({"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": where})
            groups = [self._group(name) for name in self._groups]
            return json_answer({"kind": "APIGroupList", "apiVersion": "v1", "groups": groups})
        items = [self._aggregated_group(name) for name in ([""] if core else self._groups)]
        found = {"kind": "APIGroupDiscoveryList", "apiVersion": "apidiscovery.k8s.io/v2", "metadata": {}}
        body = msgspec.json.encode({**found, "items": items})
        tag = _etag(body)
        headers = {"ETag": tag, "Cache-Control": "public", "Vary": "Accept"}
        if request.headers.get("If-None-Match") == tag:
            return web.Response(status=304, headers=headers)
        headers["Content-Type"] = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
        return web.Response(body=body, headers=headers)

    def _group(self, name: str) -> Raw:
        versions = [
            {"groupVersion": version, "version": version.partition("/")[2]}
            for version in self._versions
            if version.partition("/")[0] == name and "/" in version
        ]
        return {"name": name, "versions": versions, "preferredVersion": versions[0]}

    def _resource_list(self, api_version: str) -> Raw:
        found = list(self._resources(api_version))
        return {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": api_version, "resources": found}

    def _aggregated_group(self, name: str) -> Raw:
        versions = [
            {"version": version.rpartition("/")[2], "resources": self._aggregated(version), "freshness": "Current"}
            for version in self._versions
            if version.rpartition("/")[0] == name
        ]
        return {"metadata": {"name": name} if name else {}, "versions": versions}

    def _aggregated(self, api_version: str) -> list[Raw]:
        group, _, version = api_version.rpartition("/")
        found: list[Raw] = []
        for item in self._resources(api_version):
            kind = {
                "group": item.pop("group", group),
                "version": item.pop("version", version),
                "kind": item.pop("kind"),
            }
            name, _, sub = item.pop("name").partition("/")
            singular, is_inside = item.pop("singularName"), item.pop("namespaced")
            if sub:
                below = {"subresource": sub, "responseKind": kind, **item}
                found[-1].setdefault("subresources", []).append(below)
                continue
            scope = "Namespaced" if is_inside else "Cluster"
            found.append({"resource": name, "responseKind": kind, "scope": scope, "singularResource": singular, **item})
        return found

    def _resources(self, api_version: str) -> Iterator[Raw]:
        """Yield the resources of a version and their subresources, as lists have them."""
        rows = [row for row in RESOURCES.values() if row.api_version == api_version]
        for row in sorted(rows, key=lambda row: row.plural):
            # A short name that two groups have makes kubectl warn.
            twice = row.kind == "NetworkPolicy" and (row.api_version == LEGACY_POLICY) is not self._legacy
            names = {"shortNames": [] if twice else list(row.short), "categories": list(row.categories)}
            more = {key: value for key, value in names.items() if value}
            yield _item(row.plural, row.kind, _VERBS, singular=row.singular, namespaced=row.namespaced) | more
            yield from _subresources(row)
        for review in REVIEWS:
            if review.api_version == api_version:
                yield _item(review.plural, review.kind, ("create",), singular=review.kind.lower(), namespaced=False)


def _subresources(row: Resource) -> Iterator[Raw]:
    if row.kind == "Pod":
        for name, (kind, verbs) in STREAMS.items():
            yield _item(f"pods/{name}", kind, verbs)
    if row.has_scale:
        yield _item(f"{row.plural}/scale", "Scale", _STATUS_VERBS) | {"group": "autoscaling", "version": "v1"}
    if row.has_status:
        yield _item(f"{row.plural}/status", row.kind, _STATUS_VERBS, namespaced=row.namespaced)


def _item(name: str, kind: str, verbs: Sequence[str], *, singular: str = "", namespaced: bool = True) -> Raw:
    return {"name": name, "singularName": singular, "namespaced": namespaced, "kind": kind, "verbs": list(verbs)}


def _etag(body: bytes) -> str:
    """Return a tag that changes with a body."""
    return f'"{hashlib.sha256(body).hexdigest().upper()}"'
