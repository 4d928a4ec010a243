# SPDX-License-Identifier: Apache-2.0
"""A command measured from outside, as a whole process: wall clock, processor time, peak memory.

The kernel counts the memory of a process that starts another into the peak of the other, so the one that
measures must stay smaller than what it measures: clusters are generated, and loaded, only in children.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

_MEBIBYTE_IN_KIBIBYTES = 1024
_KEPT = 64 * 1024
_SHOWN_OF_OUTPUT = 300
_BYTECODE = Path(__file__).resolve().parent / "results" / "bytecode"


@dataclass(frozen=True, slots=True)
class Run:
    """One run: seconds of wall clock and processor, peak memory in MiB, and the start of what came of it."""

    wall: float
    cpu: float
    memory: float
    code: int
    output: str
    complaint: str
    late: bool = False


@dataclass(frozen=True, slots=True)
class Measured:
    """The medians of several runs; `failure` says why there is no number, or is empty.

    `spread` is the slowest run's wall clock less the fastest's.
    """

    wall: float = 0.0
    cpu: float = 0.0
    memory: float = 0.0
    spread: float = 0.0
    runs: int = 0
    failure: str = ""


def once(command: Sequence[str | Path], *, limit: float, kept: int = _KEPT) -> Run:
    """Run a command to its end, or kill it after `limit` seconds; the output goes to a file, as in a pipeline.

    Of the output the first `kept` bytes are returned.
    """
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as complaints:
        start = time.perf_counter()
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=complaints, env=_environment())
        late = threading.Event()

        def end() -> None:
            late.set()
            process.kill()

        timer = threading.Timer(limit, end)
        timer.start()
        try:
            _, status, usage = os.wait4(process.pid, 0)
        finally:
            timer.cancel()
        wall = time.perf_counter() - start
        # The process is already waited for; without this Popen would warn that it still runs.
        process.returncode = os.waitstatus_to_exitcode(status)
        out.seek(0)
        complaints.seek(0)
        return Run(
            wall,
            usage.ru_utime + usage.ru_stime,
            usage.ru_maxrss / _MEBIBYTE_IN_KIBIBYTES,
            process.returncode,
            out.read(kept).decode(errors="replace"),
            complaints.read(_KEPT).decode(errors="replace"),
            late.is_set(),
        )


def several(
    command: Sequence[str | Path],
    *,
    runs: int,
    limit: float = 120.0,
    codes: Collection[int] = (0,),
    says: str = "",
    warm: bool = True,
) -> Measured:
    """Return the medians of `runs` runs, after one that does not count if `warm`.

    A run fails if it takes longer than `limit` seconds, ends with a code that is not in `codes`, or does
    not print `says` soon; then the failure is the answer, and no further run is made.
    """
    samples: list[Run] = []
    for number in range(runs + warm):
        run = once(command, limit=limit)
        failure = _failure(run, limit, codes, says)
        if failure:
            return Measured(failure=failure, wall=run.wall, cpu=run.cpu, memory=run.memory)
        if number or not warm:
            samples.append(run)
    walls = [run.wall for run in samples]
    return Measured(
        statistics.median(walls),
        statistics.median(run.cpu for run in samples),
        statistics.median(run.memory for run in samples),
        max(walls) - min(walls),
        len(samples),
    )


def module(name: str, *arguments: str | Path) -> list[str | Path]:
    """Return the command that runs a module of this folder in a process of its own."""
    return [sys.executable, "-m", name, *arguments]


def _environment() -> dict[str, str]:
    """Return the environment without what changes how Python runs: an installed program has its bytecode at hand."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    return {**kept, "PYTHONPYCACHEPREFIX": str(_BYTECODE)}


def _failure(run: Run, limit: float, codes: Collection[int], says: str) -> str:
    if run.late:
        return f"did not end within {limit:.0f} s"
    if run.code not in codes:
        last = run.complaint.strip().splitlines()[-1:] or [""]
        return f"exit code {run.code}: {last[0][:_SHOWN_OF_OUTPUT]}"
    if says not in run.output:
        return f"did not print {says!r}: {run.output[:_SHOWN_OF_OUTPUT]!r}"
    return ""
