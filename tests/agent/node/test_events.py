# SPDX-License-Identifier: Apache-2.0
"""Fatal findings as Events: when a request is sent, what is in it, and what becomes of requests that fail."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest

from podfence.agent.node.events import CHANGED, SOLVED, STAYS, NodeEvents, reason
from podfence.agent.node.findings import NodeFinding
from podfence.kube.live.errors import ApiError, UnreachableError

MISSING = NodeFinding("fatal", "nft-missing", "nft cannot be started", "install it")
BRIDGE = NodeFinding("fatal", "bridge-not-filtered", "bridge cni0", "set it")
WARNING = NodeFinding("warning", "node-unknown", "no node", "name it")


BOOT = NodeFinding("warning", "boot-hold", "pods are not held", "name their range")


class Recorder:
    """Keeps what is sent; `failure` is raised in the place of an answer."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, str, dict[str, Any]]] = []
        self.failure: ApiError | None = None

    async def post(self, path: str, body: bytes) -> bytes:
        self.sent.append(("POST", path, msgspec.json.decode(body)))
        if self.failure is not None:
            raise self.failure
        return b"{}"


class Telling:
    """Events told at times that the test chooses, in seconds."""

    def __init__(self) -> None:
        self.server = Recorder()
        self.now = 1000.0
        self._events = NodeEvents(self.server, "n1", wall=lambda: 1.7e9 + self.now, clock=lambda: self.now)

    def tell(self, *findings: NodeFinding, after: float = 0.0) -> list[tuple[str, str]]:
        """Return verb and reason of what was sent."""
        self.now += after
        self.server.sent.clear()
        asyncio.run(self._events.tell(findings))
        return [(verb, body["reason"]) for verb, _, body in self.server.sent]


def test_an_event_is_as_a_kubelet_writes_it() -> None:
    telling = Telling()
    telling.tell(MISSING)
    ((verb, path, body),) = telling.server.sent
    assert (verb, path) == ("POST", "/api/v1/namespaces/default/events")
    assert body == {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": body["metadata"]["name"], "namespace": "default"},
        "involvedObject": {"kind": "Node", "name": "n1", "uid": "n1"},
        "type": "Warning",
        "reason": "PodfenceNftMissing",
        "message": "nft cannot be started; install it",
        "firstTimestamp": "2023-11-14T22:30:00Z",
        "lastTimestamp": "2023-11-14T22:30:00Z",
        "count": 1,
        "source": {"component": "podfence", "host": "n1"},
        "reportingComponent": "podfence",
        "reportingInstance": "n1",
    }
    assert body["metadata"]["name"].startswith("n1.podfence-nft-missing.")


def test_each_fatal_finding_is_one_event_and_warnings_are_none() -> None:
    assert Telling().tell(MISSING, WARNING, BRIDGE) == [
        ("POST", "PodfenceNftMissing"),
        ("POST", "PodfenceBridgeNotFiltered"),
    ]
    assert Telling().tell(WARNING) == []


def test_a_warning_that_somebody_asked_for_something_in_vain_is_told() -> None:
    assert Telling().tell(WARNING, BOOT) == [("POST", "PodfenceBootHold")]


def test_a_finding_that_stays_is_told_again_every_half_hour_in_an_event_of_its_own() -> None:
    telling = Telling()
    telling.tell(MISSING)
    name = telling.server.sent[0][2]["metadata"]["name"]
    assert telling.tell(MISSING, after=STAYS - 1) == []
    assert telling.tell(MISSING, after=1) == [("POST", "PodfenceNftMissing")]
    assert telling.server.sent[0][2]["metadata"]["name"] != name
    assert telling.tell(MISSING, after=STAYS - 1) == []


def test_a_message_that_changes_is_told_some_minutes_later() -> None:
    telling = Telling()
    telling.tell(MISSING)
    other = NodeFinding("fatal", "nft-missing", "still", "no")
    assert telling.tell(other, after=CHANGED - 1) == []
    assert telling.tell(other, after=1) == [("POST", "PodfenceNftMissing")]
    assert telling.server.sent[0][2]["message"] == "still; no"


def test_a_finding_that_is_solved_is_said_once_and_may_come_again() -> None:
    telling = Telling()
    telling.tell(MISSING)
    assert telling.tell(after=60) == [("POST", SOLVED)]
    body = telling.server.sent[0][2]
    assert (body["type"], body["message"]) == ("Normal", "solved: nft cannot be started; install it")
    assert telling.tell(after=60) == []
    assert telling.tell(MISSING, after=60) == [("POST", "PodfenceNftMissing")]


def test_a_finding_that_flaps_sends_one_request_a_minute() -> None:
    telling = Telling()
    sent = [item for _ in range(60) for item in (telling.tell(MISSING, after=1), telling.tell(after=1)) if item]
    assert len(sent) <= 3


def test_a_finding_that_goes_within_a_minute_is_solved_when_the_minute_is_over() -> None:
    telling = Telling()
    telling.tell(MISSING)
    assert telling.tell(after=10) == []
    assert telling.tell(after=50) == [("POST", SOLVED)]


def test_what_fails_is_raised_after_all_were_tried_and_tried_again_in_a_minute() -> None:
    telling = Telling()
    telling.server.failure = UnreachableError("no route")
    with pytest.raises(ApiError, match="no route"):
        telling.tell(MISSING, BRIDGE)
    assert len(telling.server.sent) == 2
    telling.server.failure = None
    assert telling.tell(MISSING, BRIDGE, after=1) == []
    assert len(telling.tell(MISSING, BRIDGE, after=60)) == 2


def test_what_was_solved_before_it_could_be_told_is_not_told() -> None:
    telling = Telling()
    telling.server.failure = UnreachableError("no route")
    with pytest.raises(ApiError):
        telling.tell(MISSING)
    telling.server.failure = None
    assert telling.tell(after=60) == []


def test_a_long_message_is_cut_to_what_an_event_may_have() -> None:
    telling = Telling()
    telling.tell(NodeFinding("fatal", "x", "ü" * 2000, "y"))
    message = telling.server.sent[0][2]["message"]
    assert len(message.encode()) <= 1024
    assert message.endswith("ü...")


def test_reasons_are_words_without_hyphens() -> None:
    assert reason("rival-kube-router") == "PodfenceRivalKubeRouter"
