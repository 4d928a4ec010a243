# SPDX-License-Identifier: Apache-2.0
"""Whoever lists and follows a store, from whatever revision, has what the store has."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hypothesis import given
from hypothesis import strategies as st

from podfence.lab.store.errors import StoreError
from podfence.lab.store.store import Store
from tests.twin.effort import tried

if TYPE_CHECKING:
    from podfence.lab.store.metadata import Raw

RESOURCES = {"configmaps": "ConfigMap", "networkpolicies.networking.k8s.io": "NetworkPolicy", "pods": "Pod"}
Place = tuple[str, str, str]

steps = st.lists(
    st.tuples(
        st.sampled_from(("create", "update", "status", "delete", "delete now", "end namespace")),
        st.sampled_from(tuple(RESOURCES)),
        st.sampled_from(("default", "shop")),
        st.sampled_from(("a", "b")),
        st.integers(0, 2),
    ),
    max_size=30,
)


def step(store: Store, verb: str, resource: str, namespace: str, name: str, number: int) -> None:
    known: Raw = {"name": name, "namespace": namespace, "finalizers": ["f"] if number == 2 else None}
    spec = {"nodeName": "n", "value": number}
    obj: dict[str, Any] = {"apiVersion": "v1", "kind": RESOURCES[resource], "metadata": known, "spec": spec}
    if verb == "create":
        store.create(resource, obj)
    elif verb == "update":
        store.update(resource, obj)
    elif verb == "status":
        store.update(resource, {**obj, "status": {"value": number}}, status=True)
    elif verb == "end namespace":
        store.delete("namespaces", "", namespace)
        if not any(store.list(key, namespace)[0] for key in RESOURCES):
            store.finalize(namespace)
    else:
        store.delete(resource, namespace, name, grace=0 if verb == "delete now" else None)


def content(store: Store) -> dict[Place, Raw]:
    return {(key, item["metadata"]["namespace"], item["metadata"]["name"]): item
            for key in RESOURCES for item in store.list(key)[0]}  # fmt: skip


def prepared() -> Store:
    store = Store(remembered=1000)
    for name in ("default", "shop"):
        store.create("namespaces", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    return store


@given(steps=steps, start=st.integers(0, 30))
@tried(100)
def test_a_list_and_the_changes_after_it_give_the_store(
    steps: list[tuple[str, str, str, str, int]], start: int
) -> None:
    store = prepared()
    listed, revision = content(store), store.revision
    for number, one in enumerate(steps):
        if number == start:
            listed, revision = content(store), store.revision
        before, known = store.revision, content(store)
        try:
            step(store, *one)
        except StoreError:
            assert (store.revision, content(store)) == (before, known)

    followed = dict(listed)
    changes = [change for key in RESOURCES for change in store.changes(key, revision)]
    for change in sorted(changes, key=lambda change: change.revision):
        known = change.object["metadata"]
        place = (change.resource, known["namespace"], known["name"])
        assert followed.get(place) == change.previous
        assert known["resourceVersion"] == str(change.revision)
        if change.type == "DELETED":
            del followed[place]
        else:
            assert change.type == ("ADDED" if change.previous is None else "MODIFIED")
            followed[place] = change.object
    assert followed == content(store)


@given(steps=steps)
@tried(50)
def test_what_was_stored_never_changes_in_place(steps: list[tuple[str, str, str, str, int]]) -> None:
    store = prepared()
    seen: list[tuple[Raw, str]] = []
    store.subscribe(lambda change: seen.append((change.object, repr(change.object))))
    for one in steps:
        try:
            step(store, *one)
        except StoreError:
            continue
    assert all(repr(obj) == text for obj, text in seen)
