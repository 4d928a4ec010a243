# SPDX-License-Identifier: Apache-2.0
"""An API server over a store without a lab, and a client for it."""

from __future__ import annotations

import contextlib
import functools
import http.client
import json
import socket
import ssl
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from podfence.lab.apiserver import certificates
from podfence.lab.apiserver.admission import complete
from podfence.lab.apiserver.application import Server
from podfence.lab.apiserver.serving import Serving
from podfence.lab.objects.limits import limits_of
from podfence.lab.store.store import Store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


PATIENCE = 120.0
TOKEN = "test-token"  # noqa: S105  it opens nothing but these servers
make_certificates = functools.cache(certificates.make)


class Reply(NamedTuple):
    """What the server answered: JSON as a value, everything else as text."""

    code: int
    body: Any
    type: str
    warnings: list[str]
    headers: dict[str, str]


class Client:
    """Sends requests as whoever has the token, on one connection."""

    def __init__(self, port: int, authority: str) -> None:
        self.port = port
        self._authority = authority
        self._connection: http.client.HTTPSConnection | None = None

    def connection(self) -> http.client.HTTPSConnection:
        """Return a new connection."""
        context = ssl.create_default_context(cadata=self._authority)
        return http.client.HTTPSConnection("127.0.0.1", self.port, timeout=PATIENCE, context=context)

    def send(
        self, method: str, path: str, body: object = None, *, headers: dict[str, str] | None = None, token: str = TOKEN
    ) -> Reply:
        """Send a request and read the answer; a body that is no bytes is sent as JSON."""
        data = body if isinstance(body, bytes | None) else json.dumps(body).encode()
        given = {"Authorization": f"Bearer {token}"} if token else {}
        if data is not None and "Content-Type" not in (headers or {}):
            given["Content-Type"] = "application/json"
        given |= headers or {}
        if given.get("Content-Type") == "":
            del given["Content-Type"]
        if self._connection is None:
            self._connection = self.connection()
        self._connection.request(method, path, data, given)
        response = self._connection.getresponse()
        text = response.read()
        kind = response.headers.get("Content-Type", "")
        found = msgspec.json.decode(text) if text and kind.startswith("application/json") else text.decode()
        warnings = response.headers.get_all("Warning") or []
        if response.will_close:
            self.close()
        return Reply(response.status, found, kind, warnings, dict(response.headers))

    def close(self) -> None:
        """Close the connection; the next request opens another."""
        if self._connection is not None:
            self._connection.close()
        self._connection = None

    def get(self, path: str, **headers: str) -> Any:  # noqa: ANN401 - any JSON value
        """Return the body of a GET that succeeds."""
        reply = self.send("GET", path, headers={key.replace("_", "-"): text for key, text in headers.items()})
        assert reply.code == 200, reply.body
        return reply.body

    @contextlib.contextmanager
    def watch(self, path: str, accept: str = "application/json") -> Iterator[Iterator[dict[str, Any]]]:
        """Give the events of a watch as they come."""
        connection = self.connection()
        try:
            connection.request("GET", path, headers={"Authorization": f"Bearer {TOKEN}", "Accept": accept})
            response = connection.getresponse()
            assert response.status == 200, response.read()
            yield (msgspec.json.decode(line) for line in response)
        finally:
            connection.close()


class Served(NamedTuple):
    """A running server, its store, and a client."""

    serving: Serving
    store: Store
    client: Client
    port: int
    faults: list[str]


@contextlib.contextmanager
def served(store: Store | None = None, *, as_lab: bool = False) -> Iterator[Served]:
    """Run a server over a store with the namespace default; no fault of the server goes unseen.

    With `as_lab` it warns of what a lab does not do, as no real one does.
    """
    store = store or Store()
    complete(store)
    if not store.list("namespaces")[0]:
        for name in ("default", "kube-system"):
            store.create("namespaces", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    faults: list[str] = []
    complain: Callable[[str], None] = faults.append
    made = make_certificates()
    limits = limits_of(store) if as_lab else lambda _obj: iter(())
    server = Server(store, token=TOKEN, port=port, complain=complain, limits=limits)
    running = Serving(server, made, listener)
    client = Client(port, made.authority)
    try:
        yield Served(running, store, client, port, faults)
    finally:
        client.close()
        running.stop()
    assert faults == [], faults
