# SPDX-License-Identifier: Apache-2.0
"""Which changes of policies wait for others, and for how long."""

from __future__ import annotations

import pytest

from podfence.agent.turns import ENOUGH, LARGE, LONG, LONGEST_REST, LONGEST_WAIT, REST, Turns
from podfence.cluster.state import Event, EventType
from podfence.kube.objects import KubeObject, NetworkPolicy, PolicyPort
from tests.policy.parts import pod, policy, rule, space


class Time:
    """A clock that the test moves."""

    def __init__(self) -> None:
        self.now = 100.0
        self.turns = Turns("n1", lambda: self.now)

    def change(self, name: str, namespace: str = "shop", kind: EventType = EventType.MODIFIED, ports: int = 1) -> bool:
        """Let a policy change; return whether that waits."""
        return self.turns.keep(Event(kind, written(name, namespace, ports)))

    def turn(self, seconds: float, *, sliced: bool = False) -> list[tuple[str, str]]:
        """Let a turn take some time, or its first part if it is `sliced`; return whose it was."""
        events = self.turns.take()
        self.now += seconds
        self.turns.turn_took(events, seconds)
        if not sliced:
            self.turns.ended()
        return [(event.object.key.namespace, event.object.key.name) for event in events]

    def costly(self, namespace: str = "shop") -> None:
        """Let a namespace be known for changes that take long."""
        self.turns.took([Event(EventType.ADDED, written("first", namespace, 1))], 2 * LONG)


def written(name: str, namespace: str, ports: int) -> NetworkPolicy:
    return policy(name, namespace=namespace, ingress=[rule(ports=[PolicyPort("TCP", n + 1) for n in range(ports)])])


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.mark.parametrize(("ports", "waits"), [(1, False), (LARGE - 1, False), (LARGE, True)])
def test_a_policy_waits_for_a_turn_if_it_is_large(time: Time, ports: int, waits: bool) -> None:
    assert time.change("p", ports=ports) is waits
    assert time.turns.at == (100.0 if waits else None)


def test_changes_wait_where_one_before_took_long_and_no_longer_when_they_do_not(time: Time) -> None:
    time.costly()
    assert time.change("p")
    assert not time.change("p", "other")
    assert time.turn(LONG / 2) == [("shop", "p")]
    assert not time.change("p")


def test_of_a_policy_that_changes_again_and_again_the_latest_is_taken_in_where_the_first_stood(time: Time) -> None:
    time.costly()
    latest = Event(EventType.MODIFIED, written("p", "shop", 7))
    assert time.change("p")
    time.now += 1
    assert time.change("q")
    assert time.turns.keep(latest)
    assert time.turns.at == 100.0
    assert time.turns.take()[0] is latest


def test_after_a_long_turn_the_next_of_a_dear_namespace_comes_after_a_rest(time: Time) -> None:
    time.costly()
    time.change("p")
    time.turn(0.2)
    time.change("p")
    assert time.turns.at == pytest.approx(time.now + REST * 0.2)


def test_who_was_in_a_long_step_only_with_others_has_the_next_turn_and_does_not_rest(time: Time) -> None:
    time.costly()
    time.change("p")
    time.turn(0.2)
    time.change("p")
    time.turns.took([Event(EventType.ADDED, written("x", name, 1)) for name in ("shop", "other")], 1.0)
    assert time.change("q", "other")
    assert time.turns.at == time.now
    assert time.turn(0.01) == [("other", "q")]
    assert not time.change("q", "other")


def test_namespaces_take_turns_however_many_policies_change_in_one(time: Time) -> None:
    for name in ("shop", "other"):
        time.costly(name)
    for number in range(40):
        time.change(f"p{number}")
    time.change("q", "other")
    time.turn(ENOUGH)
    for number in range(40):
        time.change(f"p{number}")
    time.now += 1
    assert time.turn(ENOUGH) == [("other", "q")]


def test_a_turn_that_took_too_long_is_followed_by_one_with_fewer_changes(time: Time) -> None:
    time.costly()
    for number in range(40):
        time.change(f"p{number}")
    first = time.turn(4 * ENOUGH)
    assert len(time.turn(ENOUGH)) == len(first) // 4


def test_slices_count_as_the_turn_that_they_are_of(time: Time) -> None:
    time.change("p", ports=LARGE)
    time.turn(LONG / 2, sliced=True)
    time.now += LONG
    time.turns.slice_took(LONG)
    time.turns.ended()
    assert time.change("q")
    assert time.turns.at == time.now + REST * 1.5 * LONG


def test_a_long_slice_is_followed_by_turns_with_fewer_changes(time: Time) -> None:
    time.costly()
    for number in range(40):
        time.change(f"p{number}")
    first = time.turn(ENOUGH / 2, sliced=True)
    time.turns.slice_took(4 * ENOUGH)
    assert len(time.turn(ENOUGH)) == len(first) // 4


def test_slices_of_changes_without_a_turn_delay_nobody(time: Time) -> None:
    time.turns.slice_took(10.0)
    time.change("p", ports=LARGE)
    assert time.turns.at == time.now


def test_new_policies_come_alone(time: Time) -> None:
    time.costly()
    for name, kind in (("a", EventType.MODIFIED), ("b", EventType.ADDED), ("c", EventType.ADDED)):
        time.change(name, kind=kind)
    assert [time.turn(0.01) for _ in range(3)] == [[("shop", name)] for name in "abc"]


def test_nobody_waits_for_rests_for_ever_and_nobody_at_all_after_the_longest_wait(time: Time) -> None:
    for name in ("shop", "other"):
        time.costly(name)
    time.change("p")
    time.turn(100.0)
    begin = time.now
    for number in range(40):
        time.change(f"p{number}", kind=EventType.ADDED)
        time.change(f"q{number}", "other")
    assert time.turns.at == begin + LONGEST_REST
    time.now = begin + LONGEST_WAIT
    assert len(time.turn(1.0)) == 80
    assert time.turns.at is None


@pytest.mark.parametrize(
    ("item", "kind", "waits"),
    [
        (pod("web", "10.0.0.1", node="n1", namespace="shop"), EventType.ADDED, False),
        (pod("web", "10.0.0.1", node="n1", namespace="shop"), EventType.MODIFIED, False),
        (pod("web", "10.0.0.1", node="n1", namespace="shop"), EventType.DELETED, True),
        (pod("web", "10.0.0.1", node="n2", namespace="shop"), EventType.ADDED, True),
        (pod("web", "10.0.0.1", node="n1", namespace="other"), EventType.ADDED, True),
        (space("shop"), EventType.MODIFIED, False),
        (space("other"), EventType.MODIFIED, True),
    ],
)
def test_what_waits_in_a_namespace_goes_before_its_pods_on_the_node(
    time: Time, item: KubeObject, kind: EventType, waits: bool
) -> None:
    time.change("p", ports=LARGE)
    assert bool(time.turns.before(Event(kind, item))) is not waits
    assert bool(time.turns.waiting) is waits
