# SPDX-License-Identifier: Apache-2.0
"""Messages that are not repeated all the time."""

from __future__ import annotations

from typing import Final

AGAIN: Final = 60.0
"""Seconds after which the same is said again."""


class Complaints:
    """Remembers what was said in the last minute."""

    def __init__(self) -> None:
        """Start with nothing said."""
        self._said: dict[str, float] = {}

    def is_due(self, text: str, now: float) -> bool:
        """Return whether a text was not said within the last minute; it counts as said now if so."""
        self._said = {key: said for key, said in self._said.items() if now - said < AGAIN}
        if text in self._said:
            return False
        self._said[text] = now
        return True
