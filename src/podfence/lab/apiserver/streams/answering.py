# SPDX-License-Identifier: Apache-2.0
"""Which handler answers which subresource of a pod."""

from __future__ import annotations

from typing import TYPE_CHECKING

from podfence.lab.apiserver.streams.commands import Commands
from podfence.lab.apiserver.streams.logs import Logs

if TYPE_CHECKING:
    from aiohttp import web

    from podfence.lab.apiserver.streams.containers import Containers
    from podfence.lab.store.store import Store


class Streams:
    """``exec``, ``attach`` and ``log`` of the pods of a store."""

    def __init__(self, store: Store, pods: Containers) -> None:
        """Serve the pods of a store; `pods` has what runs."""
        commands = Commands(store, pods)
        self._handlers = {"exec": commands.execute, "attach": commands.attach, "log": Logs(store, pods).log}

    async def answer(self, request: web.Request, namespace: str, name: str, subresource: str) -> web.StreamResponse:
        """Answer a request for a subresource of a pod."""
        return await self._handlers[subresource](request, namespace, name)
