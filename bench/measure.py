# SPDX-License-Identifier: Apache-2.0
"""A command measured from outside, as a whole process: wall clock, processor time, peak memory.

A small process in between starts it (see `alone.py`), so the memory of the one that measures does not matter.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

_KEPT = 64 * 1024
_SHOWN_OF_OUTPUT = 300
_HERE = Path(__file__).resolve().parent
_ALONE = _HERE / "alone.py"
_BYTECODE = _HERE / "results" / "bytecode"


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

    Of the output the first `kept` bytes are returned. Raises CalledProcessError if it cannot be started.
    """
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as complaints, tempfile.TemporaryFile() as told:
        subprocess.run(
            [sys.executable, "-IS", _ALONE, str(told.fileno()), str(limit), *command],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=complaints,
            env=_environment(),
            pass_fds=[told.fileno()],
            check=True,
        )
        for file in (out, complaints, told):
            file.seek(0)
        wall, cpu, memory, code, late = json.loads(told.read())
        texts = [file.read(size).decode(errors="replace") for file, size in ((out, kept), (complaints, _KEPT))]
        return Run(wall, cpu, memory, code, texts[0], texts[1], late)


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


def smallest_memory() -> float:
    """Return the least peak in MiB that can be seen of a command: that of the process in between."""
    return once(["true"], limit=20).memory


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
