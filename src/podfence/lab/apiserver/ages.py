# SPDX-License-Identifier: Apache-2.0
"""Times as kubectl shows them: how long ago, in one or two units."""

from __future__ import annotations

import datetime as dt
from typing import Final

_MINUTE: Final = 60
_HOUR: Final = 60 * _MINUTE
_DAY: Final = 24 * _HOUR
_YEAR: Final = 365 * _DAY
UNKNOWN: Final = "<unknown>"


def seconds(moment: object) -> float | None:
    """Return the time of a timestamp in seconds since the epoch, None for none."""
    if not isinstance(moment, str) or len(moment) < 19:
        return None
    try:
        return dt.datetime.fromisoformat(f"{moment[:19]}+00:00").timestamp()
    except ValueError:
        return None


def age(moment: object, now: float) -> str:
    """Return how long ago a timestamp was."""
    then = seconds(moment)
    return UNKNOWN if then is None else duration(now - then)


def duration(length: float) -> str:
    """Return a length of time in words: ``5m30s``, ``3h``, ``12d``."""
    left = int(length)
    if left < -1:
        return "<invalid>"
    if left < 2 * _MINUTE:
        return f"{max(0, left)}s"
    if left < 10 * _MINUTE:
        return _two(left, _MINUTE, "m", 1, "s")
    if left < 3 * _HOUR:
        return f"{left // _MINUTE}m"
    if left < 8 * _HOUR:
        return _two(left, _HOUR, "h", _MINUTE, "m")
    if left < 2 * _DAY:
        return f"{left // _HOUR}h"
    if left < 8 * _DAY:
        return _two(left, _DAY, "d", _HOUR, "h")
    if left < 2 * _YEAR:
        return f"{left // _DAY}d"
    if left < 8 * _YEAR:
        return _two(left, _YEAR, "y", _DAY, "d")
    return f"{left // _YEAR}y"


def _two(left: int, large: int, one: str, small: int, other: str) -> str:
    rest = left % large // small
    return f"{left // large}{one}{rest}{other}" if rest else f"{left // large}{one}"
