# SPDX-License-Identifier: Apache-2.0
"""The taint that keeps pods off a node until its agent enforces, taken off by one controller for all nodes.

Whoever makes nodes gives them the taint (the kubelet's ``--register-with-taints``, or a pool of nodes). Agents may not
change nodes, so that who takes over one node cannot change others; they say that they are ready as any pod does.
Two controllers do no harm: a change of a node takes away this taint or nothing.
"""

from __future__ import annotations

import asyncio
import random
from contextlib import aclosing
from typing import TYPE_CHECKING, Final, Protocol

import msgspec

from podfence.backoff import Backoff
from podfence.errors import PodfenceError
from podfence.kube.live.errors import ExpiredError, NotFoundError, RefusedError
from podfence.kube.live.fields import ListMeta, WatchEvent

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping

TAINT: Final = "podfence.io/agent-not-ready"
"""The key of the taint; its value and effect are whatever it was given."""

SELECTOR: Final = "app.kubernetes.io/name=podfence,app.kubernetes.io/component=agent"
"""The labels of agents' pods, as the chart gives them."""

WATCH: Final = 300
"""Seconds that a watch of the agents lasts; then all is looked at again."""

FIRST_PAUSE: Final = 0.2
"""Seconds before what failed is tried again; the time doubles with each failure."""

LONGEST_PAUSE: Final = 30.0
"""The most seconds between two tries."""

_NODES: Final = "/api/v1/nodes"
_PAGE: Final = "500"
_JSON_PATCH: Final = "application/json-patch+json"
_OUTDATED: Final = frozenset({409, 422})
"""What a server answers when the object has changed, or what a patch tests is not so."""


class Api(Protocol):
    """What is needed of a session (`podfence.kube.live.session.Session`)."""

    async def get(self, path: str, query: Mapping[str, str] | None = None) -> bytes:
        """Return what the server has."""

    async def patch(self, path: str, body: bytes, content_type: str) -> bytes:
        """Change an object; return the server's answer."""

    def lines(self, path: str, query: Mapping[str, str]) -> AsyncGenerator[list[bytes], None]:
        """Yield the lines of an answer that does not end."""


class _Meta(msgspec.Struct, rename="camel"):
    name: str = ""
    deletion_timestamp: str | None = None


class _Taint(msgspec.Struct):
    key: str = ""


class _NodeSpec(msgspec.Struct):
    taints: list[_Taint] | None = None


class _Node(msgspec.Struct):
    metadata: _Meta
    spec: _NodeSpec = msgspec.field(default_factory=_NodeSpec)


class _Condition(msgspec.Struct):
    type: str = ""
    status: str = ""


class _PodStatus(msgspec.Struct):
    conditions: list[_Condition] | None = None


class _PodSpec(msgspec.Struct, rename="camel"):
    node_name: str = ""


class _Pod(msgspec.Struct):
    metadata: _Meta
    spec: _PodSpec = msgspec.field(default_factory=_PodSpec)
    status: _PodStatus = msgspec.field(default_factory=_PodStatus)

    @property
    def is_ready(self) -> bool:
        """Whether the agent says that its node's kernel has all that was delivered."""
        conditions = self.status.conditions or ()
        ready = any(item.type == "Ready" and item.status == "True" for item in conditions)
        return ready and self.metadata.deletion_timestamp is None


class _Nodes(msgspec.Struct):
    metadata: ListMeta
    items: list[_Node]


class _Pods(msgspec.Struct):
    metadata: ListMeta
    items: list[_Pod]


_decode_node: Final = msgspec.json.Decoder(_Node).decode
_decode_nodes: Final = msgspec.json.Decoder(_Nodes).decode
_decode_pod: Final = msgspec.json.Decoder(_Pod).decode
_decode_pods: Final = msgspec.json.Decoder(_Pods).decode
_decode_event: Final = msgspec.json.Decoder(WatchEvent).decode


class TaintController:
    """Takes the taint off each node on which an agent is ready."""

    def __init__(
        self,
        api: Api,
        namespace: str,
        removed: Callable[[str], None],
        failed: Callable[[str], None],
        *,
        pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """Look at nothing yet; `namespace` is that of the agents.

        `removed` is called with the name of each node that was freed, `failed` with a sentence for what did not
        work and is tried again. `pause` waits.
        """
        self._api = api
        self._pods = f"/api/v1/namespaces/{namespace}/pods"
        self._removed = removed
        self._failed = failed
        self._pause = pause
        self._backoff = Backoff(FIRST_PAUSE, LONGEST_PAUSE, random.uniform)
        # Nodes whose agent was ready when they were looked at last: they had no such taint any more.
        self._done: set[str] = set()

    async def run(self) -> None:
        """Do so for ever; what fails is told and tried again. Ends by being cancelled."""
        while True:
            try:
                await self._follow(await self._look())
                self._backoff.worked()
            except (PodfenceError, msgspec.DecodeError) as error:
                if not isinstance(error, ExpiredError):
                    self._failed(str(error))
                await self._pause(self._backoff.failed())

    async def _look(self) -> str:
        """Look at all agents, and free the nodes of those that are ready; return the revision of what was seen."""
        found = _decode_pods(await self._api.get(self._pods, {"labelSelector": SELECTOR}))
        ready = {pod.spec.node_name for pod in found.items if pod.is_ready}
        self._done &= ready
        if ready:
            tainted = await self._tainted()
            for name in sorted(ready & tainted):
                await self._free(name)
            self._done |= ready - tainted
        return found.metadata.resource_version or ""

    async def _tainted(self) -> set[str]:
        """Return the names of all nodes with the taint."""
        result: set[str] = set()
        more = ""
        while True:
            query = {"limit": _PAGE, **({"continue": more} if more else {})}
            page = _decode_nodes(await self._api.get(_NODES, query))
            result |= {node.metadata.name for node in page.items if _place(node) is not None}
            more = page.metadata.continue_ or ""
            if not more:
                return result

    async def _follow(self, revision: str) -> None:
        """Free nodes as their agents become ready, until the server ends the watch."""
        query = {
            "watch": "1",
            "labelSelector": SELECTOR,
            "resourceVersion": revision,
            "timeoutSeconds": str(WATCH),
        }
        async with aclosing(self._api.lines(self._pods, query)) as batches:
            async for lines in batches:
                for event in map(_decode_event, lines):
                    if event.type == "ERROR":
                        # The revision is too old, as a rule; all is looked at again.
                        raise ExpiredError("the watch of the agents' pods ended with an error", 410)
                    pod = _decode_pod(event.object)
                    if event.type == "DELETED" or not pod.is_ready:
                        self._done.discard(pod.spec.node_name)
                    elif pod.spec.node_name not in self._done:
                        await self._free(pod.spec.node_name)

    async def _free(self, name: str) -> None:
        """Take the taint off a node, if it has it. Raises ApiError, DecodeError."""
        path = f"{_NODES}/{name}"
        is_changed = False
        try:
            while not is_changed and (place := _place(_decode_node(await self._api.get(path)))) is not None:
                is_changed = await self._patched(path, place)
        except NotFoundError:
            return
        self._done.add(name)
        if is_changed:
            self._removed(name)

    async def _patched(self, path: str, place: int) -> bool:
        """Remove one taint of a node; return False if it is not in that place any more."""
        patch = [
            {"op": "test", "path": f"/spec/taints/{place}/key", "value": TAINT},
            {"op": "remove", "path": f"/spec/taints/{place}"},
        ]
        try:
            await self._api.patch(path, msgspec.json.encode(patch), _JSON_PATCH)
        except RefusedError as error:
            if error.status not in _OUTDATED:
                raise
            return False
        return True


def _place(node: _Node) -> int | None:
    keys = [taint.key for taint in node.spec.taints or ()]
    return keys.index(TAINT) if TAINT in keys else None
