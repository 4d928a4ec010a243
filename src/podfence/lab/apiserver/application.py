# SPDX-License-Identifier: Apache-2.0
"""The requests that the server answers, and how each is answered."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Final

from aiohttp import web

from podfence.lab.apiserver import access, bodies, listing, media, options, scaling, status
from podfence.lab.apiserver.bodies import body_of
from podfence.lab.apiserver.discovery import Discovery
from podfence.lab.apiserver.fields import without
from podfence.lab.apiserver.media import NOT_CACHED, json_answer, refused, written
from podfence.lab.apiserver.objects import PATCHES, Answer, Objects, patched, read_patch, shown
from podfence.lab.apiserver.paths import STREAMS, Target, empty_list, target_of
from podfence.lab.apiserver.rules import CURRENT, Policies
from podfence.lab.apiserver.tables import included, partial, table
from podfence.lab.apiserver.watching import INITIAL_END, Event, Hub, line
from podfence.lab.store.errors import RefusedError

if TYPE_CHECKING:
    from podfence.lab.apiserver.access import Review
    from podfence.lab.apiserver.media import Accepted
    from podfence.lab.apiserver.objects import Limits
    from podfence.lab.store.metadata import Raw
    from podfence.lab.store.resources import Resource
    from podfence.lab.store.store import Store

_MOST_LETTERS: Final = 4096
_LONGEST_OF_MANY: Final = 256
# Some clients read no more than 100 headers.
_MOST_WARNINGS: Final = 80
_WARNINGS: Final = web.RequestKey("warnings", list[str])
Stream = Callable[[web.Request, str, str, str], Awaitable[web.StreamResponse]]
"""Answers exec, attach and log, given the namespace, the pod and which of the three."""


class Server:
    """Answers requests from a store."""

    def __init__(
        self,
        store: Store,
        *,
        token: str,
        port: int,
        stream: Stream | None = None,
        complain: Callable[[str], None] = lambda _text: None,
        policies: Policies = CURRENT,
        limits: Limits = lambda _obj: iter(()),
    ) -> None:
        """Serve a store at a port to who has the token.

        `stream` answers exec, attach and log, and `complain` gets what went wrong here. With legacy `policies`, clients
        prefer extensions/v1beta1 for them, as those of the oldest clusters did. Clients are warned of `limits`.
        """
        self.store = store
        self._objects = Objects(store, policies, limits)
        self._token = token
        self._port = port
        self._stream = stream
        self._complain = complain
        self._discovery = Discovery(legacy=policies.legacy)

    def application(self) -> web.Application:
        """Return the application, whose watches follow the store from now on; called inside the event loop."""
        self.hub = Hub(self.store)
        app = web.Application(middlewares=[self._guard], handler_args={"max_field_size": 65536})
        app.router.add_route("*", "/{path:.*}", self._handle)
        return app

    @web.middleware
    async def _guard(
        self, request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        """Let in who may ask, and turn what goes wrong into a Status."""
        request[_WARNINGS] = []
        try:
            access.require(request.headers, self._token, self._port)
            return await handler(request)
        except RefusedError as refusal:
            return _warned(request, refused(refusal))
        except (ConnectionError, web.HTTPException):
            raise
        except Exception as error:  # noqa: BLE001 - whatever it is, the client gets a Status
            self._complain(f"{request.method} {request.path}: {type(error).__name__}: {error}")
            message = f"Internal error occurred: {type(error).__name__}"
            return refused(RefusedError(500, message, "InternalError"))

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        parts = [part for part in request.path.split("/") if part]
        first = parts[0] if parts else ""
        if request.method == "GET" and (kind := empty_list(parts)):
            return json_answer({**kind, "metadata": {"resourceVersion": str(self.store.revision)}, "items": []})
        if first in ("api", "apis") and len(parts) > (2 if first == "api" else 3):
            # Not before: kubectl prints nothing of a refusal to say which resources there are.
            access.require_own_user(request.headers)
            found = target_of(parts)
            if isinstance(found, Target):
                return await self._resource(request, found)
            return await self._review(request, found)
        if request.method != "GET":
            raise status.method_not_allowed()
        return self._discovery.answer(request, parts)

    async def _review(self, request: web.Request, review: Review) -> web.Response:
        if request.method != "POST":
            raise status.method_not_allowed()
        asked, _ = bodies.parse(await body_of(request), _content_type(request), review.kind)
        return json_answer(review.answered(asked), 201)

    async def _resource(self, request: web.Request, target: Target) -> web.StreamResponse:
        row, method, warn = target.row, request.method, request[_WARNINGS].append
        if target.subresource in STREAMS:
            self.store.get(row.key, target.namespace, target.name)
            if self._stream is None:
                raise status.not_found("this server runs no pods")
            return await self._stream(request, target.namespace, target.name, target.subresource)
        if target.subresource == "scale":
            return await self._scale(request, target)
        if method == "GET":
            return await self._read(request, target)
        if target.watch:
            raise status.method_not_allowed()
        if method == "DELETE":
            return await self._delete(request, target)
        if method == "POST":
            if target.name or (row.namespaced and not target.namespace):
                raise status.method_not_allowed()
            asked = _write_options(request, "CreateOptions")
            answer = self._objects.create(row, target.namespace, await _object(request, row), asked, warn)
        elif method == "PUT" and target.name:
            asked = _write_options(request, "UpdateOptions")
            answer = self._objects.update(target, await _object(request, row), asked, warn)
        elif method == "PATCH" and target.name:
            how, asked = _patch_type(request), _write_options(request, "PatchOptions")
            answer = self._objects.patch(target, await body_of(request), how, asked, warn)
        else:
            raise status.method_not_allowed()
        return self._answer(request, row, answer)

    async def _read(self, request: web.Request, target: Target) -> web.StreamResponse:
        accepted = media.accepted(request.headers.get("Accept", ""))
        row = target.row
        watch = target.watch or (not target.name and options.is_true(request.query, "watch"))
        if target.name and not watch:
            obj = shown(row, self.store.get(row.table, target.namespace, target.name))
            return self._send(request, accepted, row, obj)
        asked = options.list_options(request.query, watch=watch)
        if watch:
            return await self._watch(request, target, asked, accepted)
        page = listing.page(self.store, row, target.namespace, asked)
        if accepted.shape == "Table":
            return self._table(request, accepted, row, page.items, page.meta)
        kind, version = f"{row.kind}List", row.api_version
        if accepted.shape == "object":
            items = [without(obj, "kind", "apiVersion") for obj in page.items]
        else:
            items = [partial(obj, accepted.version) for obj in page.items]
            kind, version = "PartialObjectMetadataList", f"meta.k8s.io/{accepted.version}"
        body = {"kind": kind, "apiVersion": version, "metadata": page.meta, "items": items}
        return written(body, accepted)

    async def _watch(
        self, request: web.Request, target: Target, asked: options.ListOptions, accepted: Accepted
    ) -> web.StreamResponse:
        row = target.row
        matches = listing.matcher(row, asked, target.name)
        include = included(request.query.get("includeObject", ""))
        response = web.StreamResponse(headers={"Content-Type": "application/json", **NOT_CACHED})
        await response.prepare(request)
        first = True
        with contextlib.suppress(ConnectionError):
            try:
                async with contextlib.aclosing(self.hub.events(row, target.namespace, asked, matches)) as events:
                    async for event in events:
                        await response.write(self._event(row, event, accepted, include, first=first))
                        first = False
            except RefusedError as refusal:
                await response.write(line("ERROR", refusal.body))
            await response.write_eof()
        return response

    def _event(self, row: Resource, event: Event, accepted: Accepted, include: str, *, first: bool) -> bytes:
        if accepted.shape == "object":
            return self.hub.encoded(row, event)
        obj = event.object if event.change is None else shown(row, event.object)
        if accepted.shape != "Table":
            return line(event.type, partial(obj, accepted.version))
        meta = {"resourceVersion": obj["metadata"]["resourceVersion"]}
        is_bookmark = event.type == "BOOKMARK"
        objects = [] if is_bookmark else [obj]
        found = table(row.kind, objects, meta, include, time.time(), version=accepted.version, first=first)
        if is_bookmark:
            cells = ["", "", "<unknown>"] if INITIAL_END in obj["metadata"].get("annotations", {}) else [""]
            found |= {"columnDefinitions": None, "rows": [{"cells": cells, "object": partial(obj, accepted.version)}]}
        return line(event.type, found)

    async def _delete(self, request: web.Request, target: Target) -> web.Response:
        body = await body_of(request)
        given = bodies.parse(body, _content_type(request), "DeleteOptions")[0] if body else {}
        for key in ("propagationPolicy", "gracePeriodSeconds"):
            if text := request.query.get(key):
                number = options.whole_number(text)
                given[key] = text if number is None else number
        if dry := request.query.getall("dryRun", []):
            given["dryRun"] = dry
        row = target.row
        if target.name:
            if target.subresource:
                raise status.method_not_allowed()
            return self._answer(request, row, self._objects.delete(row, target.namespace, target.name, given))
        if row.namespaced and not target.namespace:
            raise status.method_not_allowed()
        asked = options.list_options(request.query, watch=False)
        page = listing.page(self.store, row, target.namespace, asked)
        for obj in page.items:
            self._objects.delete(row, target.namespace, obj["metadata"]["name"], given)
        items = [without(obj, "kind", "apiVersion") for obj in page.items]
        meta = {"resourceVersion": str(self.store.revision)}
        return json_answer({"kind": f"{row.kind}List", "apiVersion": row.api_version, "metadata": meta, "items": items})

    async def _scale(self, request: web.Request, target: Target) -> web.Response:
        row = target.row
        before = scaling.scale_of(row, self.store.get(row.key, target.namespace, target.name))
        if request.method == "GET":
            return json_answer(before)
        if request.method not in ("PUT", "PATCH"):
            raise status.method_not_allowed()
        if request.method == "PUT":
            asked = _write_options(request, "UpdateOptions")
            scale = (await _object(request, scaling.ROW)).object
        else:
            how, body = _patch_type(request), await body_of(request)
            asked = _write_options(request, "PatchOptions")
            before["metadata"].pop("resourceVersion")
            scale = patched(before, read_patch(body, how, asked.validation), how, scaling.ROW)[0].object
        if scale["metadata"].get("name") != target.name:
            raise status.bad_request(f"the name of the object does not match the name on the URL ({target.name})")
        return json_answer(scaling.write(self.store, row, target.namespace, scale, dry_run=asked.dry_run))

    def _answer(self, request: web.Request, row: Resource, answer: Answer) -> web.Response:
        accepted = media.accepted(request.headers.get("Accept", ""))
        return _warned(request, self._send(request, accepted, row, answer.body, answer.code))

    def _send(self, request: web.Request, accepted: Accepted, row: Resource, obj: Raw, code: int = 200) -> web.Response:
        """Send one object in the shape that the client wants."""
        if obj["kind"] == row.kind and accepted.shape == "Table":
            meta = {"resourceVersion": obj["metadata"].get("resourceVersion", "")}
            return self._table(request, accepted, row, [obj], meta, code)
        if obj["kind"] == row.kind and accepted.shape == "PartialObjectMetadata":
            obj = partial(obj, accepted.version)
        return written(obj, accepted, code)

    def _table(
        self, request: web.Request, accepted: Accepted, row: Resource, objects: list[Raw], meta: Raw, code: int = 200
    ) -> web.Response:
        include = included(request.query.get("includeObject", ""))
        if include == "Object":
            objects = [shown(row, obj) for obj in objects]
        found = table(row.kind, objects, meta, include, time.time(), version=accepted.version)
        return written(found, accepted, code)


def _warned(request: web.Request, response: web.Response) -> web.Response:
    """Add the warnings of a request to its answer: the first of many, shortened, as Kubernetes does."""
    told = request[_WARNINGS]
    texts = list(dict.fromkeys(told))
    longest = _LONGEST_OF_MANY if sum(map(len, texts)) > _MOST_LETTERS else None
    left = _MOST_LETTERS
    for text in texts[:_MOST_WARNINGS]:
        # A header has no control characters.
        plain = "".join(letter if letter.isprintable() else " " for letter in text[:longest])
        left -= len(plain)
        if longest is not None and left < 0:
            break
        quoted = plain.replace("\\", "\\\\").replace('"', '\\"')
        response.headers.add("Warning", f'299 - "{quoted}"')
    return response


def _content_type(request: web.Request) -> str:
    return request.headers.get("Content-Type", "")


async def _object(request: web.Request, row: Resource) -> bodies.Read:
    return bodies.read(await body_of(request), _content_type(request), row)


def _write_options(request: web.Request, kind: str) -> options.WriteOptions:
    return options.write_options(request.query, request.query.getall("dryRun", []), kind)


def _patch_type(request: web.Request) -> str:
    name = media.media_type(_content_type(request))[0]
    if name.startswith("application/apply-patch"):
        why = "podfence labs have no server-side apply; leave out --server-side"
        raise status.unsupported_type(f"415: Unsupported Media Type ({why})", with_details=True)
    if name not in PATCHES:
        raise status.unsupported_type("415: Unsupported Media Type", with_details=True)
    return PATCHES[name]
