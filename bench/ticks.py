# SPDX-License-Identifier: Apache-2.0
"""Events for an agent that come ten times a second, and what the processor works for them."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from podfence.agent.source import SourceClosed

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from podfence.agent.source import Notice
    from podfence.cluster.state import Event

_TICK: Final = 0.1


class Ticks:
    """A source that brings events ten times a second after it was idle for one, and measures what they take."""

    def __init__(self, begin: Sequence[Notice], events: Sequence[Event], idle: Callable[[], object]) -> None:
        """Bring what there is at the beginning at once; `idle` is called when the agent first waits."""
        self._pending: list[Sequence[Notice]] = [begin]
        self._events = list(events)
        self._idle = idle
        self._due = 0.0
        self._spent = 0.0

    def receive(self, timeout: float | None) -> Sequence[Notice]:
        """Return what has come, as a source does."""
        if self._pending:
            return self._pending.pop()
        if not self._due and (timeout is None or timeout > _TICK):
            self._idle()
            self._due, self._spent = time.monotonic() + _TICK, time.process_time()
        now = time.monotonic()
        until = min([self._due or now + _TICK, *([] if timeout is None else [now + timeout])])
        time.sleep(max(0.0, until - now))
        if not self._due or until < self._due:
            return []
        if not self._events:
            raise SourceClosed
        self._due += _TICK
        return [self._events.pop(0)]

    @property
    def spent(self) -> float:
        """The seconds of the processor since the agent first waited."""
        return time.process_time() - self._spent
