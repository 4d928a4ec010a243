# SPDX-License-Identifier: Apache-2.0
"""A bar with counts on a terminal, once something takes longer than a second."""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import TextIO

    from click._termui_impl import ProgressBar

PATIENCE = 1.0
"""Seconds without a bar; most commands end before."""

LINE_BEFORE_AWAY = "\x1b[1A\x1b[2K"
"""What clears the line before the cursor's: a bar that is finished ends its line."""


class Bar:
    """A bar that appears when `advance` is called `PATIENCE` seconds after the start by `clock`, or later."""

    def __init__(self, stream: TextIO, task: str, clock: Callable[[], float] = time.monotonic) -> None:
        """Start the time; `task` says what is being done."""
        self._stream = stream
        self._task = task
        self._clock = clock
        self._start = clock()
        self._shown: ProgressBar[int] | None = None

    def advance(self, done: float, total: int) -> None:
        """Show that `done` of `total` are done."""
        if self._shown is None:
            if self._clock() - self._start < PATIENCE:
                return
            self._shown = click.progressbar(
                length=total, label=self._task, show_pos=True, show_eta=False, file=self._stream
            )
        self._shown.length = total
        self._shown.update(int(done) - self._shown.pos)

    def close(self) -> None:
        """Take the bar away."""
        if self._shown is not None:
            self._shown.render_finish()
            self._stream.write(LINE_BEFORE_AWAY)
            self._stream.flush()


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
