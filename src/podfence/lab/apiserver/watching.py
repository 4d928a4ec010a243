# SPDX-License-Identifier: Apache-2.0
"""Watches: the changes of a store as they happen, for every request that asked for them.

The store tells of a change with its lock held, on any thread; the hub hands it to the event loop, which gives it to
the watches. Each has a short queue. A client that reads too slowly loses its watch, and lists again.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec

from podfence.lab.apiserver.objects import shown
from podfence.lab.store.history import Change
from podfence.lab.store.metadata import Raw

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    from podfence.lab.apiserver.options import ListOptions
    from podfence.lab.apiserver.selectors import Matches
    from podfence.lab.store.resources import Resource
    from podfence.lab.store.store import Store


_MOST_WAITING: Final = 1000
_BOOKMARKS_EVERY: Final = 60.0
_LONGEST: Final = 3600.0
_ENCODED: Final = 256
_LARGEST_ENCODED: Final = 64 * 1024
INITIAL_END: Final = "k8s.io/initial-events-end"


class Event(NamedTuple):
    """One event of a watch. `change` is the store's if that is exactly what it says."""

    type: str
    object: Raw
    change: Change | None = None


class _Feed:
    """The changes that wait for one watch."""

    def __init__(self, resource: str, namespace: str, after: int) -> None:
        self.resource = resource
        self.namespace = namespace
        self.after = after
        self.waiting: deque[Change] = deque()
        self.awake = asyncio.Event()
        self.lost = False

    def give(self, change: Change) -> None:
        if change.revision <= self.after or not change.is_in(self.resource, self.namespace):
            return
        if len(self.waiting) >= _MOST_WAITING:
            self.lost = True
            self.waiting.clear()
        if not self.lost:
            self.waiting.append(change)
        self.awake.set()


class Hub:
    """Hands the changes of a store to the watches of an event loop."""

    def __init__(self, store: Store) -> None:
        """Follow a store from now on; called inside the event loop."""
        self.store = store
        self._loop = asyncio.get_running_loop()
        self._feeds: set[_Feed] = set()
        self._encoded: dict[tuple[int, str], bytes] = {}
        self._end = store.subscribe(self._tell)

    def _tell(self, change: Change) -> None:
        try:
            self._loop.call_soon_threadsafe(self._give, change)
        except RuntimeError:
            # The loop has ended; so have its watches.
            return

    def _give(self, change: Change) -> None:
        for feed in tuple(self._feeds):
            feed.give(change)

    def close(self) -> None:
        """Tell of nothing more, and end all watches."""
        self._end()
        for feed in self._feeds:
            feed.lost = True
            feed.awake.set()

    @property
    def watches(self) -> int:
        """How many watches there are."""
        return len(self._feeds)

    def encoded(self, row: Resource, event: Event) -> bytes:
        """Return an event as a line of JSON. What many watches send is written once."""
        if event.change is None:
            return line(event.type, event.object)
        key = (event.change.revision, f"{row.key}/{event.type}")
        found = self._encoded.get(key)
        if found is None:
            found = line(event.type, shown(row, event.object))
            if len(self._encoded) >= _ENCODED:
                self._encoded.clear()
            if len(found) <= _LARGEST_ENCODED:
                self._encoded[key] = found
        return found

    async def events(
        self, row: Resource, namespace: str, options: ListOptions, matches: Matches
    ) -> AsyncGenerator[Event, None]:
        """Yield what a request wants to see, until its time is over or the client is too slow.

        Raises RefusedError with the code 410 if the store no longer has what changed since the given revision.
        """
        begins = not options.revision or options.initial
        # No await until the feed is registered: what comes later waits in the loop.
        with self.store.lock:
            revision = self.store.revision if begins else options.revision or 0
            first = self.store.list(row.table, namespace)[0] if begins else []
            is_new = begins or revision > self.store.revision
            missed = [] if is_new else self.store.changes(row.table, revision, namespace)
        feed = _Feed(row.table, namespace, missed[-1].revision if missed else revision)
        self._feeds.add(feed)
        try:
            for obj in first:
                if matches(obj):
                    yield Event("ADDED", shown(row, obj))
            if begins and options.bookmarks:
                yield _bookmark(row, revision, {INITIAL_END: "true"})
            for change in missed:
                if event := _seen(change, matches, row):
                    yield event
            async for event in self._follow(feed, row, options, matches):
                yield event
        finally:
            self._feeds.discard(feed)

    async def _follow(
        self, feed: _Feed, row: Resource, options: ListOptions, matches: Matches
    ) -> AsyncGenerator[Event, None]:
        now: Callable[[], float] = self._loop.time
        end = now() + min(options.timeout or _LONGEST, _LONGEST)
        mark = now() + _BOOKMARKS_EVERY
        while True:
            while feed.waiting and not feed.lost:
                change = feed.waiting.popleft()
                if event := _seen(change, matches, row):
                    yield event
            if feed.lost:
                return
            feed.awake.clear()
            try:
                async with asyncio.timeout_at(min(end, mark)):
                    await feed.awake.wait()
            except TimeoutError:
                if now() >= end:
                    return
                mark = now() + _BOOKMARKS_EVERY
                if options.bookmarks:
                    yield _bookmark(row, self.store.revision, {})


def _seen(change: Change, matches: Matches, row: Resource) -> Event | None:
    """Return a change as who selects some objects sees it: an object can come into view, and leave it."""
    is_seen = matches(change.object)
    was_seen = change.previous is not None and matches(change.previous)
    if change.type == "DELETED":
        return Event("DELETED", change.object, change) if is_seen or was_seen else None
    if is_seen:
        kind = "MODIFIED" if was_seen else "ADDED"
        return Event(kind, change.object, change)
    if not was_seen or change.previous is None:
        return None
    meta = {**change.previous["metadata"], "resourceVersion": str(change.revision)}
    return Event("DELETED", shown(row, {**change.previous, "metadata": meta}))


def _bookmark(row: Resource, revision: int, annotations: dict[str, str]) -> Event:
    meta: Raw = {"resourceVersion": str(revision)}
    if annotations:
        meta["annotations"] = annotations
    return Event("BOOKMARK", {"kind": row.kind, "apiVersion": row.api_version, "metadata": meta})


def line(kind: str, obj: Raw) -> bytes:
    """Return an event of a watch as a line of JSON."""
    return msgspec.json.encode({"type": kind, "object": obj}) + b"\n"
