# SPDX-License-Identifier: Apache-2.0
"""What an agent serves: metrics and probes on one TCP address, and answers for commands on a Unix socket.

Nothing here keeps the event loop waiting: whatever asks nft or the loop's thread does so in a thread of its own.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Final, cast

import msgspec
from aiohttp import web

from podfence.agent.node.answer import Refusal, Settled
from podfence.agent.node.doorkeeper import Doorkeeper
from podfence.agent.node.drops import DropTotals
from podfence.agent.node.metrics import CONTENT_TYPE
from podfence.agent.node.status import status
from podfence.agent.node.why import Question, answer
from podfence.errors import EndpointError, PodfenceError
from podfence.nft.process import NftRunner

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from aiohttp.typedefs import Handler, Middleware

    from podfence.agent.node.metrics import Metrics
    from podfence.agent.node.view import View
    from podfence.nft.runner import Runner

LATEST_BEAT: Final = 90.0
"""Seconds after which a loop that has not come round is taken for dead; one call of nft is given up after 60."""

LONGEST_PATH: Final = 107
"""Bytes that the kernel takes as the path of a Unix socket."""

_JSON: Final = "application/json"
_BACKLOG: Final = 16


class ServingError(PodfenceError):
    """The agent cannot listen where it should."""


class Serving:
    """The servers of one agent; all methods are for the thread of its event loop."""

    def __init__(self, view: View, metrics: Metrics, version: str, *, runner: Runner | None = None) -> None:
        """Serve nothing yet.

        `version` is that of podfence. `runner` is read with, in other threads, so it must be none that the loop uses;
        without one, nft is started.
        """
        self._view = view
        self._metrics = metrics
        self._version = version
        self._runner = runner or NftRunner()
        self._clock = time.monotonic
        self._drops = DropTotals(self._runner)
        # Few at a time, because each may hold a listing of the whole table; monitoring does not wait for people.
        self._answers = ThreadPoolExecutor(2, thread_name_prefix="answers")
        self._scrapes = ThreadPoolExecutor(1, thread_name_prefix="scrapes")
        self._runners: list[web.AppRunner] = []
        self._server: asyncio.Server | None = None
        self._socket_path: Path | None = None
        self.port = 0

    async def start(self, listen: str, socket_path: Path) -> None:
        """Listen on ADDRESS:PORT for anybody, and on a Unix socket for this user; `port` is the one that was taken.

        Raises ServingError if either cannot be.
        """
        try:
            await self._listen(listen)
            await self._listen_here(socket_path)
        except BaseException:
            await self.stop()
            raise

    async def _listen(self, listen: str) -> None:
        host, port = address(listen)
        runner = await self._run(
            *self._monitoring(), web.get("/readyz", self._serve_readyz), middlewares=(_only_one_request,)
        )
        answering = cast("Callable[[], asyncio.Protocol]", runner.server)
        try:
            loop = asyncio.get_running_loop()
            self._server = await loop.create_server(Doorkeeper(answering), host, port, backlog=_BACKLOG)
        except OSError as error:
            message = f"the agent cannot listen on {listen}: {_reason(error)}; --listen ADDRESS:PORT chooses another"
            raise ServingError(message) from error
        self.port = self._server.sockets[0].getsockname()[1]

    async def _listen_here(self, path: Path) -> None:
        runner = await self._run(
            *self._monitoring(),
            web.get("/readyz", self._serve_readyz_in_full),
            web.get("/status", self._serve_status),
            web.get("/why", self._serve_why),
            web.get("/settled", self._serve_settled),
        )
        await web.SockSite(runner, _own_socket(path), backlog=_BACKLOG).start()
        self._socket_path = path

    def _monitoring(self) -> tuple[web.RouteDef, ...]:
        return (web.get("/metrics", self._serve_metrics), web.get("/livez", self._serve_livez))

    async def stop(self) -> None:
        """End all connections and remove the socket."""
        if self._socket_path is not None:
            with contextlib.suppress(OSError):
                self._socket_path.unlink()
            self._socket_path = None
        if self._server is not None:
            self._server.close()
            self._server = None
        for runner in self._runners:
            await runner.cleanup()
        self._runners.clear()
        for threads in (self._answers, self._scrapes):
            threads.shutdown(wait=False, cancel_futures=True)

    async def _run(self, *routes: web.RouteDef, middlewares: Sequence[Middleware] = ()) -> web.AppRunner:
        app = web.Application(middlewares=middlewares)
        app.add_routes(routes)
        runner = web.AppRunner(app, access_log=None, handle_signals=False, shutdown_timeout=1.0)
        await runner.setup()
        self._runners.append(runner)
        return runner

    # What is served

    async def _serve_metrics(self, _: web.Request) -> web.Response:
        loop = asyncio.get_running_loop()
        body = await loop.run_in_executor(self._scrapes, self._metrics.text, self._view, self._drops)
        return web.Response(body=body, headers={"Content-Type": CONTENT_TYPE})

    async def _serve_livez(self, _: web.Request) -> web.Response:
        age = self._clock() - self._view.beat()
        if age < LATEST_BEAT:
            return web.Response(text="ok\n")
        return web.Response(status=503, text=f"the event loop has not run for {age:.0f} s\n")

    async def _serve_readyz(self, _: web.Request) -> web.Response:
        # Reasons may name pods and policies, and anybody can ask here.
        codes = [item.code for item in self._view.findings() if item.severity == "fatal"]
        if not self._view.agent.status().enforcing:
            codes.append("not-enforcing")
        return _ready([f"not ready: {code}" for code in codes])

    async def _serve_readyz_in_full(self, request: web.Request) -> web.Response:
        return _ready(
            [f"not ready: {text}" for text in self._view.obstacles()],
            _details(self._view) if "verbose" in request.query else [],
        )

    async def _serve_status(self, _: web.Request) -> web.Response:
        return await self._answered(lambda: status(self._view, self._drops, self._version))

    async def _serve_why(self, request: web.Request) -> web.Response:
        query = request.query
        question = Question(
            query.get("source", ""),
            query.get("destination", ""),
            query.get("port"),
            query.get("namespace", "default"),
        )
        return await self._answered(lambda: answer(self._view, question, self._runner))

    async def _serve_settled(self, request: web.Request) -> web.Response:
        wanted = dict(request.query)
        try:
            patience = float(wanted.pop("seconds", "0"))
            revisions = {kind: int(text) for kind, text in wanted.items()}
        except ValueError as error:
            return _refused(400, error)
        reached = False
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(patience):
                await self._view.settling.reached(revisions)
                reached = True
        found = Settled(reached=reached, enforcing=self._view.agent.status().enforcing)
        return web.Response(body=msgspec.json.encode(found), content_type=_JSON)

    async def _answered(self, function: Callable[[], msgspec.Struct]) -> web.Response:
        try:
            loop = asyncio.get_running_loop()
            found = await loop.run_in_executor(self._answers, lambda: msgspec.json.encode(function()))
        except EndpointError as error:
            return _refused(400, error)
        except PodfenceError as error:
            return _refused(503, error)
        return web.Response(body=found, content_type=_JSON)


@web.middleware
async def _only_one_request(request: web.Request, handler: Handler) -> web.StreamResponse:
    """End a connection with its first answer: it is connections that the doorkeeper counts."""
    try:
        response = await handler(request)
    except web.HTTPException as error:
        error.force_close()
        raise
    response.force_close()
    return response


def address(listen: str) -> tuple[str | None, int]:
    """Return address and port of ``0.0.0.0:9474``, ``[::]:9474``, ``fd00::1:9474`` or ``:9474`` (every address: None).

    What is after the last colon is the port, also where brackets are missing: the address of a node has none.

    Raises ServingError if it is none of these.
    """
    host, separator, port = listen.rpartition(":")
    bare = host.removeprefix("[").removesuffix("]")
    is_port = bool(separator) and port.isascii() and port.isdecimal() and int(port) <= 65535
    if not is_port or (":" in bare and not _is_v6(bare)):
        message = f"{listen!r} is not an address to listen on: write ADDRESS:PORT, as in 0.0.0.0:9474 or [::]:9474"
        raise ServingError(message)
    return bare or None, int(port)


def _is_v6(text: str) -> bool:
    try:
        socket.inet_pton(socket.AF_INET6, text)
    except OSError:
        return False
    return True


def _ready(reasons: list[str], details: Sequence[str] = ()) -> web.Response:
    lines = [*(reasons or ["ok"]), *details]
    return web.Response(status=503 if reasons else 200, text="".join(f"{line}\n" for line in lines))


def _refused(code: int, error: Exception) -> web.Response:
    return web.Response(status=code, body=msgspec.json.encode(Refusal(str(error))), content_type=_JSON)


def _details(view: View) -> list[str]:
    source = view.source()
    lines = [f"source: {source.name}", f"enforcing: {'yes' if view.agent.status().enforcing else 'no'}"]
    for item in source.watches:
        state = "connected" if item.connected else f"not connected: {item.error or 'no answer yet'}"
        lines.append(f"watch {item.kind}: {'listed' if item.listed else 'not listed'}, {state}")
    lines += [f"{item.severity} {item.code}: {item}" for item in view.findings()]
    return lines


def _own_socket(path: Path) -> socket.socket:
    """Return a socket bound to a path that only this user may use; one that a dead agent left is replaced."""
    if len(os.fsencode(path)) > LONGEST_PATH:
        message = f"{path} is too long for the path of a socket: at most {LONGEST_PATH} bytes"
        raise ServingError(message)
    found = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    try:
        path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        _remove_stale(path)
        # Before it is bound, so that it never has another mode.
        os.fchmod(found.fileno(), 0o600)
        found.bind(str(path))
    except OSError as error:
        found.close()
        message = f"the agent cannot create its socket {path}: {_reason(error)}"
        raise ServingError(message) from error
    except BaseException:
        found.close()
        raise
    return found


def _remove_stale(path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.settimeout(1.0)
            probe.connect(str(path))
        except FileNotFoundError:
            return
        except ConnectionRefusedError:
            path.unlink(missing_ok=True)
            return
    message = f"another agent answers at {path}: a node has only one agent; stop it first, or use another --run-dir"
    raise ServingError(message)


def _reason(error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return "the address is in use"
    return os.strerror(error.errno) if error.errno else str(error)
