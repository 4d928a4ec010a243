# SPDX-License-Identifier: Apache-2.0
"""Times as kubectl shows them: how long ago, in one or two units."""

from __future__ import annotations

import datetime as dt
import math
from typing import Final

_MINUTE: Final = 60
_HOUR: Final = 60 * _MINUTE
_DAY: Final = 24 * _HOUR
_YEAR: Final = 365 * _DAY
UNKNOWN: Final = "<unknown>"
# Below how many seconds which unit is shown, and which smaller one.
_STEPS: Final = (
    (2 * _MINUTE, 1, "s", 1, ""),
    (10 * _MINUTE, _MINUTE, "m", 1, "s"),
    (3 * _HOUR, _MINUTE, "m", 1, ""),
    (8 * _HOUR, _HOUR, "h", _MINUTE, "m"),
    (2 * _DAY, _HOUR, "h", 1, ""),
    (8 * _DAY, _DAY, "d", _HOUR, "h"),
    (2 * _YEAR, _DAY, "d", 1, ""),
    (8 * _YEAR, _YEAR, "y", _DAY, "d"),
    (math.inf, _YEAR, "y", 1, ""),
)


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
    _, size, unit, rest_size, rest_unit = next(step for step in _STEPS if left < step[0])
    rest = left % size // rest_size if rest_unit else 0
    return f"{max(0, left) // size}{unit}" + (f"{rest}{rest_unit}" if rest else "")
