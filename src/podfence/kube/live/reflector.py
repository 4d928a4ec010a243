# SPDX-License-Identifier: Apache-2.0
"""One kind of objects for ever: a list, then its changes, whatever happens to the server and the way to it."""

from __future__ import annotations

import asyncio
import random
import time
from contextlib import aclosing
from typing import TYPE_CHECKING, Final, NamedTuple

from podfence.backoff import Backoff
from podfence.errors import PodfenceError
from podfence.kube.live import listwatch
from podfence.kube.live.errors import ExpiredError, ThrottledError
from podfence.kube.live.items import Reader
from podfence.kube.objects import Key, KubeObject, NetworkPolicy

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence

    from podfence.kube.live.items import Item
    from podfence.kube.live.resources import Resource
    from podfence.kube.live.session import Session

FIRST_PAUSE: Final = 0.2
"""How long the first pause after a failure is, in seconds; each further one is twice as long."""

LONGEST_PAUSE: Final = 30.0
"""The longest pause, in seconds."""

WATCH: Final = (300, 600)
"""How long a watch lasts, in seconds: at random between these, as client-go does, so that not all end together."""

_SOUND: Final = 5.0


class Stored(NamedTuple):
    """An object was added or changed."""

    object: KubeObject
    revision: str


class Removed(NamedTuple):
    """An object is gone; `object` is what it was last, None if a list merely did not have it any more."""

    key: Key
    object: KubeObject | None


class Listed(NamedTuple):
    """A complete list was delivered: what of this kind was not delivered does not exist."""

    kind: str


class Malformed(NamedTuple):
    """There is an object that cannot be read; the name in `key` is "" if not even that can.

    `closed` stands for a policy meanwhile: it admits nothing to the pods that it isolates.
    """

    key: Key
    revision: str
    reason: str
    closed: NetworkPolicy | None = None


Notification = Stored | Removed | Listed | Malformed


class Health(NamedTuple):
    """How a reflector is.

    `listed` says that a complete list was delivered, `connected` that a watch is open. `error` is what failed
    last, "" if it has worked since. `failures`, `relists` and `events` are counts since the start: requests and
    watches that failed, lists that were needed again, and changes that watches brought.
    """

    kind: str
    listed: bool = False
    connected: bool = False
    error: str = ""
    failures: int = 0
    relists: int = 0
    events: int = 0


class Reflector:
    """Delivers one resource: what is there, then what changes.

    `deliver` is called from the loop of events and must not block. `known` maps what was delivered in an
    earlier life to its revisions: the first list then delivers differences only, as later lists do. `pause` waits
    and `uniform` draws at random between two bounds; they and `clock` (seconds) are the standard ones but in tests.
    """

    def __init__(
        self,
        session: Session,
        resource: Resource,
        deliver: Callable[[Sequence[Notification]], None],
        *,
        known: Mapping[Key, str] | None = None,
        pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
        uniform: Callable[[float, float], float] = random.uniform,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._session = session
        self._resource = resource
        self._deliver = deliver
        self._pause = pause
        self._uniform = uniform
        self._clock = clock
        self._reader = Reader(resource)
        self._revisions = dict(known or {})
        # Deletions that a server may repeat: revisions of what was deleted since the last bookmark.
        self._deleted: dict[Key, str] = {}
        self._revision = ""
        self._backoff = Backoff(FIRST_PAUSE, LONGEST_PAUSE, uniform)
        self.health = Health(resource.kind)

    @property
    def revision(self) -> str:
        """Up to where everything was delivered, "" before the first list and while another one is needed."""
        return self._revision

    async def run(self) -> None:
        """Deliver for ever; failures are kept in `health` and tried again, later each time.

        Ends by being cancelled, and with whatever `deliver` raises.
        """
        while True:
            try:
                if not self._revision:
                    await self._list()
                await self._watch()
            except (ExpiredError, listwatch.GarbledError) as error:
                # What is garbled may be the event after this revision, and would be garbled again.
                self._revision = ""
                await self._wait(error)
            except PodfenceError as error:
                await self._wait(error)

    async def _wait(self, error: PodfenceError) -> None:
        self.health = self.health._replace(connected=False, error=str(error), failures=self.health.failures + 1)
        seconds = self._backoff.failed()
        if isinstance(error, ThrottledError):
            seconds = max(seconds, error.retry_after)
        await self._pause(seconds)

    async def _list(self) -> None:
        if self.health.listed:
            self.health = self.health._replace(relists=self.health.relists + 1)
        present: dict[Key, str] = {}
        revision = ""
        async with aclosing(listwatch.parts(self._session, self._resource, self._reader)) as parts:
            async for part in parts:
                if part.starts:
                    present.clear()
                present.update((item.key, item.revision) for item in part.items)
                revision = part.revision
                self._send(self._differing(part.items))
        gone = [key for key in self._revisions if key not in present]
        for key in gone:
            del self._revisions[key]
        self._deleted.clear()
        self._revision = revision
        self.health = self.health._replace(listed=True, error="")
        self._send([*(Removed(key, None) for key in gone), Listed(self._resource.kind)])

    def _differing(self, items: Iterable[Item]) -> list[Notification]:
        found: list[Notification] = []
        for item in items:
            if not item.revision or self._revisions.get(item.key) != item.revision:
                self._revisions[item.key] = item.revision
                found.append(_notification(item))
        return found

    async def _watch(self) -> None:
        seconds = int(self._uniform(*WATCH))
        began = self._clock()
        changes = listwatch.watch(self._session, self._resource, self._reader, self._revision, seconds)
        try:
            async with aclosing(changes):
                async for batch in changes:
                    self.health = self.health._replace(connected=True, error="")
                    if batch:
                        self._backoff.worked()
                        self._take(batch)
        finally:
            if self.health.connected and self._clock() - began >= _SOUND:
                self._backoff.worked()
            self.health = self.health._replace(connected=False)
        if self._clock() - began < _SOUND:
            # A server that ends watches at once is not asked as fast as it answers.
            await self._pause(self._uniform(FIRST_PAUSE / 2, FIRST_PAUSE))

    def _take(self, batch: Iterable[listwatch.Change]) -> None:
        found: list[Notification] = []
        events = 0
        for change in batch:
            match change:
                case listwatch.Bookmark(revision):
                    self._revision = revision
                    self._deleted.clear()
                case listwatch.Modified(item):
                    events += 1
                    if self._is_new(item):
                        self._revisions[item.key] = item.revision
                        self._deleted.pop(item.key, None)
                        found.append(_notification(item))
                    self._advance(item)
                case listwatch.Deleted(item):
                    events += 1
                    if self._revisions.get(item.key) is not None and (self._is_new(item) or not item.revision):
                        del self._revisions[item.key]
                        self._deleted[item.key] = item.revision
                        found.append(Removed(item.key, item.object))
                    self._advance(item)
        self.health = self.health._replace(events=self.health.events + events)
        self._send(found)

    def _is_new(self, item: Item) -> bool:
        """Return whether an event is later than what is known of its object; servers may repeat themselves."""
        known = self._revisions.get(item.key) or self._deleted.get(item.key)
        return not known or not item.revision or is_later(item.revision, known)

    def _advance(self, item: Item) -> None:
        if item.revision and is_later(item.revision, self._revision):
            self._revision = item.revision

    def _send(self, found: Sequence[Notification]) -> None:
        if found:
            self._deliver(found)


def _notification(item: Item) -> Notification:
    if item.object is None:
        return Malformed(item.key, item.revision, item.reason, item.closed)
    return Stored(item.object, item.revision)


def is_later(revision: str, than: str) -> bool:
    """Return whether one revision is later than another of the same resource.

    Kubernetes compares them as numbers; of those that are none, only equality can be told.
    """
    if revision.isdecimal() and than.isdecimal():
        return int(revision) > int(than)
    return revision != than
