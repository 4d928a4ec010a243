# SPDX-License-Identifier: Apache-2.0
"""How much of what is random a run tries: the same few on every run, or with PODFENCE_LONG many, and new ones.

Tests name what the long run is to try. `make test` tries a part of that, because a change waits for it.
"""

from __future__ import annotations

import os
from typing import Final

from hypothesis import HealthCheck, settings

LONG: Final = bool(os.environ.get("PODFENCE_LONG"))
_PART: Final = 10


def tried(examples: int) -> settings:
    """Return the settings of a test with random examples.

    A tenth of `examples`, the same ones, are tried on every run, and all of them, new ones, with PODFENCE_LONG;
    PODFENCE_EXAMPLES asks for that many new ones.
    """
    wanted = int(os.environ.get("PODFENCE_EXAMPLES") or (examples if LONG else 0))
    return settings(
        max_examples=wanted or part(examples), derandomize=not wanted, suppress_health_check=list(HealthCheck)
    )


def part(whole: int) -> int:
    """Return how many of so many seeds or steps are tried: all with PODFENCE_LONG, otherwise a tenth."""
    return whole if LONG else -(-whole // _PART)
