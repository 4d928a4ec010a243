# SPDX-License-Identifier: Apache-2.0
"""A bar with counts on a terminal, once something takes longer than a second."""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import TextIO

    from rich.progress import Progress

PATIENCE = 1.0
"""Seconds without a bar; most commands end before."""


class Bar:
    """A bar that appears when `advance` is called `PATIENCE` seconds after the start by `clock`, or later."""

    def __init__(self, stream: TextIO, task: str, clock: Callable[[], float] = time.monotonic) -> None:
        """Start the time; `task` says what is being done."""
        self._stream = stream
        self._task = task
        self._clock = clock
        self._start = clock()
        self._progress: Progress | None = None

    def advance(self, done: float, total: int) -> None:
        """Show that `done` of `total` are done."""
        if self._progress is None:
            if self._clock() - self._start < PATIENCE:
                return
            self._progress = self._open()
            self._progress.add_task(self._task, total=total)
        self._progress.update(self._progress.task_ids[0], completed=done, total=total)

    def close(self) -> None:
        """Take the bar away."""
        if self._progress is not None:
            self._progress.stop()

    def _open(self) -> Progress:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskProgressColumn, TextColumn

        columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), MofNCompleteColumn())
        progress = Progress(*columns, console=Console(file=self._stream), transient=True)
        progress.start()
        return progress


@contextmanager
def shown(stream: TextIO, task: str, *, quiet: bool) -> Iterator[Callable[[float, int], None] | None]:
    """Give the function to call while `task` is done; None if nobody would see a bar on `stream`."""
    if quiet or not stream.isatty():
        yield None
        return
    bar = Bar(stream, task)
    try:
        yield bar.advance
    finally:
        bar.close()
