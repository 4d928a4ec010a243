# SPDX-License-Identifier: Apache-2.0
"""Notices that one thread puts and the loop's thread receives, which waits for its kernel at the same time."""

from __future__ import annotations

import os
import select
import time
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from podfence.agent.source import SourceClosed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from podfence.agent.source import Notice
    from podfence.agent.watch import Watch

BEAT: Final = 5.0
"""Seconds after which the loop goes round at the latest, which shows that it lives."""


class QueueSource:
    """A queue of notices; `beat` is when the loop last came for more, by the monotonic clock."""

    def __init__(self, watch: Watch | None = None) -> None:
        """Be empty; what the `watch` has to tell ends the wait, too, and whoever calls has to look at it then."""
        self._queue: deque[Notice] = deque()
        self._closed = False
        self._bell = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._poll = select.poll()
        self._poll.register(self._bell, select.POLLIN)
        if watch is not None:
            self._poll.register(watch, select.POLLIN)
        self.beat = time.monotonic()

    def put(self, notices: Iterable[Notice]) -> None:
        """Add notices; safe in any thread."""
        before = len(self._queue)
        self._queue.extend(notices)
        if len(self._queue) != before:
            self.wake()

    def close(self) -> None:
        """Let the reader go when it has received everything; safe in any thread and in signal handlers."""
        self._closed = True
        self.wake()

    def wake(self) -> None:
        """Let the reader return now; safe in any thread and in signal handlers."""
        os.eventfd_write(self._bell, 1)

    def receive(self, timeout: float | None) -> list[Notice]:
        """Return the notices that are there, waiting up to `timeout` seconds, `BEAT` at most, for the first.

        Raises SourceClosed after `close`, when there are no more.
        """
        self.beat = time.monotonic()
        if not self._queue and not self._closed:
            self._poll.poll((BEAT if timeout is None else min(timeout, BEAT)) * 1000)
        with suppress(BlockingIOError):
            os.eventfd_read(self._bell)
        found: list[Notice] = []
        while self._queue:
            found.append(self._queue.popleft())
        if self._closed and not found:
            raise SourceClosed
        return found


class Beat:
    """When the loop was last seen to live.

    It came for notices then, or a transaction more had been carried out than when this was asked before: to make a
    table with hundreds of thousands of elements takes long, and who is ended meanwhile begins anew for ever.
    """

    def __init__(self, source: QueueSource, transactions: Callable[[], int]) -> None:
        self._source = source
        self._transactions = transactions
        self._count = 0
        self._grew = source.beat

    @property
    def latest(self) -> float:
        """The time by the monotonic clock."""
        count = self._transactions()
        if count != self._count:
            self._count, self._grew = count, time.monotonic()
        return max(self._source.beat, self._grew)
