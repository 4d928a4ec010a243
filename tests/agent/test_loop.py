# SPDX-License-Identifier: Apache-2.0
"""When the loop does what: by a clock that the test moves, against the nft that refuses what nft refuses."""

from __future__ import annotations

import ast
import errno
import re
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import podfence.agent
from podfence.agent.loop import MOST_CHANGES, Agent
from podfence.agent.source import Attached, Bookmark, SourceClosed, Synced, Unreadable, Verify
from podfence.agent.telling import SOME
from podfence.cluster.state import Event, EventType
from podfence.dataplane.compiler import AT_ONCE
from podfence.dataplane.conntrack import Labelled
from podfence.dataplane.flows import Ends, Flow, Sides
from podfence.dataplane.links import Links, PodLink
from podfence.dataplane.revocation import FORGET_AFTER, FORGET_AGAIN
from podfence.dataplane.ruleset import BRIDGE_TABLE, TABLE
from podfence.dataplane.settings import Settings
from podfence.errors import OptionError
from podfence.kube.objects import NetworkPolicy, Node, Peer, PolicyPort
from podfence.lab import node_agent
from podfence.netlink.asking import NetlinkError
from podfence.nft.element import Element
from podfence.nft.errors import NftError, PermissionDeniedError
from podfence.nft.sets import Elements
from podfence.nft.transaction import Transaction
from podfence.policy.model import Model
from podfence.policy.options import Options
from podfence.sets.addresses import parse_address
from tests.agent.live import added, deleted
from tests.nft.fake import FakeRunner
from tests.policy.parts import app, pod, policy, rule, space

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from podfence.agent.reports import Report
    from podfence.agent.source import Notice
    from podfence.dataplane.conntrack import Settled
    from podfence.kube.objects import KubeObject
    from podfence.nft.runner import Contents
    from podfence.nft.table import Table
    from podfence.policy.model import Change

NODE = Node(name="n1", labels={}, pod_cidrs=("10.0.0.0/24",))
WEB = pod("web", "10.0.0.1", node="n1")
DB = pod("db", "10.0.0.2", node="n1")
FAR = pod("far", "10.0.1.1", node="n2", labels={"app": "web"})
ELSEWHERE = pod("x", "10.0.1.2", node="n2", namespace="other")
ALLOW = policy("p", app("db"), ingress=[rule(Peer(pod_selector=app("web")))])
OTHER = policy("q", namespace="other", ingress=[])
START: tuple[KubeObject, ...] = (space("shop"), space("other"), NODE, WEB, DB, FAR, ELSEWHERE, ALLOW, OTHER)


def more(number: int) -> Event:
    return Event(EventType.ADDED, pod(f"more{number}", f"10.0.0.{number + 10}", node="n1"))


class World(FakeRunner):
    """A source with a script, a clock that moves when something is waited for or done, and the kernel."""

    def __init__(self, *script: tuple[float, Sequence[Notice]], until: float = 2.0) -> None:
        super().__init__()
        self.now = 1000.0
        self.script = [(1000.0 + when, notices) for when, notices in script]
        self.end = 1000.0 + until
        self.duration = 0.004
        self.refusals: list[Exception] = []
        self.tries: list[float] = []
        self.runs: list[tuple[float, Transaction]] = []
        self.reports: list[tuple[float, Report]] = []

    def receive(self, timeout: float | None) -> Sequence[Notice]:
        limit = self.end if timeout is None else min(self.end, self.now + timeout)
        if self.script and self.script[0][0] <= limit:
            when, notices = self.script.pop(0)
            self.now = max(self.now, when)
            return notices
        if limit >= self.end:
            raise SourceClosed
        self.now = limit
        return ()

    def run(self, transaction: Transaction) -> None:
        self.tries.append(self.now)
        self.now += self.duration
        if self.refusals:
            raise self.refusals.pop(0) if len(self.refusals) > 1 else self.refusals[0]
        super().run(transaction)
        self.runs.append((self.now, transaction))

    def play(self, conntrack: Flows | None = None, watch: Others | None = None) -> World:
        self.agent(conntrack, watch).run()
        return self

    def agent(self, conntrack: Flows | None = None, watch: Others | None = None) -> Agent:
        return Agent(
            self,
            "n1",
            self,
            Options(),
            Settings(),
            lambda report: self.reports.append((self.now, report)),
            conntrack=conntrack,
            watch=watch,
            clock=lambda: self.now,
            effort=lambda: self.now,
            chance=lambda: 1.0,
        )

    def after_start(self) -> list[float]:
        """Return when transactions began after the cold start, which the first half second is for."""
        return [round(when - 1000.0, 3) for when in self.tries if when >= 1000.5]

    def compared(self) -> list[float]:
        """Return when the whole table was compared."""
        return [round(when - 1000.0, 3) for when, report in self.reports if report.drift is not None]

    def last(self) -> float:
        """Return when the last transaction was done."""
        return round(self.runs[-1][0] - 1000.0, 3)

    def errors(self) -> list[str]:
        return [text for _, report in self.reports for text in report.errors]


class Flows:
    """A kernel that tracks no flows, and keeps when it was asked; it refuses while told to."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.asked: list[float] = []
        self.refuses = False

    def own_addresses(self) -> frozenset[int]:
        return frozenset()

    def flows(self, sides: Sides | None, settled: Settled | None = None, *, quick: bool = False) -> list[Flow]:
        self.asked.append(round(self.world.now - 1000.0, 3))
        if self.refuses:
            raise NetlinkError("listing", errno.EPERM)
        return []

    def label(self, flows: Iterable[Flow], *, present: bool) -> Labelled:
        return Labelled(len(list(flows)))

    def forget(self, handles: Collection[bytes]) -> set[bytes]:
        return set()


class Others:
    """A watch that tells of changes by others at given times, as soon as it is asked then."""

    def __init__(self, world: World, *times: float) -> None:
        self.world = world
        self.times = [1000.0 + when for when in times]
        self.carried_out: list[int] = []

    def fileno(self) -> int:
        raise NotImplementedError

    def begin(self) -> None:
        self.carried_out.append(-1)

    def end(self, transactions: int) -> None:
        assert self.carried_out[-1] == -1
        self.carried_out[-1] = transactions

    def look(self) -> bool:
        found = any(when <= self.world.now for when in self.times)
        self.times = [when for when in self.times if when > self.world.now]
        return found


TENS: list[tuple[float, Sequence[Notice]]] = [(1.0 + n / 10, [more(n)]) for n in range(10)]
BEGIN: tuple[float, Sequence[Notice]] = (0.0, [*added(START), Bookmark(1), Synced()])


def refuse(world: World, begin: float, end: float) -> None:
    """Let the kernel refuse every transaction between two moments."""
    run = world.run

    def refusing(transaction: Transaction) -> None:
        world.refusals = [NftError("busy")] if begin <= world.now < end else []
        run(transaction)

    world.run = refusing  # type: ignore[method-assign]  # the kernel of this world


def test_nothing_is_changed_before_the_source_is_in_sync() -> None:
    world = World((0.0, added(START)), (1.0, [Bookmark(1)])).play()
    assert world.tries == []
    assert world.reports == []


def test_the_first_event_when_idle_is_applied_at_once() -> None:
    assert World(BEGIN, (1.0, [more(1)])).play().after_start() == [1.0]


def test_what_comes_within_ten_milliseconds_of_a_transaction_goes_together() -> None:
    world = World(BEGIN, (1.0, [more(1)]), (1.005, [more(2)]), (1.008, [more(3)]), (1.012, [more(4)])).play()
    assert world.after_start() == [1.0, 1.014]


def test_events_that_are_there_already_go_together() -> None:
    assert World(BEGIN, *((1.0, [more(n)]) for n in range(20))).play().after_start() == [1.0]


def test_a_flood_is_applied_every_fifty_milliseconds() -> None:
    flood = [(1.0 + n / 1000, [more(n)]) for n in range(200)]
    # The source has something at any moment, so it never seems quiet.
    world = World(BEGIN, *((1.0 if n < 150 else when, events) for n, (when, events) in enumerate(flood)))
    original = world.receive

    def receive(timeout: float | None) -> Sequence[Notice]:
        found = original(timeout)
        world.now += 0.001 if found else 0.0
        return found

    world.receive = receive  # type: ignore[method-assign]
    starts = world.play().after_start()
    assert all(0.010 <= later - earlier <= 0.060 for earlier, later in pairwise(starts))
    assert starts[0] == pytest.approx(1.051, abs=0.002)
    assert 3 <= len(starts) <= 8


def test_a_bookmark_is_reported_when_everything_before_it_is_in_the_kernel() -> None:
    world = World(BEGIN, (1.0, [more(1), Bookmark(2)]), (1.5, [Bookmark(3)])).play()
    found = [(report.revision, round(when - 1000, 3)) for when, report in world.reports if when > 1000.5]
    assert found == [(2, 1.004), (3, 1.5)]
    assert world.after_start() == [1.0]


def test_records_say_how_long_local_pods_and_policies_of_namespaces_with_local_pods_took() -> None:
    world = World(BEGIN, (1.0, [more(1), deleted(DB), deleted(FAR), deleted(OTHER)])).play()
    (_, first), (told, second) = world.reports
    assert {(item.kind, item.namespace, item.name) for item in first.records} == {
        ("Pod", "shop", "web"),
        ("Pod", "shop", "db"),
        ("NetworkPolicy", "shop", "p"),
    }
    assert {(item.name, item.type) for item in second.records} == {
        ("more1", EventType.ADDED),
        ("db", EventType.DELETED),
    }
    assert told in {when for when, _ in world.runs}
    assert all(item.seconds == pytest.approx(told - 1001.0) for item in second.records)


def test_what_is_too_large_for_one_change_goes_in_slices_and_the_changes_of_others_go_between() -> None:
    many = [
        pod(f"m{n}", f"10.1.{n // 250}.{n % 250}", node="n2", labels={"app": "many"}) for n in range(AT_ONCE + 7000)
    ]
    large = policy("large", app("db"), ingress=[rule(Peer(pod_selector=app("many")))])
    small = policy("small", app("web"), ingress=[])
    world = World(
        (0.0, [*added((*START, *many)), Bookmark(1), Synced()]),
        (1.0, [Event(EventType.ADDED, large), Bookmark(2)]),
        (1.002, [Event(EventType.ADDED, small)]),
    ).play()
    done = {record.name: when for when, report in world.reports for record in report.records}
    assert done["small"] < done["large"]
    assert min(when for when, report in world.reports if report.revision == 2) == done["large"]
    assert len(many) in {len(items) for items in world.contents(TABLE).elements.values()}


def test_flows_are_looked_at_before_what_is_no_longer_needed_goes_and_again_a_tenth_of_a_second_later() -> None:
    world = World(BEGIN, (1.0, [NOBODY]))
    flows = Flows(world)
    world.play(flows)
    decided, tidied = (round(when - 1000.0, 3) for when, _ in world.runs if when > 1001.0)
    assert decided < tidied
    assert [when for when in flows.asked if when >= 1.0] == [decided, pytest.approx(decided + 0.1)]


def test_a_kernel_that_does_not_let_go_of_what_is_no_longer_needed_gets_the_table_anew() -> None:
    world = World(BEGIN, (1.0, [NOBODY]))
    refuse(world, 1001.004, 1001.1)
    world.play()
    assert any("busy" in text for text in world.errors())
    assert [report.enforcing for when, report in world.reports if when > 1001.0] == [True, False, True]
    assert str(world.runs[-1][1]).startswith("add table inet podfence")


def test_after_a_change_that_only_admits_more_no_flow_is_looked_at() -> None:
    world = World(BEGIN, (1.0, [deleted(ALLOW)]))
    flows = Flows(world)
    world.play(flows)
    assert world.last() > 1.0
    assert [when for when in flows.asked if when >= 1.0] == []


def test_the_second_look_is_not_put_off_for_ever_while_changes_keep_coming() -> None:
    changes = [(1.0 + n / 20, [more(n), Event(EventType.MODIFIED, ALLOW)]) for n in range(20)]
    world = World(BEGIN, *changes, until=3.0)
    flows = Flows(world)
    world.play(flows)
    looks = [when for when in flows.asked if when >= 1.0]
    assert len(looks) > len(changes)
    assert max(looks) == pytest.approx(changes[-1][0] + 0.104, abs=0.01)


def test_a_change_just_before_a_second_look_has_one_more_a_tenth_of_a_second_later() -> None:
    changes = [(1.0 + n * 0.06, [more(n), Event(EventType.MODIFIED, ALLOW)]) for n in range(9)]
    world = World(BEGIN, *changes, until=3.0)
    flows = Flows(world)
    world.play(flows)
    last = world.last()
    late = [when for when in flows.asked if when > last]
    assert len(late) == 2
    assert max(late) == pytest.approx(last + 0.1)


class Telling(Flows):
    """Notes how many reports there were each time."""

    def __init__(self, world: World) -> None:
        super().__init__(world)
        self.told: list[int] = []

    def flows(self, sides: Sides | None, settled: Settled | None = None, *, quick: bool = False) -> list[Flow]:
        self.told.append(len(self.world.reports))
        return super().flows(sides)


def test_the_rules_are_told_of_before_established_flows_are_looked_at() -> None:
    world = World(BEGIN, (1.0, [NOBODY, Bookmark(2)]))
    flows = Telling(world)
    world.play(flows)
    programmed = next(place for place, (_, report) in enumerate(world.reports) if report.revision == 2)
    assert next(count for count in flows.told if count > 1) == programmed + 1


def test_flows_that_cannot_be_looked_at_are_complained_about_and_the_rules_are_in_force() -> None:
    world = World(BEGIN, (1.0, [NOBODY, Bookmark(2)]))
    flows = Flows(world)
    flows.refuses = True
    world.play(flows)
    assert world.reports[-1][1].enforcing
    assert world.reports[-1][1].revision == 2
    (error,) = world.errors()
    assert error.startswith("established flows of node n1 could not be read: listing: ")
    last = world.last()
    assert [when for when in flows.asked if when >= 1.0] == [last]


def test_flows_that_could_not_be_looked_at_are_looked_at_every_second_until_it_succeeds() -> None:
    world = World(BEGIN, (1.0, [NOBODY]), until=9.0)
    flows = Flows(world)
    original = world.receive

    def receive(timeout: float | None) -> Sequence[Notice]:
        flows.refuses = 1000.9 < world.now < 1003.0
        return original(timeout)

    world.receive = receive  # type: ignore[method-assign]
    world.play(flows)
    expected = [world.last() + delay for delay in (0.0, 1.0, 2.0, 3.0)]
    assert [when for when in flows.asked if when >= 1.0] == pytest.approx(expected)


def test_an_agent_goes_on_and_looks_again_if_its_socket_fails_at_a_second_look_at_flows() -> None:
    class Failing(Flows):
        def flows(self, sides: Sides | None, settled: Settled | None = None, *, quick: bool = False) -> list[Flow]:
            found = super().flows(sides, settled, quick=quick)
            if not quick and 1001.0 < world.now < 1001.2:
                raise OSError(errno.ENOBUFS, "No buffer space available")
            return found

    world = World(BEGIN, (1.0, [NOBODY, Bookmark(2)]))
    flows = Failing(world)
    world.play(flows)
    (error,) = world.errors()
    assert "No buffer space available" in error
    assert world.reports[-1][1].enforcing
    assert flows.asked[-1] > 1.2


class Known(Flows):
    """A kernel that tracks one connection, from web to db, and keeps it for a time; there is `room` for labels or not."""

    def __init__(self, world: World, *, room: bool, keeps_until: float = 0.0) -> None:
        super().__init__(world)
        web, db = (parse_address(item.addresses[0]) for item in (WEB, DB))
        self.flow: Flow | None = Flow(6, Ends(web, db, 40000, 80), Ends(db, web, 80, 40000), handle=b"it")
        self.ended: float | None = None
        self._room = room
        self._keeps_until = keeps_until

    def flows(self, sides: Sides | None, settled: Settled | None = None, *, quick: bool = False) -> list[Flow]:
        super().flows(sides)
        return [] if self.flow is None or (settled and settled(self.flow)) else [self.flow]

    def label(self, flows: Iterable[Flow], *, present: bool) -> Labelled:
        asked = tuple(flows)
        if asked and self._room and self.flow is not None:
            self.flow = self.flow._replace(labelled=present)
        return Labelled(len(asked)) if self._room else Labelled(0, asked)

    def forget(self, handles: Collection[bytes]) -> set[bytes]:
        now = self.world.now - 1000.0
        if b"it" not in handles:
            return set()
        if now < self._keeps_until:
            return {b"it"}
        self.flow, self.ended = None, now
        return set()


NOBODY = Event(EventType.MODIFIED, policy("p", app("db"), ingress=[]))


def test_a_flow_is_forgotten_half_a_minute_after_it_was_cut() -> None:
    world = World(BEGIN, (100.0, [NOBODY]), until=300.0)
    flows = Known(world, room=True)
    world.play(flows)
    assert [report.cut for _, report in world.reports if report.cut] == [1]
    assert flows.ended is not None
    assert FORGET_AFTER <= flows.ended - 100.0 <= FORGET_AFTER + FORGET_AGAIN
    assert world.errors() == []


def test_a_change_is_looked_at_at_once_after_flows_were_forgotten() -> None:
    class Slow(Known):
        def forget(self, handles: Collection[bytes]) -> set[bytes]:
            found = super().forget(handles)
            self.world.now += 0.05 if handles else 0.0
            return found

    first = Known(World(BEGIN, (100.0, [NOBODY]), until=300.0), room=True)
    first.world.play(first)
    assert first.ended is not None
    at = first.ended + 0.06
    flows = Slow(World(BEGIN, (100.0, [NOBODY]), (at, [more(1)]), until=300.0), room=True)
    flows.world.play(flows)
    assert any(at <= when < at + 0.05 for when in flows.asked)


def test_a_flow_that_is_allowed_again_in_time_is_not_forgotten() -> None:
    world = World(BEGIN, (100.0, [NOBODY]), (120.0, [Event(EventType.MODIFIED, ALLOW)]), until=300.0)
    flows = Known(world, room=True)
    world.play(flows)
    assert flows.flow is not None
    assert not flows.flow.labelled


def test_a_forbidden_flow_that_the_kernel_keeps_is_told_of_and_cut_as_soon_as_it_lets_it_go() -> None:
    world = World(BEGIN, (1.0, [NOBODY]), until=300.0)
    flows = Known(world, room=False, keeps_until=50.0)
    world.play(flows)
    assert flows.ended is not None
    assert 50.0 <= flows.ended <= 50.0 + FORGET_AGAIN
    assert [round(when - 1000.0 - flows.ended, 1) for when, report in world.reports if report.cut] == [0.0]
    (error,) = world.errors()
    assert error.startswith("policies now deny established flows of node n1, and they cannot be cut yet: 1 continue")


def test_the_whole_table_is_compared_every_minute_and_when_asked() -> None:
    world = World(BEGIN, (30.0, [Verify()]), until=200.0).play()
    looked = [round(when - 1000) for when, report in world.reports if report.drift is not None]
    assert looked == [30, 90, 150]


class Slow(World):
    """A kernel that takes two seconds to give all of the table."""

    def contents(self, table: Table) -> Contents:
        self.now += 2.0
        return super().contents(table)


@pytest.mark.parametrize(("told", "compared"), [(False, [62, 124, 186, 248, 310]), (True, [62, 264])])
def test_comparisons_that_take_long_are_rarer_where_the_kernel_tells_of_changes(
    told: bool, compared: list[int]
) -> None:
    world = Slow(BEGIN, until=320.0)
    world.play(watch=Others(world) if told else None)
    assert [round(when) for when in world.compared()] == compared


def test_a_change_of_the_table_by_others_is_looked_at_at_once() -> None:
    world = World(BEGIN, (10.0, []))
    world.end = 1060.0
    world.play(watch=Others(world, 10.0))
    assert world.compared() == [10.0]


def test_what_has_come_is_programmed_before_flows_are_looked_at() -> None:
    world = World(BEGIN, (1.0, [more(1)]), (1.002, [more(2)]))
    flows = Flows(world)
    world.play(flows)
    assert world.after_start() == [1.0, 1.014]
    assert next(when for when in flows.asked if when > 1.0) == 1.018


def test_flows_are_looked_at_within_fifty_milliseconds_while_changes_keep_coming() -> None:
    world = World(BEGIN, *((1.0 + n / 500, [more(n)]) for n in range(200)))
    flows = Flows(world)
    world.play(flows)
    assert 1.05 <= next(when for when in flows.asked if when > 1.0) <= 1.09


def test_changes_that_follow_a_look_which_took_long_share_the_next_one() -> None:
    class Slow(Flows):
        def flows(self, sides: Sides | None, settled: Settled | None = None, *, quick: bool = False) -> list[Flow]:
            found = super().flows(sides, settled)
            self.world.now += 0.03
            return found

    flows, quick = Slow(World(BEGIN, *TENS)), Flows(World(BEGIN, *TENS))
    for each in (flows, quick):
        each.world.play(each)
    assert len([when for when in quick.asked if 1.0 <= when < 1.99]) >= 10
    asked = [when for when in flows.asked if 1.0 <= when < 1.99]
    assert len(asked) <= 7
    assert max(later - when for when, later in pairwise([1.0, *asked])) <= 0.3


def test_a_change_by_others_while_flows_are_looked_at_is_not_left_for_a_minute() -> None:
    undisturbed = Flows(world := World(BEGIN))
    world.play(undisturbed)
    world = World(BEGIN)
    world.end = 1030.0
    others = Others(world)

    class Flowing(Flows):
        def flows(self, sides: Sides | None, settled: Settled | None = None, *, quick: bool = False) -> list[Flow]:
            found = super().flows(sides, settled)
            world.now += 0.05
            if len(self.asked) == len(undisturbed.asked):
                # In the midst of the last look that is due, and nothing wakes the agent afterwards.
                others.times = [world.now - 0.01]
            return found

    flows = Flowing(world)
    world.play(flows, others)
    assert world.compared()
    assert world.compared()[0] - flows.asked[-1] < 1.1


def test_changes_by_others_are_looked_at_once_a_second_at_most_until_they_end() -> None:
    wakes: list[tuple[float, Sequence[Notice]]] = [(10.0 + n / 10, []) for n in range(35)]
    world = World(BEGIN, *wakes)
    world.end = 1050.0
    world.play(watch=Others(world, *(when for when, _ in wakes)))
    assert world.compared() == [10.0, 11.0, 12.0, 13.0, 14.0]


def test_a_look_at_changes_by_others_is_put_off_by_half_a_second_at_most_while_changes_keep_coming() -> None:
    changes = [(1.0 + n / 500, [more(n)]) for n in range(200)]
    world = World(BEGIN, (0.99, []), *changes)
    world.play(watch=Others(world, 1.01))
    assert world.compared()
    assert 1.01 <= world.compared()[0] <= 1.52


def test_a_change_by_others_while_the_kernel_refuses_waits_for_the_next_try() -> None:
    world = World(BEGIN, (1.0, [more(1)]), (1.01, []), until=1.5)
    others = Others(world, 1.01)
    original = world.run

    def run(transaction: Transaction) -> None:
        world.refusals = [NftError("busy")] if 1001.0 <= world.now < 1001.3 else []
        original(transaction)

    world.run = run  # type: ignore[method-assign]
    world.play(watch=others)
    assert world.reports[-1][1].enforcing
    assert world.compared()
    assert world.compared()[0] > 1.3


def test_the_watch_is_told_of_each_transaction_that_was_carried_out() -> None:
    world = World(BEGIN, (1.0, [more(1)]), (1.2, [more(2), deleted(WEB)]))
    others = Others(world)
    world.play(watch=others)
    assert min(others.carried_out) >= 0
    assert sum(others.carried_out) == len(world.runs) > 2


def test_drift_is_reported_and_repaired() -> None:
    world = World(BEGIN, (30.0, []), until=150.0)
    original = world.receive

    def receive(timeout: float | None) -> Sequence[Notice]:
        if world.script and world.now > 1000.0 and len(world.script) == 1:
            known = next(item for item in world.contents(TABLE).sets if item.name == "known4")
            FakeRunner.run(world, Transaction(TABLE).delete(Elements(known, (Element(("10.0.0.1",)),))))
            world.script.clear()
        return original(timeout)

    world.receive = receive  # type: ignore[method-assign]
    world.play()
    assert [report.drift for _, report in world.reports if report.drift is not None] == [
        ("set or map known4: 1 elements were gone or changed, 0 are not ours",),
        (),
    ]


def test_a_refusal_is_tried_again_later_and_later_and_said_once_a_minute() -> None:
    world = World(BEGIN, until=100.0)
    world.refusals = [NftError("Device or resource busy")]
    world.play()
    gaps = [later - earlier for earlier, later in pairwise(world.tries)]
    assert gaps[:4] == pytest.approx([0.104, 0.204, 0.404, 0.804])
    assert max(gaps) == pytest.approx(30.004)
    assert [round(when - 1000) for when, report in world.reports if report.errors] == [0, 81]
    assert all("Device or resource busy" in text and "the next try is in" in text for text in world.errors())
    assert not any(report.enforcing for _, report in world.reports)


def test_what_only_a_person_can_help_is_tried_every_half_minute() -> None:
    world = World(BEGIN, until=100.0)
    world.refusals = [PermissionDeniedError("Operation not permitted")]
    world.play()
    assert [round(when - 1000) for when in world.tries] == [0, 30, 60, 90]


def test_after_a_refusal_everything_that_came_meanwhile_is_programmed() -> None:
    world = World(BEGIN, (1.0, [more(1)]), (1.02, [more(2)]), (1.05, [deleted(WEB), Bookmark(2)]))
    refuse(world, 1001.0, 1001.1)
    world.play()
    known = world.runs[-1][1]
    assert "known4 { 10.0.0.2, 10.0.0.11, 10.0.0.12 }" in str(known)
    assert [(report.enforcing, report.revision) for when, report in world.reports if when > 1000.5] == [
        (False, 1),
        (True, 2),
    ]


def test_an_hour_without_a_usable_nft_keeps_the_last_state_and_no_more_than_some_hundred_changes() -> None:
    pods = [pod("far", f"10.0.1.{number % 250 + 1}", node="n2", labels={"app": "web"}) for number in range(3_000)]
    far = added(pods)
    kept: list[int] = []
    meanwhile: set[str] = set()

    def receive(timeout: float | None) -> Sequence[Notice]:
        kept.append(len(agent._changes))
        return original(timeout)

    world = World(
        BEGIN, *((1.0 + number, far[number * 100 : number * 100 + 100]) for number in range(30)), until=3700.0
    )
    original, run = world.receive, world.run
    world.receive = receive  # type: ignore[method-assign]

    def usable_later(transaction: Transaction) -> None:
        world.refusals = [NftError("busy")] if 1001.0 <= world.now < 4600.0 else []
        if world.refusals:
            meanwhile.add(str(world.contents(TABLE)))
        run(transaction)

    world.run = usable_later  # type: ignore[method-assign]
    agent = world.agent()
    agent.run()

    assert len(meanwhile) == 1
    assert max(kept) < MOST_CHANGES
    assert agent.enforcer is not None
    assert agent.enforcer.verify() == ()
    assert pods[-1].addresses[0] in str(world.contents(TABLE).elements)


def test_of_many_changes_of_one_policy_that_are_there_together_only_the_last_is_taken_in() -> None:
    flapping = [policy("flap", app("db"), ingress=[rule()] * count) for count in range(1, 40)]
    events = [*added(flapping), deleted(flapping[0]), *added([policy("flap", app("db"), ingress=[])])]
    world = World(BEGIN, (1.0, events))
    agent = world.agent()
    seen: list[int] = []
    take = agent._take_in

    def counting(events: Iterable[Event], now: float) -> None:
        found = list(events)
        seen.extend(len(getattr(event.object, "ingress", ())) for event in found)
        take(found, now)

    agent._take_in = counting  # type: ignore[method-assign]
    agent.run()
    assert seen[-1:] == [0]
    assert len(seen) == len(START) + 1
    assert agent.enforcer is not None
    assert agent.enforcer.verify() == ()


def test_changes_of_policies_that_are_there_together_are_taken_in_together_between_those_of_pods(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    taken: list[list[str]] = []
    apply = Model.apply

    def counting(model: Model, *events: Event) -> Change:
        taken.append([event.object.name for event in events])
        return apply(model, *events)

    monkeypatch.setattr(Model, "apply", counting)
    some, others = ([policy(f"{name}{n}", app("db"), ingress=[]) for n in range(20)] for name in "ab")
    elsewhere = policy("c", namespace="other", ingress=[])
    world = World(
        BEGIN, (1.0, [*added([*some[:10], elsewhere, *some[10:]]), more(1), *added(others), deleted(some[3])])
    )
    agent = world.agent()
    agent.run()
    first, second = [item.name for item in some if item is not some[3]], [*(item.name for item in others), "a3"]
    assert taken == [first, ["c"], ["more1"], second]
    assert agent.enforcer is not None
    assert agent.enforcer.verify() == ()


class Costly(World):
    """A kernel that takes long for whatever is about a policy called costly."""

    def run(self, transaction: Transaction) -> None:
        self.duration = 0.1 if "costly" in str(transaction) else 0.004
        super().run(transaction)


def costly(number: int) -> Event:
    """Return a change of a policy of the other namespace that takes long; its port tells which one."""
    return Event(
        EventType.MODIFIED, policy("costly", namespace="other", ingress=[rule(ports=[PolicyPort("TCP", number)])])
    )


VICTIM = pod("y", "10.0.0.9", node="n1", namespace="other")


def test_others_go_first_while_a_dear_policy_changes_all_the_time_and_it_is_merged() -> None:
    flaps: list[tuple[float, Sequence[Notice]]] = [(1.0 + n / 50, [costly(n + 1)]) for n in range(200)]
    small: list[tuple[float, Sequence[Notice]]] = [
        (1.01 + n / 10, [NOBODY if n % 2 else Event(EventType.MODIFIED, ALLOW)]) for n in range(40)
    ]
    begin: tuple[float, Sequence[Notice]] = (0.0, [*added((*START, VICTIM)), Bookmark(1), Synced()])
    world = Costly(begin, *sorted([*flaps, *small], key=lambda item: item[0]), until=20.0).play()
    taken = [record.name for when, report in world.reports if when > 1001.1 for record in report.records]
    assert 2 <= taken.count("costly") <= taken.count("p") // 2
    assert taken.count("p") >= 30
    assert max(int(text) for text in re.findall(r"dport vmap { (\d+) :", str(world.contents(TABLE).rules))) == 200


@pytest.mark.parametrize("order", [1, -1])
def test_a_pod_never_starts_with_policies_that_were_others_already(order: int) -> None:
    many = policy("large", namespace="other", ingress=[rule(ports=[PolicyPort("TCP", n) for n in range(1, 200)])])
    world = World(BEGIN, (1.0, added((many, VICTIM))[::order])).play()
    known = next(place for place, (_, item) in enumerate(world.runs) if "10.0.0.9" in str(item))
    assert any("large" in str(item) for _, item in world.runs[: known + 1])


def oversized(rules: int, namespace: str = "shop") -> NetworkPolicy:
    return policy("large", app("db"), ingress=[rule()] * rules, namespace=namespace)


def test_a_policy_that_is_too_large_is_said_once_by_nodes_with_pods_of_its_namespace() -> None:
    world = World(BEGIN, (1.0, added([oversized(501), oversized(501, "other")])), (1.2, added([WEB]))).play()
    refused = [item for _, report in world.reports for item in report.refused]

    assert [str(item) for item in refused] == [
        "NetworkPolicy shop/large is too large: 501 rules, at most 500; it admits nothing"
    ]
    assert world.errors() == [str(refused[0])]


def test_policies_that_are_too_large_fill_no_log_however_often_they_change_and_hide_no_others() -> None:
    flood = [(1.0 + n / 10, [Event(EventType.MODIFIED, oversized(501 + n))]) for n in range(50)]
    world = World(
        BEGIN,
        *flood,
        (7.0, added([pod("other", "10.0.0.77", node="n1", namespace="other")])),
        (7.1, [Event(EventType.ADDED, oversized(501, "other"))]),
        (62.0, [Event(EventType.MODIFIED, oversized(900))]),
        until=63.0,
    ).play()
    named = [text.split(":")[0].removeprefix("NetworkPolicy ") for text in world.errors()]

    assert named == [
        *["shop/large is too large"] * SOME,
        "namespace shop has more policies that are too large, or the same ones change",
        "other/large is too large",
        "shop/large is too large",
    ]
    assert len([item for _, report in world.reports for item in report.refused]) == 52


def test_what_cannot_be_read_is_said_and_the_rest_is_applied() -> None:
    world = World(BEGIN, (1.0, [Unreadable("an event was left out"), more(1)])).play()
    assert world.errors() == ["an event was left out"]
    assert world.after_start() == [1.0]


def test_a_node_with_a_pod_range_that_is_none_stays_as_it_was() -> None:
    broken = Node(name="n1", labels={}, pod_cidrs=("everything",))
    world = World(BEGIN, (1.0, [Event(EventType.MODIFIED, broken), more(1)])).play()
    (error,) = world.errors()
    assert error.startswith("Node n1 cannot be used; its last version stays in force until it is corrected: ")
    assert world.after_start() == [1.0]


def test_a_policy_whose_name_nft_could_not_take_does_not_stop_the_others() -> None:
    world = World(BEGIN, (1.0, [Event(EventType.ADDED, policy('a"b', app("db"), ingress=[])), more(1)])).play()
    (error,) = world.errors()
    assert "a lowercase RFC 1123 subdomain must consist of" in error
    assert world.after_start() == [1.0]
    assert len(world.runs) == len(world.tries)


def test_options_that_a_kernel_cannot_be_programmed_for_are_refused() -> None:
    world = World()
    with pytest.raises(OptionError, match="icmp=depends"):
        Agent(world, "n1", world, Options().with_value("icmp", "depends"), Settings(), lambda _: None)


def test_stop_ends_the_loop_and_leaves_the_table() -> None:
    world = World(BEGIN, (1.0, [more(1)]))
    agent = Agent(
        world,
        "n1",
        world,
        Options(),
        Settings(),
        lambda report: agent.stop(),
        clock=lambda: world.now,
        chance=lambda: 1.0,
    )
    agent.run()
    assert world.after_start() == []
    assert world.script


def test_no_clock_is_read_that_somebody_sets() -> None:
    assert podfence.agent.__file__ is not None
    assert node_agent.__file__ is not None
    files = [*Path(podfence.agent.__file__).parent.glob("*.py"), Path(node_agent.__file__)]
    assert len(files) > 5
    for file in files:
        tree = ast.parse(file.read_text())
        imported = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
        imported |= {str(node.module) for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
        assert not {"datetime", "calendar", "email.utils"} & imported, file
        times = {
            node.attr
            for node in ast.walk(tree)
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "time"
        }
        assert times <= {"monotonic", "thread_time"}, file
        assert "time" not in {str(node.module) for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}, file


LINKS = Links((PodLink("veth1", "cni0", "0a:58:0a:00:00:01", (parse_address("10.0.0.1"),), "shop/web"),))


def bound(world: World) -> list[tuple[str, ...]]:
    """Return the keys of what may be sent by ports of bridges."""
    found = world.contents(BRIDGE_TABLE).elements.get("bound4", ())
    return [tuple(part.strip('"') for part in item.key) for item in found]


def test_links_that_are_known_before_the_first_list_are_bound_from_the_start() -> None:
    world = World((0.0, [Attached(LINKS), *BEGIN[1]])).play()
    assert bound(world) == [("veth1", "0a:58:0a:00:00:01", "10.0.0.1")]
    assert world.reports[0][1].enforcing


def test_links_are_programmed_without_any_event_and_take_the_place_of_those_before() -> None:
    world = World(BEGIN, (1.0, [Attached(LINKS)]), (1.5, [Attached(Links(bridges=frozenset({"cni0"})))])).play()
    assert bound(world) == []
    assert world.after_start()[0] == 1.0
    assert world.after_start()[-1] >= 1.5


def test_the_link_of_a_pod_is_held_before_the_pod_is_known_and_bound_afterwards() -> None:
    """Also a pod whose address is in no node's range is judged from its first packet to its last."""
    item, address = more(1), parse_address("10.0.0.11")
    links = Links((*LINKS.pods, PodLink("veth2", "", "", (address,), "shop/more1")))
    world = World(BEGIN, (1.0, [Attached(LINKS)]), (1.5, [Attached(links), item])).play()
    texts = [str(transaction) for when, transaction in world.runs if when >= 1001.5]
    held, known, let_out = (
        next(place for place, text in enumerate(texts) if part in text)
        for part in ('"veth2"', "element inet podfence known4 { 10.0.0.11 }", '"veth2" . 10.0.0.11')
    )
    assert held < known < let_out
    assert bound(world) == [("veth1", "0a:58:0a:00:00:01", "10.0.0.1")]


def test_links_that_the_kernel_refused_are_bound_by_the_next_try() -> None:
    world = World(BEGIN, (1.0, [Attached(LINKS)]), until=5.0)
    original = world.receive

    def receive(timeout: float | None) -> Sequence[Notice]:
        world.refusals = [NftError("busy")] if 1000.9 < world.now < 1001.5 else []
        return original(timeout)

    world.receive = receive  # type: ignore[method-assign]
    world.play()
    assert bound(world) == [("veth1", "0a:58:0a:00:00:01", "10.0.0.1")]
    assert world.reports[-1][1].enforcing
