# SPDX-License-Identifier: Apache-2.0
"""The API server of a lab, measured by one client: run as a program, it prints one measurement a line."""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
import sys
import time
from pathlib import Path
from typing import Any, Final

from podfence.lab.apiserver.admission import complete
from podfence.lab.apiserver.application import Server
from podfence.lab.apiserver.bodies import read
from podfence.lab.apiserver.certificates import make
from podfence.lab.apiserver.objects import Objects
from podfence.lab.apiserver.options import WriteOptions
from podfence.lab.apiserver.serving import Serving
from podfence.lab.store.resources import RESOURCES
from podfence.lab.store.store import Store

_WATCHES: Final = 50
_NEW: Final = 5000
_PODS: Final = "/api/v1/namespaces/default/pods"
_TABLE: Final = "application/json;as=Table;v=v1;g=meta.k8s.io"
_OPTIONS: Final = WriteOptions(dry_run=False, validation="Strict", force=False)
_ROW: Final = RESOURCES["pods"]


def pod(name: str) -> dict[str, Any]:
    """Return a pod as people write them."""
    container = {"name": "main", "image": "nginx:1.29", "ports": [{"containerPort": 80, "name": "http"}]}
    metadata = {"name": name, "labels": {"app": name[-1], "tier": "web"}}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": {"containers": [container]}}


def running(address: str) -> dict[str, Any]:
    """Return the status of a pod that runs."""
    since = "2026-01-01T00:00:00Z"
    kinds = ("PodScheduled", "Initialized", "ContainersReady", "Ready")
    conditions = [{"type": kind, "status": "True", "lastTransitionTime": since} for kind in kinds]
    states = [{"name": "main", "ready": True, "restartCount": 0, "state": {"running": {"startedAt": since}}}]
    return {
        "phase": "Running",
        "podIP": address,
        "podIPs": [{"ip": address}],
        "conditions": conditions,
        "containerStatuses": states,
    }


def fill(store: Store, first: int, last: int) -> None:
    """Add pods that run, as requests and a node do."""
    objects = Objects(store)
    for number in range(first, last):
        name = f"pod-{number}"
        objects.create(_ROW, "default", read(json.dumps(pod(name)).encode(), "", _ROW), _OPTIONS, print)
        stored = store.get("pods", "default", name)
        store.update("pods", {**stored, "status": running(f"10.244.{number // 250}.{number % 250}")}, status=True)


def memory() -> float:
    """Return the memory of this process in MiB."""
    text = Path("/proc/self/status").read_text(encoding="ascii")
    return int(text.partition("VmRSS:")[2].split()[0]) / 1024


async def request(
    port: int, context: ssl.SSLContext, path: str, accept: str
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Send a GET; return what is to be read of the answer, and what keeps the connection open."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
    head = f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nAuthorization: Bearer t\r\nAccept: {accept}\r\n\r\n"
    writer.write(head.encode())
    await writer.drain()
    return reader, writer


async def timed(port: int, context: ssl.SSLContext, path: str, accept: str) -> float:
    """Return the seconds until the first byte of an answer, which is sent when all of it is there."""
    start = time.perf_counter()
    reader, writer = await request(port, context, path, accept)
    await reader.readexactly(1)
    taken = time.perf_counter() - start
    await reader.readuntil(b"\r\n\r\n")
    writer.transport.abort()
    return taken


def churn(store: Store, count: int) -> None:
    """Make pods that run, and delete them."""
    fill(store, _NEW, _NEW + count)
    for number in range(_NEW, _NEW + count):
        store.delete("pods", "default", f"pod-{number}", grace=0)


async def watched(port: int, context: ssl.SSLContext, store: Store, watches: int) -> float:
    """Return the seconds from a change until the last of many watches has it."""
    path = f"{_PODS}?watch=1&resourceVersion={store.revision}"
    connections = [await request(port, context, path, "application/json") for _ in range(watches)]
    for reader, _ in connections:
        await reader.readuntil(b"\r\n\r\n")
    start = time.perf_counter()
    before = store.get("pods", "default", "pod-0")
    store.update("pods", {**before, "metadata": {**before["metadata"], "labels": {"seen-by": str(watches)}}})
    for reader, _ in connections:
        await reader.readuntil(b"MODIFIED")
    taken = time.perf_counter() - start
    for _, writer in connections:
        writer.transport.abort()
    return taken


def main() -> None:
    """Measure lists of 1,000 pods, a change that many watches see of 5,000, and what pods leave behind."""
    rounds, most_watches, gone = map(int, sys.argv[1:])
    complete(store := Store())
    store.create("namespaces", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "default"}})
    made = make()
    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    context = ssl.create_default_context(cadata=made.authority)
    server = Server(store, token="t", port=port)  # noqa: S106  it opens nothing but this server
    serving = Serving(server, made, listener)

    def tell(name: str, value: float) -> None:
        print(json.dumps([name, value]))

    fill(store, 0, 1000)
    for _ in range(rounds):
        tell("list 1,000 pods as a table", asyncio.run(timed(port, context, _PODS, _TABLE)))
        tell("list 1,000 pods as JSON", asyncio.run(timed(port, context, _PODS, "application/json")))
    fill(store, 1000, _NEW)
    tell(f"tell {_WATCHES} watches of a change", asyncio.run(watched(port, context, store, _WATCHES)))
    tell("memory", memory())
    tell(f"tell {most_watches} watches of a change", asyncio.run(watched(port, context, store, most_watches)))
    churn(store, gone)
    first = memory()
    churn(store, gone)
    tell("left", memory() / first)
    serving.stop()


if __name__ == "__main__":
    main()
