# SPDX-License-Identifier: Apache-2.0
"""Look for differences between engine, twin and packets for as long as asked: `make fuzz-packets SECONDS=3600`.

Every seed is one cluster; `--start SEED --clusters 1` tries one again.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import queue
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from tests.dataplane.change_under_traffic import run
from tests.dataplane.drawing import case
from tests.dataplane.fabric import Fabric
from tests.dataplane.prober import Prober
from tests.dataplane.reducing import reduced
from tests.dataplane.trial import Bench, told

if TYPE_CHECKING:
    from multiprocessing.queues import Queue

STEPS: Final = 5
PROBES: Final = 450
EVERY: Final = 30.0
CHANGES: Final = 300


class Seen(NamedTuple):
    """What one seed came to; `text` is empty unless there was a difference."""

    seed: int
    states: int
    probes: int
    passed: int
    text: str


def work(first: int, stride: int, end: float, last: int, results: Queue[Seen]) -> None:
    """Try seeds until the time is over or `last` is reached."""
    with Fabric() as fabric, Prober(fabric) as prober, Bench(fabric, prober) as bench:
        for seed in range(first, last, stride):
            if time.monotonic() > end:
                break
            wanted = case(seed, STEPS)
            outcome = bench.run(wanted, PROBES)
            text = ""
            if outcome.differences:
                smaller = reduced(bench, wanted, outcome)
                text = "\n".join((*told(wanted, outcome), "", "as little as shows it:", *told(*smaller)))
            results.put(Seen(seed, outcome.states, outcome.probes, outcome.passed, text))


class Tally:
    """Sums, and when they were last told."""

    def __init__(self) -> None:
        """Begin now."""
        self.began = self._told = time.monotonic()
        self.clusters = self.states = self.probes = self.passed = self.differences = 0

    def take(self, seen: Seen) -> None:
        """Add what one seed came to."""
        self.clusters += 1
        self.states += seen.states
        self.probes += seen.probes
        self.passed += seen.passed
        self.differences += bool(seen.text)

    def due(self) -> bool:
        """Return whether it is time to tell, once in half a minute."""
        now = time.monotonic()
        if now - self._told < EVERY:
            return False
        self._told = now
        return True

    def __str__(self) -> str:
        """Return it as one line."""
        return (
            f"{time.monotonic() - self.began:,.0f} s: {self.clusters:,} clusters, {self.states:,} states, "
            f"{self.probes:,} probes ({self.passed:,} passed, {self.probes - self.passed:,} did not), "
            f"{self.differences} clusters with a difference"
        )


def main() -> int:
    """Run it; return 1 if anything differed."""
    parser = argparse.ArgumentParser(prog="python -m tests.dataplane.fuzz", description=__doc__)
    parser.add_argument("--seconds", type=float, default=float(os.environ.get("PODFENCE_FUZZ_SECONDS", "60")))
    parser.add_argument("--start", type=int, default=1_000_000, help="the first seed")
    parser.add_argument("--clusters", type=int, default=sys.maxsize // 2, help="stop after this many")
    parser.add_argument("--connections", type=int, default=0, help="then change policies under so many connections")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    arguments = parser.parse_args()
    context = multiprocessing.get_context("spawn")
    results: Queue[Seen] = context.Queue()
    tally = Tally()
    end, last = time.monotonic() + arguments.seconds, arguments.start + arguments.clusters
    tell = partial(print, flush=True)
    workers = [
        context.Process(target=work, args=(arguments.start + number, arguments.workers, end, last, results))
        for number in range(arguments.workers)
    ]
    for worker in workers:
        worker.start()
    highest = arguments.start
    while any(worker.is_alive() for worker in workers) or not results.empty():
        try:
            seen = results.get(timeout=1)
        except queue.Empty:
            continue
        tally.take(seen)
        highest = max(highest, seen.seed)
        if seen.text:
            tell(f"\nseed {seen.seed}\n{seen.text}\n")
        if tally.due():
            tell(tally)
    tell(f"seeds {arguments.start} to {highest}\n{tally}")
    failed = [worker.exitcode for worker in workers if worker.exitcode]
    if failed:
        tell(f"{len(failed)} of {len(workers)} workers ended before their time")
    if not arguments.connections:
        return 1 if tally.differences or failed else 0
    with tempfile.TemporaryDirectory() as folder:
        change = run(Path(folder), seed=arguments.start, changes=CHANGES, connections=arguments.connections)
    tell(change, *change.lost[:5], *change.passed[:5], sep="\n")
    return 1 if tally.differences or failed or change.lost or change.passed else 0


if __name__ == "__main__":
    sys.exit(main())
