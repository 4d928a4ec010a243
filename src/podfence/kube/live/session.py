# SPDX-License-Identifier: Apache-2.0
"""Requests to one API server: with credentials that change, over connections that are checked to be alive."""

from __future__ import annotations

import asyncio
import socket
from contextlib import asynccontextmanager
from importlib import metadata
from typing import TYPE_CHECKING, Final

from podfence.kube.access import tls
from podfence.kube.access.access import basic
from podfence.kube.live.errors import TooLongError, UnreachableError, refused

try:
    import aiohttp
    from aiohttp.connector import NEEDS_CLEANUP_CLOSED
    from multidict import CIMultiDict

    from podfence.kube.live import failures
except ModuleNotFoundError:
    from podfence.errors import PodfenceError

    raise PodfenceError("reading a live cluster needs aiohttp (pip install 'podfence[live]')") from None

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncGenerator, AsyncIterator, Mapping
    from typing import Self

    from podfence.kube.access.access import Access, Pair
    from podfence.kube.access.credentials import Credentials, Issued

CONNECT: Final = 30.0
"""How long a connection may take to be made, TLS included, in seconds; as in client-go."""

SILENCE: Final = 130.0
"""How long a watch may be silent, in seconds; servers send a bookmark about every minute."""

# A peer that is gone is noticed after 15 s without a sign of life and three unanswered questions, 5 s apart;
# what was sent to it may stay unacknowledged for as long.
_ALIVE: Final = (
    (socket.SOL_SOCKET, "SO_KEEPALIVE", 1),
    (socket.IPPROTO_TCP, "TCP_KEEPIDLE", 15),
    (socket.IPPROTO_TCP, "TCP_KEEPINTVL", 5),
    (socket.IPPROTO_TCP, "TCP_KEEPCNT", 3),
    (socket.IPPROTO_TCP, "TCP_USER_TIMEOUT", 30_000),
)
_LONGEST_REFUSAL: Final = 1 << 16
_JSON: Final = "application/json"


class Session:
    """Requests to the server of an access; an asynchronous context manager.

    `timeout` is how long one request may take, in seconds, None for as long as it takes; watches end by
    themselves. Every method raises ApiError for what fails on the way or is refused, and AccessError for
    credentials that cannot be had. A request that is refused with 401 is sent once more if there are newer
    credentials.
    """

    def __init__(self, access: Access, credentials: Credentials, *, timeout: float | None = None) -> None:
        self.name = access.server.url
        self._access = access
        self._credentials = credentials
        self._request_timeout = aiohttp.ClientTimeout(total=timeout, connect=CONNECT, sock_connect=CONNECT)
        self._watch_timeout = aiohttp.ClientTimeout(
            total=None, connect=CONNECT, sock_connect=CONNECT, sock_read=SILENCE
        )
        self._headers = _headers(access)
        self._proxy = access.proxy.url if access.proxy is not None else None
        self._proxy_headers = None
        if access.proxy is not None and access.proxy.username:
            proof = basic(access.proxy.username, access.proxy.password.reveal())
            self._proxy_headers = {"Proxy-Authorization": proof.reveal()}
        self._failures = failures.Translator(access, timeout)
        self._lock = asyncio.Lock()
        self._tls: tuple[Pair | None, ssl.SSLContext] | None = None
        self._client: aiohttp.ClientSession

    async def __aenter__(self) -> Self:
        proxy = self._access.proxy
        if proxy is not None and proxy.scheme.startswith("socks"):
            raise UnreachableError(f"{proxy.url}: proxies of this kind are not supported (use an HTTP proxy)")
        # Otherwise a TLS connection that was given up stays open after the session until its server closes it too.
        connector = aiohttp.TCPConnector(limit=0, socket_factory=_socket, enable_cleanup_closed=NEEDS_CLEANUP_CLOSED)
        self._client = aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar())
        return self

    async def __aexit__(self, *_error: object) -> None:
        await self._client.close()

    async def get(self, path: str, query: Mapping[str, str] | None = None, most: int | None = None) -> bytes:
        """Return what the server has at `path`.

        Raises TooLongError, after the first `most` bytes, if there are more.
        """
        async with self._answer("GET", path, query=query) as response:
            if most is None:
                return await response.read()
            found: list[bytes] = []
            async for data in response.content.iter_any():
                found.append(data)
                most -= len(data)
                if most < 0:
                    raise TooLongError(f"{self.name}: the answer is too long")
            return b"".join(found)

    async def post(self, path: str, body: bytes) -> bytes:
        """Create an object from JSON; return the server's answer."""
        async with self._answer("POST", path, body=body, content_type=_JSON) as response:
            return await response.read()

    async def patch(self, path: str, body: bytes, content_type: str) -> bytes:
        """Change an object; `content_type` says which kind of patch `body` is. Return the server's answer."""
        async with self._answer("PATCH", path, body=body, content_type=content_type) as response:
            return await response.read()

    async def lines(self, path: str, query: Mapping[str, str]) -> AsyncGenerator[list[bytes], None]:
        """Yield the lines of an answer that does not end, all that have arrived at a time.

        The first yield is empty, as soon as the server has begun to answer. A line without an end is left out.
        """
        async with self._answer("GET", path, query=query, timeout=self._watch_timeout) as response:
            yield []
            begun: list[bytes] = []
            async for data in response.content.iter_any():
                *whole, rest = data.split(b"\n")
                if whole:
                    whole[0] = b"".join((*begun, whole[0]))
                    begun.clear()
                    yield [line for line in whole if line]
                if rest:
                    begun.append(rest)

    @asynccontextmanager
    async def _answer(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: bytes | None = None,
        content_type: str = "",
        timeout: aiohttp.ClientTimeout | None = None,  # noqa: ASYNC109  aiohttp's, which is more than a number
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        issued = await asyncio.to_thread(self._credentials.current)
        for is_last in (False, True):
            context = await self._context_for(issued.pair)
            try:
                async with self._client.request(
                    method,
                    f"{self._access.server.url}{path}",
                    params=query,
                    data=body,
                    headers=self._headers_with(issued, content_type),
                    timeout=timeout or self._request_timeout,
                    allow_redirects=False,
                    ssl=context if self._access.server.is_secure else True,
                    server_hostname=self._access.server_name or None,
                    proxy=self._proxy,
                    proxy_headers=self._proxy_headers,
                ) as response:
                    if response.status == 401 and not is_last:
                        newer = await asyncio.to_thread(self._credentials.rejected, issued)
                        if newer is not issued:
                            issued = newer
                            continue
                    if not 200 <= response.status < 300:
                        told = await response.content.read(_LONGEST_REFUSAL)
                        raise refused(self.name, response.status, told, response.headers.get("Retry-After", ""))
                    yield response
                    return
            except (aiohttp.ClientError, OSError) as error:
                raise self._failures.of(error) from None

    async def _context_for(self, pair: Pair | None) -> ssl.SSLContext:
        """Return what connections are made with; aiohttp uses those of another context for no further request."""
        async with self._lock:
            if self._tls is None or self._tls[0] != pair:
                self._tls = pair, await asyncio.to_thread(tls.context, self._access, pair)
            return self._tls[1]

    def _headers_with(self, issued: Issued, content_type: str) -> CIMultiDict[str]:
        headers = self._headers.copy()
        if issued.authorization is not None:
            headers["Authorization"] = issued.authorization.reveal()
        if content_type:
            headers["Content-Type"] = content_type
        return headers


def _headers(access: Access) -> CIMultiDict[str]:
    """Return what is the same in all requests."""
    headers = CIMultiDict(
        {
            "Accept": _JSON,
            "Accept-Encoding": "gzip" if access.compressed else "identity",
            "User-Agent": f"podfence/{metadata.version('podfence')}",
        }
    )
    if access.impersonation is not None:
        headers.extend(access.impersonation.headers())
    return headers


def _socket(address: aiohttp.AddrInfoType) -> socket.socket:
    family, kind, protocol, _, _ = address
    made = socket.socket(family, kind, protocol)
    for level, option, value in _ALIVE:
        # Not every system has them all.
        if hasattr(socket, option):
            made.setsockopt(level, getattr(socket, option), value)
    return made
