# SPDX-License-Identifier: Apache-2.0
"""What a server has of one resource: a list in pages, and a watch of the changes after it (client-go's ListWatch).

A list comes in pages, so that its memory does not follow its length. A watch goes on until the server or the network
ends it.
"""

from __future__ import annotations

from contextlib import aclosing
from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec

from podfence.kube.live.errors import ApiError, ExpiredError, TooLongError, UnreachableError, refused
from podfence.kube.live.fields import Named, WatchEvent
from podfence.kube.live.items import Item

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from podfence.kube.live.items import Page, Reader
    from podfence.kube.live.resources import Resource
    from podfence.kube.live.session import Session

PAGE: Final = 500
"""How many objects are asked for at once, as kubectl and client-go do."""

MOST: Final = 8 << 20
"""Bytes that a page has at most; of larger objects, which any tenant may write, fewer are asked for at once.

What is decoded takes up to ten times as much memory.
"""

_FEWER: Final = 4


async def parts(session: Session, resource: Resource, reader: Reader) -> AsyncGenerator[Page, None]:
    """Yield all objects of a resource as they are at one revision, page by page.

    No resourceVersion is sent: the server then answers with what is stored now, and never with something
    older than what was seen before. If a page comes too late (410), the list starts again, in one piece. The
    token that a server offers to go on with is not used: what it leads to is of another revision, and a policy
    and the pods around it would be of two different moments.
    A page that is too long is asked for again with fewer objects.

    Raises ApiError and AccessError.
    """
    query = {"limit": str(PAGE)}
    starts = True
    while True:
        limit = int(query.get("limit", "0"))
        try:
            data = await session.get(resource.path, query, MOST if limit > 1 else None)
        except TooLongError:
            query["limit"] = str(limit // _FEWER or 1)
            continue
        except ExpiredError:
            if limit != PAGE:
                # In one piece already, or so large that it must not be.
                raise
            del query["limit"]
            query.pop("continue", None)
            starts = True
            continue
        page = reader.page(data)
        del data
        yield page._replace(starts=starts)
        if not page.token:
            return
        query["continue"] = page.token
        starts = False


class Modified(NamedTuple):
    """An object was added or changed."""

    item: Item


class Deleted(NamedTuple):
    """An object is gone; `item` is what it was last."""

    item: Item


class Bookmark(NamedTuple):
    """All changes up to `revision` were sent."""

    revision: str


Change = Modified | Deleted | Bookmark


class GarbledError(UnreachableError):
    """A line of a watch is no event, so nothing after it can be believed."""


_EVENTS: Final = msgspec.json.Decoder(WatchEvent)
_NAMES: Final = msgspec.json.Decoder(Named)


async def watch(
    session: Session, resource: Resource, reader: Reader, revision: str, seconds: int
) -> AsyncGenerator[list[Change], None]:
    """Yield what has changed since `revision`, as much at a time as has arrived.

    The first yield is empty: the server has accepted. The server ends the watch after `seconds`, and the
    iteration ends.

    Raises ApiError: ExpiredError if the server has forgotten the revision, GarbledError for a line that is no
    event; and AccessError. What was yielded before holds in any case.
    """
    query = {
        "watch": "1",
        "allowWatchBookmarks": "true",
        "resourceVersion": revision,
        "timeoutSeconds": str(seconds),
    }
    async with aclosing(session.lines(resource.path, query)) as batches:
        async for lines in batches:
            changes: list[Change] = []
            try:
                for line in lines:
                    changes.append(_change(line, reader, session.name))  # noqa: PERF401  what came before an error counts
            except ApiError:
                if changes:
                    yield changes
                raise
            yield changes


def _change(line: bytes, reader: Reader, server: str) -> Change:
    try:
        event = _EVENTS.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise GarbledError(f"{server}: a line of a watch is no event: {error}") from None
    match event.type:
        case "ADDED" | "MODIFIED":
            return Modified(reader.item(event.object))
        case "DELETED":
            return Deleted(reader.item(event.object))
        case "BOOKMARK":
            return Bookmark(_revision(event.object, server))
        case "ERROR":
            raise refused(server, 0, bytes(event.object))
    raise GarbledError(f"{server}: a watch sent an event of the unknown type {event.type!r}")


def _revision(data: msgspec.Raw, server: str) -> str:
    try:
        meta = _NAMES.decode(data).metadata
    except (msgspec.DecodeError, UnicodeDecodeError):
        meta = None
    if meta is None or not meta.resource_version:
        raise GarbledError(f"{server}: a watch sent a bookmark without a revision")
    return meta.resource_version
