# SPDX-License-Identifier: Apache-2.0
"""A server with nothing but streams and what kubectl asks before it opens one, over real pods without a lab."""

from __future__ import annotations

import asyncio
import json
import select
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from aiohttp import web

from podfence.lab.apiserver.streams.routes import routes
from podfence.lab.processes import session
from podfence.lab.processes.holder import previous
from podfence.lab.processes.program import Program
from podfence.lab.store.errors import NotFoundError
from podfence.lab.store.store import Store
from tests.lab.pods import spec

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from podfence.lab.apiserver.streams.pods import Place
    from podfence.lab.processes.holder import Holder
    from podfence.lab.processes.session import Session
    from podfence.lab.processes.spawner import Spawner

_PODS = {
    "name": "pods",
    "singularName": "pod",
    "namespaced": True,
    "kind": "Pod",
    "verbs": ["get"],
    "shortNames": ["po"],
}
_DISCOVERY: dict[str, dict[str, Any]] = {
    "/api": {"kind": "APIVersions", "versions": ["v1"]},
    "/apis": {"kind": "APIGroupList", "apiVersion": "v1", "groups": []},
    "/api/v1": {"kind": "APIResourceList", "groupVersion": "v1", "resources": [_PODS]},
}


class Running:
    """Pods of namespace `shop` that run one container, `main`, each; and the store that has their objects."""

    def __init__(self, spawner: Spawner, folder: Path) -> None:
        self._spawner = spawner
        self.folder = folder
        self._held: dict[str, Holder] = {}
        self.store = Store()
        self.store.create("namespaces", {"kind": "Namespace", "metadata": {"name": "shop"}})

    def start(self, name: str, script: str, *, stdin: bool = False, once: bool = False, tty: bool = False) -> None:
        """Start a pod that runs a script."""
        containers = [{"name": "main", "image": "busybox", "stdin": stdin, "stdinOnce": once, "tty": tty}]
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": "shop"}, "spec": {"containers": containers}}  # fmt: skip
        self.store.create("pods", pod)
        self.set_phase(name, "Running")
        self._held[name] = self._spawner.pod(spec(name))
        self.restart(name, script, stdin=stdin, once=once, tty=tty)

    def restart(self, name: str, script: str, *, stdin: bool = False, once: bool = False, tty: bool = False) -> None:
        """Start the container of a pod again."""
        program = Program("test", argv=("sh", "-c", script), stdin=stdin, stdin_once=once, tty=tty)
        self._held[name].start_container("main", program, self.folder / name)

    def set_phase(self, name: str, phase: str) -> None:
        """Say in the object how far a pod is."""
        pod = self.store.get("pods", "shop", name)
        self.store.update("pods", {**pod, "status": {"phase": phase}}, status=True)

    def close(self) -> None:
        """End all pods."""
        for holder in self._held.values():
            holder.close()

    # What streams ask

    def execute(self, place: Place, command: Sequence[str], *, stdin: bool, tty: bool) -> Session:
        return session.execute(self._held[place.pod], command, container=place.container, stdin=stdin, tty=tty)

    def attach(self, place: Place, *, stdin: bool) -> Session:
        return session.attach(self._held[place.pod], place.container, stdin=stdin)

    def log(self, place: Place, *, previous: bool) -> Path | None:
        log = self.folder / place.pod
        found = _previous(log) if previous else log
        return found if found.exists() else None

    def is_running(self, place: Place) -> bool:
        return self._held[place.pod].containers()[place.container].exit is None


_previous = previous


def within(seconds: float, what: Callable[[], bool]) -> bool:
    """Return whether something becomes true in time."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if what():
            return True
        select.select([], [], [], 0.02)
    return False


@contextmanager
def serving(pods: Running) -> Iterator[str]:
    """Serve the streams of pods, and give the address of the server."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        runner = asyncio.run_coroutine_threadsafe(_started(pods), loop).result(10)
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
        asyncio.run_coroutine_threadsafe(runner.cleanup(), loop).result(30)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


async def _started(pods: Running) -> web.AppRunner:
    async def discovery(request: web.Request) -> web.Response:
        return web.json_response(_DISCOVERY[request.path])

    async def namespace(_: web.Request) -> web.Response:
        return web.json_response({"apiVersion": "v1", "kind": "Namespace"} | pods.store.get("namespaces", "", "shop"))

    async def pod(request: web.Request) -> web.Response:
        try:
            found = pods.store.get("pods", request.match_info["namespace"], request.match_info["name"])
        except NotFoundError as error:
            status = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "message": str(error), "reason": error.reason, "code": error.code}  # fmt: skip
            return web.json_response(status, status=error.code)
        return web.Response(text=json.dumps(found), content_type="application/json")

    app = web.Application()
    app.add_routes(routes(pods.store, pods))
    app.add_routes([web.get(path, discovery) for path in _DISCOVERY])
    app.add_routes([web.get("/api/v1/namespaces/{namespace}/pods/{name}", pod)])
    app.add_routes([web.get("/api/v1/namespaces/shop", namespace)])
    runner = web.AppRunner(app, shutdown_timeout=1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    return runner
