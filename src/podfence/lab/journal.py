# SPDX-License-Identifier: Apache-2.0
"""What happened in a lab, line by line: kept for a while, and told to whoever listens."""

from __future__ import annotations

import threading
import time
from collections import deque
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

KEPT: Final = 10_000
"""How many lines are kept; older ones are forgotten."""


class Journal:
    """Lines with the name of who said them; safe to use from several threads."""

    def __init__(self) -> None:
        """Start empty."""
        self._lines: deque[str] = deque(maxlen=KEPT)
        self._count = 0
        self._changed = threading.Condition()

    def say(self, source: str, text: str) -> None:
        """Add the lines of a text, each after the name of its source."""
        with self._changed:
            for line in text.splitlines():
                self._lines.append(f"{source}: {line}")
                self._count += 1
            self._changed.notify_all()

    def lines(self) -> list[str]:
        """Return the lines that are kept."""
        with self._changed:
            return list(self._lines)

    def follow(self, beat: float) -> Iterator[list[str]]:
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


def follow(path: Path, beat: float) -> Iterator[list[str]]:
    """Yield the lines of a file, then new ones as they come; an empty list when `beat` seconds bring none."""
    with path.open(encoding="utf-8", errors="replace") as stream:
        while True:
            lines = [line.rstrip("\n") for line in stream]
            yield lines
            if not lines:
                time.sleep(beat)
