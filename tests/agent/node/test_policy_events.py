# SPDX-License-Identifier: Apache-2.0
"""Policies that are too large as Events of theirs: what is in one, and that nobody can have many sent."""

from __future__ import annotations

import asyncio

import pytest

from podfence.agent.node.events import MOST_REQUESTS, TOO_LARGE, WAITING, PolicyEvents
from podfence.agent.reports import Refusal
from podfence.kube.live.errors import (
    ApiError,
    ConflictError,
    ForbiddenError,
    RefusedError,
    ThrottledError,
    UnreachableError,
)
from tests.agent.node.test_events import Recorder

LARGE = Refusal("shop", "large", "is too large: 501 rules, at most 500; it admits nothing")


class Telling:
    """Events told at times that the test chooses, in seconds."""

    def __init__(self, node: str = "n1") -> None:
        self.server = Recorder()
        self.now = 1000.0
        self.events = PolicyEvents(node, wall=lambda: 1.7e9 + self.now, clock=lambda: self.now)

    def tell(self, *refused: Refusal, after: float = 0.0) -> int:
        """Return how many requests were sent."""
        self.now += after
        self.server.sent.clear()
        self.events.note(refused)
        asyncio.run(self.events.tell(self.server))
        return len(self.server.sent)


def test_an_event_is_about_the_policy_and_says_it_with_the_figures() -> None:
    telling = Telling()
    assert telling.tell(LARGE) == 1
    ((verb, path, body),) = telling.server.sent

    assert (verb, path) == ("POST", "/api/v1/namespaces/shop/events")
    assert body["metadata"]["namespace"] == "shop"
    assert body["involvedObject"] == {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "namespace": "shop",
        "name": "large",
    }
    assert (body["type"], body["reason"]) == ("Warning", TOO_LARGE)
    assert body["message"] == "NetworkPolicy shop/large is too large: 501 rules, at most 500; it admits nothing"
    assert body["source"] == {"component": "podfence", "host": "n1"}


def test_nodes_that_find_the_same_name_their_event_the_same_and_the_first_is_kept() -> None:
    names = []
    for node in ("n1", "n2"):
        telling = Telling(node)
        telling.tell(LARGE)
        names.append(telling.server.sent[0][2]["metadata"]["name"])
    assert names[0] == names[1]

    telling.server.failure = ConflictError("it exists already", 409)
    assert telling.tell(LARGE) == 1


def test_another_figure_is_another_event() -> None:
    telling = Telling()
    names = []
    for why in (LARGE.why, "is too large: 600 rules, at most 500; it admits nothing"):
        telling.tell(Refusal("shop", "large", why))
        names.append(telling.server.sent[0][2]["metadata"]["name"])
    assert names[0] != names[1]


def test_of_a_policy_that_changes_while_it_waits_the_last_figure_is_told() -> None:
    telling = Telling()
    last = Refusal("shop", "large", "is too large: 600 rules, at most 500; it admits nothing")
    assert telling.tell(LARGE, last) == 1
    assert telling.server.sent[0][2]["message"] == str(last)


def test_a_few_requests_are_sent_in_a_minute_and_the_rest_waits() -> None:
    telling = Telling()
    many = [Refusal("shop", f"p{number}", LARGE.why) for number in range(3 * WAITING)]
    assert telling.tell(*many) == MOST_REQUESTS
    assert telling.tell(after=59.0) == 0
    assert telling.tell(after=1.0) == MOST_REQUESTS
    sent = 2 * MOST_REQUESTS
    while more := telling.tell(after=60.0):
        sent += more
    assert sent <= WAITING + MOST_REQUESTS


def test_who_writes_many_large_policies_keeps_no_other_namespace_from_its_event() -> None:
    telling = Telling()
    flood = [Refusal("evil", f"p{number}", LARGE.why) for number in range(3 * WAITING)]
    telling.tell(*flood)
    telling.events.note([LARGE])
    telling.tell(*flood, after=60.0)
    assert "shop" in {body["metadata"]["namespace"] for _, _, body in telling.server.sent}


@pytest.mark.parametrize(
    "failure", [UnreachableError("no route"), ThrottledError("later", 429, 1.0), RefusedError("no leader", 500)]
)
def test_what_could_not_be_told_is_told_later(failure: ApiError) -> None:
    telling = Telling()
    other = Refusal("shop", "other", LARGE.why)
    telling.server.failure = failure
    with pytest.raises(type(failure)):
        telling.tell(LARGE, other)
    telling.server.failure = None
    assert telling.tell() == 2
    assert telling.tell() == 0


def test_what_is_refused_for_good_is_not_told_again_and_keeps_nothing_waiting() -> None:
    telling = Telling()
    telling.server.failure = ForbiddenError("the namespace is being terminated", 403)
    with pytest.raises(ForbiddenError):
        telling.tell(LARGE, Refusal("shop", "other", LARGE.why))
    assert len(telling.server.sent) == 2
    telling.server.failure = None
    assert telling.tell() == 0
