# SPDX-License-Identifier: Apache-2.0
"""Links come, go, and are found again: what an enforcer makes of them in the kernel, and how little of it each time."""

from __future__ import annotations

import os
import shutil
import subprocess
from itertools import pairwise
from random import Random
from typing import TYPE_CHECKING, Final

import pytest

from podfence.api import Cluster
from podfence.cluster.state import Event, EventType
from podfence.dataplane.bridge import bridged
from podfence.dataplane.difference import cold_start, difference, hooks_last
from podfence.dataplane.enforcer import Enforcer
from podfence.dataplane.kept import ForeignTableError
from podfence.dataplane.links import Links, PodLink
from podfence.dataplane.ruleset import BRIDGE_TABLE, TABLE, read_back
from podfence.dataplane.settings import Settings
from podfence.kube.objects import Node
from podfence.nft.element import goto
from podfence.nft.errors import MissingFeatureError, NotFoundError, PermissionDeniedError
from podfence.nft.process import NftRunner
from podfence.nft.table import Table
from podfence.nft.transaction import Transaction
from podfence.sets.addresses import V6_FIRST, parse_address
from tests.dataplane.bed import A, Bed, C, X
from tests.dataplane.frames import IPV4, ether, udp
from tests.dataplane.watched import Watched
from tests.nft.fake import FakeRunner
from tests.policy.parts import app, pod, policy, space
from tests.spaces import Space

if TYPE_CHECKING:
    from collections.abc import Iterator

    from podfence.dataplane.settings import Binding

needs_kernel = pytest.mark.skipif(
    os.geteuid() != 0 or not all(map(shutil.which, ("nft", "ip"))), reason="needs root, nft and iproute2"
)

NODE: Final = Node(name="n1", labels={}, addresses=("172.18.0.1",), pod_cidrs=("10.0.0.0/24", "fd00::/64"))
CLUSTER: Final = (
    space("shop"),
    NODE,
    pod("web", "10.0.0.1", "fd00::1", node="n1"),
    pod("db", "10.0.0.2", "fd00::2", node="n1"),
    policy("db", app("db"), ingress=[]),
)
BRIDGED: Final = Settings(log_group=5)


def link(number: int, bridge: str = "cni0", *, exempt: bool = False) -> PodLink:
    addresses = parse_address(f"10.0.0.{number}"), parse_address(f"fd00::{number:x}")
    return PodLink(f"veth{number}", bridge, f"0a:00:00:00:00:{number:02x}", addresses, f"shop/p{number}", exempt)


def links(*numbers: int, bridge: str = "cni0", **more: object) -> Links:
    found = Links(tuple(link(number, bridge) for number in numbers), frozenset({bridge} - {""}))
    return found._replace(**more)  # type: ignore[arg-type]


def started(runner: FakeRunner | NftRunner, settings: Settings = BRIDGED, attached: Links | None = None) -> Enforcer:
    enforcer = Enforcer(runner, "n1", Cluster.from_objects(CLUSTER).model, settings)
    if attached is not None:
        assert enforcer.attach(attached) == 0, "the kernel is not touched before the start"
    enforcer.start()
    return enforcer


def chains(runner: FakeRunner | NftRunner, table: Table = TABLE) -> set[str]:
    return {chain.name for chain in runner.list_chains(table)}


class Refusing(FakeRunner):
    """A fake that refuses transactions with some text, if there is any."""

    refuses = ""

    def run(self, transaction: Transaction) -> None:
        if self.refuses and self.refuses in str(transaction):
            raise PermissionDeniedError("Operation not permitted")
        super().run(transaction)


@pytest.fixture
def runner() -> FakeRunner:
    return FakeRunner()


@pytest.mark.parametrize("attached", [None, Links()])
def test_without_links_a_node_is_as_it_was(attached: Links | None, runner: FakeRunner) -> None:
    started(runner, attached=attached)
    assert "bind" not in chains(runner)
    with pytest.raises(NotFoundError):
        runner.list_table(BRIDGE_TABLE)


def test_switched_off_nothing_is_bound(runner: FakeRunner) -> None:
    enforcer = started(runner, Settings(binding="off"))
    assert enforcer.attach(links(1, 2)) == 0
    assert "bind" not in chains(runner)


def test_links_that_are_attached_before_the_start_are_bound_from_the_first_step(runner: FakeRunner) -> None:
    enforcer = started(runner, attached=links(1, 2))
    assert "bind" in chains(runner)
    assert "from_pod" in chains(runner, BRIDGE_TABLE)
    assert enforcer.verify() == ()


def test_routed_links_have_no_table_of_frames(runner: FakeRunner) -> None:
    started(runner, attached=links(1, bridge=""))
    assert "bind" in chains(runner)
    with pytest.raises(NotFoundError):
        runner.list_table(BRIDGE_TABLE)


def test_when_all_links_go_nothing_of_them_stays(runner: FakeRunner) -> None:
    enforcer = started(runner)
    before = read_back(runner.contents(TABLE))
    enforcer.attach(links(1, 2, tunnel_ports=frozenset({8472}), reserved=frozenset({parse_address("10.0.0.254")})))
    assert enforcer.attach(Links())
    assert enforcer.attach(Links()) == 0
    enforcer.look()
    after = read_back(runner.contents(TABLE))
    assert not len(difference(before, after))
    with pytest.raises(NotFoundError):
        runner.list_table(BRIDGE_TABLE)


def test_the_next_enforcer_adopts_what_is_bound(runner: FakeRunner) -> None:
    started(runner, attached=links(1, 2))
    following = started(runner, attached=links(1, 2))
    assert following.transactions == 0
    without = started(runner)
    assert without.transactions
    assert "bind" not in chains(runner)
    with pytest.raises(NotFoundError):
        runner.list_table(BRIDGE_TABLE)


def test_a_pod_more_is_a_few_elements_more(runner: FakeRunner) -> None:
    many = range(10, 210)
    enforcer = started(runner, attached=links(*many))
    before = enforcer.transactions
    assert 0 < enforcer.attach(links(*many, 9)) < 30
    assert 2 <= enforcer.transactions - before <= 4
    assert enforcer.attach(links(*many, 9)) == 0
    assert 0 < enforcer.attach(links(*many)) < 30


def test_a_table_of_frames_that_is_somebody_elses_is_left_alone(runner: FakeRunner) -> None:
    runner.run(Transaction(BRIDGE_TABLE).add(Table(BRIDGE_TABLE.name, "bridge")))
    enforcer = started(runner)
    with pytest.raises(ForeignTableError, match="bridge podfence"):
        enforcer.attach(links(1))
    assert chains(runner, BRIDGE_TABLE) == set()


def test_where_the_kernel_lacks_what_frames_need_the_rest_is_bound_and_policies_go_on() -> None:
    runner = FakeRunner(lacks=["iifname . ether saddr"])
    enforcer = started(runner)
    with pytest.raises(MissingFeatureError, match=r"ports of bridges are not bound.*sets of ports with addresses"):
        enforcer.attach(links(1))
    assert "bind" in chains(runner)
    assert enforcer.apply() == 0
    assert enforcer.verify() == ()
    with pytest.raises(MissingFeatureError, match="ports of bridges are not bound"):
        started(runner, attached=links(1))


def test_a_table_of_frames_that_could_not_be_taken_away_is_taken_away_by_the_next_check() -> None:
    runner = Refusing()
    enforcer = started(runner, attached=links(1))
    runner.refuses = "delete table bridge podfence"
    with pytest.raises(PermissionDeniedError):
        enforcer.attach(Links())
    runner.refuses = ""
    assert enforcer.verify() == ()
    with pytest.raises(NotFoundError):
        runner.list_table(BRIDGE_TABLE)


def test_a_link_whose_pod_has_no_address_yet_is_held(runner: FakeRunner) -> None:
    routed = link(1, bridge="")._replace(addresses=())
    enforcer = started(runner, attached=Links((routed, link(2)._replace(addresses=()), link(3))))
    found = {name: enforcer.wanted.sets["links"].elements[name] for name in ("veth1", "cni0")}
    assert found == {"veth1": goto("held"), "cni0": goto("from_bridge")}
    senders = enforcer.wanted_frames.sets["senders"].elements
    assert (senders["veth2"], senders["veth3"]) == (goto("held"), goto("from_pod"))


def test_what_a_pod_may_not_claim_it_is_not_bound_to(runner: FakeRunner) -> None:
    enforcer = started(runner, attached=links(1, reserved=frozenset({parse_address("10.0.0.1")})))
    assert set(enforcer.wanted.sets["pairs4"].elements) == set()
    assert set(enforcer.wanted.sets["pairs6"].elements) == {("cni0", V6_FIRST + (0xFD << 120) + 1)}


def test_new_nodes_are_nodes_for_tunnels(runner: FakeRunner) -> None:
    cluster = Cluster.from_objects(CLUSTER)
    enforcer = Enforcer(runner, "n1", cluster.model)
    enforcer.attach(links(1, tunnel_ports=frozenset({8472})))
    enforcer.start()
    assert set(enforcer.wanted.sets["nodes4"].elements) == {parse_address("172.18.0.1")}
    assert any("10.0.0.0-10.0.0.255" in rule.text for rule in enforcer.wanted.chains["to_tunnel"].rules)
    new = Node(name="n2", labels={}, addresses=("172.18.0.2",), pod_cidrs=("10.0.2.0/24",))
    enforcer.apply(cluster.apply(Event(EventType.ADDED, new)))
    assert set(enforcer.wanted.sets["nodes4"].elements) == set(map(parse_address, ("172.18.0.1", "172.18.0.2")))
    assert any("10.0.2.0-10.0.2.255" in rule.text for rule in enforcer.wanted.chains["to_tunnel"].rules)
    assert enforcer.verify() == ()


def test_pods_beside_an_exempt_one_are_bound() -> None:
    exempt, other = link(1, exempt=True), link(2)
    assert Links((exempt, other)).bound == Links((other, exempt)).bound == (other,)
    assert Links((other,)).is_confined("cni0")
    assert not Links((other, exempt)).is_confined("cni0")
    assert not Links((other,), uplinks=frozenset({"eth0"})).is_confined("cni0")


@pytest.mark.parametrize(
    ("binding", "source", "others"),
    [("enforce", "counter drop", "counter drop"), ("report", "counter accept", "counter return")],
)
def test_what_is_not_the_pods_own_is_dropped_or_goes_on_as_the_setting_says(
    binding: Binding, source: str, others: str, runner: FakeRunner
) -> None:
    wanted = started(runner, Settings(binding=binding), links(1, tunnel_ports=frozenset({8472}))).wanted
    ends = {name: wanted.chains[name].rules[-1].text for name in ("unknown_source", "unknown_destination", "tunnelled")}
    assert ends == {"unknown_source": source, "unknown_destination": others, "tunnelled": others}


# With the kernel


@pytest.fixture
def where() -> Iterator[Space]:
    found = Space()
    yield found
    found.close()


@needs_kernel
def test_what_somebody_takes_away_or_adds_is_found_and_repaired(where: Space) -> None:
    with where.entered():
        enforcer = started(NftRunner(), attached=links(1, 2, tunnel_ports=frozenset({8472})))
        assert enforcer.verify() == ()
        for command, difference_ in (
            ("delete element bridge podfence bound4 { veth1 . 0a:00:00:00:00:01 . 10.0.0.1 }", "of frames: set or map bound4: 1 elements were gone or changed, 0 are not ours"),
            ("add element bridge podfence senders { veth9 : accept }", "of frames: set or map senders: 0 elements were gone or changed, 1 are not ours"),
            ("flush chain bridge podfence from_pod", "of frames: chain from_pod had other rules"),
            ("delete table bridge podfence", "of frames: table bridge podfence was gone"),
            ("add element inet podfence pairs4 { cni0 . 10.9.9.9 }", "set or map pairs4: 0 elements were gone or changed, 1 are not ours"),
            ("flush chain inet podfence bind", "chain bind had other rules"),
        ):  # fmt: skip
            subprocess.run(["nft", command], check=True)
            assert enforcer.verify() == (difference_,)
            assert enforcer.verify() == ()


@needs_kernel
def test_what_packets_leave_behind_is_no_difference() -> None:
    """The links of which something was logged are elements of a set that nobody but the kernel fills."""
    with Bed("bridge", Settings(log_group=5)) as bed:
        bed.bind()
        for number in range(3):
            bed.send(X, ether(X.mac, C.mac, IPV4, udp(A.four, C.four, 99, b"%d" % number)))
        assert X.interface in bed.nft("list", "set", "bridge", "podfence", "told")
        assert bed.enforcer.verify() == ()
        found = bed.strays()
        assert found == {"unknown-source": 3, "unknown-destination": 0, "unknown-protocol": 0, "tunnel": 0}


def listed(place: Space) -> str:
    with place.entered():
        command = ("nft", "--debug=netlink", "--stateless", "list", "ruleset")
        found = subprocess.run(command, capture_output=True, check=True, text=True).stdout
    return "\n".join(sorted(found.splitlines()))


@needs_kernel
@pytest.mark.parametrize("seed", range(4))
def test_the_kernel_gets_the_same_with_nft_and_past_it(seed: int, where: Space) -> None:
    random = Random(seed)
    other = Space()
    runners = Watched(), NftRunner()
    states = [links(*random.sample(range(1, 40), random.randrange(1, 20))) for _ in range(6)]
    found = [bridged(item, BRIDGED) for item in states]
    for place, runner in zip((where, other), runners, strict=True):
        with place.entered():
            for transaction in hooks_last(found[0]):
                runner.run(transaction)
    assert listed(where) == listed(other)
    runners[0].left.clear()
    for before, now in pairwise(found):
        change = difference(before, now, BRIDGE_TABLE)
        for place, runner in zip((where, other), runners, strict=True):
            with place.entered():
                runner.run(change)
        assert listed(where) == listed(other)
    assert runners[0].left == [], "nothing of this needs nft"
    runners[0].close()
    other.close()


def test_a_cold_start_fills_what_is_bound_before_what_says_that_it_must_be() -> None:
    enforcer = Enforcer(FakeRunner(), "n1", Cluster.from_objects(CLUSTER).model, BRIDGED)
    enforcer.attach(links(*range(1, 200)))
    lines = "".join(str(transaction) for transaction in cold_start(enforcer.wanted)).splitlines()
    order = [next(i for i, line in enumerate(lines) if f"element inet podfence {name} " in line) for name in ("pairs4", "local4", "ends", "links")]  # fmt: skip
    assert order == sorted(order)
    frames = "".join(str(transaction) for transaction in hooks_last(enforcer.wanted_frames)).splitlines()
    hooks = [i for i, line in enumerate(frames) if "hook" in line]
    assert hooks
    assert all("chain" in line or "rule" in line for line in frames[hooks[0] :])
