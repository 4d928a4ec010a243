# SPDX-License-Identifier: Apache-2.0
"""The table of a node: made in steps that leave nothing open, adopted, changed by differences, made anew on failure."""

from __future__ import annotations

import re
from random import Random
from typing import TYPE_CHECKING

import pytest

from podfence.api import Cluster
from podfence.cluster.state import Event, EventType
from podfence.dataplane.chains import Builder, group_name
from podfence.dataplane.compiler import Compiler
from podfence.dataplane.difference import CHUNK, cold_start, difference, steps
from podfence.dataplane.enforcer import Enforcer
from podfence.dataplane.kept import ForeignTableError
from podfence.dataplane.program import GroupKey
from podfence.dataplane.ruleset import TABLE, ChainBody, Ruleset, SetBody
from podfence.dataplane.ruleset import rule as make_rule
from podfence.dataplane.settings import Settings
from podfence.dataplane.verdicts import rule_chain
from podfence.kube.objects import Key, KubeObject, Node, Peer, PolicyPort
from podfence.nft.chain import Chain, Hook
from podfence.nft.element import Element
from podfence.nft.errors import NoBufferSpaceError, NotFoundError, PermissionDeniedError
from podfence.nft.rule import Rule
from podfence.nft.sets import Elements, Map, Set
from podfence.nft.table import Table
from podfence.nft.transaction import Transaction
from podfence.policy.identity import RuleId
from podfence.policy.options import Options
from podfence.policy.verdict import Direction
from tests.dataplane import dense
from tests.nft.fake import FakeRunner
from tests.policy.parts import app, block, pod, policy, rule, space

if TYPE_CHECKING:
    from podfence.nft.transaction import Object, Verb

NODE = Node(name="n1", labels={}, pod_cidrs=("10.0.0.0/24",))
WEB = pod("web", "10.0.0.1", node="n1")
DB = pod("db", "10.0.0.2", node="n1")
PORT = [PolicyPort("TCP", 80), PolicyPort("TCP", 8000, 9000)]
FROM_WEB = policy("p", app("db"), ingress=[rule(Peer(pod_selector=app("web")), ports=PORT), rule(block("10.1.0.0/16"))])
FAR = pod("web-far", "10.2.0.1", labels={"app": "web"}, node="n2")
START: tuple[KubeObject, ...] = (space("shop"), NODE, WEB, FAR, DB, FROM_WEB)
STAGE = Chain("stage_in", Hook("filter", "forward", -4))
KNOWN = Set("known4", ("ipv4_addr",))
SELF = Set("self4", ("ipv4_addr", "ipv4_addr"))
OURS = (Element(("10.0.0.1",)), Element(("10.0.0.2",)))


class Recorder(FakeRunner):
    """A fake that keeps what it was given, and can be told to refuse the next transaction."""

    def __init__(self) -> None:
        super().__init__()
        self.given: list[Transaction] = []
        self.refuse: Exception | None = None

    def run(self, transaction: Transaction) -> None:
        self.given.append(transaction)
        if self.refuse is not None:
            error, self.refuse = self.refuse, None
            raise error
        super().run(transaction)


def started(runner: FakeRunner, *objects: KubeObject) -> tuple[Cluster, Enforcer]:
    cluster = Cluster.from_objects(objects, Options(world="closed"))
    enforcer = Enforcer(runner, "n1", cluster.model)
    enforcer.start()
    return cluster, enforcer


def test_the_first_transaction_holds_every_pod_and_the_last_operations_let_them_go() -> None:
    cluster = Cluster.from_objects(START, Options(world="closed"))
    steps = list(cold_start(Builder(Settings()).build(Compiler(cluster.model, "n1").program)))

    first, last = str(steps[0]), str(steps[-1]).splitlines()
    for hook in ("forward", "stage_in", "own_node", "own_node_out"):
        assert f"add chain inet podfence {hook} {{ type filter hook " in first
    assert "add element inet podfence podcidr4 { 10.0.0.0-10.0.0.255 }" in first
    assert "ip daddr @podcidr4 ip daddr != @known4 goto hold" in first
    assert "add element inet podfence known4" not in first
    assert last[-1] == "add element inet podfence known4 { 10.0.0.1, 10.0.0.2 }"


def test_a_cold_start_is_cut_into_transactions_of_bounded_size() -> None:
    pods = [pod(f"p{n}", f"10.1.{n // 250}.{n % 250 + 1}", labels={"app": f"a{n % 30}"}) for n in range(3000)]
    policies = [policy(f"p{n}", app("db"), ingress=[rule(Peer(pod_selector=app(f"a{n}")))]) for n in range(30)]
    runner = Recorder()
    started(runner, *START, *pods, *policies)

    sizes = [len(transaction) for transaction in runner.given]
    assert len(sizes) > 2
    assert max(sizes) <= CHUNK


def test_a_table_of_ours_is_adopted_and_nothing_in_it_is_touched() -> None:
    runner = Recorder()
    started(runner, *START)
    count = len(runner.given)
    _, enforcer = started(runner, *START)

    assert len(runner.given) == count
    assert enforcer.verify() == ()


def test_what_changed_while_nobody_was_there_is_all_that_an_adopted_table_gets() -> None:
    runner = Recorder()
    started(runner, *START)
    count = len(runner.given)
    started(runner, *START, pod("web-2", "10.0.0.3", labels={"app": "web"}, node="n1"))

    (transaction,) = runner.given[count:]
    assert transaction.counts == {"add element": 3}
    assert "known4 { 10.0.0.3 }" in str(transaction)


@pytest.mark.parametrize(
    ("table", "objects"),
    [
        (Table(TABLE.name, comment="podfence schema=0"), (Chain("old"), Rule("old", "counter drop"))),
        (TABLE, (Chain("forward", Hook("filter", "forward", 0)),)),
        (TABLE, (Chain("forward"),)),
        (TABLE, (Chain("evaluate", Hook("filter", "forward", -5)),)),
        (TABLE, (Set("known4", ("ipv6_addr",)),)),
        (TABLE, (Set("known4", ("ipv4_addr",), frozenset({"interval"})),)),
        (TABLE, (Map("known4", ("ipv4_addr",)),)),
    ],
)
def test_a_table_of_another_form_is_replaced_in_one_transaction(
    table: Table, objects: tuple[Chain | Rule | Set | Map, ...]
) -> None:
    runner = Recorder()
    runner.run(Transaction(table).add(table, *objects))
    _, enforcer = started(runner, *START)

    assert len(runner.given) == 2
    assert runner.given[1].counts["delete table"] == 1
    assert enforcer.verify() == ()


@pytest.mark.parametrize(
    ("change", "found"),
    [
        ((("flush", Chain("hold")),), ("chain hold had other rules",)),
        ((("flush", STAGE), ("delete", STAGE)), ("chain stage_in was gone",)),
        ((("add", Chain("x")),), ("chain x is not ours",)),
        (
            (("flush", Chain("announced")), ("delete", SELF)),
            ("chain announced had other rules", "set or map self4 was gone"),
        ),
        ((("add", Set("x", ("ipv4_addr",))),), ("set or map x is not ours",)),
        (
            (("delete", Elements(KNOWN, OURS)), ("add", Elements(KNOWN, (Element(("10.0.0.9",)),)))),
            ("set or map known4: 2 elements were gone or changed, 1 are not ours",),
        ),
        ((("delete", TABLE),), ("table inet podfence was gone",)),
        (
            (("delete", TABLE), ("add", Table(TABLE.name, comment="podfence schema=0"))),
            ("table inet podfence had the comment 'podfence schema=0'",),
        ),
    ],
)
def test_what_others_changed_in_a_table_is_told_and_repaired(
    change: tuple[tuple[Verb, Object], ...], found: tuple[str, ...]
) -> None:
    runner = Recorder()
    _, enforcer = started(runner, *START)
    transaction = Transaction(TABLE)
    for verb, item in change:
        {"add": transaction.add, "delete": transaction.delete, "flush": transaction.flush}[verb](item)
    runner.run(transaction)
    assert enforcer.verify() == found
    assert enforcer.verify() == ()


@pytest.mark.parametrize(
    ("chains", "length", "elements", "most"),
    [
        (500, 10, 0, {"chain": 500, "rule": 500}),
        (501, 10, 0, {"chain": 501, "rule": 500}),
        (1500, 10, 0, {"chain": 1000, "rule": 500}),
        (300, 2560, 0, {"chain": 300, "rule": 83}),
        (0, 0, 1000, {"set": 3, "element": 3000}),
        (0, 0, 4000, {"set": 1, "element": 4000}),
    ],
)
def test_much_that_comes_or_goes_at_once_does_so_in_transactions_of_bounded_size(
    chains: int, length: int, elements: int, most: dict[str, int]
) -> None:
    names = [f"c{number}" for number in range(chains)]
    sets = [Set(f"s{number}", ("ipv4_addr",)) for number in range(3 if elements else 0)]
    much = Ruleset(
        {name: ChainBody(Chain(name), (make_rule(name, "x" * length),)) for name in names},
        {item.name: SetBody(item, dict.fromkeys(range(elements))) for item in sets},
    )
    come = [transaction.counts for transaction, _ in steps(Ruleset(), much)]
    assert {kind: max(counts[f"add {kind}"] for counts in come) for kind in most} == most
    gone = [transaction.counts for transaction, _ in steps(much, Ruleset())]
    for kind in most.keys() & {"chain", "set"}:
        assert max(counts[f"delete {kind}"] for counts in gone) == most[kind]


@pytest.mark.parametrize("comment", [None, "somebody's"])
def test_a_table_of_somebody_else_is_left_alone(comment: str | None) -> None:
    runner = Recorder()
    runner.run(Transaction(TABLE).add(Table(TABLE.name, comment=comment)))
    with pytest.raises(ForeignTableError, match="somebody else's"):
        started(runner, *START)
    assert len(runner.given) == 1


@pytest.mark.parametrize(
    ("event", "counts"),
    [
        (Event(EventType.DELETED, WEB), {"delete element": 3}),
        (Event(EventType.ADDED, pod("x", "10.0.0.9", node="n2")), {}),
        (Event(EventType.ADDED, pod("x", "10.0.0.9", node="n1")), {"add element": 2}),
        (Event(EventType.ADDED, pod("x", "10.9.0.9", labels={"app": "web"}, node="n2")), {"add element": 1}),
    ],
)
def test_an_event_touches_what_it_is_about(event: Event, counts: dict[str, int]) -> None:
    runner = Recorder()
    cluster, enforcer = started(runner, *START)
    before = len(runner.given)
    touched = enforcer.apply(cluster.apply(event))

    assert sum((transaction.counts for transaction in runner.given[before:]), start=type(runner.given[0].counts)()) == counts  # fmt: skip
    assert touched == sum(counts.values())


def test_a_rule_that_changes_keeps_the_group_and_switches_its_chains_in_one_transaction() -> None:
    runner = Recorder()
    cluster, enforcer = started(runner, *START)
    changed = policy("p", app("db"), ingress=[rule(Peer(pod_selector=app("web")), ports=[PolicyPort("TCP", 443)])])
    before = len(runner.given)
    touched = enforcer.apply(cluster.apply(Event(EventType.MODIFIED, changed)))

    prepared, switched, cleared = runner.given[before:]
    assert touched == len(prepared) + len(switched)
    assert not any(" in4 " in str(item) or " known4 " in str(item) for item in (prepared, switched, cleared))
    assert set(prepared.counts) == {"add chain", "add rule"}
    assert "delete element" in switched.counts
    assert not {"add chain", "delete chain"} & switched.counts.keys()
    assert set(cleared.counts) == {"flush chain", "delete chain", "delete map"}
    assert enforcer.verify() == ()


@pytest.mark.parametrize("seed", range(40))
def test_nothing_leads_to_what_is_as_new_and_what_goes_is_out_of_use_before(seed: int) -> None:
    random = Random(seed)
    objects = dense.cluster(random)
    runner = Recorder()
    cluster, enforcer = started(runner, *objects)
    before = len(runner.given)
    for event in dense.events(random, objects, 8):
        enforcer.apply(cluster.apply(event))

    for transaction in runner.given[before:]:
        text = str(transaction)
        new = set(re.findall(r"^add (?:chain|map|set) inet podfence (\S+)", text, re.MULTILINE))
        used = re.findall(r"^add (?:element|rule) inet podfence (\S+) (.*)$", text, re.MULTILINE)
        for place, rest in used:
            assert place in new or not new & set(re.findall(r"(?:goto |jump |@)([^\s,;]+)", rest))
        if re.search(r"^delete (?:chain|map|set) ", text, re.MULTILINE):
            assert not [line for line in text.splitlines() if line.startswith(("add ", "delete element "))]


def test_a_refused_transaction_makes_the_table_anew_in_one() -> None:
    runner = Recorder()
    cluster, enforcer = started(runner, *START)
    known = next(item for item in runner.contents(TABLE).sets if item.name == "known4")
    runner.run(
        Transaction(TABLE).delete(Elements(known, enforcer.wanted.sets["known4"].nft_elements([0x0A000001]).items))
    )
    before = len(runner.given)
    enforcer.apply(cluster.apply(Event(EventType.DELETED, WEB)))

    refused, repaired = runner.given[before:]
    assert refused.counts == {"delete element": 3}
    assert str(repaired).splitlines()[1] == "delete table inet podfence"
    assert enforcer.verify() == ()


def test_without_the_right_to_change_tables_nothing_is_made_anew_and_the_next_event_catches_up() -> None:
    runner = Recorder()
    cluster, enforcer = started(runner, *START)
    runner.refuse = PermissionDeniedError("Operation not permitted")
    with pytest.raises(PermissionDeniedError):
        enforcer.apply(cluster.apply(Event(EventType.DELETED, WEB)))

    enforcer.apply(cluster.apply(Event(EventType.ADDED, pod("x", "10.0.0.9", node="n1"))))
    assert runner.given[-1].counts == {"delete element": 3, "add element": 2}
    assert enforcer.verify() == ()


def test_a_table_that_is_gone_and_cannot_be_made_again_is_said_to_be_gone_until_it_is() -> None:
    runner = Recorder()
    _, enforcer = started(runner, *START)
    runner.run(Transaction(TABLE).delete(Table(TABLE.name)))
    runner.refuse = PermissionDeniedError("Operation not permitted")
    with pytest.raises(PermissionDeniedError):
        enforcer.verify()
    assert enforcer.is_gone
    assert enforcer.verify() == ("table inet podfence was gone",)
    assert not enforcer.is_gone


def test_a_table_that_the_kernel_does_not_take_at_once_is_made_anew_in_several_transactions() -> None:
    runner = Recorder()
    old = Table(TABLE.name, comment="podfence schema=0")
    runner.run(Transaction(old).add(old, Chain("old")))
    runner.refuse = NoBufferSpaceError("No buffer space available")
    _, enforcer = started(runner, *START)

    _, refused, *made = runner.given
    assert refused.counts["delete table"] == made[0].counts["delete table"] == 1
    assert len(made) > 1
    assert enforcer.verify() == ()


def test_a_rebuild_that_fails_is_tried_again_with_the_next_event() -> None:
    runner = Recorder()
    cluster, enforcer = started(runner, *START)
    runner.run(Transaction(TABLE).delete(Table(TABLE.name)))
    runner.refuse = NotFoundError("No such file or directory")
    enforcer.apply(cluster.apply(Event(EventType.DELETED, WEB)))
    assert enforcer.verify() == ()


def test_equal_rulesets_have_no_difference() -> None:
    cluster = Cluster.from_objects(START, Options(world="closed"))
    one, other = (Builder(Settings()).build(Compiler(cluster.model, "n1").program) for _ in range(2))
    assert not len(difference(one, other))


def test_names_are_readable_safe_and_short_enough() -> None:
    rule = RuleId("NetworkPolicy", "shop", "allow-web.v2", Direction.INGRESS)
    assert rule_chain(rule) == "ok_in_shop_allow-web.v2_1"
    long = rule_chain(RuleId("NetworkPolicy", "n" * 63, "p" * 253, Direction.EGRESS, 11))
    other = rule_chain(RuleId("NetworkPolicy", "n" * 63, "p" * 253, Direction.EGRESS, 12))
    group = group_name(GroupKey(Direction.EGRESS, "n" * 63, (Key("NetworkPolicy", "n" * 63, "p" * 253),), ()))
    assert max(len(long), len(f"deny_{group}_p4")) <= 255
    assert long != other


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        (Settings(), ["counter drop"]),
        (
            Settings(reject=True),
            ["meta l4proto 6 counter reject with tcp reset", "counter reject with icmpx type admin-prohibited"],
        ),
        (
            Settings(log_group=5),
            [
                'limit rate 20/second burst 100 packets log prefix "podfence ingress denied by shop/p: " group 5',
                "counter drop",
            ],
        ),
    ],
)
def test_a_denial_ends_as_the_settings_say_and_is_logged_with_the_names_of_the_policies_when_asked(
    settings: Settings, expected: list[str]
) -> None:
    cluster = Cluster.from_objects(START, Options(world="closed"))
    built = Builder(settings).build(Compiler(cluster.model, "n1").program)
    (texts,) = [[item.text for item in body.rules] for name, body in built.chains.items() if name.startswith("deny_")]
    assert texts == expected
