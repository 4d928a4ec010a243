# SPDX-License-Identifier: Apache-2.0
"""What happened in a lab, line by line, with the time: kept for a while, and sent to whoever follows it."""

from __future__ import annotations

import threading
import time
from collections import deque
from typing import TYPE_CHECKING, Final

from podfence.lab.lines import Line

if TYPE_CHECKING:
    from collections.abc import Iterator

KEPT: Final = 10_000
"""How many lines are kept; older ones are forgotten."""


class Journal:
    """Lines with the time and the name of who said them; safe to use from several threads."""

    def __init__(self) -> None:
        self._lines: deque[Line] = deque(maxlen=KEPT)
        self._count = 0
        self._changed = threading.Condition()

    def say(self, source: str, text: str) -> None:
        """Add the lines of a text, each with the name of its source."""
        with self._changed:
            now = time.time_ns()
            for line in text.splitlines():
                self._lines.append(Line(now, source, line))
                self._count += 1
            self._changed.notify_all()

    def follow(self, beat: float) -> Iterator[list[Line]]:
        """Yield the lines that are kept, then new ones as they come; an empty list when `beat` seconds bring none."""
        seen = 0
        while True:
            with self._changed:
                if self._count == seen:
                    self._changed.wait(beat)
                fresh = min(self._count - seen, len(self._lines))
                seen = self._count
                lines = list(self._lines)[len(self._lines) - fresh :]
            yield lines
