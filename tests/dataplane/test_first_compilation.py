# SPDX-License-Identifier: Apache-2.0
"""A first compilation that takes long: what is cheap is enforced at once, and the rest is closed until its slice."""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING, Final

import pytest
from msgspec.structs import replace

from podfence.api import Cluster
from podfence.cluster.state import Event, EventType
from podfence.dataplane.backlog import Backlog
from podfence.dataplane.compiler import FIRST_TIME, Compiler
from podfence.dataplane.enforcer import START_BY, Enforcer
from podfence.dataplane.flows import Judge
from podfence.dataplane.program import NOT_YET
from podfence.kube.objects import IPBlock, NetworkPolicy, Node, Peer, PolicyPort
from podfence.policy.verdict import Direction
from podfence.sets.addresses import parse_address
from tests.dataplane.test_flows import Everything, tcp
from tests.nft.fake import FakeRunner
from tests.policy.parts import app, pod, policy, rule, space

if TYPE_CHECKING:
    from collections.abc import Callable

    from podfence.nft.table import Table

WEB, DB, BIG = map(parse_address, ("10.0.0.1", "10.0.0.2", "10.0.0.3"))
SMALL: Final = policy("small", app("db"), ingress=[rule(Peer(pod_selector=app("web")))])
LARGE: Final = policy(
    "large",
    app("big"),
    ingress=[rule(Peer(ip_block=IPBlock("10.0.0.1/32")), ports=[PolicyPort("TCP", 80 + n) for n in range(9)])],
)
CLUSTER: Final = (
    space("shop"),
    Node(name="n1", labels={}, addresses=("172.18.0.1",), pod_cidrs=("10.0.0.0/24",)),
    pod("web", "10.0.0.1", node="n1"),
    pod("db", "10.0.0.2", node="n1"),
    pod("big", "10.0.0.3", node="n1"),
    LARGE,
    SMALL,
)


def slow() -> Callable[[], float]:
    """Return a clock of the processor by which one group takes all the time that there is at first."""
    return count(0, FIRST_TIME * 0.9).__next__


def finished(item: Compiler | Enforcer) -> int:
    """Bring all slices, and return how many there were."""
    slices = 0
    while item.is_behind:
        item.catch_up()
        slices += 1
    return slices


def test_policies_with_the_least_in_them_are_compiled_first_and_pods_of_the_others_are_known_and_closed() -> None:
    compiler = Compiler(Cluster.from_objects(CLUSTER).model, "n1", effort=slow())
    program = compiler.program
    groups = {address: program.groups[key] for address, key in program.group_of[Direction.INGRESS].items()}
    assert groups[DB] is not NOT_YET
    assert groups[BIG] is NOT_YET
    assert program.known == {WEB, DB, BIG}
    assert compiler.late() == {LARGE.key}
    finished(compiler)
    assert not compiler.late()
    assert program == Compiler(Cluster.from_objects(CLUSTER).model, "n1").program


def test_a_policy_that_admits_nothing_is_not_taken_for_one_that_is_not_compiled() -> None:
    empty = policy("large", app("big"), ingress=[])
    compiler = Compiler(
        Cluster.from_objects([*CLUSTER[:-2], policy("small", app("db"), ingress=[]), empty]).model, "n1", effort=slow()
    )
    assert any(group is NOT_YET for group in compiler.program.groups.values())
    finished(compiler)
    assert not any(group is NOT_YET for group in compiler.program.groups.values())
    assert not Judge(compiler.program, frozenset()).admits(tcp("10.0.0.1", "10.0.0.3", 80))


def test_where_there_is_no_table_the_first_one_holds_what_is_compiled_and_no_flow_is_cut_for_what_is_not() -> None:
    cluster, runner = Cluster.from_objects(CLUSTER), FakeRunner()
    allowed, denied = tcp("10.0.0.1", "10.0.0.3", 80), tcp("10.0.0.1", "10.0.0.3", 443)
    kernel = Everything([allowed._replace(handle=b"allowed"), denied._replace(handle=b"denied")])
    enforcer = Enforcer(runner, "n1", cluster.model, None, kernel, effort=slow())
    assert enforcer.prepare()
    enforcer.start()
    assert enforcer.reviewed.cut == 0
    assert finished(enforcer) > 0
    assert enforcer.look() == 1
    assert [flow.handle for flow in kernel.labels if kernel.labels[flow]] == [b"denied"]
    assert enforcer.verify() == ()


class Listing(FakeRunner):
    """A runner that counts how often it was asked for a table."""

    listed = 0

    def list_table(self, table: Table) -> Table:
        self.listed += 1
        return super().list_table(table)


def test_where_a_table_is_in_force_it_stays_until_all_is_compiled() -> None:
    larger = policy("larger", app("web"), ingress=LARGE.ingress)
    cluster, runner = Cluster.from_objects([*CLUSTER, larger]), Listing()
    Enforcer(runner, "n1", cluster.model).start()
    runner.listed = 0
    following = Enforcer(runner, "n1", cluster.model, effort=slow())
    assert following.compiler.late() == {LARGE.key, larger.key}
    assert [following.prepare(), following.prepare()] == [False, True]
    # That the table is there is asked once, and not for each slice.
    assert runner.listed == 1
    assert following.transactions == 0
    following.start()
    assert finished(following) == following.transactions == 0


def test_it_stays_no_longer_than_ten_seconds_and_what_is_not_compiled_then_is_closed() -> None:
    cluster, runner = Cluster.from_objects(CLUSTER), FakeRunner()
    Enforcer(runner, "n1", cluster.model).start()
    now = [0.0]
    following = Enforcer(runner, "n1", cluster.model, effort=slow(), clock=lambda: now[0])
    now[0] = START_BY
    assert following.prepare()
    following.start()
    assert following.transactions
    assert finished(following)


def test_policies_are_late_until_all_that_waits_is_compiled_and_those_of_an_earlier_turn_are_not() -> None:
    backlog, first, second = Backlog(), {SMALL.key}, {LARGE.key}
    pods = [item.key for item in CLUSTER[2:4]]
    backlog.add(pods[:1], (), first, 0)
    backlog.add(pods[1:], (), second, 0)
    assert backlog.policies == first | second
    assert [backlog.next_pod(), backlog.next_pod()] == pods
    assert backlog.policies == frozenset()
    backlog.add(pods, (), second, 0)
    assert backlog.policies == second


@pytest.mark.parametrize(("seconds", "slices"), [(1, 3), (0.02, 2), (0.012, 1)])
def test_a_slice_has_as_much_as_its_time_allows(seconds: float, slices: int) -> None:
    cluster = Cluster.from_objects(CLUSTER[:-2])
    compiler = Compiler(cluster.model, "n1", effort=count(0, seconds).__next__)
    change = cluster.apply(Event(EventType.ADDED, policy("all", ingress=[])))
    compiler.follow(change, later=frozenset({"shop"}))
    assert finished(compiler) == slices


def test_pods_may_change_places_between_groups_in_one_slice() -> None:
    one, other = (policy(name, app(name), ingress=[]) for name in ("web", "db"))
    cluster = Cluster.from_objects([*CLUSTER[:-2], one, other])
    compiler = Compiler(cluster.model, "n1", effort=count(0, 0.0).__next__)
    swapped = [replace(one, pod_selector=app("db")), replace(other, pod_selector=app("web"))]
    for item in swapped:
        compiler.follow(cluster.apply(Event(EventType.MODIFIED, item)), only=NetworkPolicy, later=frozenset({"shop"}))
    assert finished(compiler) == 1
    assert compiler.program == Compiler(Cluster.from_objects([*CLUSTER[:-2], *swapped]).model, "n1").program


@pytest.mark.parametrize("gone", [LARGE, CLUSTER[4]])
def test_what_goes_before_its_slice_leaves_nothing_behind(gone: object) -> None:
    cluster = Cluster.from_objects(CLUSTER)
    compiler = Compiler(cluster.model, "n1", effort=slow())
    compiler.follow(cluster.apply(Event(EventType.DELETED, gone)))  # type: ignore[arg-type]
    left = [item for item in CLUSTER if item is not gone]
    finished(compiler)
    assert compiler.program == Compiler(Cluster.from_objects(left).model, "n1").program
