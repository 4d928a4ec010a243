# SPDX-License-Identifier: Apache-2.0
"""What the server says of itself: discovery, OpenAPI, its version, and that it is well."""

from __future__ import annotations

from typing import Final

from aiohttp import web

from podfence.lab.apiserver import media, openapi, openapi_v2, status
from podfence.lab.apiserver.answers import NOT_CACHED, json_answer
from podfence.lab.apiserver.discovery import Discovery, etag

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


class About:
    """Answers requests about the server."""

    def __init__(self, *, legacy: bool) -> None:
        """Describe a server whose clients prefer, if `legacy`, the old kind of policies."""
        self._discovery = Discovery(legacy=legacy)

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
                headers = {"ETag": openapi_v2.etag(), "Content-Type": openapi_v2.CONTENT_TYPE, **NOT_CACHED}
                return web.Response(body=openapi_v2.document(), headers=headers)
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
                return self._groups(request, core=parts == ["api"])
            case ["api", "v1"]:
                return json_answer(self._discovery.resource_list("v1"))
            case ["apis", group, version] if f"{group}/{version}" in self._discovery.api_versions:
                return json_answer(self._discovery.resource_list(f"{group}/{version}"))
            case ["apis", group] if group in self._discovery.groups:
                return json_answer(self._discovery.group(group))
            case ["api" | "apis", _, *_] if len(parts) != 2 or parts[0] == "api":
                raise status.not_found()
        return web.Response(status=404, text="404 page not found\n")

    def _groups(self, request: web.Request, *, core: bool) -> web.Response:
        wanted = media.accepted(request.headers.get("Accept", ""))
        if wanted.shape != "APIGroupDiscoveryList":
            return json_answer(self._discovery.core_versions(request.host) if core else self._discovery.group_list())
        body = self._discovery.aggregated(core=core)
        tag = etag(body)
        headers = {"ETag": tag, "Cache-Control": "public", "Vary": "Accept"}
        if request.headers.get("If-None-Match") == tag:
            return web.Response(status=304, headers=headers)
        headers["Content-Type"] = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
        return web.Response(body=body, headers=headers)

    def _paths(self) -> list[str]:
        found = ["/api", "/api/v1", "/apis", "/apis/", *(f"/apis/{name}" for name in self._discovery.groups)]
        found += [f"/apis/{version}" for version in self._discovery.api_versions if "/" in version]
        found += [f"/{word}" for word in _HEALTH]
        return sorted({*found, "/openapi/v2", "/openapi/v3", "/openapi/v3/", "/version"})
