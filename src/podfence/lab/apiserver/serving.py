# SPDX-License-Identifier: Apache-2.0
"""The server as a thread with an event loop of its own, on a socket that somebody else opened."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Final

from aiohttp import web

from podfence.lab.apiserver.application import Server

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from podfence.lab.apiserver.application import Stream
    from podfence.lab.apiserver.certificates import Certificates
    from podfence.lab.apiserver.objects import Admit
    from podfence.lab.store.store import Store

_GRACE: Final = 1.0


class Serving:
    """A server that runs. `stop` ends it and waits until it has ended."""

    def __init__(self) -> None:
        """Not run yet."""
        self._loop = asyncio.new_event_loop()
        self._stopping = asyncio.Event()
        self.server: Server | None = None
        self.ready = threading.Event()
        self.failure: BaseException | None = None
        self.thread: threading.Thread | None = None

    def stop(self) -> None:
        """End all watches and the server; the socket is closed then."""
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._stopping.set)
        if self.thread is not None:
            self.thread.join()

    def run(self, begin: Callable[[], Server], certificates: Certificates, listener: socket.socket) -> None:
        """Serve until stopped; this is what the thread does."""
        try:
            self._loop.run_until_complete(self._serve(begin, certificates, listener))
        except BaseException as error:  # noqa: BLE001 - `serve` raises it in the thread that asked
            self.failure = error
        finally:
            self.ready.set()
            self._loop.close()

    async def _serve(self, begin: Callable[[], Server], certificates: Certificates, listener: socket.socket) -> None:
        self.server = server = begin()
        runner = web.AppRunner(server.application(), access_log=None, shutdown_timeout=_GRACE)
        await runner.setup()
        try:
            await web.SockSite(runner, listener, ssl_context=certificates.context()).start()
            self.ready.set()
            await self._stopping.wait()
        finally:
            server.hub.close()
            await runner.cleanup()


def serve(
    store: Store,
    listener: socket.socket,
    *,
    token: str,
    certificates: Certificates,
    admit: Admit | None = None,
    stream: Stream | None = None,
    complain: Callable[[str], None] | None = None,
) -> Serving:
    """Serve a store on a listening socket, in a thread of its own, and return when requests are answered.

    Requests need the `token`. `admit` completes objects before they are stored, `stream` answers exec, attach and
    log, and `complain` is told of faults of the server. Raises what keeps the server from starting.
    """
    port = listener.getsockname()[1]

    def begin() -> Server:
        return Server(store, token=token, port=port, admit=admit, stream=stream, complain=complain)

    serving = Serving()
    serving.thread = threading.Thread(
        target=serving.run, args=(begin, certificates, listener), name="apiserver", daemon=True
    )
    serving.thread.start()
    serving.ready.wait()
    if serving.failure is not None:
        raise serving.failure
    return serving
