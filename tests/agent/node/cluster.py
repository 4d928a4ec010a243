# SPDX-License-Identifier: Apache-2.0
"""An API server of its own for an agent's process: lists, watches with resumption, and Events, over HTTP."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
from collections import defaultdict
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, cast

from aiohttp import web

from podfence.lab.apiserver.serving import end

if TYPE_CHECKING:
    from collections.abc import Iterator

PATHS = {
    "Namespace": "/api/v1/namespaces",
    "Node": "/api/v1/nodes",
    "Pod": "/api/v1/pods",
    "NetworkPolicy": "/apis/networking.k8s.io/v1/networkpolicies",
}

Fields = dict[str, Any]
PATIENCE = 120.0


def namespace(name: str, **labels: str) -> Fields:
    return {"kind": "Namespace", "metadata": {"name": name, "labels": labels}}


def node(name: str, *cidrs: str) -> Fields:
    return {"kind": "Node", "metadata": {"name": name}, "spec": {"podCIDRs": list(cidrs)}}


def pod(name: str, address: str, node: str = "n1", **labels: str) -> Fields:
    return {
        "kind": "Pod",
        "metadata": {"name": name, "namespace": "shop", "labels": labels},
        "spec": {"nodeName": node, "containers": [{"name": "c"}]},
        "status": {"phase": "Running", "podIPs": [{"ip": address}]},
    }


def policy(name: str, **spec: Any) -> Fields:  # noqa: ANN401  as JSON
    return {
        "kind": "NetworkPolicy",
        "metadata": {"name": name, "namespace": "shop"},
        "spec": {"podSelector": {}, **spec},
    }


class FakeCluster:
    """The objects of a cluster, served from a thread; the socket is made where `served` is called."""

    def __init__(self) -> None:
        self.port = 0
        self.posted: list[Fields] = []
        self.slow = threading.Event()
        self._revision = 100
        self._objects: dict[str, dict[tuple[str, str], Fields]] = defaultdict(dict)
        self._history: dict[str, list[tuple[int, bytes]]] = defaultdict(list)
        self._loop = asyncio.new_event_loop()
        self._changed = asyncio.Condition()
        self._stopped = asyncio.Event()
        self._lock = threading.Lock()

    @property
    def objects(self) -> list[Fields]:
        """All objects as they are now."""
        with self._lock:
            return [item for items in self._objects.values() for item in items.values()]

    def put(self, *items: Fields) -> None:
        """Create objects, or change them."""
        for item in items:
            self._note(item, "MODIFIED")

    def delete(self, item: Fields) -> None:
        self._note(item, "DELETED")

    def _note(self, item: Fields, kind: str) -> None:
        path = PATHS[item["kind"]]
        key = item["metadata"].get("namespace", ""), item["metadata"]["name"]
        with self._lock:
            self._revision += 1
            told = {**item, "metadata": {**item["metadata"], "resourceVersion": str(self._revision)}}
            self._objects[path].pop(key, None)
            if kind != "DELETED":
                self._objects[path][key] = told
            line = json.dumps({"type": kind, "object": told}).encode() + b"\n"
            self._history[path].append((self._revision, line))
        if self._loop.is_running():
            asyncio.run_coroutine_threadsafe(self._tell(), self._loop).result(PATIENCE)

    async def _tell(self) -> None:
        async with self._changed:
            self._changed.notify_all()

    async def _list(self, request: web.Request) -> web.StreamResponse:
        path = request.path
        if path not in PATHS.values():
            return web.json_response({"kind": "Status", "code": 404}, status=404)
        if "watch" in request.query:
            return await self._watch(request, path)
        while self.slow.is_set() and path == PATHS["NetworkPolicy"]:  # noqa: ASYNC110  a thread sets it
            await asyncio.sleep(0.01)
        with self._lock:
            items = list(self._objects[path].values())
            return web.json_response({"metadata": {"resourceVersion": str(self._revision)}, "items": items})

    async def _watch(self, request: web.Request, path: str) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        told = int(request.query["resourceVersion"])
        while True:
            async with self._changed:
                for revision, line in self._history[path]:
                    if revision > told:
                        await response.write(line)
                        told = revision
                await self._changed.wait()

    async def _post(self, request: web.Request) -> web.StreamResponse:
        self.posted.append(await request.json())
        return web.json_response(self.posted[-1], status=201)

    @contextmanager
    def served(self) -> Iterator[FakeCluster]:
        """Serve in a thread; the same port each time. Nobody answers before and after."""
        listening = socket.socket()
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(("127.0.0.1", self.port))
        self.port = listening.getsockname()[1]
        started = threading.Event()
        self._stopped.clear()

        async def serve() -> None:
            application = web.Application()
            application.router.add_get("/{path:.*}", self._list)
            application.router.add_post("/{path:.*}", self._post)
            application.router.add_patch("/{path:.*}", self._post)
            runner = web.AppRunner(application, shutdown_timeout=0.1, handle_signals=False)
            await runner.setup()
            server = await self._loop.create_server(cast("web.Server", runner.server), sock=listening)
            started.set()
            await self._stopped.wait()
            await end(runner, [server])

        thread = threading.Thread(target=lambda: self._loop.run_until_complete(serve()))
        thread.start()
        assert started.wait(PATIENCE)
        try:
            yield self
        finally:
            self._loop.call_soon_threadsafe(self._stopped.set)
            thread.join()

    def close(self) -> None:
        self._loop.close()
