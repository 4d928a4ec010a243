# SPDX-License-Identifier: Apache-2.0
"""``exec`` and ``attach``: a command in a pod, or its main process, over a WebSocket."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Final

from aiohttp import web

from podfence.cluster.members import FINISHED_PHASES
from podfence.lab.apiserver.options import is_true
from podfence.lab.apiserver.status import bad_request
from podfence.lab.apiserver.streams import channels
from podfence.lab.apiserver.streams.carrying import carry
from podfence.lab.apiserver.streams.containers import ContainerPlace, place
from podfence.lab.apiserver.streams.logs import log
from podfence.lab.errors import LabError

if TYPE_CHECKING:
    from podfence.lab.apiserver.streams.containers import Containers
    from podfence.lab.processes.session import Session
    from podfence.lab.store.store import Store

_NO_WEBSOCKET: Final = (
    "a lab serves this stream over WebSocket only (v5.channel.k8s.io or v4.channel.k8s.io); use kubectl 1.30 or newer"
)
_Handler = Callable[[web.Request, ContainerPlace], Awaitable[web.StreamResponse]]


class Streams:
    """``exec``, ``attach`` and ``log`` of the pods of a store; `pods` has what runs."""

    def __init__(self, store: Store, pods: Containers) -> None:
        """Serve the pods of a store."""
        self._store = store
        self._pods = pods
        self._handlers: dict[str, _Handler] = {"exec": self._execute, "attach": self._attach, "log": partial(log, pods)}

    async def answer(self, request: web.Request, namespace: str, name: str, subresource: str) -> web.StreamResponse:
        """Answer a request for a subresource of a pod. Raises RefusedError and StoreError."""
        return await self._handlers[subresource](request, place(self._store, request, namespace, name))

    async def _execute(self, request: web.Request, where: ContainerPlace) -> web.StreamResponse:
        """Run a command in a container; the last frame has its exit code."""
        command = request.query.getall("command", [])
        if not command:
            raise bad_request("you must specify at least one command for the container")
        phase = self._store.get("pods", where.namespace, where.pod).get("status", {}).get("phase", "")
        if phase in FINISHED_PHASES:
            raise bad_request(f"cannot exec into a container in a completed pod; current phase is {phase}")
        wanted, stdin, tty = _streams(request)
        socket = await _upgraded(request)
        try:
            with await _begun(partial(self._pods.execute, where, command, stdin=stdin, tty=tty)) as session:
                code = await carry(socket, session, wanted)
        except LabError as error:
            await _finish(socket, channels.failed(str(error)))
        else:
            if code is not None:
                await _finish(socket, channels.ended(code))
        return socket

    async def _attach(self, request: web.Request, where: ContainerPlace) -> web.StreamResponse:
        """Join the main process of a container; its exit code is not told, as in Kubernetes."""
        wanted, stdin, _ = _streams(request)
        gone = web.Response(
            status=500, text=f"container {where.container} not found in pod {where.pod}_{where.namespace}"
        )
        # kubectl asks for an older protocol when this is the answer, and should be told the same again.
        if not await asyncio.to_thread(self._pods.is_running, where):
            return gone
        _require_websocket(request)
        try:
            session = await _begun(partial(self._pods.attach, where, stdin=stdin))
        except LabError:
            return gone
        with session:
            socket = await _upgraded(request)
            # A pod that is killed ends its main process too.
            with suppress(LabError):
                if await carry(socket, session, wanted) is None:
                    return socket
        await _finish(socket, channels.ended(0))
        return socket


def _streams(request: web.Request) -> tuple[frozenset[str], bool, bool]:
    """Return the streams of output that are wanted, whether there is input, and whether there is a terminal."""
    wanted = frozenset(name for name in channels.OUTPUTS if is_true(request.query, name))
    stdin = is_true(request.query, "stdin")
    if not wanted and not stdin:
        raise bad_request("you must specify at least 1 of stdin, stdout, stderr")
    return wanted, stdin, is_true(request.query, "tty")


def _require_websocket(request: web.Request) -> web.WebSocketResponse:
    # A client that reads slowly is still to get the last output: the server waits until it has read everything.
    socket = web.WebSocketResponse(protocols=channels.PROTOCOLS, timeout=math.inf)
    found = socket.can_prepare(request)
    if not found.ok or found.protocol is None:
        raise bad_request(_NO_WEBSOCKET)
    return socket


async def _upgraded(request: web.Request) -> web.WebSocketResponse:
    """Return the WebSocket of a request; raise RefusedError if the client does not speak a version of ours."""
    socket = _require_websocket(request)
    await socket.prepare(request)
    # An API server says with an empty frame that it is ready.
    await socket.send_bytes(channels.frame(channels.STDOUT))
    return socket


async def _begun(begin: Callable[[], Session]) -> Session:
    """Return a session that a thread begins; it is closed if the client leaves before. Raises LabError."""
    beginning = asyncio.create_task(asyncio.to_thread(begin))
    try:
        return await asyncio.shield(beginning)
    except asyncio.CancelledError:
        beginning.add_done_callback(_close)
        raise


def _close(begun: asyncio.Task[Session]) -> None:
    if not begun.cancelled() and begun.exception() is None:
        begun.result().close()


async def _finish(socket: web.WebSocketResponse, status: bytes) -> None:
    # A client that has left needs no status.
    with suppress(ConnectionError):
        await socket.send_bytes(status)
        await socket.close()
