# SPDX-License-Identifier: Apache-2.0
"""What the numbers depend on, and what disturbed them: the machine, and the other work on it meanwhile."""

from __future__ import annotations

import os
import platform
import time
from pathlib import Path

_STATISTICS = Path("/proc/stat")
_IDLE = slice(3, 5)
_ALL = slice(0, 8)
_NOTICEABLE = 0.1


def description() -> str:
    """Return cores, Python and kernel; nothing that tells whose machine it is."""
    cores = len(os.sched_getaffinity(0))
    python = f"{platform.python_implementation()} {platform.python_version()}"
    # What follows the version is the name that somebody gave to their kernel.
    kernel = platform.release().split("-")[0]
    return f"{cores} cores ({platform.machine()}) with {python} and {platform.system()} {kernel}"


class OtherWork:
    """The processor time that neither this process nor its children used since this was made."""

    def __init__(self) -> None:
        """Start to look."""
        self._start = time.perf_counter()
        self._others = _others()

    def cores(self) -> float:
        """Return how many cores were taken by others on average, 0 where that cannot be known."""
        return max(0.0, (_others() - self._others) / (time.perf_counter() - self._start))

    def __str__(self) -> str:
        """Return a sentence if it was enough to make wall clocks longer, or nothing."""
        cores = self.cores()
        return (
            f"Other work took {cores:.1f} cores meanwhile, so wall clocks may be too long."
            if cores > _NOTICEABLE
            else ""
        )


def _others() -> float:
    if not _STATISTICS.exists():
        return 0.0
    ticks = [int(text) for text in _STATISTICS.read_text().split("\n", 1)[0].split()[1:]]
    busy = sum(ticks[_ALL]) - sum(ticks[_IDLE])
    own = os.times()
    return busy / os.sysconf("SC_CLK_TCK") - (own.user + own.system + own.children_user + own.children_system)
