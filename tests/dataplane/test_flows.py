# SPDX-License-Identifier: Apache-2.0
"""Whether a program admits an established flow: what the table would do with a new connection of the same ends."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING

import pytest

from podfence.api import Cluster
from podfence.cluster.state import Event, EventType
from podfence.dataplane import revocation
from podfence.dataplane.chains import Builder
from podfence.dataplane.compiler import Compiler
from podfence.dataplane.conntrack import Labelled
from podfence.dataplane.enforcer import Enforcer
from podfence.dataplane.flows import Ends, Flow, Judge, Sides
from podfence.dataplane.links import Links, PodLink
from podfence.dataplane.revocation import FORGET_AFTER, FORGET_AGAIN, Reviewed
from podfence.dataplane.ruleset import TABLE
from podfence.dataplane.settings import Settings
from podfence.dataplane.tracked import ENDED, GRACE_BEGINS
from podfence.kube.objects import KubeObject, Node, Peer, PolicyPort, Requirement, Selector
from podfence.netlink.asking import NetlinkError
from podfence.nft.chain import Chain
from podfence.nft.errors import NoBufferSpaceError, NotFoundError
from podfence.nft.transaction import Transaction
from podfence.policy.options import Options
from podfence.sets import PortSet
from podfence.sets.addresses import family_of, parse_address
from podfence.sets.ports import PROTOCOLS
from tests.dataplane import dense
from tests.dataplane.simulate import Walk
from tests.nft.fake import FakeRunner
from tests.policy.parts import app, pod, policy, rule, space
from tests.twin.effort import part

if TYPE_CHECKING:
    from collections.abc import Collection

    from podfence.dataplane.conntrack import Settled
    from podfence.dataplane.program import NodeProgram

NUMBERS = {"TCP": 6, "UDP": 17, "SCTP": 132}
OWN = parse_address("172.18.0.1")
TRAFFIC = (*((name, port) for name in PROTOCOLS for port in (1, 53, 80, 81, 82, 443, 444, 8080, 65535)), ("ICMP", 0))
ENDS = tuple(
    map(
        parse_address,
        (*(text for texts in dense.ADDRESSES for text in texts), "10.0.0.7", "fd00::9", "172.18.0.1", "172.18.0.2", "8.8.8.8", "2001:db8::1"),
    )
)  # fmt: skip


def flow(source: int, destination: int, protocol: str, port: int, *, asked: int | None = None) -> Flow:
    """Return a flow; `asked` is the address of the Service that the client connected to."""
    number = NUMBERS.get(protocol, 1)
    to = destination if asked is None else asked
    handle = f"{number} {source} {to} {destination} {port}".encode()
    return Flow(number, Ends(source, to, 40000, port), Ends(destination, source, port, 40000), handle=handle)


FLOWS = [
    flow(source, destination, protocol, port)
    for source in ENDS for destination in ENDS for protocol, port in TRAFFIC[6:20:3]
    if source != destination and family_of(source) == family_of(destination)
]  # fmt: skip


def tcp(source: str, destination: str, port: int, *, asked: str | None = None) -> Flow:
    return flow(
        parse_address(source), parse_address(destination), "TCP", port, asked=parse_address(asked) if asked else None
    )


def program(*objects: KubeObject, options: Options | None = None) -> NodeProgram:
    node = Node(name="n1", labels={}, addresses=("172.18.0.1",), pod_cidrs=("10.0.0.0/28",))
    cluster = Cluster.from_objects([space("shop"), node, *objects], options or Options())
    return Compiler(cluster.model, "n1").program


@pytest.mark.parametrize("start", range(0, part(600), 30))
def test_a_flow_is_admitted_when_the_table_admits_a_connection_like_it(start: int) -> None:
    for seed in range(start, start + 30):
        random = Random(seed)
        ranges = random.choice((("10.0.0.0/29", "fd00::/124"), ("10.0.0.0/30",), ()))
        objects = [item for item in dense.cluster(random) if not (isinstance(item, Node) and item.name == "n1")]
        objects.append(Node(name="n1", labels={}, addresses=("172.18.0.1",), pod_cidrs=ranges))
        cluster = Cluster.from_objects(objects, dense.options(random))
        found = Compiler(cluster.model, "n1", shared_from=random.choice((256, 1, 2))).program
        ruleset = Builder(Settings()).build(found)
        judge = Judge(found, {OWN})
        for source in ENDS:
            for destination in ENDS:
                if source in (OWN, destination) or family_of(source) != family_of(destination):
                    continue
                passes = Walk(ruleset, source, destination).hook("input" if destination == OWN else "forward")
                for protocol, port in TRAFFIC:
                    wanted = PortSet.OTHER if protocol == "ICMP" else PortSet.single(protocol, port)
                    case = (seed, source, destination, protocol, port)
                    assert judge.admits(flow(source, destination, protocol, port)) is (wanted <= passes), case


WEB = pod("web", "10.0.0.1", node="n1")
DB = pod("db", "10.0.0.2", node="n1")
NONE_IN = policy("none", app("db"), ingress=[])
NONE_OUT = policy("none", app("web"), egress=[])


def test_the_node_reaches_its_pods_and_what_it_opened_stays() -> None:
    judge = Judge(program(WEB, DB, NONE_IN), {OWN, parse_address("10.0.0.14")})
    assert judge.admits(tcp("172.18.0.1", "10.0.0.2", 80))
    assert judge.admits(tcp("10.0.0.14", "10.0.0.2", 80))
    assert not judge.admits(tcp("172.18.0.2", "10.0.0.2", 80))


def test_an_address_of_the_node_inside_its_pod_range_is_no_unknown_pod() -> None:
    assert Judge(program(WEB), {parse_address("10.0.0.14")}).admits(tcp("10.0.0.1", "10.0.0.14", 80))
    assert not Judge(program(WEB), set()).admits(tcp("10.0.0.1", "10.0.0.14", 80))


@pytest.mark.parametrize(("value", "admitted"), [("policy", False), ("allowed", True)])
def test_egress_to_the_own_node_is_judged_unless_the_option_exempts_it(value: str, admitted: bool) -> None:
    found = program(WEB, NONE_OUT, options=Options.parse([f"own_node_egress={value}"]))
    assert Judge(found, {OWN}).admits(tcp("10.0.0.1", "172.18.0.1", 80)) is admitted
    assert not Judge(found, {OWN}).admits(tcp("10.0.0.1", "10.0.0.2", 80))


def test_the_backend_of_a_service_is_judged_and_not_its_address() -> None:
    judge = Judge(program(WEB, DB, policy("p", app("db"), ingress=[rule(ports=[PolicyPort("TCP", 80)])])), {OWN})
    assert judge.admits(tcp("10.0.0.1", "10.0.0.2", 80, asked="10.96.0.1"))
    assert not judge.admits(tcp("10.0.0.1", "10.0.0.2", 81, asked="10.96.0.1"))


def test_a_flow_that_another_announced_is_not_judged() -> None:
    forbidden = tcp("10.0.0.1", "10.0.0.2", 80)
    judge = Judge(program(WEB, DB, NONE_IN), {OWN})
    assert not judge.admits(forbidden)
    assert judge.admits(forbidden._replace(expected=True))


@pytest.mark.parametrize("start", range(0, part(1000), 50))
def test_several_changes_at_once_amount_to_one_after_the_other(start: int) -> None:
    for seed in range(start, start + 50):
        random = Random(seed)
        objects, options, shared_from = dense.cluster(random), dense.options(random), random.choice((256, 1, 2))
        cluster = Cluster.from_objects(objects, options)
        enforcer = Enforcer(FakeRunner(), "n1", cluster.model, shared_from=shared_from)
        enforcer.start()
        history = dense.events(random, objects, 8)
        enforcer.apply(*[cluster.apply(event) for event in history[:5]])
        enforcer.apply(*[cluster.apply(event) for event in history[5:]])

        fresh = Cluster.from_objects(dense.after(objects, history), options)
        wanted = Builder(Settings()).build(Compiler(fresh.model, "n1", shared_from=shared_from).program)
        assert {name: dict(body.elements) for name, body in enforcer.wanted.sets.items()} == {
            name: dict(body.elements) for name, body in wanted.sets.items()
        }, seed
        assert enforcer.wanted.chains.keys() == wanted.chains.keys()
        assert enforcer.verify() == (), seed


class Everything:
    """A kernel with a flow between any two ends; it says which were asked for, and what was done with their labels."""

    def __init__(self, flows: list[Flow]) -> None:
        self.labels = dict.fromkeys(flows, False)
        self.asked: list[Sides | None] = []

    def own_addresses(self) -> frozenset[int]:
        return frozenset({OWN})

    def flows(self, sides: Sides | None, settled: Settled | None = None, *, quick: bool = False) -> list[Flow]:
        self.asked.append(sides)
        found = [item._replace(labelled=labelled) for item, labelled in self.labels.items()]
        found = [item for item in found if sides is None or sides.has(item)]
        return [item for item in found if settled is None or not settled(item)]

    def label(self, flows: object, *, present: bool) -> Labelled:
        items = [item._replace(labelled=False) for item in flows]  # type: ignore[attr-defined]
        self.labels |= dict.fromkeys(items, present)
        return Labelled(len(items))

    def forget(self, handles: Collection[bytes]) -> set[bytes]:
        self.labels = {item: there for item, there in self.labels.items() if item.handle not in handles}
        return set()


@pytest.mark.parametrize("start", range(0, part(800), 40))
def test_after_every_change_the_flows_cut_are_those_the_program_forbids(start: int) -> None:
    flows = [
        flow(source, destination, protocol, port)
        for source in ENDS for destination in ENDS for protocol, port in TRAFFIC[6:20:3]
        if source != destination and family_of(source) == family_of(destination)
    ]  # fmt: skip
    for seed in range(start, start + 40):
        random = Random(seed)
        objects, options, shared_from = dense.cluster(random), dense.options(random), random.choice((256, 1, 2))
        cluster = Cluster.from_objects(objects, options)
        kernel = Everything(flows)
        enforcer = Enforcer(FakeRunner(), "n1", cluster.model, None, kernel, shared_from=shared_from)
        enforcer.start()
        for event in [None, *dense.events(random, objects, 6)]:
            before = dict(kernel.labels)
            if event is not None:
                enforcer.apply(cluster.apply(event))
            judge = Judge(enforcer.compiler.program, {OWN})
            assert kernel.labels == {item: not judge.admits(item) for item in flows}, (seed, event)
            if event is not None:
                cut = sum(now and not before[item] for item, now in kernel.labels.items())
                freed = sum(before[item] and not now for item, now in kernel.labels.items())
                assert (enforcer.reviewed.cut, enforcer.reviewed.freed) == (cut, freed)
            assert enforcer.review() == 0


@pytest.mark.parametrize("start", range(0, part(400), 40))
def test_no_flow_that_a_change_forbids_survives_it_also_where_only_what_was_tightened_is_looked_at(start: int) -> None:
    looks = spared = 0
    for seed in range(start, start + 40):
        random = Random(seed)
        objects, options, shared_from = dense.cluster(random), dense.options(random), random.choice((256, 1, 2))
        cluster = Cluster.from_objects(objects, options)
        kernel = Everything([])
        enforcer = Enforcer(
            FakeRunner(), "n1", cluster.model, None, kernel, shared_from=shared_from, at_once=random.choice((10_000, 2))
        )
        enforcer.start()
        for event in dense.policy_events(random, objects, 8):
            # Whatever may be has been opened, and what was cut is long forgotten.
            judge = Judge(enforcer.compiler.program, {OWN})
            kernel.labels = {item: False for item in FLOWS if judge.admits(item)}
            asked = len(kernel.asked)
            change = cluster.apply(event)
            if random.random() < 0.5:
                enforcer.catch_up()
            if random.random() < 0.3:
                enforcer.program(change, later=cluster.state.namespaces.keys())
                while enforcer.is_behind:
                    enforcer.look()
                    enforcer.catch_up()
                enforcer.look()
            else:
                enforcer.apply(change)
            judge = Judge(enforcer.compiler.program, {OWN})
            assert kernel.labels == {item: not judge.admits(item) for item in kernel.labels}, (seed, event)
            looks += 1
            spared += len(kernel.asked) == asked
            enforcer._revocation._cut.clear()
        while enforcer.is_behind:
            enforcer.catch_up()
        fresh = Builder(Settings()).build(Compiler(cluster.model, "n1", shared_from=shared_from).program)
        assert enforcer.wanted.chains.keys() == fresh.chains.keys(), seed
        assert {name: dict(body.elements) for name, body in enforcer.wanted.sets.items()} == {
            name: dict(body.elements) for name, body in fresh.sets.items()
        }, seed
    assert 0 < spared < looks


@pytest.mark.parametrize("start", range(0, part(400), 40))
def test_when_the_pod_range_of_the_node_changes_all_flows_are_looked_at(start: int) -> None:
    flows = [
        flow(source, destination, "TCP", 80)
        for source in ENDS for destination in ENDS
        if source != destination and family_of(source) == family_of(destination)
    ]  # fmt: skip
    for seed in range(start, start + 40):
        random = Random(seed)
        cluster = Cluster.from_objects(dense.cluster(random), dense.options(random))
        kernel = Everything(flows)
        enforcer = Enforcer(FakeRunner(), "n1", cluster.model, None, kernel)
        enforcer.start()
        for ranges in (("10.0.0.0/29",), ("10.0.0.0/29", "fd00::/124"), ("10.0.0.0/30",), ()):
            node = Node(name="n1", labels={}, addresses=("172.18.0.1",), pod_cidrs=ranges)
            enforcer.apply(cluster.apply(Event(EventType.MODIFIED, node)))
            judge = Judge(enforcer.compiler.program, {OWN})
            assert kernel.labels == {item: not judge.admits(item) for item in flows}, (seed, ranges)


def test_a_pod_that_comes_or_goes_is_a_question_about_its_own_addresses_only() -> None:
    cluster = Cluster.from_objects([space("shop"), WEB, DB, policy("p", ingress=[rule(Peer(pod_selector=app("api")))])])
    kernel = Everything([])
    enforcer = Enforcer(FakeRunner(), "n1", cluster.model, None, kernel)
    enforcer.start()
    assert kernel.asked == [None]

    enforcer.apply(cluster.apply(Event(EventType.ADDED, pod("api", "10.2.0.9", node="n2"))))
    enforcer.review()
    enforcer.review()
    enforcer.apply(cluster.apply(Event(EventType.ADDED, pod("far", "10.2.0.7", node="n2"))))
    assert kernel.asked == [None, Sides.both({parse_address("10.2.0.9")}), None]


def test_what_changed_just_before_a_second_look_is_looked_at_by_the_next_one_too() -> None:
    cluster = Cluster.from_objects([space("shop"), WEB, DB, policy("p", ingress=[rule(Peer(pod_selector=app("api")))])])
    kernel = Everything([])
    enforcer = Enforcer(FakeRunner(), "n1", cluster.model, None, kernel)
    enforcer.start()
    enforcer.review()
    kernel.asked.clear()
    early, late = "10.2.0.9", "10.2.0.7"
    enforcer.apply(cluster.apply(Event(EventType.ADDED, pod("api", early, node="n2"))))
    enforcer.review(settled=False)
    enforcer.apply(cluster.apply(Event(EventType.ADDED, pod("far", late, node="n2", labels={"app": "api"}))))
    enforcer.review(settled=False)
    enforcer.apply(cluster.apply(Event(EventType.DELETED, pod("far", late, node="n2", labels={"app": "api"}))))
    enforcer.review()
    enforcer.review()
    one, other = Sides.both({parse_address(early)}), Sides.both({parse_address(late)})
    assert kernel.asked == [one, one, other, one.union(other), other, other]


def test_flows_that_tcp_has_ended_are_cut_and_freed_without_being_counted() -> None:
    cluster = Cluster.from_objects([space("shop"), WEB, DB])
    alive = tcp("10.0.0.1", "10.0.0.2", 80)
    kernel = Everything([alive, alive._replace(is_over=True)])
    enforcer = Enforcer(FakeRunner(), "n1", cluster.model, None, kernel)
    enforcer.start()
    enforcer.apply(cluster.apply(Event(EventType.ADDED, NONE_IN)))
    assert enforcer.reviewed == Reviewed(cut=1)
    assert all(kernel.labels.values())
    enforcer.apply(cluster.apply(Event(EventType.DELETED, NONE_IN)))
    assert enforcer.reviewed == Reviewed(freed=1)
    assert not any(kernel.labels.values())


def test_flows_of_a_pod_that_comes_into_a_group_that_was_there_in_a_slice_are_cut() -> None:
    cluster = Cluster.from_objects([space("shop"), WEB, DB, NONE_IN])
    kernel = Everything([tcp("10.0.0.2", "10.0.0.1", 80)])
    enforcer = Enforcer(FakeRunner(), "n1", cluster.model, None, kernel)
    enforcer.start()
    both = policy("none", Selector((Requirement("app", "Exists"),)), ingress=[])
    enforcer.program(cluster.apply(Event(EventType.MODIFIED, both)), later=frozenset({"shop"}))
    assert enforcer.look() == 0
    enforcer.catch_up()
    assert enforcer.look() == 1


@pytest.mark.parametrize("shared_from", [256, 1])
def test_flows_of_pods_are_cut_when_the_labels_of_their_namespace_admit_them_no_more(shared_from: int) -> None:
    team = Peer(namespace_selector=Selector((Requirement("team", "In", ("a",)),)))
    far = pod("far", "10.2.0.9", namespace="other", node="n2")
    from_team = policy("p", app("db"), ingress=[rule(team)])
    cluster = Cluster.from_objects([space("shop"), space("other", team="a"), DB, far, from_team])
    kernel = Everything([tcp("10.2.0.9", "10.0.0.2", 80)])
    enforcer = Enforcer(FakeRunner(), "n1", cluster.model, None, kernel, shared_from=shared_from)
    enforcer.start()
    assert enforcer.reviewed == Reviewed()
    enforcer.apply(cluster.apply(Event(EventType.MODIFIED, space("other"))))
    assert enforcer.reviewed == Reviewed(cut=1)


class Once(FakeRunner):
    """A kernel whose table was changed by another program: the next transaction with a text fails."""

    changed = ""

    def run(self, transaction: Transaction) -> None:
        if self.changed and self.changed in str(transaction):
            self.changed = ""
            raise NotFoundError("No such file or directory")
        super().run(transaction)


@pytest.mark.parametrize("is_adopted", [False, True])
@pytest.mark.parametrize("changed", ["add chain inet podfence i_", "add element inet podfence in4", "delete chain inet podfence deny_"])  # fmt: skip
def test_when_a_table_had_to_be_made_anew_all_flows_are_looked_at(changed: str, *, is_adopted: bool) -> None:
    cluster, runner, kernel = Cluster.from_objects([space("shop"), WEB, DB, NONE_OUT]), Once(), Everything([])
    if is_adopted:
        Enforcer(runner, "n1", cluster.model).start()
    enforcer = Enforcer(runner, "n1", cluster.model, None, kernel)
    enforcer.start()
    kernel.asked.clear()
    runner.changed = changed
    events = Event(EventType.ADDED, policy("in", app("db"), ingress=[])), Event(EventType.DELETED, NONE_OUT)
    enforcer.apply(*map(cluster.apply, events))
    enforcer.look()
    assert not runner.changed
    assert None in kernel.asked


def test_flows_are_not_looked_at_when_links_are_bound_but_all_when_a_table_was_made_anew_or_repaired() -> None:
    cluster, runner, kernel = Cluster.from_objects([space("shop"), WEB, DB]), Once(), Everything([])
    enforcer = Enforcer(runner, "n1", cluster.model, None, kernel)
    enforcer.start()
    kernel.asked.clear()
    web, db = (
        PodLink(f"veth{number}", "cni0", f"0a:00:00:00:00:0{number}", (parse_address(f"10.0.0.{number}"),), "shop/x")
        for number in (1, 2)
    )
    enforcer.attach(Links((web,), frozenset({"cni0"})))
    enforcer.look()
    assert kernel.asked == []
    assert enforcer.verify() == ()
    assert kernel.asked == []
    runner.changed = "add element bridge podfence"
    enforcer.attach(Links((web, db), frozenset({"cni0"})))
    enforcer.look()
    assert not runner.changed
    assert kernel.asked == [None]
    runner.run(Transaction(TABLE).add(Chain("x")))
    assert enforcer.verify() == ("chain x is not ours",)
    assert kernel.asked == [None, None]


class Offloading(Everything):
    """A kernel that keeps the entry of a flow until somebody takes it off a fast path."""

    keeps = True

    def forget(self, handles: Collection[bytes]) -> set[bytes]:
        return set(handles) if self.keeps else super().forget(handles)


class Clock:
    """Seconds that somebody sets."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.mark.parametrize("again", [False, True])
def test_the_entry_of_a_cut_flow_is_deleted_after_a_while_unless_the_flow_is_allowed_again(again: bool) -> None:
    cluster, clock = Cluster.from_objects([space("shop"), WEB, DB]), Clock()
    one, other = tcp("10.0.0.1", "10.0.0.2", 80), tcp("10.0.0.2", "10.0.0.1", 80)
    kernel = Everything([one._replace(handle=b"one"), other._replace(handle=b"other")])
    enforcer = Enforcer(FakeRunner(), "n1", cluster.model, None, kernel, clock=clock)
    enforcer.start()
    enforcer.apply(cluster.apply(Event(EventType.ADDED, NONE_IN)))
    due = enforcer.forget_at
    assert due == clock.now + FORGET_AFTER
    clock.now = due - 1
    assert enforcer.forget() == 0
    assert enforcer.forget_at == due
    if again:
        enforcer.apply(cluster.apply(Event(EventType.DELETED, NONE_IN)))
    clock.now = due
    assert enforcer.forget() == 0
    assert {item.handle for item in kernel.labels} == ({b"one", b"other"} if again else {b"other"})


def test_the_entry_of_a_flow_that_an_earlier_agent_cut_is_deleted_a_while_after_it_was_found() -> None:
    cluster, clock = Cluster.from_objects([space("shop"), WEB, DB, NONE_IN]), Clock()
    cut = tcp("10.0.0.1", "10.0.0.2", 80)._replace(handle=b"cut")
    kernel = Everything([cut])
    kernel.labels[cut] = True
    runner = FakeRunner()
    enforcer = Enforcer(runner, "n1", cluster.model, None, kernel, clock=clock)
    enforcer.start()
    assert enforcer.reviewed == Reviewed()
    assert len(runner.list_elements(TABLE, ENDED[4])) == 2, "what comes by either way is not taken for a beginning"
    due = clock.now + FORGET_AFTER
    clock.now += 1
    enforcer.review()
    assert enforcer.forget_at == due
    clock.now = due
    enforcer.forget()
    assert len(kernel.labels) == 0


def test_many_entries_are_deleted_in_steps_one_at_once_after_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(revocation, "_AT_ONCE", 2)
    cluster, clock = Cluster.from_objects([space("shop"), WEB, DB, NONE_IN]), Clock()
    flows = [tcp("10.0.0.1", "10.0.0.2", port)._replace(handle=b"%d" % port) for port in range(80, 83)]
    kernel = Everything(flows)
    enforcer = Enforcer(FakeRunner(), "n1", cluster.model, None, kernel, clock=clock)
    enforcer.start()
    clock.now += FORGET_AFTER
    left: list[int] = []
    while enforcer.forget_at is not None and len(left) < 3:
        assert enforcer.forget_at <= clock.now
        enforcer.forget()
        left.append(len(kernel.labels))
        clock.now += FORGET_AGAIN if enforcer.forget_at is None else 0
    assert left == [1, 0]


def test_an_entry_that_the_kernel_keeps_is_deleted_when_it_lets_it_go() -> None:
    cluster, clock = Cluster.from_objects([space("shop"), WEB, DB]), Clock()
    kernel = Offloading([tcp("10.0.0.1", "10.0.0.2", 80)])
    enforcer = Enforcer(FakeRunner(), "n1", cluster.model, None, kernel, clock=clock)
    enforcer.start()
    enforcer.apply(cluster.apply(Event(EventType.ADDED, NONE_IN)))
    clock.now += FORGET_AFTER
    enforcer.forget()
    assert len(kernel.labels) == 1
    again = enforcer.forget_at
    assert again == clock.now + FORGET_AGAIN
    kernel.keeps = False
    clock.now = again
    enforcer.forget()
    assert len(kernel.labels) == 0


class Roomless(Everything):
    """A kernel that has no room for labels on any flow."""

    def label(self, flows: object, *, present: bool) -> Labelled:
        return Labelled(0, tuple(flows))  # type: ignore[arg-type]


class Full(FakeRunner):
    """A kernel that does not take which connections have ended, until it does."""

    is_full = True

    def run(self, transaction: Transaction) -> None:
        if self.is_full and "add element inet podfence ended" in str(transaction):
            raise NoBufferSpaceError("No buffer space available")
        super().run(transaction)


def test_while_the_kernel_would_pick_a_connection_up_again_its_entry_is_not_deleted() -> None:
    cluster, clock, runner = Cluster.from_objects([space("shop"), WEB, DB, NONE_IN]), Clock(), Full()
    over_tcp = tcp("10.0.0.1", "10.0.0.2", 80)._replace(handle=b"tcp")
    over_udp = flow(over_tcp.source, over_tcp.destination, "UDP", 80)._replace(handle=b"udp")
    kernel = Roomless([over_tcp, over_udp])
    enforcer = Enforcer(runner, "n1", cluster.model, None, kernel, clock=clock)
    enforcer.start()
    assert enforcer.reviewed == Reviewed(cut=1, unable=1)
    assert enforcer.uncut == 1
    assert enforcer.forget_at == clock.now + FORGET_AGAIN
    assert [item.handle for item in kernel.labels] == [b"tcp"]
    runner.is_full = False
    clock.now += FORGET_AGAIN
    assert enforcer.forget() == 1
    assert enforcer.uncut == 0
    assert len(kernel.labels) == 0
    assert enforcer.verify() == ()


def test_when_no_connection_is_picked_up_any_more_entries_without_room_for_labels_are_deleted_at_once() -> None:
    cluster, runner = Cluster.from_objects([space("shop"), WEB, DB]), FakeRunner()
    kernel = Roomless([tcp("10.0.0.1", "10.0.0.2", 80)])
    enforcer = Enforcer(runner, "n1", cluster.model, None, kernel)
    enforcer.start()
    runner.run(Transaction(TABLE).delete(GRACE_BEGINS))
    enforcer.apply(cluster.apply(Event(EventType.ADDED, NONE_IN)))
    assert enforcer.reviewed == Reviewed(cut=1)
    assert len(kernel.labels) == 0
    assert runner.list_elements(TABLE, ENDED[4]) == ()


class Refusing(Everything):
    """A kernel that lets nobody look, until it does."""

    refuses = True

    def flows(self, sides: Sides | None, settled: Settled | None = None, *, quick: bool = False) -> list[Flow]:
        found = super().flows(sides, settled)
        if self.refuses:
            raise NetlinkError("listing", 1)
        return found


def test_what_could_not_be_looked_at_is_looked_at_the_next_time() -> None:
    cluster = Cluster.from_objects([space("shop"), WEB, DB])
    kernel = Refusing([tcp("10.0.0.1", "10.0.0.2", 80)])
    enforcer = Enforcer(FakeRunner(), "n1", cluster.model, None, kernel)
    with pytest.raises(NetlinkError, match="CAP_NET_ADMIN"):
        enforcer.start()
    with pytest.raises(NetlinkError):
        enforcer.apply(cluster.apply(Event(EventType.ADDED, NONE_IN)))
    assert enforcer.verify() == ()
    kernel.refuses = False
    assert enforcer.review() == 1


def test_flows_of_pods_to_the_tunnels_of_nodes_are_cut_and_a_new_pod_is_a_question_about_its_own() -> None:
    web, db, other = map(parse_address, ("10.0.0.1", "10.0.0.2", "172.18.0.2"))
    far, inside = map(parse_address, ("10.2.0.9", "10.2.0.1"))
    nodes = (
        Node(name="n1", labels={}, addresses=("172.18.0.1",)),
        Node(name="n2", labels={}, addresses=("172.18.0.2", "10.2.0.1"), pod_cidrs=("10.2.0.0/24",)),
    )
    pods = (pod("web", "10.0.0.1", node="n1"), pod("db", "10.0.0.2", node="n1"))
    cluster = Cluster.from_objects([space("shop"), *pods, *nodes])
    ipip = flow(web, other, "IPIP", 0)._replace(protocol=4)
    forbidden = [flow(web, OWN, "UDP", 8472), flow(web, other, "UDP", 8472), flow(far, OWN, "UDP", 8472), ipip]
    allowed = [flow(web, other, "UDP", 53), flow(web, db, "UDP", 8472), flow(far, OWN, "UDP", 53)]
    allowed += [flow(node, OWN, "UDP", 8472) for node in (other, inside)]
    kernel = Everything([*forbidden, *allowed])
    enforcer = Enforcer(FakeRunner(), "n1", cluster.model, None, kernel)
    enforcer.start()
    assert not any(kernel.labels.values())

    def link(name: str, address: int) -> PodLink:
        return PodLink(f"veth-{name}", "", "", (address,), f"shop/{name}")

    links = Links((link("web", web),), tunnel_ports=frozenset({8472}), tunnel_protocols=frozenset({4}))
    enforcer.attach(links)
    enforcer.look()
    assert kernel.labels == {**dict.fromkeys(forbidden, True), **dict.fromkeys(allowed, False)}
    kernel.asked.clear()
    enforcer.attach(links._replace(pods=(*links.pods, link("db", db))))
    enforcer.look()
    assert kernel.asked == [Sides(opened={db})]
