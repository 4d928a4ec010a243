# SPDX-License-Identifier: Apache-2.0
"""The taint of nodes without a ready agent, against an API server on loopback that applies patches as the real one."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import web

from podfence.agent.controller.taint import TAINT, TaintController
from podfence.kube.access.access import Choice
from podfence.kube.access.credentials import Credentials
from podfence.kube.access.load import load
from podfence.kube.live.session import Session

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

Fields = dict[str, Any]
PATIENCE = 120.0
OTHER = "node.kubernetes.io/not-ready"


def agent(node: str, *, ready: bool = True, ending: bool = False) -> Fields:
    return {
        "metadata": {"name": f"agent-{node}", **({"deletionTimestamp": "2026-01-01T00:00:00Z"} if ending else {})},
        "spec": {"nodeName": node},
        "status": {"conditions": [{"type": "Ready", "status": "True" if ready else "False"}]},
    }


class Server:
    """Nodes with taints and the agents' pods; `meddle` is called before each patch is applied."""

    def __init__(self) -> None:
        self.taints: dict[str, list[str]] = {}
        self.agents: dict[str, Fields] = {}
        self.patches = 0
        self.refuse = 0
        self.meddle: Callable[[], None] = lambda: None
        self.watchers: list[asyncio.Queue[bytes]] = []
        self.port = 0

    def put(self, pod: Fields, kind: str = "MODIFIED") -> None:
        name = pod["metadata"]["name"]
        self.agents.pop(name, None)
        if kind != "DELETED":
            self.agents[name] = pod
        for queue in self.watchers:
            queue.put_nowait(json.dumps({"type": kind, "object": pod}).encode() + b"\n")

    def _node(self, name: str) -> Fields:
        return {"metadata": {"name": name}, "spec": {"taints": [{"key": key} for key in self.taints[name]]}}

    async def handle(self, request: web.Request) -> web.StreamResponse:
        if self.refuse:
            self.refuse -= 1
            return web.json_response({"kind": "Status", "code": 403, "message": "nodes is forbidden"}, status=403)
        match request.path.strip("/").split("/"):
            case ["api", "v1", "namespaces", "fence", "pods"] if "watch" in request.query:
                return await self._watch(request)
            case ["api", "v1", "namespaces", "fence", "pods"]:
                assert "component=agent" in request.query["labelSelector"]
                return web.json_response({"metadata": {"resourceVersion": "7"}, "items": list(self.agents.values())})
            case ["api", "v1", "nodes"]:
                # A node a page.
                names = sorted(self.taints)
                place = int(request.query.get("continue", "0"))
                more = str(place + 1) if place + 1 < len(names) else ""
                items = [self._node(name) for name in names[place : place + 1]]
                return web.json_response({"metadata": {"continue": more}, "items": items})
            case ["api", "v1", "nodes", name] if name in self.taints:
                return (
                    await self._patch(request, name)
                    if request.method == "PATCH"
                    else web.json_response(self._node(name))
                )
        return web.json_response({"kind": "Status", "code": 404, "message": "not found"}, status=404)

    async def _patch(self, request: web.Request, name: str) -> web.StreamResponse:
        self.meddle()
        self.patches += 1
        test, remove = await request.json()
        place = int(test["path"].split("/")[3])
        taints = self.taints[name]
        if place >= len(taints) or taints[place] != test["value"]:
            return web.json_response({"kind": "Status", "code": 422, "message": "the test failed"}, status=422)
        assert remove["path"] == f"/spec/taints/{place}"
        del taints[place]
        return web.json_response(self._node(name))

    async def _watch(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        queue: asyncio.Queue[bytes] = asyncio.Queue()
        self.watchers.append(queue)
        while line := await queue.get():
            await response.write(line)
        return response

    def end_watches(self) -> None:
        for queue in self.watchers:
            queue.put_nowait(b"")
        self.watchers.clear()


@asynccontextmanager
async def served(server: Server) -> AsyncIterator[None]:
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", server.handle)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", server.port)
    await site.start()
    server.port = runner.addresses[0][1]
    try:
        yield
    finally:
        await runner.cleanup()


class Told:
    """What a controller told, and waiting for it."""

    def __init__(self) -> None:
        self.removed: list[str] = []
        self.failed: list[str] = []
        self.news = asyncio.Condition()


@asynccontextmanager
async def controlling(server: Server, directory: Path) -> AsyncIterator[Told]:
    """Run a controller meanwhile, against the server."""
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "c", "cluster": {"server": f"http://127.0.0.1:{server.port}"}}],
        "users": [{"name": "u", "user": {}}],
        "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
        "current-context": "x",
    }
    file = directory / "config"
    file.write_text(json.dumps(config), encoding="utf-8")
    access = load(Choice(kubeconfig=str(file)), {})
    told = Told()

    async def no_pause(_: float) -> None:
        await asyncio.sleep(0)

    async with Session(access, Credentials(access, {}), timeout=PATIENCE) as session:
        controller = TaintController(session, "fence", told.removed.append, told.failed.append, pause=no_pause)
        task = asyncio.create_task(controller.run())
        try:
            yield told
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


async def until(met: Callable[[], object]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not met():  # noqa: ASYNC110  the server and the controller change it, each in its own task
            await asyncio.sleep(0.001)


def play(directory: Path, server: Server, story: Callable[[Told], Any]) -> Told:
    async def run() -> Told:
        async with served(server), controlling(server, directory) as told:
            await story(told)
            return told

    return asyncio.run(run())


@pytest.fixture
def server() -> Server:
    found = Server()
    found.taints = {"n1": [OTHER, TAINT], "n2": [TAINT], "n3": [], "n4": [TAINT]}
    found.agents = {f"agent-{name}": agent(name, ready=name in {"n1", "n3"}) for name in found.taints}
    return found


def test_nodes_with_a_ready_agent_lose_the_taint_and_no_other_and_no_other_node_does(
    server: Server, tmp_path: Path
) -> None:
    async def story(told: Told) -> None:
        await until(lambda: server.watchers)
        assert told.removed == ["n1"]

    play(tmp_path, server, story)
    assert server.taints == {"n1": [OTHER], "n2": [TAINT], "n3": [], "n4": [TAINT]}


def test_a_node_is_freed_when_its_agent_becomes_ready_and_again_when_it_is_made_anew(
    server: Server, tmp_path: Path
) -> None:
    async def story(told: Told) -> None:
        await until(lambda: server.watchers)
        server.put(agent("n2"))
        await until(lambda: "n2" in told.removed)
        server.put(agent("n2"), "DELETED")
        server.taints["n2"] = [TAINT]
        server.put(agent("n2", ready=False))
        server.put(agent("n2"))
        await until(lambda: told.removed.count("n2") == 2)

    play(tmp_path, server, story)
    assert server.taints["n2"] == []
    assert server.taints["n4"] == [TAINT]


def test_an_agent_that_is_ending_frees_no_node(server: Server, tmp_path: Path) -> None:
    server.agents["agent-n2"] = agent("n2", ending=True)

    async def story(_: Told) -> None:
        await until(lambda: server.watchers)
        server.put(agent("n4"))
        await until(lambda: not server.taints["n4"])

    play(tmp_path, server, story)
    assert server.taints["n2"] == [TAINT]


def test_what_happened_between_two_watches_is_seen_by_the_next_list(server: Server, tmp_path: Path) -> None:
    async def story(told: Told) -> None:
        await until(lambda: server.watchers)
        server.agents["agent-n4"] = agent("n4")
        server.end_watches()
        await until(lambda: "n4" in told.removed)

    play(tmp_path, server, story)


def test_a_node_that_is_tainted_while_its_agent_is_ready_is_freed_by_the_next_list(
    server: Server, tmp_path: Path
) -> None:
    async def story(told: Told) -> None:
        await until(lambda: server.watchers)
        server.taints["n3"] = [TAINT]
        server.end_watches()
        await until(lambda: "n3" in told.removed)

    play(tmp_path, server, story)
    assert server.taints["n3"] == []


def test_a_node_that_changes_between_reading_and_writing_loses_this_taint_and_no_other(
    server: Server, tmp_path: Path
) -> None:
    def move() -> None:
        server.taints["n1"] = ["first", OTHER, TAINT]
        server.meddle = lambda: None

    server.meddle = move

    async def story(told: Told) -> None:
        await until(lambda: told.removed)

    play(tmp_path, server, story)
    assert server.taints["n1"] == ["first", OTHER]
    assert server.patches == 2


def test_what_is_refused_is_said_and_tried_again(server: Server, tmp_path: Path) -> None:
    server.refuse = 3

    async def story(told: Told) -> None:
        await until(lambda: told.removed)
        assert any("nodes is forbidden" in text for text in told.failed)

    play(tmp_path, server, story)


def test_a_node_that_is_gone_does_not_keep_others_waiting(server: Server, tmp_path: Path) -> None:
    async def story(told: Told) -> None:
        await until(lambda: server.watchers)
        server.put(agent("gone"))
        server.put(agent("n4"))
        await until(lambda: "n4" in told.removed)
        assert told.failed == []

    play(tmp_path, server, story)


def test_two_controllers_do_no_harm(server: Server, tmp_path: Path) -> None:
    async def run() -> list[str]:
        async with served(server), controlling(server, tmp_path) as one, controlling(server, tmp_path) as other:
            await until(lambda: len(server.watchers) == 2)
            for name in ("n2", "n4"):
                server.put(agent(name))
            # A node has lost its taint before its controller has heard so.
            await until(lambda: {*one.removed, *other.removed} >= {"n1", "n2", "n4"})
            return sorted({*one.removed, *other.removed})

    assert asyncio.run(run()) == ["n1", "n2", "n4"]
    assert server.taints["n1"] == [OTHER]
