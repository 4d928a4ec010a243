# SPDX-License-Identifier: Apache-2.0
"""A store keeps objects as an API server does, and refuses in its words."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import pytest

from podfence.lab.store.errors import (
    AlreadyExistsError,
    ConflictError,
    ExpiredError,
    ForbiddenError,
    NotFoundError,
    StoreError,
)
from podfence.lab.store.store import Store

if TYPE_CHECKING:
    from podfence.lab.store.history import Change
    from podfence.lab.store.metadata import Raw
    from podfence.lab.store.store import Propagation

POLICIES = "networkpolicies.networking.k8s.io"
START = 1_795_000_000.0


def store(**settings: int) -> Store:
    made = Store(clock=lambda: START, **settings)
    for name in ("default", "shop"):
        made.create("namespaces", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    return made


def policy(name: str = "web", namespace: str = "default", **more: object) -> Raw:
    return {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy",
            "metadata": {"name": name, "namespace": namespace, **more}, "spec": {"podSelector": {}}}  # fmt: skip


def pod(name: str = "a", **spec: object) -> Raw:
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": "default"}, "spec": spec}


def names(found: list[Raw]) -> list[str]:
    return [f"{item['metadata']['namespace']}/{item['metadata']['name']}" for item in found]


# Creating


def test_a_new_object_has_an_identity_a_time_a_revision_and_a_generation() -> None:
    made = store()
    stored = made.create(POLICIES, policy(labels={"a": "b"}, annotations=None))

    known = stored["metadata"]
    assert len(known.pop("uid")) == 36
    assert known == {
        "name": "web",
        "namespace": "default",
        "labels": {"a": "b"},
        "creationTimestamp": "2026-11-18T11:06:40Z",
        "resourceVersion": "3",
        "generation": 1,
    }
    assert stored is made.get(POLICIES, "default", "web")
    assert made.revision == 3


def test_a_kind_without_generations_has_none() -> None:
    made = store()
    text = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a", "namespace": "shop"}, "data": {}}
    assert "generation" not in made.create("configmaps", text)["metadata"]


def test_what_is_the_servers_own_is_not_taken_from_a_request() -> None:
    own: dict[str, Any] = {
        "uid": "x",
        "deletionTimestamp": "x",
        "creationTimestamp": "x",
        "generation": 7,
        "resourceVersion": "9",
    }
    known = store().create(POLICIES, policy(**own))["metadata"]

    assert "deletionTimestamp" not in known
    assert known["generation"] == 1
    assert not own.items() & known.items()


def test_names_are_made_up_from_a_prefix() -> None:
    made = store()
    found = {made.create(POLICIES, policy("", generateName="web-"))["metadata"]["name"] for _ in range(20)}

    assert len(found) == 20
    assert all(name.startswith("web-") and len(name) == 9 for name in found)
    long = made.create(POLICIES, policy("", generateName="x" * 80))["metadata"]["name"]
    assert len(long) == 63


def test_a_name_is_taken_once_in_each_namespace() -> None:
    made = store()
    made.create(POLICIES, policy())
    made.create(POLICIES, policy(namespace="shop"))

    with pytest.raises(AlreadyExistsError, match=r'^networkpolicies.networking.k8s.io "web" already exists$') as caught:
        made.create(POLICIES, policy())
    assert caught.value.details == {"name": "web", "group": "networking.k8s.io", "kind": "networkpolicies"}
    assert caught.value.code == 409


def test_nothing_is_created_in_a_namespace_that_does_not_exist() -> None:
    with pytest.raises(NotFoundError, match=r'^namespaces "nosuch" not found$'):
        store().create(POLICIES, policy(namespace="nosuch"))


def test_a_namespace_always_has_the_label_with_its_name() -> None:
    made = store()
    assert made.get("namespaces", "", "shop")["metadata"]["labels"] == {"kubernetes.io/metadata.name": "shop"}

    changed = {"metadata": {"name": "shop", "labels": {"team": "a", "kubernetes.io/metadata.name": "other"}}}
    after = made.update("namespaces", {"apiVersion": "v1", "kind": "Namespace", **changed})

    assert after["metadata"]["labels"] == {"team": "a", "kubernetes.io/metadata.name": "shop"}
    assert after["spec"] == {"finalizers": ["kubernetes"]}
    assert after["status"] == {"phase": "Active"}


@pytest.mark.parametrize("verb", ["create", "update", "delete"])
def test_a_dry_run_answers_and_stores_nothing(verb: str) -> None:
    made = store()
    made.create(POLICIES, policy("old"))
    before, revision = made.list(POLICIES)

    if verb == "create":
        assert made.create(POLICIES, policy(), dry_run=True)["metadata"]["uid"]
    elif verb == "update":
        assert made.update(POLICIES, policy("old", labels={"a": "b"}), dry_run=True)["metadata"]["labels"] == {"a": "b"}
    else:
        made.delete(POLICIES, "default", "old", dry_run=True)

    assert made.list(POLICIES) == (before, revision)


# Changing


def test_a_change_of_the_spec_counts_a_generation_and_one_of_the_metadata_does_not() -> None:
    made = store()
    first = made.create(POLICIES, policy())

    labelled = made.update(POLICIES, policy(labels={"a": "b"}))
    other = made.update(POLICIES, {**policy(labels={"a": "b"}), "spec": {"podSelector": {}, "ingress": [{}]}})

    assert labelled["metadata"]["generation"] == 1
    assert other["metadata"]["generation"] == 2
    assert other["metadata"]["uid"] == first["metadata"]["uid"]
    assert int(first["metadata"]["resourceVersion"]) < int(labelled["metadata"]["resourceVersion"]) < made.revision + 1


def test_the_same_object_again_is_no_change() -> None:
    made = store()
    first = made.create(POLICIES, policy())
    told: list[Change] = []
    made.subscribe(told.append)

    assert made.update(POLICIES, policy()) is first
    assert made.update(POLICIES, first) is first
    assert made.revision == 3
    assert not told


def test_a_change_of_an_older_revision_is_a_conflict() -> None:
    made = store()
    old = made.create(POLICIES, policy())
    made.update(POLICIES, policy(labels={"a": "b"}))

    with pytest.raises(ConflictError) as caught:
        made.update(POLICIES, old)
    assert str(caught.value) == (
        'Operation cannot be fulfilled on networkpolicies.networking.k8s.io "web": the object has been modified; '
        "please apply your changes to the latest version and try again"
    )
    with pytest.raises(ConflictError, match=r"Key: /registry/networkpolicies/default/web, .* UID in precondition: x,"):
        made.update(POLICIES, policy(uid="x"))


def test_what_does_not_exist_cannot_change() -> None:
    with pytest.raises(NotFoundError, match=r'^networkpolicies.networking.k8s.io "web" not found$'):
        store().update(POLICIES, policy())


def test_a_status_changes_by_itself_only() -> None:
    made = store()
    first = made.create("pods", pod())

    running = made.update("pods", {**first, "spec": {"other": 1}, "status": {"phase": "Running"}}, status=True)
    assert (running["spec"], running["status"]) == ({}, {"phase": "Running"})
    assert running["metadata"]["generation"] == 1

    after = made.update("pods", {**pod(nodeName="n"), "status": {"phase": "Failed"}})
    assert (after["spec"], after["status"]) == ({"nodeName": "n"}, {"phase": "Running"})


# Deleting


def test_a_deleted_object_is_gone() -> None:
    made = store()
    stored = made.create(POLICIES, policy())

    last = made.delete(POLICIES, "default", "web")

    assert "deletionTimestamp" not in last["metadata"]
    assert last["metadata"]["uid"] == stored["metadata"]["uid"]
    assert last["metadata"]["resourceVersion"] == str(made.revision) == "4"
    for _ in range(2):
        with pytest.raises(NotFoundError):
            made.delete(POLICIES, "default", "web")


def test_an_object_with_a_finalizer_goes_when_the_last_is_taken_away() -> None:
    made = store()
    made.create(POLICIES, policy(finalizers=["example.com/f"]))

    marked = made.delete(POLICIES, "default", "web")
    assert marked["metadata"]["deletionTimestamp"] == "2026-11-18T11:06:40Z"
    assert marked["metadata"]["deletionGracePeriodSeconds"] == 0
    assert marked["metadata"]["generation"] == 2
    assert made.delete(POLICIES, "default", "web") is marked

    made.update(POLICIES, policy(finalizers=None))
    with pytest.raises(NotFoundError):
        made.get(POLICIES, "default", "web")
    assert made.changes(POLICIES, 3)[-1].type == "DELETED"


@pytest.mark.parametrize(
    ("spec", "status", "asked", "seconds"),
    [
        ({}, {}, None, None),
        ({"nodeName": "n"}, {"phase": "Running"}, None, 30),
        ({"nodeName": "n", "terminationGracePeriodSeconds": 5}, {"phase": "Running"}, None, 5),
        ({"nodeName": "n", "terminationGracePeriodSeconds": 5}, {"phase": "Running"}, 2, 2),
        ({"nodeName": "n"}, {"phase": "Running"}, 2**63 - 1, 2**31),
        ({"nodeName": "n"}, {"phase": "Running"}, 0, None),
        ({"nodeName": "n"}, {"phase": "Succeeded"}, None, None),
        ({"nodeName": "n"}, {"phase": "Failed"}, 10, None),
    ],
)
def test_a_pod_has_time_to_end_while_something_runs_in_it(
    spec: Raw, status: Raw, asked: int | None, seconds: int | None
) -> None:
    made = store()
    made.update("pods", {**made.create("pods", pod(**spec)), "status": status}, status=True)

    last = made.delete("pods", "default", "a", grace=asked)

    assert last["metadata"]["deletionGracePeriodSeconds"] == (seconds or 0)
    assert (last in made.list("pods")[0]) == (seconds is not None)
    if seconds:
        assert made.delete("pods", "default", "a", grace=seconds + 1) is last
        made.delete("pods", "default", "a", grace=0)
        assert made.list("pods")[0] == []


def test_preconditions_of_a_deletion_are_kept() -> None:
    made = store()
    known = made.create(POLICIES, policy())["metadata"]

    with pytest.raises(ConflictError) as caught:
        made.delete(POLICIES, "default", "web", uid="x")
    assert str(caught.value) == (
        'Operation cannot be fulfilled on NetworkPolicy.networking.k8s.io "web": the UID in the precondition (x) does '
        f"not match the UID in record ({known['uid']}). The object might have been deleted and then recreated"
    )
    with pytest.raises(ConflictError) as caught:
        made.delete(POLICIES, "default", "web", revision="1")
    assert str(caught.value).endswith(
        "the ResourceVersion in the precondition (1) does not match the ResourceVersion in record (3). "
        "The object might have been modified"
    )
    made.delete(POLICIES, "default", "web", uid=known["uid"], revision=known["resourceVersion"])


@pytest.mark.parametrize(("propagation", "finalizer"), [("Foreground", "foregroundDeletion"), ("Orphan", "orphan")])
def test_an_object_waits_for_what_becomes_of_its_dependents(propagation: Propagation, finalizer: str) -> None:
    made = store()
    made.create(POLICIES, policy())
    assert made.delete(POLICIES, "default", "web", propagation=propagation)["metadata"]["finalizers"] == [finalizer]


def test_a_namespace_takes_nothing_new_while_it_is_deleted_and_goes_when_it_is_empty() -> None:
    made = store()
    marked = made.delete("namespaces", "", "shop")
    assert marked["status"] == {"phase": "Terminating"}
    assert made.delete("namespaces", "", "shop") is marked

    with pytest.raises(ForbiddenError) as caught:
        made.create(POLICIES, policy(namespace="shop"))
    assert str(caught.value) == (
        'networkpolicies.networking.k8s.io "web" is forbidden: '
        "unable to create new content in namespace shop because it is being terminated"
    )
    assert caught.value.details is not None
    assert caught.value.details["causes"][0]["reason"] == "NamespaceTerminating"
    made.finalize("shop")
    with pytest.raises(NotFoundError):
        made.get("namespaces", "", "shop")


def test_kubernetes_own_namespaces_stay() -> None:
    with pytest.raises(ForbiddenError, match=r'^namespaces "default" is forbidden: this namespace may not be deleted$'):
        store().delete("namespaces", "", "default")


# Following


def test_lists_are_in_order_and_of_one_revision() -> None:
    made = store()
    for namespace, name in (("shop", "a"), ("default", "b"), ("default", "a")):
        made.create(POLICIES, policy(name, namespace))

    assert names(made.list(POLICIES)[0]) == ["default/a", "default/b", "shop/a"]
    assert names(made.list(POLICIES, "shop")[0]) == ["shop/a"]
    assert made.list(POLICIES)[1] == made.revision == 5
    assert made.list("pods") == ([], 5)


def test_changes_since_a_revision_are_those_of_the_resource_and_namespace() -> None:
    made = store()
    made.create(POLICIES, policy())
    since = made.revision
    made.create(POLICIES, policy(namespace="shop"))
    made.create("pods", pod())
    before = made.get(POLICIES, "default", "web")
    after = made.update(POLICIES, policy(labels={"a": "b"}))
    made.delete(POLICIES, "default", "web")

    found = made.changes(POLICIES, since, "default")

    assert [(change.type, change.revision) for change in found] == [("MODIFIED", 6), ("DELETED", 7)]
    assert (found[0].previous, found[0].object) == (before, after)
    assert [change.type for change in made.changes(POLICIES, since)] == ["ADDED", "MODIFIED", "DELETED"]
    assert made.changes(POLICIES, made.revision) == []


def test_changes_that_are_no_longer_remembered_are_expired() -> None:
    made = store(remembered=3)
    for number in range(5):
        made.create(POLICIES, policy(f"p{number}"))

    assert len(made.changes(POLICIES, 4)) == 3
    with pytest.raises(ExpiredError, match=r"^too old resource version: 3 \(4\)$") as caught:
        made.changes(POLICIES, 3)
    assert caught.value.code == 410


def test_subscribers_hear_of_every_change_in_order_until_they_leave() -> None:
    made = store()
    told: list[Change] = []
    end = made.subscribe(told.append)
    made.create(POLICIES, policy())
    made.update(POLICIES, policy(labels={"a": "b"}))
    made.delete(POLICIES, "default", "web")
    end()
    made.create(POLICIES, policy())

    assert [(change.type, change.revision) for change in told] == [("ADDED", 3), ("MODIFIED", 4), ("DELETED", 5)]
    assert told == made.changes(POLICIES, 2)[:3]


def test_many_threads_lose_no_change() -> None:
    made = store()
    made.create(POLICIES, policy(annotations={"count": "0"}))
    told: list[int] = []
    made.subscribe(lambda change: told.append(change.revision))

    def count() -> None:
        done = 0
        while done < 20:
            now = made.get(POLICIES, "default", "web")
            known = now["metadata"]
            number = str(int(known["annotations"]["count"]) + 1)
            try:
                made.update(POLICIES, {**now, "metadata": {**known, "annotations": {"count": number}}})
            except StoreError:
                continue
            done += 1

    threads = [threading.Thread(target=count) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert made.get(POLICIES, "default", "web")["metadata"]["annotations"] == {"count": "80"}
    assert told == list(range(4, 84))


# Admission


def test_what_admits_a_resource_fills_in_objects_and_refuses_them() -> None:
    made = store()
    asked: list[tuple[str, str]] = []

    def admit(wanted: Raw | None, before: Raw | None) -> Raw | None:
        asked.append(("new" if before is None else "old", "gone" if wanted is None else "there"))
        if wanted is None or "bad" in wanted["spec"]:
            raise ForbiddenError("no")
        return {**wanted, "spec": {**wanted["spec"], "filled": True}}

    made.admit(POLICIES, admit)
    assert made.create(POLICIES, policy())["spec"] == {"podSelector": {}, "filled": True}
    with pytest.raises(ForbiddenError):
        made.update(POLICIES, {**policy(), "spec": {"bad": 1}})
    with pytest.raises(ForbiddenError):
        made.delete(POLICIES, "default", "web")
    assert asked == [("new", "there"), ("old", "there"), ("old", "gone")]
    assert made.revision == 3
    made.create("pods", pod())
