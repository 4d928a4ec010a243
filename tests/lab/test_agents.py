# SPDX-License-Identifier: Apache-2.0
"""A lab's agent is started again whatever way it ends, and its log is read into the journal."""

from __future__ import annotations

import json
import os
import threading
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner

from podfence.cli.main import commands
from podfence.kube.objects import Key
from podfence.lab import agents, sandbox
from podfence.lab.agents import NodeAgent
from podfence.lab.errors import LabError
from podfence.lab.journal import Journal
from podfence.lab.running import FIRST_DELAY, LAST_DELAY, Running
from tests.lab.labs import fresh_name, within
from tests.lab.pods import spec

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PATIENCE = 120.0


class Lives:
    """Stands for the processes: each agent writes its log, and dies; the last one goes on until `end`."""

    def __init__(self, *lives: bytes | LabError) -> None:
        self._lives = list(lives)
        self._last = threading.Event()
        self._open: list[int] = []
        self.agent: NodeAgent | None = None

    def spawn(self, log: int) -> int:
        if not self._lives:
            raise LabError("the test is over")
        life = self._lives.pop(0)
        if isinstance(life, LabError):
            raise life
        os.write(log, life)
        if not self._lives:
            self._open.append(os.dup(log))
            self._last.set()
        # No process has this number: who signals it finds nothing.
        return 1 << 30

    def wait(self) -> None:
        assert self._last.wait(PATIENCE)

    def end(self) -> None:
        """End the last agent, and wait for its threads: what draws at random meanwhile would fail other tests."""
        if self.agent is not None:
            # It would be started again for ever.
            vars(self.agent)["start"] = lambda: None
        for number in self._open:
            os.close(number)
        self._open.clear()
        while threads := [thread for thread in threading.enumerate() if is_of_agent(thread)]:
            threads[0].join(PATIENCE)
            assert not threads[0].is_alive()


def is_of_agent(thread: threading.Thread) -> bool:
    return isinstance(thread, threading.Timer) or thread.name == "agent node-1"


def logged(event: str, level: str = "info", **fields: object) -> bytes:
    return json.dumps({"event": event, "level": level, "time": "2026-11-29T20:00:00Z", **fields}).encode() + b"\n"


def programmed(name: str, kind: str = "NetworkPolicy", change: str = "added") -> bytes:
    """Return the line about a change that is in the kernel."""
    return logged("programmed", "debug", kind=kind, namespace="shop", name=name, change=change, seconds=0.25)


@pytest.fixture
def lives(request: pytest.FixtureRequest) -> Iterator[Lives]:
    found = Lives(*request.param)
    yield found
    found.end()


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(agents, "RESTART_DELAY", 0.001)


def begin(lives: Lives, folder: Path) -> tuple[NodeAgent, Journal]:
    """Return an agent after its last start."""
    journal = Journal()
    lives.agent = agent = NodeAgent("node-1", folder, lives.spawn, journal)
    agent.start()
    lives.wait()
    return agent, journal


def said(journal: Journal) -> list[str]:
    return [f"{line.source}: {line.text}" for line in next(journal.follow(0))]


def start(lives: Lives, folder: Path) -> tuple[NodeAgent, list[str]]:
    """Return an agent after its last start, and what was said until then."""
    agent, journal = begin(lives, folder)
    return agent, said(journal)


ENDED = "agent node-1: ended; the kernel continues to enforce its rules; the lab starts another agent"


@pytest.mark.parametrize(
    ("lives", "says"),
    [
        pytest.param([b"", b""], [ENDED], id="nothing"),
        pytest.param([b'{"event": "deni', b""], ['agent node-1: {"event": "deni', ENDED], id="half a line"),
        pytest.param([b"\xff\xfe\n", b""], ["agent node-1: \ufffd\ufffd", ENDED], id="no text"),
        pytest.param([b"[1]\n{}\n", b""], ["agent node-1: [1]", "agent node-1: {}", ENDED], id="no entry"),
        pytest.param(
            [b"Traceback\n  KeyError: 1\n", b"", b""],
            ["agent node-1: Traceback", "agent node-1:   KeyError: 1", ENDED, ENDED],
            id="a traceback, and once more",
        ),
    ],
    indirect=["lives"],
)
def test_an_agent_is_started_again_whatever_it_said_last(lives: Lives, says: list[str], tmp_path: Path) -> None:
    agent, lines = start(lives, tmp_path)
    assert lines == says
    assert agent.is_running
    # It runs, and nobody answers on its socket.
    assert agent.state == "behind"


@pytest.mark.parametrize("lives", [[LabError("no room"), LabError("no room"), b""]], indirect=True)
def test_an_agent_that_cannot_be_started_is_tried_again_later_each_time(lives: Lives, tmp_path: Path) -> None:
    agent, lines = start(lives, tmp_path)
    assert lines == ["agent node-1: cannot be started: no room; the next try is in 0.0 s"] * 2
    assert agent.is_running


@pytest.mark.parametrize(
    ("entry", "says"),
    [
        (logged("starting", node="node-1"), []),
        (logged("connection refused", "debug", logger="asyncio"), []),
        (logged("the kernel could not be programmed", "error"), ["the kernel could not be programmed"]),
        (logged("repaired changes", "warning", differences=["a", "b"]), ["repaired: a", "repaired: b"]),
        (logged("cut", flows=1), ["cut 1 established flow that policies now deny"]),
        (logged("cut", flows=2), ["cut 2 established flows that policies now deny"]),
        (
            logged(
                "denied",
                direction="ingress",
                source="10.0.0.1",
                source_name="shop/web",
                destination="10.0.0.2",
                protocol="TCP",
                port=80,
                policies=["shop/a", "shop/b"],
            ),
            ["denied ingress shop/web (10.0.0.1) -> 10.0.0.2 TCP 80 by shop/a,b"],
        ),
        (
            logged("stray", verdict="dropped", reason="unknown-source", interface="veth1", source="10.0.0.9", protocol="ICMP"),
            ["dropped unknown-source by veth1: 10.0.0.9 ICMP"],
        ),
    ],
    ids=lambda value: value.decode().partition('",')[0] if isinstance(value, bytes) else "",
)  # fmt: skip
def test_the_journal_says_what_people_want_to_know_of_an_agent_s_log(
    entry: bytes, says: list[str], tmp_path: Path
) -> None:
    lives = Lives(entry, b"")
    _, lines = start(lives, tmp_path)
    lives.end()
    assert lines == [*(f"agent node-1: {text}" for text in says), ENDED]


@pytest.mark.parametrize(("stays", "says"), [(True, ["agent node-1: no result"]), (False, [])])
def test_what_is_wrong_with_a_node_is_said_if_it_stays_so(
    stays: bool, says: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # What goes again is not said before, however long it takes to read of it.
    monkeypatch.setattr(agents, "DOUBT", 0.05 if stays else PATIENCE)
    gone = b"" if stays else logged("no longer found", code="pod-unbound")
    found = logged("no result", "error", code="pod-unbound", remedy="give one")
    lives = Lives(found + gone + programmed("b"))
    agent, journal = begin(lives, tmp_path)
    assert within(lambda: agent.real)
    for thread in threading.enumerate():
        if isinstance(thread, threading.Timer):
            thread.join(PATIENCE)
    assert said(journal) == says
    lives.end()


@pytest.mark.parametrize(
    "lives",
    [
        [
            programmed("web") + programmed("db") + programmed("db", change="deleted") + programmed("web-0", kind="Pod"),
            b"",
        ]
    ],
    indirect=True,
)
def test_how_long_a_policy_took_is_read_from_the_log_and_known_while_there_is_one(lives: Lives, tmp_path: Path) -> None:
    agent, _ = start(lives, tmp_path)
    assert agent.real == {Key("NetworkPolicy", "shop", "web"): 0.25}


def test_a_container_is_started_again_after_a_pause_that_doubles_up_to_a_limit() -> None:
    item = Running(spec("web"))
    assert [item.pause("main") for _ in range(8)] == [FIRST_DELAY, 1.0, 2.0, 4.0, 8.0, 16.0, LAST_DELAY, LAST_DELAY]
    # Two to that power is more than any float.
    assert {item.pause("main") for _ in range(1100)} == {LAST_DELAY}
    assert item.pause("beside") == FIRST_DELAY


def test_a_lab_without_what_its_agents_need_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sandbox, "_MODULES", ("aiohttp", "no_such_package"))
    refused = CliRunner().invoke(commands, ["lab", "up", "--name", fresh_name()])
    assert refused.exit_code == 2
    assert refused.stderr.endswith("a lab needs no_such_package: pip install 'podfence[agent]'\n")
