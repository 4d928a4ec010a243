# SPDX-License-Identifier: Apache-2.0
"""Watches: what changes is told in order, to those who asked for it, as long as they read."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest

from podfence.lab.apiserver import watching
from podfence.lab.store.store import Store
from tests.lab.apiserver.serving import Served, served
from tests.twin.effort import LONG

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

POLICIES = "/apis/networking.k8s.io/v1/namespaces/default/networkpolicies"
KEY = "networkpolicies.networking.k8s.io"
TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io"


@pytest.fixture
def server() -> Iterator[Served]:
    with served() as found:
        yield found


def policy(name: str, **labels: str) -> dict[str, Any]:
    metadata: dict[str, Any] = {"name": name, "namespace": "default"}
    return {"kind": "NetworkPolicy", "metadata": metadata | {"labels": labels}, "spec": {"podSelector": {}}}


def story(store: Store) -> None:
    """Make, change, hide and delete a policy."""
    store.create(KEY, policy("a", seen="yes"))
    store.update(KEY, policy("a", seen="yes", other="1"))
    store.update(KEY, policy("a", seen="no"))
    store.update(KEY, policy("a", seen="yes"))
    store.delete(KEY, "default", "a")


def seen(events: Iterator[dict[str, Any]], count: int) -> list[tuple[str, str]]:
    found = (next(events) for _ in range(count))
    return [(event["type"], event["object"]["metadata"].get("name", "")) for event in found]


def revisions(events: list[dict[str, Any]]) -> list[int]:
    return [int(event["object"]["metadata"]["resourceVersion"]) for event in events]


def test_changes_come_in_order_with_growing_revisions(server: Served) -> None:
    start = server.store.revision
    with server.client.watch(f"{POLICIES}?watch=true&resourceVersion={start}") as events:
        story(server.store)
        found = [next(events) for _ in range(5)]
    assert [event["type"] for event in found] == ["ADDED", "MODIFIED", "MODIFIED", "MODIFIED", "DELETED"]
    assert revisions(found) == list(range(start + 1, start + 6))


def test_what_was_missed_is_told_first(server: Served) -> None:
    start = server.store.revision
    story(server.store)
    with server.client.watch(f"{POLICIES}?watch=1&resourceVersion={start}") as events:
        assert [kind for kind, _ in seen(events, 5)] == ["ADDED", "MODIFIED", "MODIFIED", "MODIFIED", "DELETED"]


def test_an_object_comes_into_view_and_leaves_it(server: Served) -> None:
    start = server.store.revision
    path = f"{POLICIES}?watch=1&resourceVersion={start}&labelSelector=seen%3Dyes"
    with server.client.watch(path) as events:
        story(server.store)
        assert [kind for kind, _ in seen(events, 5)] == ["ADDED", "MODIFIED", "DELETED", "ADDED", "DELETED"]


def test_a_watch_of_one_name_tells_of_no_other(server: Served) -> None:
    server.store.create(KEY, policy("other"))
    path = f"{POLICIES}?watch=1&fieldSelector=metadata.name%3Da"
    with server.client.watch(path) as events:
        server.store.create(KEY, policy("another"))
        server.store.create(KEY, policy("a"))
        assert seen(events, 1) == [("ADDED", "a")]


def test_a_watch_of_one_namespace_tells_of_no_other(server: Served) -> None:
    with server.client.watch(f"{POLICIES}?watch=1&resourceVersion={server.store.revision}") as events:
        elsewhere = policy("x")
        elsewhere["metadata"]["namespace"] = "kube-system"
        server.store.create(KEY, elsewhere)
        server.store.create(KEY, policy("here"))
        assert seen(events, 1) == [("ADDED", "here")]


def test_initial_events_end_with_the_marked_bookmark(server: Served) -> None:
    server.store.create(KEY, policy("a"))
    path = f"{POLICIES}?watch=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true"
    with server.client.watch(path) as events:
        first, mark = next(events), next(events)
        server.store.create(KEY, policy("b"))
        assert seen(events, 1) == [("ADDED", "b")]
    assert (first["type"], mark["type"]) == ("ADDED", "BOOKMARK")
    assert mark["object"]["metadata"]["annotations"] == {"k8s.io/initial-events-end": "true"}


def test_bookmarks_come_now_and_then(server: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watching, "_BOOKMARKS_EVERY", 0.01)
    revision = server.store.revision
    with server.client.watch(f"{POLICIES}?watch=1&allowWatchBookmarks=true&resourceVersion={revision}") as events:
        event = next(events)
    assert (event["type"], revisions([event])) == ("BOOKMARK", [revision])


def test_a_watch_ends_when_its_time_is_over(server: Served) -> None:
    with server.client.watch(f"{POLICIES}?watch=1&timeoutSeconds=1") as events:
        assert list(events) == []


def test_only_the_first_table_of_a_watch_has_columns(server: Served) -> None:
    with server.client.watch(f"{POLICIES}?watch=1&resourceVersion={server.store.revision}", TABLE) as events:
        story(server.store)
        tables = [next(events)["object"] for _ in range(3)]
    assert [bool(table["columnDefinitions"]) for table in tables] == [True, False, False]
    assert [table["rows"][0]["cells"][0] for table in tables] == ["a", "a", "a"]


def test_a_watch_from_too_long_ago_is_told_to_list_anew() -> None:
    with served(Store(remembered=2)) as server:
        story(server.store)
        with server.client.watch(f"{POLICIES}?watch=1&resourceVersion=1") as events:
            (event,) = list(events)
    assert event["type"] == "ERROR"
    assert (event["object"]["code"], event["object"]["reason"]) == (410, "Expired")


def test_a_watch_through_the_old_group_gives_the_old_kind(server: Served) -> None:
    path = "/apis/extensions/v1beta1/namespaces/default/networkpolicies?watch=1"
    with server.client.watch(path) as events:
        server.store.create(KEY, policy("a"))
        event = next(events)
    assert event["object"]["apiVersion"] == "extensions/v1beta1"


def wait_until(server: Served, is_so: Callable[[], bool]) -> None:
    """Go on sending requests until something is so, at most for a minute."""
    end = time.monotonic() + 60
    while not is_so():
        assert time.monotonic() < end
        server.client.get("/version")


def test_a_watch_whose_client_has_gone_is_forgotten(server: Served) -> None:
    assert server.serving.server is not None
    hub = server.serving.server.hub
    with server.client.watch(f"{POLICIES}?watch=1") as events:
        server.store.create(KEY, policy("a"))
        next(events)
        assert hub.watches == 1
    wait_until(server, lambda: hub.watches == 0)


def test_a_client_that_does_not_read_loses_its_watch(server: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watching, "_MOST_WAITING", 10)
    assert server.serving.server is not None
    hub = server.serving.server.hub
    big = policy("a", note="1")
    big["metadata"]["annotations"] = {"filler": "x" * 200_000}
    server.store.create(KEY, big)
    with server.client.watch(f"{POLICIES}?watch=1&resourceVersion={server.store.revision}") as events:
        for number in range(200):
            big = {**big, "metadata": {**big["metadata"], "labels": {"number": str(number)}}}
            server.store.update(KEY, big)
            if number % 20 == 0:
                # The others are served meanwhile.
                server.client.get(f"{POLICIES}?limit=1")
        found = sum(1 for _ in events)
        assert found < 200
    wait_until(server, lambda: hub.watches == 0)


def test_many_watches_see_the_same_changes() -> None:
    with served() as server:
        paths = [f"{POLICIES}?watch=1&resourceVersion={server.store.revision}"] * (500 if LONG else 40)
        watches = [server.client.watch(path) for path in paths]
        try:
            streams = [watch.__enter__() for watch in watches]
            story(server.store)
            found = [seen(events, 5) for events in streams]
        finally:
            for watch in watches:
                watch.__exit__(None, None, None)
    assert all(one == found[0] for one in found)
