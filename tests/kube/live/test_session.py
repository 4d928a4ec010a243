# SPDX-License-Identifier: Apache-2.0
"""Requests over real connections: credentials, TLS, proxies and limits of time, and what is said when they fail."""

from __future__ import annotations

import asyncio
import gc
import gzip
import os
import shutil
import socket
import ssl
import subprocess
import sys
import threading
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest
from aiohttp import web

from podfence.kube.access.credentials import Credentials
from podfence.kube.live import session as sessions
from podfence.kube.live.errors import (
    ApiTimeoutError,
    ConflictError,
    ExpiredError,
    ForbiddenError,
    NotFoundError,
    RefusedError,
    ThrottledError,
    UnauthorizedError,
    UnreachableError,
)
from podfence.kube.live.session import Session
from tests.kube.access.kubeconfigs import of, single
from tests.kube.access.test_tls import NEW_KEY, Authority, openssl
from tests.kube.live.api import PODS, Api, says, status, unanswered
from tests.kube.live.following import access_to, session_to

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path
    from typing import Any, Self

    from podfence.kube.access.access import Access

needs_openssl = pytest.mark.skipif(shutil.which("openssl") is None, reason="certificates are made with openssl")


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    folder = tmp_path_factory.mktemp("authority")
    openssl(*NEW_KEY, "-keyout", str(folder / "ca.key"), "-out", str(folder / "ca.crt"), "-subj", "/CN=authority")
    made = Authority(folder)
    made.issue("server", "-addext", "subjectAltName=IP:127.0.0.1,DNS:kubernetes")
    for name in ("first", "second"):
        made.issue(name)
    openssl(
        *NEW_KEY, "-keyout", str(folder / "stranger.key"), "-out", str(folder / "stranger.crt"), "-subj", "/CN=stranger"
    )
    return made


def server_side(authority: Authority, name: str = "server", *, asks: bool = False) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(authority.folder / f"{name}.crt", authority.folder / f"{name}.key")
    context.load_verify_locations(authority.certificate)
    context.verify_mode = ssl.CERT_REQUIRED if asks else ssl.CERT_OPTIONAL
    return context


def secure(
    folder: Path,
    port: int,
    authority: Authority,
    user: Mapping[str, object] | None = None,
    /,
    **cluster: Any,  # noqa: ANN401  as JSON
) -> Access:
    known = {"server": f"https://127.0.0.1:{port}", "certificate-authority": authority.certificate}
    return of(single(folder / "config", user=user, cluster=known | cluster))


async def asked(access: Access, timeout: float | None = None) -> bytes:  # noqa: ASYNC109  the session's
    async with Session(access, Credentials(access, dict(os.environ)), timeout=timeout) as session:
        return await session.get("/version")


async def failure(access: Access, kind: type[Exception], timeout: float | None = None) -> str:  # noqa: ASYNC109  the session's
    with pytest.raises(kind) as caught:
        await asked(access, timeout=timeout)
    return str(caught.value)


@needs_openssl
def test_a_request_that_is_given_up_leaves_no_connection_to_a_server_that_does_not_end_it(
    tmp_path: Path, authority: Authority
) -> None:
    heard = threading.Event()

    def hear(listener: socket.socket) -> None:
        one, _ = listener.accept()
        with one, server_side(authority).wrap_socket(one.dup(), server_side=True) as secured:
            assert secured.recv(4) == b"GET "
            heard.set()
            # Reads on without TLS, and so does not answer that the other side wants to end the connection.
            with suppress(ConnectionResetError):
                while one.recv(65536):
                    pass

    async def give_up(port: int) -> None:
        asking = asyncio.create_task(asked(secure(tmp_path, port, authority)))
        assert await asyncio.to_thread(heard.wait, 120)
        asking.cancel()
        with suppress(asyncio.CancelledError):
            await asking

    with socket.create_server(("127.0.0.1", 0)) as listener:
        hearing = threading.Thread(target=hear, args=(listener,))
        hearing.start()
        asyncio.run(give_up(listener.getsockname()[1]))
        hearing.join(120)
        ended = not hearing.is_alive()
        # A connection that was left is closed by this, with a warning that fails the test.
        gc.collect()
        hearing.join()
    assert ended


def test_who_asks_is_said_in_every_request(tmp_path: Path) -> None:
    async def run() -> None:
        api = Api()
        api.script["/x"] = deque([says({}), says({}), says({}, 201)])
        async with api.served():
            access = access_to(tmp_path, api.port, impersonate="jane", groups=("a", "b"))
            async with Session(access, Credentials(access, {})) as session:
                await session.get("/x", {"continue": "a+b/=", "limit": "5"})
                await session.patch("/x", b"{}", "application/merge-patch+json")
                await session.post("/x", b'{"a": 1}')
        first, second, third = api.requests
        assert first.headers["User-Agent"].startswith("podfence/")
        assert first.headers["Accept"] == "application/json"
        assert first.headers["Accept-Encoding"] == "gzip"
        assert first.headers["Impersonate-User"] == "jane"
        assert first.headers.getall("Impersonate-Group") == ["a", "b"]
        assert dict(first.query) == {"continue": "a+b/=", "limit": "5"}
        assert (second.method, second.headers["Content-Type"]) == ("PATCH", "application/merge-patch+json")
        assert (third.method, third.headers["Content-Type"]) == ("POST", "application/json")
        assert api.bodies[2] == b'{"a": 1}'

    asyncio.run(run())


def test_answers_are_compressed_unless_the_cluster_says_otherwise(tmp_path: Path) -> None:
    async def run() -> None:
        api = Api()
        api.script["/version"] = deque([says(gzip.compress(b"long"), Content_Encoding="gzip"), says(b"long")])
        async with api.served():
            assert await asked(access_to(tmp_path, api.port)) == b"long"
            plain = of(
                single(
                    tmp_path / "plain", cluster={"server": f"http://127.0.0.1:{api.port}", "disable-compression": True}
                )
            )
            assert await asked(plain) == b"long"
        assert api.requests[1].headers["Accept-Encoding"] == "identity"

    asyncio.run(run())


@needs_openssl
def test_a_token_that_was_refused_is_read_again_once(tmp_path: Path, authority: Authority) -> None:
    token = tmp_path / "token"

    async def refuse(request: web.Request) -> web.StreamResponse:
        token.write_text("second")
        return await says(status(401, "Unauthorized"), 401)(request)

    async def run() -> None:
        api = Api()
        token.write_text("first")
        api.script["/version"] = deque([refuse, says(b"ok")])
        async with api.served(server_side(authority)):
            access = secure(tmp_path, api.port, authority, {"tokenFile": str(token)})
            assert await asked(access) == b"ok"
            assert [request.headers["Authorization"] for request in api.requests] == ["Bearer first", "Bearer second"]
            api.script["/version"] = deque([says(status(401, "Unauthorized"), 401)])
            assert "the credentials are not accepted" in await failure(access, UnauthorizedError)
            assert len(api.requests) == 3

    asyncio.run(run())


@needs_openssl
def test_another_client_certificate_makes_new_connections(tmp_path: Path, authority: Authority) -> None:
    for name in ("crt", "key"):
        shutil.copy(authority.folder / f"first.{name}", tmp_path / f"client.{name}")

    async def refuse(request: web.Request) -> web.StreamResponse:
        for name in ("crt", "key"):
            shutil.copy(authority.folder / f"second.{name}", tmp_path / f"client.{name}")
        return await says(status(401, "Unauthorized"), 401)(request)

    async def run() -> None:
        api = Api()
        api.script["/version"] = deque([says(b"1"), refuse, says(b"2")])
        async with api.served(server_side(authority, asks=True)):
            user = {"client-certificate": str(tmp_path / "client.crt"), "client-key": str(tmp_path / "client.key")}
            access = secure(tmp_path, api.port, authority, user)
            async with Session(access, Credentials(access, {})) as session:
                assert await session.get("/version") == b"1"
                assert await session.get("/version") == b"2"
        assert api.peers == ["first", "first", "second"]

    asyncio.run(run())


@needs_openssl
@pytest.mark.parametrize(
    ("cluster", "said"),
    [
        (
            {"certificate-authority": "stranger.crt"},
            "signed by an authority that is not known here (set certificate-authority of the cluster; this is context dev in ",
        ),
        ({"certificate-authority": ""}, "signed by an authority that is not known here"),
        (
            {"tls-server-name": "other.example"},
            "its certificate is not for other.example (use a name it has, or set tls-server-name",
        ),
        ({"tls-server-name": "kubernetes"}, ""),
        ({"certificate-authority": "", "insecure-skip-tls-verify": True}, ""),
    ],
)
def test_the_server_has_to_be_who_it_says(
    tmp_path: Path, authority: Authority, cluster: dict[str, Any], said: str
) -> None:
    async def run() -> None:
        api = Api()
        api.script["/version"] = deque([says(b"ok")])
        name = cluster.get("certificate-authority")
        made = cluster | ({"certificate-authority": str(authority.folder / str(name))} if name else {})
        async with api.served(server_side(authority)):
            access = secure(tmp_path, api.port, authority, **made)
            if not said:
                assert await asked(access) == b"ok"
                return
            text = await failure(access, UnreachableError)
            assert text.startswith(f"https://127.0.0.1:{api.port}: its certificate is ")
            assert said in text

    asyncio.run(run())


@needs_openssl
def test_an_expired_certificate_is_named(tmp_path: Path, authority: Authority) -> None:
    request, crt, key = (str(tmp_path / f"old.{ending}") for ending in ("csr", "crt", "key"))
    openssl(
        "req",
        "-new",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:prime256v1",
        "-noenc",
        "-keyout",
        key,
        "-out",
        request,
        "-subj",
        "/CN=old",
    )
    (tmp_path / "names").write_text("subjectAltName=IP:127.0.0.1")
    signing = ("-CA", authority.certificate, "-CAkey", str(authority.folder / "ca.key"), "-set_serial", "7")
    openssl("x509", "-req", "-in", request, "-out", crt, *signing, "-days", "-1", "-extfile", str(tmp_path / "names"))

    async def run() -> None:
        api = Api()
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(crt, key)
        async with api.served(context):
            assert "its certificate has expired (renew it, and check the clock)" in await failure(
                secure(tmp_path, api.port, authority), UnreachableError
            )

    asyncio.run(run())


@needs_openssl
def test_a_client_certificate_of_another_authority_is_told(tmp_path: Path, authority: Authority) -> None:
    user = {
        "client-certificate": str(authority.folder / "stranger.crt"),
        "client-key": str(authority.folder / "stranger.key"),
    }
    context = server_side(authority)
    # In TLS 1.3 the refusal comes after the handshake, and may be lost with the connection.
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            connection, _ = listener.accept()
            with connection, suppress(ssl.SSLError):
                context.wrap_socket(connection, server_side=True)

        thread = threading.Thread(target=serve)
        thread.start()
        access = secure(tmp_path, listener.getsockname()[1], authority, user)
        text = asyncio.run(failure(access, UnreachableError))
        thread.join()
    assert "the server refuses the client's certificate (is it of this cluster, and has it expired?)" in text


@needs_openssl
def test_a_server_without_tls_is_told_from_one_with(tmp_path: Path, authority: Authority) -> None:
    async def run() -> None:
        api = Api()
        async with api.served():
            assert "this is no TLS server" in await failure(secure(tmp_path, api.port, authority), UnreachableError)

    asyncio.run(run())


def test_what_cannot_be_reached_is_named(tmp_path: Path) -> None:
    async def run() -> None:
        with unanswered() as port:
            text = await failure(access_to(tmp_path, port), UnreachableError)
        assert text == f"http://127.0.0.1:{port}: connection refused (is the server up, and this its address?)"
        nowhere = of(single(tmp_path / "config", cluster={"server": "http://no-such-host.invalid:80"}))
        assert "http://no-such-host.invalid:80: the name cannot be resolved" in await failure(nowhere, UnreachableError)

    asyncio.run(run())


def test_a_connection_that_breaks_is_told(tmp_path: Path) -> None:
    async def hang_up(request: web.Request) -> web.StreamResponse:
        assert request.transport is not None
        request.transport.abort()
        return web.Response()

    async def half(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": "100"})
        await response.prepare(request)
        await response.write(b"half")
        return await hang_up(request)

    async def run() -> None:
        api = Api()
        api.script["/version"] = deque([hang_up, hang_up, half])
        async with api.served():
            # What is only asked for may be asked for again; aiohttp does that once.
            for _ in range(2):
                assert f"http://127.0.0.1:{api.port}: " in await failure(
                    access_to(tmp_path, api.port), UnreachableError
                )

    asyncio.run(run())


async def _never(_request: web.Request) -> web.StreamResponse:
    await asyncio.Event().wait()
    return web.Response()


def test_a_request_has_its_time_and_a_watch_its_silence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Longer than a busy machine takes for what is not silence.
    monkeypatch.setattr(sessions, "SILENCE", 2.0)

    async def run() -> None:
        api = Api()
        api.script["/version"] = deque([_never])
        async with api.served():
            text = await failure(access_to(tmp_path, api.port), ApiTimeoutError, timeout=0.1)
            assert text == f"http://127.0.0.1:{api.port}: no answer within 0.1 s"
            async with session_to(tmp_path, api.port, timeout=0.1) as session:
                got: list[list[bytes]] = []
                await api.events.put(b"a\nb\nhalf")
                with pytest.raises(ApiTimeoutError, match="silent for too long"):  # noqa: PT012  a loop is one statement
                    async for lines in session.lines(PODS, {"watch": "1", "resourceVersion": "1"}):
                        got.append(lines)  # noqa: PERF401  what came before the error counts
                assert got == [[], [b"a", b"b"]]

    asyncio.run(run())


def test_a_peer_that_is_gone_is_noticed_by_the_system(tmp_path: Path) -> None:
    async def run() -> None:
        api = Api()
        api.script["/version"] = deque([says(b"")])
        async with api.served(), session_to(tmp_path, api.port) as session:
            await session.get("/version")
            connector = session._client.connector
            assert connector is not None
            protocol = next(iter(connector._conns.values()))[0][0]
            assert protocol.transport is not None
            made = protocol.transport.get_extra_info("socket")
            for level, name, value in sessions._ALIVE:
                assert made.getsockopt(level, getattr(socket, name)) == value

    asyncio.run(run())


DENIED = 'pods is forbidden: User "jane" cannot list resource "pods" in API group "" at the cluster scope'


@pytest.mark.parametrize(
    ("code", "body", "kind", "said"),
    [
        (
            403,
            status(403, DENIED),
            ForbiddenError,
            f'{DENIED} (grant it with a ClusterRole rule: {{apiGroups: [""], resources: ["pods"], verbs: ["list"]}})',
        ),
        (
            403,
            status(
                403,
                'x is forbidden: User "j" cannot create resource "events" in API group "events.k8s.io" in the namespace "shop"',
            ),
            ForbiddenError,
            '(grant it with a Role rule in namespace shop: {apiGroups: ["events.k8s.io"], resources: ["events"], verbs: ["create"]})',
        ),
        (
            403,
            status(403, 'forbidden: User "j" cannot get path "/apis"'),
            ForbiddenError,
            '(grant it with a ClusterRole rule: {nonResourceURLs: ["/apis"], verbs: ["get"]})',
        ),
        (403, b"no entry for you", ForbiddenError, "no entry for you"),
        (404, b"404 page not found\n", NotFoundError, "404 page not found"),
        (409, status(409, "object has been modified"), ConflictError, "object has been modified"),
        (410, status(410, "too old"), ExpiredError, "too old"),
        (429, status(429, "slow"), ThrottledError, "slow (the server is busy; try again)"),
        (500, b"<html>", RefusedError, "HTTP status 500"),
        (302, b"", RefusedError, "HTTP status 302"),
    ],
)
def test_what_the_server_says_is_passed_on_with_a_remedy(
    tmp_path: Path, code: int, body: dict[str, object] | bytes, kind: type[Exception], said: str
) -> None:
    async def run() -> None:
        api = Api()
        api.script["/version"] = deque([says(body, code, Location="http://127.0.0.1:1/")])
        async with api.served():
            text = await failure(access_to(tmp_path, api.port), kind)
            assert text.startswith(f"http://127.0.0.1:{api.port}: ")
            assert text.endswith(said)

    asyncio.run(run())


class Proxy:
    """An HTTP proxy that lets CONNECT through to wherever it is asked to."""

    def __init__(self, answer: bytes = b"HTTP/1.1 200 Connection established\r\n\r\n", port: int = 0) -> None:
        self.answer = answer
        self.heads: list[str] = []
        self.port = port

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        self.heads.append(head)
        writer.write(self.answer)
        if b" 200 " in self.answer:
            host, _, port = head.split()[1].rpartition(":")
            there, back = await asyncio.open_connection(host, int(port))
            await asyncio.gather(_pipe(reader, back), _pipe(there, writer))
        writer.close()


async def _pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(1 << 16):
        writer.write(data)
    writer.close()


@needs_openssl
def test_connections_go_through_the_proxy(tmp_path: Path, authority: Authority) -> None:
    async def run() -> None:
        api = Api()
        api.script["/version"] = deque([says(b"ok")])
        async with api.served(server_side(authority)), Proxy() as proxy:
            access = secure(
                tmp_path,
                api.port,
                authority,
                **{"proxy-url": f"http://me:pw@127.0.0.1:{proxy.port}", "tls-server-name": "kubernetes"},
            )
            assert await asked(access) == b"ok"
            assert proxy.heads[0].startswith(f"CONNECT 127.0.0.1:{api.port} HTTP/1.1\r\n")
            assert "Proxy-Authorization: Basic bWU6cHc=\r\n" in proxy.heads[0]

    asyncio.run(run())


@needs_openssl
def test_a_proxy_that_fails_is_named(tmp_path: Path, authority: Authority) -> None:
    async def run(port: int) -> None:
        async with Proxy(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n", port) as proxy:
            access = secure(tmp_path, 1, authority, **{"proxy-url": f"http://127.0.0.1:{proxy.port}"})
            text = await failure(access, UnreachableError)
            assert text.startswith(
                f"the proxy http://127.0.0.1:{proxy.port} on the way to https://127.0.0.1:1: it answered 407"
            )
        text = await failure(access, UnreachableError)
        assert text.startswith(
            f"the proxy http://127.0.0.1:{proxy.port} on the way to https://127.0.0.1:1: connection refused"
        )
        socks = secure(tmp_path, 1, authority, **{"proxy-url": "socks5://127.0.0.1:1"})
        assert "proxies of this kind are not supported" in await failure(socks, UnreachableError)

    with unanswered() as port:
        asyncio.run(run(port))


def test_without_aiohttp_the_remedy_is_said() -> None:
    code = "import sys; sys.modules['aiohttp'] = None\ntry:\n    import podfence.kube.live.session\nexcept Exception as e: print(type(e).__name__, e)"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout == "PodfenceError reading a live cluster needs aiohttp (pip install 'podfence[live]')\n"
