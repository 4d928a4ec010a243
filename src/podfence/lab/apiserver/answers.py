# SPDX-License-Identifier: Apache-2.0
"""Bodies of requests as they come in, and of answers as they go out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec
import yaml
from aiohttp import web

from podfence.lab.apiserver.bodies import LIMIT
from podfence.lab.apiserver.status import RefusedError

if TYPE_CHECKING:
    from podfence.lab.apiserver.media import Accepted
    from podfence.lab.store.metadata import Raw


NOT_CACHED: Final = {"Cache-Control": "no-cache, private"}
"""The header of answers that are true now only."""


async def body_of(request: web.Request) -> bytes:
    """Return the body of a request. Raises RefusedError if it is too large."""
    length = request.content_length
    if length is None or length <= LIMIT:
        body = bytearray()
        async for part in request.content.iter_any():
            body += part
            if len(body) > LIMIT:
                break
        else:
            return bytes(body)
    message = f"Request entity too large: limit is {LIMIT}"
    raise RefusedError(413, message, "RequestEntityTooLarge")


def refused(refusal: RefusedError) -> web.Response:
    """Return the answer to a request that is refused."""
    response = json_answer(refusal.body, refusal.code)
    if refusal.code == 413:
        # The rest of the body is still on its way, and nobody reads it.
        response.force_close()
    return response


def json_answer(body: Raw, code: int = 200) -> web.Response:
    """Return an answer as JSON."""
    return web.Response(
        status=code, body=msgspec.json.encode(body), content_type="application/json", headers=NOT_CACHED
    )


def written(body: Raw, accepted: Accepted, code: int = 200) -> web.Response:
    """Return an answer in the language that the client accepts."""
    if accepted.language == "yaml":
        text = yaml.safe_dump(body, allow_unicode=True)
        return web.Response(status=code, body=text.encode(), content_type="application/yaml", headers=NOT_CACHED)
    return json_answer(body, code)
