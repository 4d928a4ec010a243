# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import os
import threading

import pytest

from podfence.agent.node import inbox as module
from podfence.agent.node.inbox import Beat, QueueSource
from podfence.agent.source import Bookmark, SourceClosed, Synced


class Pipe:
    """A watch that tells when something was written to its pipe."""

    def __init__(self) -> None:
        self._read, self.write = os.pipe()

    def fileno(self) -> int:
        return self._read

    def begin(self) -> None: ...

    def end(self, transactions: int) -> None: ...

    def look(self) -> bool:
        return bool(os.read(self._read, 1))


def test_what_was_put_is_received_in_order_and_at_once() -> None:
    source = QueueSource()
    source.put([Bookmark(1), Bookmark(2)])
    source.put([Synced()])

    assert source.receive(None) == [Bookmark(1), Bookmark(2), Synced()]


def test_a_reader_that_waits_wakes_when_another_thread_puts() -> None:
    source = QueueSource()
    threading.Timer(0.02, source.put, ([Synced()],)).start()

    assert source.receive(60) == [Synced()]


def test_nothing_comes_after_the_time_to_wait() -> None:
    assert QueueSource().receive(0.01) == []


def test_a_reader_without_a_limit_comes_back_to_show_that_it_lives(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BEAT", 0.01)
    source = QueueSource()
    source.beat = 0.0

    assert source.receive(None) == []
    assert source.beat > 0.0


def test_the_watch_ends_the_wait() -> None:
    watch = Pipe()
    source = QueueSource(watch)
    os.write(watch.write, b"x")

    assert source.receive(60) == []


def test_what_was_put_before_the_end_is_received_first() -> None:
    source = QueueSource()
    source.put([Synced()])
    source.close()

    assert source.receive(None) == [Synced()]
    with pytest.raises(SourceClosed):
        source.receive(None)


def test_a_loop_lives_that_does_not_come_for_notices_while_it_carries_out_one_transaction_after_the_other() -> None:
    source, done = QueueSource(), [0]
    source.beat = 0.0
    beat = Beat(source, lambda: done[0])
    assert beat.latest == 0.0
    done[0] += 250
    seen = beat.latest
    assert seen > 0.0
    assert beat.latest == seen
