# SPDX-License-Identifier: Apache-2.0
"""Lists in pages, so that the memory of a list does not follow its length."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from podfence.kube.live.errors import ExpiredError
from podfence.kube.live.items import Item

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from podfence.kube.live.items import Reader
    from podfence.kube.live.resources import Resource
    from podfence.kube.live.session import Session

PAGE: Final = 500
"""How many objects are asked for at once, as kubectl and client-go do."""


class Part(NamedTuple):
    """A part of a list; with one that `starts`, what came before is void."""

    items: list[Item]
    revision: str
    starts: bool


async def parts(
    session: Session, resource: Resource, reader: Reader, *, field_selector: str = ""
) -> AsyncGenerator[Part, None]:
    """Yield all objects of a resource as they are at one revision, page by page.

    No resourceVersion is sent: the server then answers with what is stored now, and never with something
    older than what was seen before. If a page comes too late (410), the list starts again, in one piece. The
    token that a server offers to go on with is not used: what it leads to is of another revision, and a policy
    and the pods around it would be of two different moments.

    Raises ApiError and AccessError.
    """
    query = {"limit": str(PAGE)}
    if field_selector:
        query["fieldSelector"] = field_selector
    starts = True
    while True:
        try:
            data = await session.get(resource.path, query)
        except ExpiredError:
            if "limit" not in query:
                raise
            del query["limit"]
            query.pop("continue", None)
            starts = True
            continue
        page = reader.page(data)
        del data
        yield Part(page.items, page.revision, starts)
        if not page.token:
            return
        query["continue"] = page.token
        starts = False
