# SPDX-License-Identifier: Apache-2.0
"""What goes wrong around an agent: it is killed, nft fails, tables disappear, the disk is full.

After each, the kernel has what the engine says, or what is not programmed is closed and a report says why.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from podfence.agent.source import Bookmark, Synced, Unreadable, Verify
from podfence.api import Cluster
from podfence.dataplane.conntrack import KernelConntrack
from podfence.dataplane.enforcer import Enforcer
from podfence.dataplane.ruleset import TABLE
from podfence.dataplane.settings import Settings
from podfence.kube.objects import Node, Peer, PolicyPort
from podfence.nft.chain import Chain
from podfence.nft.process import NftRunner
from podfence.nft.rule import Rule
from podfence.nft.table import Table
from podfence.nft.transaction import Transaction
from tests.agent.live import LiveAgent, Shim, added, deleted
from tests.dataplane.inside import inside
from tests.dataplane.network import Network, Probe
from tests.lab.labs import within
from tests.policy.parts import app, block, pod, policy, rule, space

if TYPE_CHECKING:
    from collections.abc import Iterator

    from podfence.kube.objects import KubeObject

pytestmark = pytest.mark.skipif(
    os.geteuid() != 0 or not all(map(shutil.which, ("nft", "ip", "unshare", "nsenter", "mount"))),
    reason="needs root, nft, iproute2, util-linux and mount",
)

NODE = Node(name="n1", labels={}, addresses=("172.18.0.1",), pod_cidrs=("10.0.0.0/16",))
WEB = pod("web", "10.0.0.1", node="n1")
DB = pod("db", "10.0.0.2", node="n1")
API = pod("api", "10.0.0.3", node="n1")
LATE = pod("late", "10.0.0.4", node="n1", labels={"app": "web"})
PORT = [PolicyPort("TCP", 80)]
FROM_WEB = policy("db", app("db"), ingress=[rule(Peer(pod_selector=app("web")), ports=PORT)])
FROM_API = policy("db", app("db"), ingress=[rule(Peer(pod_selector=app("api")), ports=PORT)])
START: tuple[KubeObject, ...] = (space("shop"), NODE, WEB, DB, API, FROM_WEB)

WEB_TO_DB = Probe("tcp", "10.0.0.1", "10.0.0.2", 80)
API_TO_DB = Probe("tcp", "10.0.0.3", "10.0.0.2", 80)
API_TO_WEB = Probe("tcp", "10.0.0.3", "10.0.0.1", 81)
LATE_TO_WEB = Probe("tcp", "10.0.0.4", "10.0.0.1", 81)
AT_START = {WEB_TO_DB: True, API_TO_DB: False, API_TO_WEB: True, LATE_TO_WEB: False}
CHANGED = {WEB_TO_DB: False, API_TO_DB: True, API_TO_WEB: True, LATE_TO_WEB: False}
CLOSED = dict.fromkeys(AT_START, False)


@pytest.fixture(scope="module")
def network() -> Iterator[Network]:
    with Network(("172.18.0.1",), (("10.0.0.1",), ("10.0.0.2",), ("10.0.0.3",), ("10.0.0.4",))) as found:
        yield found


@pytest.fixture
def runner(network: Network) -> Iterator[NftRunner]:
    yield NftRunner(prefix=network.prefix)
    network.forget()
    # An agent ends what its policies deny, also what those of an earlier test admitted.
    with closing(inside(network.pid_of("172.18.0.1"), lambda: KernelConntrack(Settings().label))) as conntrack:
        assert conntrack._table.change(0x102, [bytes(4)]) == [0]


@pytest.fixture
def shim(tmp_path: Path) -> Shim:
    return Shim(tmp_path)


def drift(runner: NftRunner, *objects: KubeObject) -> tuple[str, ...]:
    """Return what differs between the kernel and what these objects ask for."""
    return Enforcer(runner, "n1", Cluster.from_objects(objects).model).verify()


def begin(agent: LiveAgent, *objects: KubeObject) -> None:
    agent.send(*added(objects), Bookmark(1), Synced())


def test_an_agent_that_is_killed_while_idle_leaves_a_table_that_the_next_one_adopts_untouched(
    network: Network, runner: NftRunner, shim: Shim
) -> None:
    with LiveAgent(network.prefix) as agent:
        begin(agent, *START)
        agent.enforced(1)
        agent.kill()
    assert network.passed(AT_START) == AT_START

    with LiveAgent(network.prefix, path=shim.path) as agent:
        begin(agent, *START)
        agent.enforced(1)
        assert shim.count == 0
    assert drift(runner, *START) == ()


@pytest.mark.parametrize("moment", ["before", "after"])
def test_an_agent_that_is_killed_in_a_cold_start_leaves_pods_closed_until_the_next_one_has_finished(
    network: Network, runner: NftRunner, shim: Shim, moment: str
) -> None:
    far = [pod(f"p{n}", f"10.1.{n // 250}.{n % 250 + 1}", labels={"app": f"a{n % 30}"}) for n in range(3000)]
    listing = [policy(f"p{n}", app("api"), ingress=[rule(Peer(pod_selector=app(f"a{n}")))]) for n in range(30)]
    anyone = policy("any", app("api"), ingress=[rule()])
    objects = (*START, *far, *listing, anyone)
    with LiveAgent(network.prefix, path=shim.path) as agent:
        shim.plan(moment, 2)
        begin(agent, *objects)
        shim.reached()
        agent.kill()
        shim.release()
    assert network.passed(CLOSED) == CLOSED

    with LiveAgent(network.prefix) as agent:
        begin(agent, *objects)
        agent.enforced(1)
    assert network.passed(AT_START) == AT_START
    assert drift(runner, *objects) == ()


@pytest.mark.parametrize(("moment", "between"), [("before", AT_START), ("after", CHANGED)])
def test_an_agent_that_is_killed_in_an_update_leaves_all_of_it_or_nothing(
    network: Network, runner: NftRunner, shim: Shim, moment: str, between: dict[Probe, bool]
) -> None:
    with LiveAgent(network.prefix, path=shim.path) as agent:
        begin(agent, *START)
        agent.enforced(1)
        shim.plan(moment, 1)
        agent.send(*added([FROM_API]), Bookmark(2))
        shim.reached()
        agent.kill()
        shim.release()
    assert network.passed(between) == between

    with LiveAgent(network.prefix) as agent:
        begin(agent, *START[:-1], FROM_API)
        agent.enforced(1)
    assert network.passed(CHANGED) == CHANGED
    assert drift(runner, *START[:-1], FROM_API) == ()


def test_an_nft_that_fails_once_in_a_cold_start_is_reported_and_tried_again(
    network: Network, runner: NftRunner, shim: Shim
) -> None:
    shim.plan("fail", 1)
    with LiveAgent(network.prefix, path=shim.path) as agent:
        begin(agent, *START)
        agent.enforced(1)
        (error,) = [text for report in agent.reports for text in report.errors]
    assert error.startswith("the kernel of node n1 could not be programmed: Could not process rule: Device or resource")
    assert drift(runner, *START) == ()


def test_an_nft_that_fails_once_in_an_update_costs_nothing_but_a_table_made_anew(
    network: Network, runner: NftRunner, shim: Shim
) -> None:
    with LiveAgent(network.prefix, path=shim.path) as agent:
        begin(agent, *START)
        agent.enforced(1)
        shim.plan("fail", 1)
        agent.send(*added([FROM_API]), Bookmark(2))
        agent.enforced(2)
        assert [text for report in agent.reports for text in report.errors] == []
    assert drift(runner, *START[:-1], FROM_API) == ()


def test_an_nft_that_always_fails_leaves_new_pods_closed_and_old_rules_in_force_and_is_complained_about_once(
    network: Network, runner: NftRunner, shim: Shim
) -> None:
    with LiveAgent(network.prefix, path=shim.path) as agent:
        begin(agent, *START)
        agent.enforced(1)
        before = shim.count
        shim.plan("fail")
        agent.send(*added([LATE]), Bookmark(2))
        report = agent.until(lambda report: report.errors)
        assert not report.enforcing
        assert report.revision == 1
        assert "busy" in report.errors[0]
        assert "packets of pods that are not programmed yet are dropped" in report.errors[0]
        assert network.passed(AT_START) == AT_START

        while shim.count < before + 6:  # three tries, each of a difference or a whole table
            network.passed({API_TO_WEB: True})
        shim.plan("")
        agent.enforced(2)
        assert len([text for report in agent.reports for text in report.errors]) == 1
    assert network.passed({LATE_TO_WEB: True}) == {LATE_TO_WEB: True}
    assert drift(runner, *START, LATE) == ()


def test_without_nft_the_agent_says_so(network: Network, runner: NftRunner, tmp_path: Path) -> None:
    with LiveAgent(network.prefix, path=str(tmp_path)) as agent:
        begin(agent, *START)
        report = agent.until(lambda report: report.errors)
        assert not report.enforcing
        assert "nft is not on PATH" in report.errors[0]
        assert agent.end() == 0


def test_a_table_of_our_name_that_is_somebody_elses_is_left_alone_and_named(
    network: Network, runner: NftRunner, shim: Shim
) -> None:
    runner.run(Transaction(Table("podfence")).add(Table("podfence"), Chain("theirs"), Rule("theirs", "counter drop")))
    with LiveAgent(network.prefix, path=shim.path) as agent:
        begin(agent, *START)
        report = agent.until(lambda report: report.errors)
        assert "it is somebody else's, and left alone" in report.errors[0]
        assert shim.count == 0
    assert [chain.name for chain in runner.list_chains(TABLE)] == ["theirs"]


def test_a_table_that_somebody_puts_in_the_place_of_ours_is_left_alone_and_named(
    network: Network, runner: NftRunner
) -> None:
    with LiveAgent(network.prefix) as agent:
        begin(agent, *START)
        agent.enforced(1)
        network.nft("delete table inet podfence; add table inet podfence; add chain inet podfence theirs")
        agent.send(Verify())
        report = agent.until(lambda report: report.errors)
        assert "it is somebody else's, and left alone" in report.errors[0]
        assert not report.enforcing
    assert [chain.name for chain in runner.list_chains(TABLE)] == ["theirs"]


def test_tables_of_others_come_and_go_without_being_touched_or_minded(network: Network, runner: NftRunner) -> None:
    theirs = Table("theirs", "inet")
    full = Transaction(theirs).add(theirs, Chain("c"), Rule("c", "counter accept"))
    with LiveAgent(network.prefix) as agent:
        begin(agent, *START)
        agent.enforced(1)
        runner.run(full)
        agent.send(*added([FROM_API]), Bookmark(2))
        agent.enforced(2)
        assert len(runner.contents(theirs).rules["c"]) == 1
        runner.run(Transaction(theirs).flush(Chain("c")).delete(theirs))
        agent.send(*added([FROM_WEB]), Bookmark(3), Verify())
        report = agent.until(lambda report: report.drift is not None)
        assert report.drift == ()
        assert report.revision == 3
        assert [text for one in agent.reports for text in one.errors] == []
    assert drift(runner, *START) == ()


@pytest.mark.parametrize(
    ("harm", "found"),
    [
        ("delete table inet podfence", "table inet podfence was gone"),
        ("flush chain inet podfence stage_in", "chain stage_in had other rules"),
        ("delete element inet podfence known4 { 10.0.0.1 }", "set or map known4: 1 elements were gone or changed"),
        ("add element inet podfence known4 { 10.0.0.4 }", "set or map known4: 0 elements were gone or changed, 1 are"),
    ],
)
def test_what_somebody_changes_in_our_table_is_found_repaired_and_reported(
    network: Network, runner: NftRunner, harm: str, found: str
) -> None:
    with LiveAgent(network.prefix) as agent:
        begin(agent, *START)
        agent.enforced(1)
        network.nft(harm)
        agent.send(Verify())
        report = agent.until(lambda report: report.drift is not None)
        assert report.enforcing
        assert report.drift is not None
        assert report.drift[0].startswith(found)
        assert network.passed(AT_START) == AT_START
    assert drift(runner, *START) == ()


def test_an_update_after_our_table_was_deleted_makes_it_anew(network: Network, runner: NftRunner) -> None:
    with LiveAgent(network.prefix) as agent:
        begin(agent, *START)
        agent.enforced(1)
        network.nft("delete table inet podfence")
        agent.send(*added([FROM_API]), Bookmark(2))
        agent.enforced(2)
    assert network.passed(CHANGED) == CHANGED
    assert drift(runner, *START[:-1], FROM_API) == ()


def test_a_full_disk_changes_nothing_because_nothing_is_written(
    network: Network, runner: NftRunner, tmp_path: Path
) -> None:
    full = tmp_path / "full"
    full.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4k,nr_inodes=3", "none", str(full)], check=True)
    try:
        (full / "filler").write_bytes(bytes(4096))
        with pytest.raises(OSError, match="No space left"):
            (full / "more").write_bytes(b"?")
        before = sorted(full.iterdir())
        with LiveAgent(network.prefix, cwd=full) as agent:
            begin(agent, *START)
            agent.enforced(1)
            agent.send(*added([FROM_API]), Bookmark(2), Verify())
            assert agent.until(lambda report: report.drift is not None).drift == ()
            writable = [
                target
                for number in Path(f"/proc/{agent.process.pid}/fd").iterdir()
                if (target := str(number.readlink())).startswith("/") and not target.startswith(("/dev/", "/proc/"))
            ]
            assert agent.end() == 0
        assert writable == []
        assert sorted(full.iterdir()) == before
    finally:
        subprocess.run(["umount", str(full)], check=True)
    assert drift(runner, *START[:-1], FROM_API) == ()


def test_a_pod_that_is_deleted_while_it_is_programmed_is_gone_afterwards(
    network: Network, runner: NftRunner, shim: Shim
) -> None:
    with LiveAgent(network.prefix, path=shim.path) as agent:
        begin(agent, *START)
        agent.enforced(1)
        shim.plan("hold", 1)
        agent.send(*added([LATE]), Bookmark(2))
        shim.reached()
        agent.send(deleted(LATE), Bookmark(3))
        shim.release()
        agent.enforced(3)
    assert network.passed(AT_START) == AT_START
    assert drift(runner, *START) == ()


def test_a_thousand_pods_at_once_are_programmed_in_few_transactions(
    network: Network, runner: NftRunner, shim: Shim
) -> None:
    pods = [pod(f"p{n}", f"10.0.{n // 250 + 1}.{n % 250 + 1}", node="n1", labels={"app": "web"}) for n in range(1000)]
    with LiveAgent(network.prefix, path=shim.path) as agent:
        begin(agent, *START)
        agent.enforced(1)
        before = shim.count
        agent.send(*added(pods), Bookmark(2))
        agent.enforced(2)
        real = {record.name for report in agent.reports for record in report.records}
        assert shim.count - before < 50
        # A change is reported before what it leaves over is taken away.
        within(lambda: not drift(runner, *START, *pods))
    assert real >= {item.name for item in pods}
    assert drift(runner, *START, *pods) == ()


def test_events_that_cannot_be_read_or_compiled_are_named_and_the_others_are_enforced(
    network: Network, runner: NftRunner
) -> None:
    broken = policy("broken", app("web"), ingress=[rule(block("10.0.0.0/99"))])
    empty = policy("broken", app("web"), ingress=[])
    with LiveAgent(network.prefix) as agent:
        begin(agent, *START)
        agent.enforced(1)
        agent.send(Unreadable("an event was left out"))
        agent.send(*added([broken, LATE, FROM_API]), Bookmark(2))
        agent.enforced(2)
        errors = "\n".join(text for report in agent.reports for text in report.errors)
    assert "an event was left out" in errors
    assert "NetworkPolicy shop/broken cannot be compiled and admits nothing until it is corrected: " in errors
    wanted = {API_TO_DB: True, WEB_TO_DB: False, API_TO_WEB: False}
    assert network.passed(wanted) == wanted
    assert drift(runner, *START[:-1], FROM_API, LATE, empty) == ()


def test_before_the_first_list_is_complete_nothing_in_the_kernel_changes(
    network: Network, runner: NftRunner, shim: Shim
) -> None:
    with LiveAgent(network.prefix, path=shim.path) as agent:
        agent.send(*added(START), Bookmark(1))
        assert agent.close() == 0
        assert shim.count == 0
        assert agent.next(1.0) is None


def test_the_namespaces_of_an_ordinary_user_are_enough() -> None:
    with LiveAgent(("unshare", "--user", "--map-root-user", "--net"), log_group=5) as agent:
        begin(agent, *START)
        agent.enforced(1)
        agent.send(*added([FROM_API]), Bookmark(2), Verify())
        assert agent.until(lambda report: report.drift is not None).drift == ()
        assert agent.end() == 0
        assert agent.complaints() == b""
    assert [text for report in agent.reports for text in report.errors] == []


@pytest.mark.parametrize("way", ["SIGTERM", "end of the socket"])
def test_an_agent_ends_cleanly_and_the_table_stays(network: Network, runner: NftRunner, way: str) -> None:
    with LiveAgent(network.prefix) as agent:
        begin(agent, *START)
        agent.enforced(1)
        assert (agent.end() if way == "SIGTERM" else agent.close()) == 0
        assert agent.complaints() == b""
    assert network.passed(AT_START) == AT_START
    assert drift(runner, *START) == ()
