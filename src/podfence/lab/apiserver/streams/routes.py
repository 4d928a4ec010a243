# SPDX-License-Identifier: Apache-2.0
"""The paths of streams, and what answers them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from aiohttp import web

from podfence.lab.apiserver.streams.commands import Commands
from podfence.lab.apiserver.streams.logs import Logs
from podfence.lab.apiserver.streams.refusals import answered

if TYPE_CHECKING:
    from podfence.lab.apiserver.streams.pods import Pods
    from podfence.lab.store.store import Store

_POD: Final = "/api/v1/namespaces/{namespace}/pods/{name}"


def routes(store: Store, pods: Pods) -> list[web.RouteDef]:
    """Return the routes of an application that serves the pods of a store."""
    commands, logs = Commands(store, pods), Logs(store, pods)
    return [
        web.get(f"{_POD}/log", answered(logs.log), allow_head=False),
        *(
            route(f"{_POD}/{name}", answered(handle))
            # Old clients begin with POST, and are told so.
            for route in (web.get, web.post)
            for name, handle in (
                ("exec", commands.execute),
                ("attach", commands.attach),
                ("portforward", commands.forward),
            )
        ),
    ]
