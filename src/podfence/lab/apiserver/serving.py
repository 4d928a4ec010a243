# SPDX-License-Identifier: Apache-2.0
"""The server as a thread with an event loop of its own, on sockets that somebody else opened."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from typing import TYPE_CHECKING, Final, cast

from aiohttp import web

if TYPE_CHECKING:
    import socket
    from collections.abc import Coroutine, Iterable

    from podfence.lab.apiserver.application import Server
    from podfence.lab.apiserver.certificates import Certificates

_GRACE: Final = 1.0
_ROUNDS: Final = 6
_BACKLOG: Final = 512


class Serving:
    """A server in a thread of its own. `stop` ends it and waits until it has ended."""

    def __init__(self, server: Server, certificates: Certificates, *listeners: socket.socket) -> None:
        """Let a server listen on sockets, and return when requests are answered.

        The sockets have the port of the server, in different networks. Raises what keeps it from starting.
        """
        self.server = server
        self._loop = asyncio.new_event_loop()
        self._stopping = asyncio.Event()
        begun: Future[None] = Future()
        serving = self._serve(begun, certificates, listeners)
        self._thread = threading.Thread(target=self._run, args=(begun, serving), name="apiserver", daemon=True)
        self._thread.start()
        begun.result()

    def stop(self) -> None:
        """End all watches and the server; the sockets are closed then."""
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._stopping.set)
        self._thread.join()

    def _run(self, begun: Future[None], serving: Coroutine[None, None, None]) -> None:
        try:
            self._loop.run_until_complete(serving)
        except BaseException as error:  # noqa: BLE001 - it is raised in the thread that asked
            with suppress(InvalidStateError):
                begun.set_exception(error)
        finally:
            self._loop.close()

    async def _serve(self, begun: Future[None], certificates: Certificates, listeners: Iterable[socket.socket]) -> None:
        # A watch whose client has gone ends at once.
        runner = web.AppRunner(
            self.server.application(), access_log=None, shutdown_timeout=_GRACE, handler_cancellation=True
        )
        await runner.setup()
        accept = cast("web.Server", runner.server)
        servers: list[asyncio.Server] = []
        try:
            context = certificates.context()
            for listener in listeners:
                servers.append(  # noqa: PERF401 - those that were made have to be closed if another cannot be
                    await self._loop.create_server(
                        accept, sock=listener, ssl=context, ssl_shutdown_timeout=_GRACE, backlog=_BACKLOG
                    )
                )
            begun.set_result(None)
            await self._stopping.wait()
        finally:
            self.server.hub.close()
            await end(runner, servers)


async def end(runner: web.AppRunner, servers: Iterable[asyncio.Server], *, alone: bool = True) -> None:
    """Close the servers of a runner and all of their connections; if they have the loop `alone`, end its other tasks.

    Requests that go on have the runner's time to end. Nobody waits for clients after that.
    """
    loop = asyncio.get_running_loop()
    listeners = [listener for one in servers for listener in one.sockets]
    ports = {listener.getsockname()[1] for listener in listeners}
    for listener in listeners:
        loop.remove_reader(listener.fileno())
    # A connection that was just taken gets its transport in the next rounds of the loop. From a server that is closed
    # by then, it would get a half of one, which nobody closes.
    await _rounds()
    for one in servers:
        one.close()
    await runner.cleanup()
    others = asyncio.all_tasks() - {asyncio.current_task()} if alone else set()
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)
    # With TLS, the runner does not know connections in the middle of a handshake, and cannot abort those that it has
    # closed twice. Only the loop knows all of them, and nothing public of it tells.
    transports: Iterable[asyncio.Transport] = loop._transports.values()  # type: ignore[attr-defined]  # noqa: SLF001  see above
    for transport in tuple(transports):
        match transport.get_extra_info("sockname"):
            case (_, port, *_) if port in ports:
                transport.abort()
    await _rounds()


async def _rounds() -> None:
    """Let the loop do what has been put off, and what that puts off."""
    for _ in range(_ROUNDS):
        await asyncio.sleep(0)
