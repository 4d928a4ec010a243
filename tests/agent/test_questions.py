# SPDX-License-Identifier: Apache-2.0
"""Questions to the loop: answered in its thread, when model and kernel agree, and never left open."""

from __future__ import annotations

import threading
from concurrent.futures import CancelledError
from queue import SimpleQueue
from typing import TYPE_CHECKING

import pytest

from podfence.agent.loop import Agent
from podfence.agent.node.inbox import QueueSource
from podfence.agent.source import Bookmark, Synced
from podfence.dataplane.settings import Settings
from podfence.nft.errors import NftError
from podfence.policy.options import Options
from tests.agent.live import PATIENCE, added
from tests.agent.test_loop import START, more
from tests.nft.fake import FakeRunner

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from concurrent.futures import Future

    from podfence.agent.source import Notice
    from podfence.nft.transaction import Transaction


class Stubborn(FakeRunner):
    """A kernel that refuses everything while told to."""

    refuses = False

    def run(self, transaction: Transaction) -> None:
        if self.refuses:
            raise NftError("no")
        super().run(transaction)


class Busy(QueueSource):
    """A source that does something, once, when the loop has just received."""

    after: Callable[[], None] | None = None

    def receive(self, timeout: float | None) -> list[Notice]:
        found = super().receive(timeout)
        after, self.after = self.after, None
        if after is not None:
            after()
        return found


class Looping:
    """An agent in a thread."""

    def __init__(self) -> None:
        self.source = Busy()
        self.runner = Stubborn()
        self.agent = Agent(self.source, "n1", self.runner, Options(), Settings(), lambda report: None)
        self.thread = threading.Thread(target=self.agent.run)
        self.thread.start()

    def end(self) -> None:
        self.source.close()
        self.thread.join(PATIENCE)


@pytest.fixture
def looping() -> Iterator[Looping]:
    found = Looping()
    yield found
    found.end()


def test_a_question_is_answered_in_the_loops_thread_also_before_the_first_list(looping: Looping) -> None:
    found = looping.agent.ask(threading.current_thread)
    looping.source.wake()
    assert found.result(PATIENCE) is looping.thread


def test_what_was_delivered_before_a_question_is_in_the_kernel_when_it_is_answered(looping: Looping) -> None:
    looping.source.put([*added(START), Bookmark(1), Synced()])
    for revision in range(2, 22):
        looping.source.put([more(revision), Bookmark(revision)])
        found = looping.agent.ask(lambda: looping.agent.status().revision)
        looping.source.wake()
        assert found.result(PATIENCE) == revision


def test_a_question_that_comes_while_the_loop_works_waits_for_what_was_delivered_before_it(looping: Looping) -> None:
    looping.source.put([*added(START), Bookmark(1), Synced()])
    first = looping.agent.ask(lambda: looping.agent.status().revision)
    looping.source.wake()
    assert first.result(PATIENCE) == 1
    found: SimpleQueue[Future[int | None]] = SimpleQueue()

    def late() -> None:
        looping.source.put([more(2), Bookmark(2)])
        found.put(looping.agent.ask(lambda: looping.agent.status().revision))
        looping.source.wake()

    looping.source.after = late
    looping.source.wake()
    assert found.get(timeout=PATIENCE).result(PATIENCE) == 2


def test_a_question_is_answered_too_while_the_kernel_refuses(looping: Looping) -> None:
    looping.runner.refuses = True
    looping.source.put([*added(START), Bookmark(1), Synced()])
    found = looping.agent.ask(lambda: looping.agent.status().enforcing)
    looping.source.wake()
    assert found.result(PATIENCE) is False


def test_who_asks_gets_the_exception_and_the_loop_goes_on(looping: Looping) -> None:
    first, second = looping.agent.ask(lambda: 1 // 0), looping.agent.ask(lambda: 2)
    looping.source.wake()
    with pytest.raises(ZeroDivisionError):
        first.result(PATIENCE)
    assert second.result(PATIENCE) == 2


def test_a_question_that_nobody_waits_for_any_more_is_not_asked(looping: Looping) -> None:
    asked: list[int] = []
    first = looping.agent.ask(lambda: asked.append(1))
    first.cancel()
    second = looping.agent.ask(lambda: asked.append(2))
    looping.source.wake()
    second.result(PATIENCE)
    assert asked == [2]


def test_questions_that_are_left_when_the_loop_ends_or_come_later_are_cancelled() -> None:
    source = QueueSource()
    agent = Agent(source, "n1", FakeRunner(), Options(), Settings(), lambda report: None)
    found = agent.ask(lambda: 1)
    source.close()
    agent.run()
    for future in (found, agent.ask(lambda: 2)):
        with pytest.raises(CancelledError):
            future.result(0)
