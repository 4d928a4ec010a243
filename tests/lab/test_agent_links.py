# SPDX-License-Identifier: Apache-2.0
"""A lab's agent is started again whatever way it ends, and however often that fails."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

import pytest

from podfence.agent.reports import Report
from podfence.agent.source import Bookmark, Synced
from podfence.agent.wire import decode_notice, encode_report
from podfence.lab.errors import LabError
from podfence.lab.journal import Journal
from podfence.lab.links import AgentLink
from podfence.lab.node_agent import LENGTH, frame
from podfence.lab.running import FIRST_DELAY, LAST_DELAY, restart_delay

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Iterator

PATIENCE = 20.0
REPORT = frame(encode_report(Report(node="node-1", enforcing=True, revision=7)))


class Agents:
    """Stands for the processes: each agent says what it is to say, and dies; the last one goes on."""

    def __init__(self, *lives: bytes | LabError) -> None:
        self._lives = list(lives)
        self.started = 0
        self.last: socket.socket | None = None

    def spawn(self, connection: socket.socket) -> int:
        if not self._lives:
            raise LabError("the test is over")
        self.started += 1
        life = self._lives.pop(0)
        if isinstance(life, LabError):
            raise life
        own = connection.dup()
        own.sendall(life)
        if self._lives:
            own.close()
        else:
            self.last = own
        # No process has this number: who kills it finds nothing.
        return 1 << 30


@pytest.fixture
def start() -> Iterator[Callable[[Agents], tuple[AgentLink, Journal]]]:
    opened: list[Agents] = []

    def begin(agents: Agents) -> tuple[AgentLink, Journal]:
        opened.append(agents)
        journal = Journal()
        link = AgentLink("node-1", agents.spawn, journal, threading.RLock(), lambda: ([], 7))
        link.start()
        return link, journal

    yield begin
    for agents in opened:
        if agents.last is not None:
            agents.last.close()


def lines(journal: Journal) -> str:
    return "\n".join(journal.lines())


@pytest.mark.parametrize(
    "last_words",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(REPORT[:2], id="half a length"),
        pytest.param(REPORT[:-3], id="half a report"),
        pytest.param(LENGTH.pack(3) + b"\xc1\xc1\xc1", id="no report"),
    ],
)
def test_an_agent_is_started_again_whatever_it_said_last(
    start: Callable[[Agents], tuple[AgentLink, Journal]], last_words: bytes
) -> None:
    agents = Agents(last_words, REPORT)
    link, journal = start(agents)
    assert link.wait(7, time.monotonic() + PATIENCE), lines(journal)
    assert agents.started == 2
    assert link.is_running
    assert "the lab starts another agent" in lines(journal)


def test_an_agent_that_cannot_be_started_is_tried_again_until_it_can(
    start: Callable[[Agents], tuple[AgentLink, Journal]],
) -> None:
    agents = Agents(b"", LabError("no room"), LabError("no room"), REPORT)
    link, journal = start(agents)
    assert link.wait(7, time.monotonic() + PATIENCE), lines(journal)
    assert agents.started == 4
    assert "cannot be started: no room; the next try is in 0.4 s" in lines(journal)
    assert "cannot be started: no room; the next try is in 0.8 s" in lines(journal)


def test_an_agent_is_told_everything_from_the_beginning_each_time(
    start: Callable[[Agents], tuple[AgentLink, Journal]],
) -> None:
    agents = Agents(b"", REPORT)
    link, _ = start(agents)
    assert link.wait(7, time.monotonic() + PATIENCE)
    assert agents.last is not None
    agents.last.settimeout(PATIENCE)
    with agents.last.makefile("rb") as stream:
        told = [decode_notice(stream.read(LENGTH.unpack(stream.read(LENGTH.size))[0])) for _ in range(2)]
    assert told == [Synced(), Bookmark(7)]


@pytest.mark.parametrize(
    ("starts", "seconds"),
    [(1, FIRST_DELAY), (2, 1.0), (3, 2.0), (7, LAST_DELAY), (1026, LAST_DELAY), (10**6, LAST_DELAY)],
)
def test_a_container_is_started_again_after_a_pause_that_doubles_up_to_a_limit(starts: int, seconds: float) -> None:
    assert restart_delay(starts) == seconds
