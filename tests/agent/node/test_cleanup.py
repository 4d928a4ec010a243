# SPDX-License-Identifier: Apache-2.0
"""A node is as it was before, and what is not podfence's is left alone."""

from __future__ import annotations

import fcntl
import socket
import subprocess
from typing import TYPE_CHECKING, Final

import pytest

from podfence.agent.node.bridging import SYSCTLS, ensure
from podfence.agent.node.cleanup import CleanupError, cleanup
from podfence.agent.node.interfaces import locate
from podfence.agent.node.presence import LOCK, AgentRunsError, claimed
from podfence.cluster.state import ClusterState
from podfence.dataplane.conntrack import KernelConntrack
from podfence.dataplane.enforcer import Enforcer
from podfence.dataplane.kept import ForeignTableError
from podfence.dataplane.links import Links
from podfence.dataplane.ruleset import TABLE
from podfence.dataplane.settings import Settings
from podfence.errors import PodfenceError
from podfence.nft.process import NftRunner
from podfence.nft.transaction import Transaction
from podfence.policy.engine import Engine
from podfence.policy.model import Model
from podfence.policy.options import Options

if TYPE_CHECKING:
    from pathlib import Path

    from tests.spaces import Space

LABEL: Final = Settings().label


def tables() -> bytes:
    return subprocess.check_output(["nft", "list", "ruleset"])


def clean(path: Path) -> list[str]:
    said: list[str] = []
    cleanup(said.append, run=path / "run", state=path / "state")
    return said


def test_all_that_an_agent_leaves_is_removed_and_said(node: Space, tmp_path: Path) -> None:
    subprocess.run(["nft", "add table ip kube-proxy; add chain ip kube-proxy services"], check=True)
    before = tables()
    state, run = tmp_path / "state", tmp_path / "run"
    for folder, names in ((state, ("base-3", "log-3", "log-4", "base-4.partial")), (run, ())):
        folder.mkdir()
        for name in names:
            (folder / name).write_text("")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(run / "agent.sock"))
    enforce()
    (SYSCTLS / "bridge/bridge-nf-call-iptables").write_text("0")
    node.ip("link add cni0 type bridge", "addr add 10.244.1.1/24 dev cni0", "link set cni0 up")
    assert ensure(locate(["10.244.1.2"]), state=state).changes
    assert tables() != before
    assert clean(tmp_path) == [
        "deleted table inet podfence: podfence no longer enforces policies on this node",
        "no connection has label 119",
        "net.bridge.bridge-nf-call-iptables is 0 again",
        f"{state} is removed",
        f"{run} is removed",
    ]
    assert tables() == before
    assert (SYSCTLS / "bridge/bridge-nf-call-iptables").read_text() == "0\n"
    assert list(tmp_path.iterdir()) == []


def enforce() -> None:
    Enforcer(NftRunner(), "n1", Model(Engine(ClusterState(), Options()))).start()


def test_the_table_of_frames_goes_too_unless_it_is_somebody_elses(node: Space, tmp_path: Path) -> None:
    enforcer = Enforcer(NftRunner(), "n1", Model(Engine(ClusterState(), Options())))
    enforcer.attach(Links((), frozenset({"cni0"})))
    enforcer.start()
    assert b"table bridge podfence" in tables()
    assert clean(tmp_path)[:2] == [
        "deleted table bridge podfence: ports of bridges are no longer bound",
        "deleted table inet podfence: podfence no longer enforces policies on this node",
    ]
    assert b"podfence" not in tables()
    subprocess.run(["nft", "add table bridge podfence"], check=True)
    clean(tmp_path)
    assert b"table bridge podfence" in tables()


def test_doing_it_twice_does_no_harm(node: Space, tmp_path: Path) -> None:
    for _ in range(2):
        assert clean(tmp_path) == [
            "there is no table inet podfence",
            "no connection has label 119",
            f"there is no {tmp_path}/state",
            f"{tmp_path}/run is removed",
        ]


def test_connections_that_were_cut_lose_the_label(node: Space, tmp_path: Path) -> None:
    NftRunner().run(Transaction(TABLE).add(TABLE))
    # The kernel keeps room for labels only while a rule sets one, and tracks only while a rule asks.
    subprocess.run(["nft", "-f", "-"], input=TRACKING, text=True, check=True)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        for port in range(2000, 2010):
            sender.sendto(b"", ("127.0.0.1", port))
    conntrack = KernelConntrack(LABEL)
    flows = [flow for flow in conntrack.flows(None) if flow.protocol == 17]
    assert conntrack.label(flows[:4], present=True).done == 4
    said = clean(tmp_path)[1]
    assert said == "removed label 119 from 4 connections that were cut; they continue if both ends still have them"
    assert not any(flow.labelled for flow in conntrack.flows(None))
    conntrack.close()


TRACKING: Final = """
add table inet other
add chain inet other out { type filter hook output priority 0; }
add rule inet other out ct state untracked ct label set 5
add rule inet other out ct state new counter
"""


def test_a_table_that_is_somebody_elses_is_left_alone_and_so_is_all_else(node: Space, tmp_path: Path) -> None:
    subprocess.run(["nft", "add table inet podfence"], check=True)
    (tmp_path / "state").mkdir()
    (tmp_path / "state/base-1").write_text("")
    with pytest.raises(ForeignTableError, match="podfence did not create the table inet podfence: nothing was changed"):
        clean(tmp_path)
    assert tables() != b""
    assert (tmp_path / "state/base-1").exists()


def test_while_an_agent_runs_nothing_is_touched(node: Space, tmp_path: Path) -> None:
    NftRunner().run(Transaction(TABLE).add(TABLE))
    with claimed(tmp_path / "run"):
        with pytest.raises(AgentRunsError, match=r"an agent already runs on this node: .*/run/agent.lock is locked"):
            clean(tmp_path)
        with pytest.raises(AgentRunsError), claimed(tmp_path / "run"):
            pass
    assert b"podfence" in tables()
    assert clean(tmp_path)[0].startswith("deleted table inet podfence:")


def test_a_killed_agent_does_not_run(tmp_path: Path) -> None:
    (tmp_path / LOCK).write_text("")
    with claimed(tmp_path), (tmp_path / LOCK).open("rb") as file, pytest.raises(BlockingIOError):
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    with claimed(tmp_path):
        pass


def test_what_is_not_podfences_stays_in_its_directory(node: Space, tmp_path: Path) -> None:
    (tmp_path / "state").mkdir()
    for name in ("base-1", "mine.txt"):
        (tmp_path / "state" / name).write_text("")
    with pytest.raises(CleanupError, match=r"/state remains, because it has files that are not podfence's: mine.txt"):
        clean(tmp_path)
    assert [path.name for path in (tmp_path / "state").iterdir()] == ["mine.txt"]
    assert not (tmp_path / "run").exists()


def test_a_run_directory_that_cannot_be_used_is_said(tmp_path: Path) -> None:
    (tmp_path / "run").write_text("")
    with pytest.raises(PodfenceError, match="an agent locks this file while it runs"), claimed(tmp_path / "run"):
        pass
