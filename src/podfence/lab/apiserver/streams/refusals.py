# SPDX-License-Identifier: Apache-2.0
"""Requests for streams that are refused before there is a stream, and which container one is for."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from aiohttp import web

from podfence.lab.apiserver.streams.pods import Place
from podfence.lab.store.errors import StoreError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from podfence.lab.store.store import Store


class BadRequestError(StoreError):
    """The request makes no sense."""

    reason = "BadRequest"
    code = 400


class InvalidError(StoreError):
    """An option of the request is not allowed; `field` is its name."""

    reason = "Invalid"
    code = 422

    def __init__(self, pod: str, field: str, problem: str, *, reason: str = "FieldValueInvalid") -> None:
        """Refuse an option of a request for the log of a pod."""
        super().__init__(f'PodLogOptions "{pod}" is invalid: {field}: {problem}', None, pod)
        self.cause = {"reason": reason, "message": problem, "field": field}


def answered(
    handle: Callable[[web.Request], Awaitable[web.StreamResponse]],
) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    """Return a handler that answers with a Status what the given one refuses."""

    async def handler(request: web.Request) -> web.StreamResponse:
        try:
            return await handle(request)
        except StoreError as error:
            return web.Response(status=error.code, text=json.dumps(_status(error)), content_type="application/json")

    return handler


def _status(error: StoreError) -> dict[str, Any]:
    details: dict[str, Any] = {}
    if isinstance(error, InvalidError):
        details = {"name": error.name, "kind": "PodLogOptions", "causes": [error.cause]}
    elif error.resource is not None:
        details = {"name": error.name, "kind": error.resource.plural}
    return {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": str(error),
        "reason": error.reason,
        **({"details": details} if details else {}),
        "code": error.code,
    }


def place(store: Store, request: web.Request) -> Place:
    """Return the container that a request means; without a name, the only one of its pod.

    Raises NotFoundError for a pod, and BadRequestError for a container, that does not exist.
    """
    namespace, name = request.match_info["namespace"], request.match_info["name"]
    spec = store.get("pods", namespace, name)["spec"]
    main = [item["name"] for item in spec.get("containers") or ()]
    early = [item["name"] for item in spec.get("initContainers") or ()]
    container = request.query.get("container", "")
    if not container and len(main) > 1:
        inits = f" or one of the init containers: [{' '.join(early)}]" if early else ""
        raise BadRequestError(
            f"a container name must be specified for pod {name}, choose one of: [{' '.join(main)}]{inits}"
        )
    if container and container not in main + early:
        raise BadRequestError(f"container {container} is not valid for pod {name}")
    return Place(namespace, name, container or main[0])


def flag(request: web.Request, name: str) -> bool:
    """Return whether a request sets an option; raise BadRequestError for what is neither true nor false."""
    text = request.query.get(name, "")
    if text.lower() in {"", "0", "f", "false"}:
        return False
    if text.lower() in {"1", "t", "true"}:
        return True
    raise BadRequestError(f"{name} is true or false, not {text!r}")
