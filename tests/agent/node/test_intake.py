# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from podfence.agent.node.intake import KINDS, Intake
from podfence.agent.node.kept import Held
from podfence.agent.node.remembered import MOST
from podfence.agent.source import Unreadable
from podfence.cluster.state import Event, EventType
from podfence.kube.live.reflector import Listed, Malformed, Removed, Stored
from podfence.kube.objects import (
    ContainerPort,
    IPBlock,
    Key,
    Namespace,
    NetworkPolicy,
    Peer,
    Pod,
    PodTemplate,
    Requirement,
    Rule,
    Selector,
)
from podfence.policy.budget import BUDGETS, refusals, size_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from podfence.agent.source import Notice
    from podfence.kube.live.reflector import Notification


def pod(name: str = "web", *, phase: str = "Running", address: str = "10.0.0.1", node: str = "n1") -> Pod:
    return Pod(namespace="shop", name=name, template=PodTemplate(node=node), addresses=(address,), phase=phase)


def space(**labels: str) -> Namespace:
    return Namespace(name="shop", labels=labels)


def many(*, labels: int = 0, ports: int = 0, named: int = 0) -> Pod:
    """Return the pod `web` with so many labels, and ports without and with names."""
    declared = [ContainerPort(1 + n) for n in range(ports)] + [ContainerPort(1 + n, name=f"p{n}") for n in range(named)]
    template = PodTemplate(node="n1", labels={f"k{n}": "v" for n in range(labels)}, ports=tuple(declared))
    return Pod(namespace="shop", name="web", template=template, addresses=("10.0.0.1",), phase="Running")


def told(notices: Iterable[Notice]) -> list[str]:
    """Return notices as short texts."""
    return [
        f"{item.type} {item.object.key.kind} {item.object.key.name}" if isinstance(item, Event) else type(item).__name__
        for item in notices
    ]


def synced(*before: Notification) -> Intake:
    intake = Intake()
    intake.take([*before, *(Listed(kind) for kind in KINDS)])
    return intake


def test_the_loop_is_told_to_begin_when_the_last_kind_is_listed() -> None:
    intake = Intake()

    first = intake.take([Stored(space(), "1"), Listed("Namespace"), Listed("Pod"), Listed("Node")])
    last = intake.take([Listed("NetworkPolicy")])
    again = intake.take([Listed("NetworkPolicy")])

    assert told(first.notices) == ["added Namespace shop"]
    assert told(last.notices) == ["Synced"]
    assert told(again.notices) == []


def test_an_object_that_comes_twice_is_one_event() -> None:
    intake = synced(Stored(space(), "1"))

    assert told(intake.take([Stored(pod(), "2"), Stored(pod(), "2")]).notices) == ["added Pod web"]


def test_an_object_of_which_only_the_revision_changed_is_no_event() -> None:
    intake = synced(Stored(space(), "1"), Stored(pod(), "2"))

    taken = intake.take([Stored(pod(), "3")])

    assert taken == type(taken)()
    assert intake.known("Pod") == {pod().key: "3"}


@pytest.mark.parametrize(
    ("found", "too_many"),
    [
        (many(labels=MOST), ""),
        (many(labels=MOST + 1), "labels"),
        (many(named=MOST), ""),
        (many(named=MOST + 1), "ports with names"),
        (many(ports=5000, named=MOST), ""),
        (many(ports=5000, named=MOST + 1), "ports with names"),
    ],
)
def test_a_pod_with_more_than_agents_remember_has_no_address_and_so_stays_closed(found: Pod, too_many: str) -> None:
    intake = synced(Stored(space(), "1"), Stored(pod(), "2"))

    taken = intake.take([Stored(found, "3")])

    why = f"Pod shop/web has more than {MOST} {too_many}, so it is not used and stays closed until it has fewer"
    assert [item.reason for item in taken.notices if isinstance(item, Unreadable)] == ([why] if too_many else [])
    ((_, kept, _),) = taken.changes
    assert isinstance(kept, Pod)
    assert kept.addresses == (() if too_many else ("10.0.0.1",))
    assert len(kept.template.labels) + len(kept.template.ports) <= MOST
    assert intake.pods_on("n1") == {"shop/web": kept.addresses}
    assert told(intake.take([Stored(pod(), "4")]).notices) == ["modified Pod web"]


def large(*blocks: str, values: int = 0) -> NetworkPolicy:
    selector = Selector((Requirement("k", "In", tuple(f"v{n}" for n in range(values))),)) if values else Selector()
    rules = tuple(Rule((Peer(ip_block=IPBlock(block)),)) for block in blocks)
    return NetworkPolicy(namespace="shop", name="p", pod_selector=selector, egress=rules, policy_types=("Egress",))


def refusal(policy: NetworkPolicy) -> str:
    return refusals([(policy, size_of(policy))], "standard").get(policy.name, "")


@pytest.mark.parametrize("rules", [499, 500, 501, 600])
def test_of_a_policy_beyond_the_budget_no_rule_is_remembered_and_it_is_refused_in_the_same_words(rules: int) -> None:
    intake = Intake(BUDGETS["standard"])
    found = large(*(f"10.0.{n // 256}.{n % 256}/32" for n in range(rules)), values=7)

    ((_, kept, _),) = intake.take([Stored(found, "1")]).changes

    assert isinstance(kept, NetworkPolicy)
    assert (kept.pod_selector, kept.policy_types) == (found.pod_selector, found.policy_types)
    assert len(kept.egress) == (rules if rules <= 500 else 0)
    assert refusal(kept) == refusal(found)
    assert bool(refusal(kept)) is (rules > 500)
    ((_, again, _),) = intake.take([Stored(large("10.0.0.0/8"), "2")]).changes
    assert isinstance(again, NetworkPolicy)
    assert (again.egress, again.left_out) == (large("10.0.0.0/8").egress, ())


def test_a_policy_whose_selector_alone_is_beyond_the_budget_isolates_all_pods_of_its_namespace() -> None:
    found = large(values=5000)
    ((_, kept, _),) = Intake(BUDGETS["standard"]).take([Stored(found, "1")]).changes

    assert isinstance(kept, NetworkPolicy)
    assert kept.pod_selector == Selector()
    assert refusal(kept) == refusal(found) != ""


def test_without_a_budget_all_of_a_policy_is_remembered() -> None:
    found = large(*["10.0.0.0/8"] * 600)
    ((_, kept, _),) = Intake(BUDGETS["none"]).take([Stored(found, "1")]).changes
    assert kept is found


def test_a_change_is_an_event_and_is_kept() -> None:
    intake = synced(Stored(space(), "1"), Stored(pod(), "2"))
    done = pod(phase="Succeeded")

    taken = intake.take([Stored(done, "3")])

    assert told(taken.notices) == ["modified Pod web"]
    assert taken.changes == ((EventType.MODIFIED, done, "3"),)


def test_an_object_that_is_removed_goes_as_it_last_was_and_once() -> None:
    last = pod()
    intake = synced(Stored(space(), "1"), Stored(last, "2"))

    taken = intake.take([Removed(last.key, None), Removed(last.key, None)])

    assert taken.notices == (Event(EventType.DELETED, last),)


def test_a_pod_waits_for_its_namespace() -> None:
    intake = synced()

    early = intake.take([Stored(pod(), "5"), Stored(pod(address="10.0.0.2"), "6")])
    late = intake.take([Stored(space(a="b"), "4")])

    assert told(early.notices) == []
    assert told(late.notices) == ["added Namespace shop", "added Pod web"]
    assert isinstance(late.notices[1], Event)
    assert late.notices[1].object is intake.held[pod().key].object


def test_a_pod_that_goes_while_it_waits_was_never_there() -> None:
    intake = synced()

    taken = intake.take([Stored(pod(), "5"), Removed(pod().key, pod()), Stored(space(), "4")])

    assert told(taken.notices) == ["added Namespace shop"]


def test_a_pod_that_is_known_changes_although_its_namespace_went_first() -> None:
    intake = synced(Stored(space(), "1"), Stored(pod(), "2"))

    taken = intake.take([Removed(space().key, None), Stored(pod(phase="Failed"), "3"), Removed(pod().key, None)])

    assert told(taken.notices) == ["deleted Namespace shop", "modified Pod web", "deleted Pod web"]


def test_what_cannot_be_read_leaves_what_it_was() -> None:
    intake = synced(Stored(space(), "1"), Stored(pod(), "2"))

    taken = intake.take([Malformed(pod().key, "3", "status.podIPs: expected a list")])

    assert taken.notices == (
        Unreadable("Pod shop/web cannot be read, so its last version stays in force: status.podIPs: expected a list"),
    )


def test_a_policy_that_cannot_be_read_is_replaced_by_what_stands_for_it() -> None:
    before = NetworkPolicy(namespace="shop", name="p", ingress=(Rule(),))
    closed = NetworkPolicy(namespace="shop", name="p")
    intake = synced(Stored(space(), "1"), Stored(before, "2"))

    taken = intake.take([Malformed(before.key, "3", "unknown field spec.x", closed)])

    assert told(taken.notices) == ["Unreadable", "modified NetworkPolicy p"]
    assert taken.notices[1] == Event(EventType.MODIFIED, closed)


def test_what_was_kept_is_enforced_only_when_nothing_better_comes() -> None:
    intake = Intake()
    restored = intake.restore({item.key: Held(item, "1") for item in (space(), pod())})

    resigned = intake.go_on_with_kept()
    later = intake.take([Listed(kind) for kind in KINDS])

    assert told(restored) == ["added Namespace shop", "added Pod web"]
    assert told(resigned) == ["Synced"]
    assert told(later.notices) == []
    assert intake.is_live


def test_what_was_kept_is_corrected_by_what_is_listed_before_the_loop_begins() -> None:
    intake = Intake()
    intake.restore({item.key: Held(item, "1") for item in (space(), pod(), pod("old", address="10.0.0.7"))})

    taken = intake.take([Removed(pod("old").key, None), *(Listed(kind) for kind in KINDS)])

    assert told(taken.notices) == ["deleted Pod old", "Synced"]
    assert told(intake.go_on_with_kept()) == []


def test_without_anything_kept_there_is_nothing_to_go_on_with() -> None:
    intake = Intake()
    intake.restore({})

    assert intake.go_on_with_kept() == []


@pytest.mark.parametrize(
    ("item", "expected"),
    [
        (pod(), {"shop/web": ("10.0.0.1",)}),
        (pod(node="n2"), {}),
        (pod(phase="Succeeded"), {}),
        (
            Pod(
                namespace="shop",
                name="h",
                template=PodTemplate(node="n1", host_network=True),
                addresses=("10.9.9.9",),
            ),
            {},
        ),
    ],
    ids=["own", "another node's", "finished", "hostNetwork"],
)
def test_the_pods_on_a_node_are_those_that_run_with_a_network_of_their_own(
    item: Pod, expected: dict[str, tuple[str, ...]]
) -> None:
    assert synced(Stored(space(), "1"), Stored(item, "2")).pods_on("n1") == expected


def test_a_pod_counts_for_the_node_it_is_on_now() -> None:
    intake = synced(Stored(space(), "1"), Stored(pod(node=""), "2"))

    intake.take([Stored(pod(node="n2"), "3")])
    elsewhere = intake.pods_on("n1"), intake.pods_on("n2")
    intake.take([Stored(pod(node="n1"), "4")])
    here = intake.pods_on("n1"), intake.pods_on("n2")
    intake.take([Removed(pod().key, None)])

    assert elsewhere == ({}, {"shop/web": ("10.0.0.1",)})
    assert here == ({"shop/web": ("10.0.0.1",)}, {})
    assert intake.pods_on("n1") == {}


def test_the_revisions_that_are_known_are_told_by_kind() -> None:
    intake = synced(Stored(space(), "1"), Stored(pod(), "2"))

    assert intake.known("Namespace") == {Key("Namespace", "", "shop"): "1"}
