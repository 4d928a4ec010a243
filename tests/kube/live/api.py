# SPDX-License-Identifier: Apache-2.0
"""A small API server on loopback that says what a test tells it to, over real HTTP or HTTPS."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
from collections import defaultdict, deque
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Any, cast

from aiohttp import web

from podfence.lab.apiserver.serving import end

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

    Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]

Fields = dict[str, Any]

PODS = "/api/v1/pods"
POLICIES = "/apis/networking.k8s.io/v1/networkpolicies"

END = b"end"
BREAK = b"break"
CUT = b"cut"


def pod(name: str, revision: int, namespace: str = "shop", **labels: str) -> Fields:
    return {
        "metadata": {
            "name": name,
            "namespace": namespace,
            "resourceVersion": str(revision),
            "labels": labels,
            "managedFields": [{"manager": "kubelet", "fieldsV1": {"f:metadata": {}}}],
        },
        "spec": {"nodeName": "n1", "containers": [{"name": "c", "ports": [{"containerPort": 80}]}]},
        "status": {"phase": "Running", "podIPs": [{"ip": "10.0.0.1"}]},
    }


def policy(name: str, revision: int, **spec: Any) -> Fields:  # noqa: ANN401  as JSON
    return {
        "metadata": {"name": name, "namespace": "shop", "resourceVersion": str(revision)},
        "spec": {"podSelector": {}, **spec},
    }


def event(kind: str, item: Fields) -> bytes:
    return json.dumps({"type": kind, "object": item}).encode() + b"\n"


def bookmark(revision: int) -> bytes:
    return event("BOOKMARK", {"kind": "Pod", "metadata": {"resourceVersion": str(revision)}})


def status(code: int, message: str = "", **more: Any) -> Fields:  # noqa: ANN401  as JSON
    return {"kind": "Status", "status": "Failure", "code": code, "message": message, **more}


def listed(items: list[Fields], revision: int, token: str = "") -> Fields:
    return {"metadata": {"resourceVersion": str(revision), "continue": token}, "items": items}


def says(body: Fields | bytes, code: int = 200, **headers: str) -> Answer:
    """Return an answer with this body."""

    async def answer(_request: web.Request) -> web.StreamResponse:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        return web.Response(
            body=data,
            status=code,
            headers={"Content-Type": "application/json", **{k.replace("_", "-"): v for k, v in headers.items()}},
        )

    return answer


@contextmanager
def unanswered() -> Iterator[int]:
    """Give a port at which nobody answers but who is told of it: no other program of the machine gets it meanwhile."""
    with socket.socket() as held:
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        held.bind(("127.0.0.1", 0))
        yield held.getsockname()[1]


class Api:
    """What the server has, what it was asked, and what it says next.

    `script` holds answers by path that are given once each, before what the server has. Watches send what is
    put into `events`; `BREAK` drops the connection, `CUT` too, in the middle of an event, and `END` ends the watch.
    """

    def __init__(self) -> None:
        self.lists: dict[str, Fields] = {}
        self.script: dict[str, deque[Answer]] = defaultdict(deque)
        self.events: asyncio.Queue[bytes] = asyncio.Queue()
        self.requests: list[web.Request] = []
        self.bodies: list[bytes] = []
        self.peers: list[str] = []
        self.port = 0

    def queries(self, path: str = PODS) -> list[dict[str, str]]:
        return [dict(request.query) for request in self.requests if request.path == path]

    def watches(self) -> list[str]:
        """Return the revisions that watches began with."""
        return [request.query["resourceVersion"] for request in self.requests if "watch" in request.query]

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.requests.append(request)
        self.bodies.append(await request.read())
        certificate = request.transport.get_extra_info("peercert") if request.transport is not None else None
        self.peers.append(dict(part[0] for part in certificate["subject"])["commonName"] if certificate else "")
        if self.script[request.path]:
            return await self.script[request.path].popleft()(request)
        if "watch" in request.query:
            return await self.watch(request)
        if request.path in self.lists:
            return await says(self.lists[request.path])(request)
        return await says(status(404, "the server could not find the requested resource"), 404)(request)

    async def watch(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        while (data := await self.events.get()) != END:
            if data in (BREAK, CUT):
                if data == CUT:
                    await response.write(b'{"type": "ADDED", "object": {"meta')
                assert request.transport is not None
                request.transport.abort()
                return response
            await response.write(data)
        return response

    @asynccontextmanager
    async def served(
        self, context: ssl.SSLContext | None = None, port: int = 0, *, alone: bool = False
    ) -> AsyncIterator[Api]:
        """Serve in this loop, at a free port if none is given; `alone` if nothing else is done in it."""
        application = web.Application(client_max_size=1 << 24)
        application.router.add_route("*", "/{path:.*}", self.handle)
        runner = web.AppRunner(application, shutdown_timeout=0.01, handler_cancellation=True)
        await runner.setup()
        accept = cast("web.Server", runner.server)
        loop = asyncio.get_running_loop()
        server = await loop.create_server(accept, "127.0.0.1", port, ssl=context, reuse_address=True)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            await end(runner, [server], alone=alone)

    @contextmanager
    def in_thread(self, context: ssl.SSLContext | None = None) -> Iterator[Api]:
        """Serve beside what is not asynchronous."""
        started, loop = threading.Event(), asyncio.new_event_loop()
        ended = asyncio.Event()

        async def serve() -> None:
            async with self.served(context, alone=True):
                started.set()
                await ended.wait()

        thread = threading.Thread(target=lambda: loop.run_until_complete(serve()))
        thread.start()
        try:
            assert started.wait(120)
            yield self
        finally:
            loop.call_soon_threadsafe(ended.set)
            thread.join()
            loop.close()
