# SPDX-License-Identifier: Apache-2.0
"""A reflector delivers what is there and what changes, each once, whatever the server and the network do."""

from __future__ import annotations

import asyncio
import json
from collections import deque
from typing import TYPE_CHECKING

import pytest

from podfence.kube.live import reflector
from podfence.kube.live.reflector import Malformed, Reflector, Removed
from podfence.kube.live.resources import RESOURCES
from podfence.kube.objects import Key
from tests.kube.live.api import (
    BREAK,
    CUT,
    END,
    PODS,
    POLICIES,
    Api,
    bookmark,
    event,
    listed,
    pod,
    policy,
    says,
    status,
    unanswered,
)
from tests.kube.live.following import following, session_to, until

if TYPE_CHECKING:
    from pathlib import Path


def test_a_list_then_its_changes(tmp_path: Path) -> None:
    async def run() -> None:
        api = Api()
        api.lists[PODS] = listed([pod("a", 1), pod("b", 2)], 5)
        async with api.served(), following(api, tmp_path) as found:
            await found.have("a@1", "b@2", "listed Pod")
            await api.events.put(event("ADDED", pod("c", 6)) + event("MODIFIED", pod("a", 7)))
            await api.events.put(event("DELETED", pod("b", 8)))
            await found.have("c@6", "a@7", "-b")
            await until(lambda: found.reflector.health.connected)
            health = found.reflector.health
            assert (health.kind, health.listed, health.error, health.failures) == ("Pod", True, "", 0)
            assert (health.relists, health.events) == (0, 3)
        query = api.queries()[1]
        assert query["allowWatchBookmarks"] == "true"
        assert 300 <= int(query["timeoutSeconds"]) <= 600
        assert api.queries()[0] == {"limit": "500"}

    asyncio.run(run())


def test_lists_come_in_pages(tmp_path: Path) -> None:
    async def run() -> None:
        api = Api()
        api.script[PODS] = deque([says(listed([pod("a", 1)], 5, "next+=")), says(listed([pod("b", 2)], 5))])
        async with api.served(), following(api, tmp_path) as found:
            await found.have("a@1", "b@2", "listed Pod")
            await until(lambda: api.watches() == ["5"])
        assert api.queries()[1] == {"limit": "500", "continue": "next+="}

    asyncio.run(run())


def test_a_page_of_large_objects_is_not_read_to_its_end_and_asked_for_again_with_fewer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("podfence.kube.live.listwatch.MOST", 2000)

    async def run() -> None:
        api = Api()
        large = pod("large", 1, padding="x" * 3000)
        pages = [
            says(listed([pod("a", 2)], 5, "t")),
            says(listed([pod("b", 3), large], 5, "u")),
            *[says(listed([large], 5, "u"))] * 4,
            says(listed([pod("b", 3)], 5)),
        ]
        api.script[PODS] = deque(pages)
        async with api.served(), following(api, tmp_path) as found:
            await found.have("a@2", "large@1", "b@3", "listed Pod")
        asked = [(query["limit"], query.get("continue")) for query in api.queries() if "limit" in query]
        assert asked == [
            ("500", None),
            *[(limit, "t") for limit in ("500", "125", "31", "7", "1")],
            ("1", "u"),
        ]

    asyncio.run(run())


def test_a_list_of_large_objects_is_never_asked_for_in_one_piece(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("podfence.kube.live.listwatch.MOST", 2000)

    async def run() -> None:
        api = Api()
        api.script[PODS] = deque(
            [
                says(listed([pod("large", 1, padding="x" * 3000)], 5)),
                says(listed([pod("a", 1)], 5, "t")),
                says(status(410, "too old", reason="Expired"), 410),
                says(listed([pod("a", 1)], 5)),
            ]
        )
        async with api.served(), following(api, tmp_path) as found:
            await found.have("a@1", "listed Pod")
            assert found.reflector.health.failures == 1
        assert [query["limit"] for query in api.queries() if "watch" not in query] == ["500", "125", "125", "500"]

    asyncio.run(run())


def test_a_list_whose_continue_token_expired_starts_again_in_one_piece(tmp_path: Path) -> None:
    async def run() -> None:
        api = Api()
        offered = status(410, "too old", reason="Expired", metadata={"continue": "offered"})
        api.script[PODS] = deque(
            [
                says(listed([pod("a", 1), pod("x", 2)], 5, "t")),
                says(offered, 410),
                says(listed([pod("a", 1), pod("b", 6)], 9)),
            ]
        )
        async with api.served(), following(api, tmp_path) as found:
            await found.have("a@1", "x@2", "b@6", "-x (gone)", "listed Pod")
            await until(lambda: api.watches() == ["9"])
        assert api.queries()[2] == {}

    asyncio.run(run())


@pytest.mark.parametrize("end", [END, BREAK, CUT])
def test_a_watch_that_ends_or_breaks_goes_on_where_it_was(tmp_path: Path, end: bytes) -> None:
    async def run() -> None:
        api = Api()
        api.lists[PODS] = listed([pod("a", 1)], 5)
        async with api.served(), following(api, tmp_path) as found:
            await found.have("a@1", "listed Pod")
            await api.events.put(event("ADDED", pod("b", 6)))
            await found.have("b@6")
            await api.events.put(end)
            await until(lambda: api.watches() == ["5", "6"])
            await api.events.put(bookmark(20) + end if end == END else bookmark(20))
            await api.events.put(end)
            await until(lambda: api.watches()[2:3] == ["20"])
            await api.events.put(event("MODIFIED", pod("a", 21)))
            await found.have("a@21")
            assert found.reflector.health.relists == 0

    asyncio.run(run())


@pytest.mark.parametrize("form", ["event", "answer"])
def test_what_the_server_has_forgotten_is_listed_again_and_only_differences_come(tmp_path: Path, form: str) -> None:
    async def run() -> None:
        api = Api()
        api.lists[PODS] = listed([pod("a", 1), pod("b", 2), pod("c", 3)], 5)
        async with api.served(), following(api, tmp_path) as found:
            await found.have("a@1", "b@2", "c@3", "listed Pod")
            await until(lambda: len(api.watches()) == 1)
            api.lists[PODS] = listed([pod("a", 1), pod("b", 7), pod("d", 8)], 9)
            expired = status(410, "too old resource version: 5 (7)", reason="Expired")
            if form == "event":
                await api.events.put(event("ERROR", expired))
            else:
                api.script[PODS].append(says(expired, 410))
                await api.events.put(END)
            await found.have("b@7", "d@8", "-c (gone)", "listed Pod")
            await until(lambda: api.watches()[-1] == "9")
            assert found.reflector.health.relists == 1

    asyncio.run(run())


def test_what_was_delivered_in_an_earlier_life_is_not_delivered_again(tmp_path: Path) -> None:
    async def run() -> None:
        api = Api()
        api.lists[PODS] = listed([pod("a", 1), pod("b", 4)], 5)
        known = {Key("Pod", "shop", "a"): "1", Key("Pod", "shop", "b"): "2", Key("Pod", "shop", "c"): "3"}
        async with api.served(), following(api, tmp_path, known=known) as found:
            await found.have("b@4", "-c (gone)", "listed Pod")

    asyncio.run(run())


def test_events_that_are_repeated_or_late_change_nothing(tmp_path: Path) -> None:
    async def run() -> None:
        api = Api()
        api.lists[PODS] = listed([pod("a", 1), pod("b", 2)], 5)
        async with api.served(), following(api, tmp_path) as found:
            await found.have("a@1", "b@2", "listed Pod")
            await api.events.put(event("MODIFIED", pod("a", 9)) * 2 + event("MODIFIED", pod("a", 7)))
            await api.events.put(event("DELETED", pod("b", 10)) * 2 + event("ADDED", pod("b", 2)))
            await api.events.put(
                event("ADDED", pod("a", 1)) + event("DELETED", pod("a", 8)) + event("ADDED", pod("b", 12))
            )
            await api.events.put(event("DELETED", pod("b", 10)) + event("ADDED", pod("end", 100)))
            await found.have("a@9", "-b", "b@12", "end@100")

    asyncio.run(run())


def test_an_object_that_cannot_be_read_is_named_and_the_rest_goes_on(tmp_path: Path) -> None:
    async def run() -> None:
        api = Api()
        wrong = pod("wrong", 2)
        wrong["spec"]["hostNetwork"] = "yes"
        nameless = pod("", 3)
        api.lists[PODS] = listed([pod("a", 1), wrong, nameless, pod("b", 4)], 5)
        async with api.served(), following(api, tmp_path) as found:
            await until(lambda: len(found.notifications) == 5)
            malformed = [item for item in found.notifications if isinstance(item, Malformed)]
            assert malformed[0].key == Key("Pod", "shop", "wrong")
            assert malformed[0].reason == "expected `bool | null`, got `str` - at `$.spec.hostNetwork`"
            assert malformed[1] == Malformed(Key("Pod", "shop", ""), "3", "it has no name or no namespace")
            await found.have("a@1", "!wrong@2", "!@3", "b@4", "listed Pod")
            await api.events.put(
                event("MODIFIED", {**wrong, "metadata": {**wrong["metadata"], "resourceVersion": "6"}})
            )
            await api.events.put(
                event("MODIFIED", pod("wrong", 7))
                + event("DELETED", {**wrong, "spec": 1, "metadata": {**wrong["metadata"], "resourceVersion": "8"}})
            )
            await until(lambda: len(found.notifications) == 3)
            assert found.notifications[2] == Removed(Key("Pod", "shop", "wrong"), None)

    asyncio.run(run())


def test_a_policy_whose_meaning_is_not_known_is_malformed(tmp_path: Path) -> None:
    async def run() -> None:
        api = Api()
        unknown = policy("unknown", 2, ingress=[{"from": [{"fqdn": "x"}]}])
        operator = policy(
            "operator", 3, podSelector={"matchExpressions": [{"key": "a", "operator": "Gt", "values": ["1"]}]}
        )
        lax = policy("lax", 4, egress=[{"to": [{"ipBlock": {"cidr": "10.0.0.1/8"}}]}])
        newer = {**policy("newer", 5), "status": {}}
        newer["metadata"]["futureField"] = 1
        api.lists[POLICIES] = listed([policy("a", 1), unknown, operator, lax, newer], 5)
        async with api.served(), following(api, tmp_path, "NetworkPolicy") as found:
            await until(lambda: len(found.notifications) == 6)
            reasons = [item.reason for item in found.notifications if isinstance(item, Malformed)]
            assert reasons[0] == "object contains unknown field `fqdn` - at `$.spec.ingress[0].from[0]`"
            assert reasons[1].startswith("spec.podSelector.matchExpressions[0].operator: Invalid value")
            await found.have("a@1", "!unknown@2", "!operator@3", "lax@4", "newer@5", "listed NetworkPolicy")

    asyncio.run(run())


@pytest.mark.parametrize(
    "line",
    [
        b'{"type": "ADDED", "obj\n',
        b"\xff\xfe\n",
        b'{"type": "WHAT", "object": {}}\n',
        b'{"type": "BOOKMARK", "object": {}}\n',
    ],
)
def test_a_line_that_is_no_event_leads_to_a_new_list(tmp_path: Path, line: bytes) -> None:
    async def run() -> None:
        api = Api()
        api.lists[PODS] = listed([pod("a", 1)], 5)
        async with api.served(), following(api, tmp_path) as found:
            await found.have("a@1", "listed Pod")
            api.lists[PODS] = listed([pod("a", 1), pod("b", 6), pod("c", 7)], 9)
            await api.events.put(event("ADDED", pod("b", 6)) + line + event("ADDED", pod("never", 8)))
            await found.have("b@6", "c@7", "listed Pod")

    asyncio.run(run())


def test_events_in_any_pieces_are_put_together(tmp_path: Path) -> None:
    async def run() -> None:
        api = Api()
        api.lists[PODS] = listed([], 5)
        async with api.served(), following(api, tmp_path) as found:
            await found.have("listed Pod")
            large = pod("large", 6)
            large["metadata"]["annotations"] = {"a": "x" * 3_000_000}
            data = event("ADDED", large) + event("ADDED", pod("b", 7))
            for start in range(200):
                await api.events.put(data[start : start + 1])
            await api.events.put(data[200:])
            await found.have("large@6", "b@7")

    asyncio.run(run())


def test_a_server_that_was_away_is_found_again(tmp_path: Path) -> None:
    async def run(port: int) -> None:
        api = Api()
        api.lists[PODS] = listed([pod("a", 1)], 5)
        api.port = port
        async with following(api, tmp_path) as found:
            await until(lambda: len(found.pauses) >= 12)
            assert "connection refused" in found.reflector.health.error
            assert not found.reflector.health.listed
            async with api.served(port=port):
                await found.have("a@1", "listed Pod")
                await api.events.put(event("ADDED", pod("b", 6)))
                await found.have("b@6")
                assert found.reflector.health.error == ""
            before = len(found.pauses)
            await until(lambda: len(found.pauses) > before + 1)
            assert "connection refused" in found.reflector.health.error
            assert not found.reflector.health.connected
            async with api.served(port=port):
                await api.events.put(event("DELETED", pod("b", 7)))
                await found.have("-b")
            assert api.watches() == ["5", "6"]
            assert found.reflector.health.relists == 0

    with unanswered() as port:
        asyncio.run(run(port))


def test_pauses_grow_up_to_half_a_minute_and_begin_again_after_a_success(tmp_path: Path) -> None:
    async def run() -> None:
        api = Api()
        api.lists[PODS] = listed([], 5)
        api.script[PODS] = deque([says(status(500, "no"), 500) for _ in range(9)])
        async with api.served(), following(api, tmp_path) as found:
            await found.have("listed Pod")
            assert found.pauses == [0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8, 25.6, 30.0]
            assert found.reflector.health.failures == 9
            await api.events.put(event("ADDED", pod("a", 6)))
            await found.have("a@6")
            found.pauses.clear()
            await api.events.put(BREAK)
            await until(lambda: bool(found.pauses))
            assert found.pauses[0] == reflector.FIRST_PAUSE

    asyncio.run(run())


def test_a_server_that_ends_every_watch_at_once_is_not_asked_without_pause(tmp_path: Path) -> None:
    async def run() -> None:
        api = Api()
        api.lists[PODS] = listed([], 5)
        for _ in range(10):
            await api.events.put(END)
        async with api.served(), following(api, tmp_path) as found:
            await until(lambda: len(api.watches()) == 11)
            assert found.pauses == [0.2] * 10
            found.now = 300.0
            await api.events.put(END)
            await until(lambda: len(api.watches()) == 12)
            assert len(found.pauses) == 10

    asyncio.run(run())


@pytest.mark.parametrize(
    ("code", "body", "headers"),
    [
        (429, status(429, "slow down"), {"Retry_After": "7"}),
        (503, status(503, "starting", details={"retryAfterSeconds": 7}), {}),
    ],
)
def test_a_busy_server_says_when_to_come_again(
    tmp_path: Path, code: int, body: dict[str, object], headers: dict[str, str]
) -> None:
    async def run() -> None:
        api = Api()
        api.lists[PODS] = listed([], 5)
        api.script[PODS] = deque([says(body, code, **headers)])
        async with api.served(), following(api, tmp_path) as found:
            await found.have("listed Pod")
            assert found.pauses == [7.0]

    asyncio.run(run())


def test_a_failing_receiver_ends_the_reflector(tmp_path: Path) -> None:
    async def run() -> None:
        api = Api()
        api.lists[PODS] = listed([pod("a", 1)], 5)
        async with api.served(), session_to(tmp_path, api.port) as session:
            with pytest.raises(LookupError):
                await Reflector(session, RESOURCES["Pod"], _fail).run()

    asyncio.run(run())


def _fail(_found: object) -> None:
    raise LookupError


def test_a_server_that_was_set_back_in_time_is_listed_again(tmp_path: Path) -> None:
    async def run() -> None:
        api = Api()
        api.lists[PODS] = listed([pod("a", 100)], 200)
        async with api.served(), following(api, tmp_path) as found:
            await found.have("a@100", "listed Pod")
            api.lists[PODS] = listed([pod("a", 50)], 60)
            ahead = status(504, "Timeout: Too large resource version: 200, current: 60")
            await until(lambda: len(api.watches()) == 1)
            api.script[PODS].append(says(ahead, 504))
            await api.events.put(END)
            await found.have("a@50", "listed Pod")
            await api.events.put(event("MODIFIED", pod("a", 61)))
            await found.have("a@61")

    asyncio.run(run())


def test_revisions_that_are_no_numbers_are_compared_for_equality(tmp_path: Path) -> None:
    async def run() -> None:
        api = Api()
        first, second = pod("a", 1), pod("a", 2)
        first["metadata"]["resourceVersion"], second["metadata"]["resourceVersion"] = "x1", "x0"
        body = listed([first], 5)
        body["metadata"]["resourceVersion"] = "x9"
        api.lists[PODS] = json.loads(json.dumps(body))
        async with api.served(), following(api, tmp_path) as found:
            await found.have("a@x1", "listed Pod")
            await api.events.put(event("MODIFIED", first) + event("MODIFIED", second))
            await found.have("a@x0")

    asyncio.run(run())
