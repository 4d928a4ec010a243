# SPDX-License-Identifier: Apache-2.0
"""What others change in our table is repaired within moments, without any event; what we change is not looked at."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from typing import TYPE_CHECKING

import pytest

from podfence.agent.source import Bookmark, Synced, Verify
from podfence.agent.watch import KernelWatch
from podfence.api import Cluster
from podfence.dataplane.enforcer import Enforcer
from podfence.dataplane.ruleset import TABLE
from podfence.kube.objects import Node, Peer
from podfence.nft.process import NftRunner
from tests.agent.live import PATIENCE, LiveAgent, Shim, added, deleted
from tests.dataplane.inside import inside
from tests.dataplane.network import Network
from tests.policy.parts import app, pod, policy, rule, space

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from podfence.kube.objects import KubeObject

pytestmark = pytest.mark.skipif(
    os.geteuid() != 0 or not all(map(shutil.which, ("nft", "ip", "unshare", "nsenter"))),
    reason="needs root, nft, iproute2 and util-linux",
)

NODE = Node(name="n1", labels={}, addresses=("172.18.0.1",), pod_cidrs=("10.0.0.0/16",))
PODS = [pod(name, f"10.0.0.{n}", node="n1") for n, name in enumerate(("web", "db", "api"), 1)]
START: tuple[KubeObject, ...] = (
    space("shop"),
    NODE,
    *PODS,
    policy("db", app("db"), ingress=[rule(Peer(pod_selector=app("web")))]),
)
LATE = pod("late", "10.0.0.9", node="n1", labels={"app": "db"})
ADD = "add table inet podfence; add set inet podfence s { type ipv4_addr; }"
MANY = ", ".join(f"10.1.{n // 250}.{n % 250}" for n in range(20_000))


@pytest.fixture(scope="module")
def network() -> Iterator[Network]:
    with Network(("172.18.0.1",), (("10.0.0.1",),)) as found:
        yield found


@pytest.fixture
def runner(network: Network) -> Iterator[NftRunner]:
    yield NftRunner(prefix=network.prefix)
    network.forget()


@pytest.fixture
def watch(network: Network, runner: NftRunner) -> Iterator[KernelWatch]:
    found = inside(network.pid_of("172.18.0.1"), KernelWatch)
    yield found
    found.close()


class TestTheWatch:
    def test_nothing_is_told_while_nothing_happens(self, watch: KernelWatch) -> None:
        assert not watch.look()

    @pytest.mark.parametrize(
        "change",
        [
            "add element inet podfence s { 10.0.0.1 }",
            "delete table inet podfence",
            "add chain inet podfence c",
            "delete set inet podfence s",
            "flush ruleset",
        ],
    )
    def test_every_change_of_our_table_by_others_is_told_once(self, network: Network, watch: KernelWatch, change: str) -> None:  # fmt: skip
        network.nft(ADD)
        assert watch.look()
        network.nft(change)
        assert watch.look()
        assert not watch.look()

    def test_tables_of_others_are_not_told_of(self, network: Network, watch: KernelWatch) -> None:
        network.nft("add table ip podfence; add table inet podfence2; add chain inet podfence2 c")
        network.nft("delete table ip podfence; delete table inet podfence2")
        assert not watch.look()

    def test_what_we_change_ourselves_is_not_told_of(self, network: Network, watch: KernelWatch) -> None:
        watch.begin()
        network.nft(ADD)
        network.nft("add element inet podfence s { 10.0.0.1 }")
        watch.end(2)
        assert not watch.look()

    def test_what_others_change_between_our_changes_is_told(self, network: Network, watch: KernelWatch) -> None:
        watch.begin()
        network.nft(ADD)
        network.nft("add element inet podfence s { 10.0.0.1 }")
        network.nft("add table inet theirs; delete table inet theirs")
        watch.end(1)
        assert watch.look()

    def test_tables_of_others_that_change_while_we_do_are_not_minded(self, network: Network, watch: KernelWatch) -> None:  # fmt: skip
        watch.begin()
        network.nft("add table inet theirs")
        network.nft(ADD)
        network.nft("delete table inet theirs")
        watch.end(1)
        assert not watch.look()

    def test_what_others_changed_just_before_we_began_is_told(self, network: Network, watch: KernelWatch) -> None:
        network.nft(ADD)
        watch.begin()
        network.nft("add element inet podfence s { 10.0.0.1 }")
        watch.end(1)
        assert watch.look()
        assert not watch.look()

    def test_a_change_of_ours_that_is_too_large_to_be_told_is_not_minded(self, network: Network, watch: KernelWatch) -> None:  # fmt: skip
        watch._events.setsockopt(1, 8, 4096)  # SO_RCVBUF: as little as there can be
        watch.begin()
        NftRunner(prefix=network.prefix)._nft("--file", "-", script=f"{ADD}\nadd element inet podfence s {{ {MANY} }}")
        watch.end(1)
        assert not watch.look()
        network.nft("add table inet theirs; delete table inet theirs")
        assert not watch.look()
        network.nft("delete element inet podfence s { 10.1.0.1 }")
        assert watch.look()

    def test_a_change_of_others_that_is_too_large_to_be_told_may_have_been_one_of_our_table(
        self, network: Network, watch: KernelWatch
    ) -> None:
        watch._events.setsockopt(1, 8, 4096)
        script = ADD.replace("podfence", "theirs") + f"\nadd element inet theirs s {{ {MANY} }}"
        for begin in (False, True):
            if begin:
                watch.begin()
            NftRunner(prefix=network.prefix)._nft("--file", "-", script=script)
            network.nft("delete table inet theirs")
            if begin:
                network.nft(ADD)
                watch.end(1)
            assert watch.look()
            assert not watch.look()


def begin(agent: LiveAgent) -> None:
    agent.send(*added(START), Bookmark(1), Synced())
    agent.enforced(1)


def compared(agent: LiveAgent) -> list[tuple[str, ...]]:
    """Return what comparisons have found so far, of those reports that were looked at."""
    return [report.drift for report in agent.reports if report.drift is not None]


DAMAGE = {
    "table deleted": "delete table inet podfence",
    "everything flushed": "flush ruleset",
    "chain flushed": "flush chain inet podfence stage_in",
    "rule inserted": "insert rule inet podfence forward accept",
    "element removed": "delete element inet podfence known4 { 10.0.0.1 }",
    "element added": "add element inet podfence known4 { 10.0.0.9 }",
    "set added": "add set inet podfence more { type ipv4_addr; }",
}


@pytest.mark.parametrize("harm", DAMAGE.values(), ids=DAMAGE)
def test_damage_is_repaired_at_once_without_any_event(network: Network, runner: NftRunner, harm: str) -> None:
    with LiveAgent(network.prefix) as agent:
        begin(agent)
        network.nft(harm)
        report = agent.until(lambda report: report.drift is not None)
        assert report.drift
        assert report.enforcing
    assert Enforcer(runner, "n1", Cluster.from_objects(START).model).verify() == ()


def test_damage_is_repaired_in_the_namespaces_of_an_ordinary_user_too() -> None:
    with LiveAgent(("unshare", "--user", "--map-root-user", "--net")) as agent:
        begin(agent)
        inside = ("nsenter", "--target", str(agent.process.pid), "--user", "--net", "--preserve-credentials")
        subprocess.run((*inside, "nft", DAMAGE["table deleted"]), check=True)
        assert agent.until(lambda report: report.drift is not None).drift == ("table inet podfence was gone",)
        assert agent.end() == 0
        assert agent.complaints() == b""


def test_a_table_that_is_gone_and_cannot_be_made_again_is_said_to_be_gone(network: Network, runner: NftRunner, tmp_path: Path) -> None:  # fmt: skip
    shim = Shim(tmp_path)
    with LiveAgent(network.prefix, path=shim.path) as agent:
        begin(agent)
        shim.plan("fail")
        network.nft(DAMAGE["table deleted"])
        report = agent.until(lambda report: report.errors)
        assert "the table is gone, and nothing on the node is denied until a try succeeds" in report.errors[0]
        assert not report.enforcing
        shim.plan("")
        agent.until(lambda report: report.enforcing)
    assert Enforcer(runner, "n1", Cluster.from_objects(START).model).verify() == ()


def test_the_deleted_rule_of_a_chain_is_put_back(network: Network, runner: NftRunner) -> None:
    with LiveAgent(network.prefix) as agent:
        begin(agent)
        handle = next(item for item in runner.contents(TABLE).rules["forward"] if item.handle).handle
        network.nft(f"delete rule inet podfence forward handle {handle}")
        report = agent.until(lambda report: report.drift is not None)
        assert report.drift == ("chain forward had other rules",)


@pytest.mark.parametrize("direct", [True, False], ids=["direct", "nft"])
def test_changes_of_ours_cause_no_comparison(network: Network, runner: NftRunner, direct: bool) -> None:
    crowd = [pod(f"p{n}", f"10.0.{n // 250 + 1}.{n % 250 + 1}", node="n1", labels={"app": "db"}) for n in range(2000)]
    last = 102 if direct else 32
    with LiveAgent(network.prefix, direct=direct) as agent:
        begin(agent)
        for number in range(2, last):
            agent.send(deleted(LATE) if number % 2 else added([LATE])[0], Bookmark(number))
            agent.enforced(number)
        agent.send(*added(crowd), Bookmark(last))
        agent.enforced(last)
        agent.send(*map(deleted, crowd), Bookmark(last + 1))
        agent.enforced(last + 1)
        agent.send(Verify(), Bookmark(last + 2))
        assert agent.until(lambda report: report.drift is not None).drift == ()
        assert compared(agent) == [()]


def test_a_large_change_of_ours_causes_no_comparison_also_where_little_of_it_can_be_told() -> None:
    crowd = [pod(f"p{n}", f"10.0.{n // 250 + 1}.{n % 250 + 1}", node="n1", labels={"app": "db"}) for n in range(3000)]
    with LiveAgent(("unshare", "--user", "--map-root-user", "--net")) as agent:
        begin(agent)
        agent.send(*added(crowd), Bookmark(2))
        agent.enforced(2)
        agent.send(Verify())
        assert agent.until(lambda report: report.drift is not None).drift == ()
        assert compared(agent) == [()]
        assert agent.end() == 0


def test_tables_of_others_cause_no_comparison_also_while_ours_changes(network: Network, runner: NftRunner) -> None:
    with LiveAgent(network.prefix) as agent:
        begin(agent)
        for number in range(2, 22):
            network.nft("add table inet theirs; add set inet theirs s { type ipv4_addr; elements = { 10.0.0.1 }; }")
            agent.send(deleted(LATE) if number % 2 else added([LATE])[0], Bookmark(number))
            network.nft("delete table inet theirs")
            agent.enforced(number)
        assert compared(agent) == []


def test_somebody_who_keeps_changing_the_table_is_followed_once_a_second(network: Network, runner: NftRunner) -> None:
    with LiveAgent(network.prefix) as agent:
        begin(agent)
        began = time.monotonic()
        while len(found := [found for found in compared(agent) if found]) < 3:
            assert time.monotonic() < began + PATIENCE
            network.nft("add chain inet podfence theirs")
            agent.take()
        # The first at once, and each of the others a second after the one before.
        assert len(found) <= 2 + time.monotonic() - began
