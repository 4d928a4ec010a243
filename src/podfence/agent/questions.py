# SPDX-License-Identifier: Apache-2.0
"""Questions to the thread of the loop, from other threads: answered where nothing changes meanwhile."""

from __future__ import annotations

from concurrent.futures import Future
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

_Answer = TypeVar("_Answer")


class Questions:
    """Those that wait for an answer."""

    def __init__(self) -> None:
        self._waiting: SimpleQueue[tuple[Callable[[], Any], Future[Any]]] = SimpleQueue()
        self._due = 0
        self._closed = False

    def put(self, question: Callable[[], _Answer]) -> Future[_Answer]:
        """Return the future answer, which is cancelled after `close`; safe to call from any thread."""
        future: Future[_Answer] = Future()
        self._waiting.put((question, future))
        if self._closed:
            self._cancel()
        return future

    def note(self) -> bool:
        """Let those that are there by now be answered next; return whether there are new ones."""
        before, self._due = self._due, self._waiting.qsize()
        return self._due > before

    def answer(self) -> None:
        """Answer those that were noted; what one raises, whoever asked is told."""
        due, self._due = self._due, 0
        for _ in range(due):
            question, future = self._waiting.get()
            if not future.set_running_or_notify_cancel():
                continue
            try:
                future.set_result(question())
            except Exception as error:  # noqa: BLE001 - the loop goes on
                future.set_exception(error)

    def close(self) -> None:
        """Let nobody wait any longer, now or later."""
        self._closed = True
        self._cancel()

    def _cancel(self) -> None:
        with suppress(Empty):
            while True:
                self._waiting.get_nowait()[1].cancel()
