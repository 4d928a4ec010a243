# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.agent.node.cluster import FakeCluster, namespace, node, pod, policy
from tests.agent.node.process import PATIENCE, PORT, Running, answer, running, until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.spaces import Space


@pytest.fixture
def cluster(node: Space) -> Iterator[FakeCluster]:
    """Return an API server that the agent of the node can reach, with a node, a namespace and a pod."""
    found = FakeCluster()
    found.put(*start())
    yield found
    found.close()


def start() -> list[dict[str, object]]:
    return [node("n1", "10.0.0.0/24"), namespace("shop"), pod("web", "10.0.0.1", app="web")]


def elements(name: str) -> str:
    """Return a set of the table in words, nothing if there is none."""
    found = subprocess.run(
        ["nft", "list", "set" if name.startswith("known") else "map", "inet", "podfence", name],
        capture_output=True,
        text=True,
        check=False,
    )
    return found.stdout


def knows(address: str) -> bool:
    return address in elements("known4")


def isolates(address: str) -> bool:
    return address in elements("in4")


def table_handle() -> int:
    listed = subprocess.run(["nft", "-j", "list", "tables"], capture_output=True, check=True).stdout
    (handle,) = [item["table"]["handle"] for item in json.loads(listed)["nftables"] if "table" in item]
    return int(handle)


def test_what_the_cluster_says_is_in_the_kernel_and_follows_it(cluster: FakeCluster, tmp_path: Path) -> None:
    deny = policy("deny", policyTypes=["Ingress"])
    with cluster.served(), running(cluster, tmp_path) as agent:
        until(lambda: knows("10.0.0.1"), "the pod was programmed", agent)
        assert not isolates("10.0.0.1")
        cluster.put(deny)
        until(lambda: isolates("10.0.0.1"), "the policy was programmed", agent)
        cluster.put(pod("api", "10.0.0.2"))
        until(lambda: isolates("10.0.0.2"), "the new pod was programmed", agent)
        cluster.delete(deny)
        until(lambda: not isolates("10.0.0.1"), "the policy went", agent)


def test_nothing_is_changed_before_everything_is_listed(cluster: FakeCluster, tmp_path: Path) -> None:
    cluster.slow.set()
    with cluster.served(), running(cluster, tmp_path) as agent:
        until(
            lambda: "watching kind=Pod" in agent.text or 'watching" kind=Pod' in agent.text, "pods were listed", agent
        )
        assert answer("/readyz")[0] == 503
        assert answer("/livez")[0] == 200
        assert not subprocess.run(["nft", "list", "tables"], capture_output=True, check=True).stdout
        cluster.slow.clear()
        until(lambda: answer("/readyz")[0] == 200, "readiness came", agent)
        assert knows("10.0.0.1")


def test_an_agent_that_is_told_to_stop_leaves_the_table(cluster: FakeCluster, tmp_path: Path) -> None:
    with cluster.served(), running(cluster, tmp_path) as agent:
        until(lambda: knows("10.0.0.1"), "the pod was programmed", agent)
        code = agent.end()

    assert code == 0
    assert knows("10.0.0.1")
    assert not (tmp_path / "run" / "agent.sock").exists()


def test_an_agent_that_was_killed_is_followed_by_one_that_adopts_its_table(
    cluster: FakeCluster, tmp_path: Path
) -> None:
    with cluster.served():
        with running(cluster, tmp_path) as agent:
            until(lambda: knows("10.0.0.1"), "the pod was programmed", agent)
            agent.end(signal.SIGKILL)
        before = table_handle()
        cluster.put(pod("api", "10.0.0.2"))
        with running(cluster, tmp_path) as agent:
            until(lambda: knows("10.0.0.2"), "the new pod was programmed", agent)
            assert table_handle() == before


def test_the_last_state_is_enforced_while_nobody_answers(cluster: FakeCluster, tmp_path: Path) -> None:
    with cluster.served(), running(cluster, tmp_path) as agent:
        cluster.put(policy("deny", policyTypes=["Ingress"]))
        until(lambda: isolates("10.0.0.1"), "the policy was programmed", agent)
        agent.end(signal.SIGKILL)
    subprocess.run(["nft", "delete", "table", "inet", "podfence"], check=True)

    with running(cluster, tmp_path) as agent:
        until(lambda: isolates("10.0.0.1"), "the kept state was programmed", agent)
        until(lambda: "enforcing the last state on the disk" in agent.text, "the log told", agent)
        assert answer("/readyz")[0] == 200
        gone = pod("web", "10.0.0.1", app="web")
        cluster.delete(gone)
        with cluster.served():
            until(lambda: not knows("10.0.0.1"), "what changed meanwhile was programmed", agent)
            until(lambda: "following the API server" in agent.text, "the log told of the end", agent)


def test_a_server_that_goes_away_changes_nothing_and_is_followed_again(cluster: FakeCluster, tmp_path: Path) -> None:
    with running(cluster, tmp_path) as agent:
        with cluster.served():
            pass
        agent.end(signal.SIGKILL)
    with cluster.served():
        other = running(cluster, tmp_path)
        agent = other.__enter__()
        until(lambda: knows("10.0.0.1"), "the pod was programmed", agent)
    try:
        until(lambda: "not watching" in agent.text, "the log told", agent)
        assert knows("10.0.0.1")
        cluster.put(pod("api", "10.0.0.2"))
        with cluster.served():
            until(lambda: knows("10.0.0.2"), "the new pod was programmed", agent)
    finally:
        other.__exit__(None, None, None)


def test_a_policy_that_cannot_be_read_is_named_and_closed_and_stops_nothing(
    cluster: FakeCluster, tmp_path: Path
) -> None:
    cluster.put(policy("odd", ingress=[{"from": [{"moonPhase": "full"}]}]))
    with cluster.served(), running(cluster, tmp_path) as agent:
        until(lambda: isolates("10.0.0.1"), "the pod was closed", agent)
        until(lambda: "NetworkPolicy shop/odd cannot be read and admits nothing" in agent.text, "the log told", agent)
        assert "moonPhase" in agent.text
        cluster.put(policy("odd", ingress=[{}]))
        until(
            lambda: "accept" in elements("in4") or "any" in elements("in4") or knows("10.0.0.1"), "it was read", agent
        )


def test_a_second_agent_on_a_node_is_refused(cluster: FakeCluster, tmp_path: Path) -> None:
    with cluster.served(), running(cluster, tmp_path) as agent:
        until(lambda: knows("10.0.0.1"), "the pod was programmed", agent)
        second = Running(cluster, tmp_path)
        assert second.process.wait(PATIENCE) == 2
        assert "an agent already runs on this node" in agent.text


def test_an_address_in_use_ends_the_agent_with_the_reason(cluster: FakeCluster, tmp_path: Path) -> None:
    with cluster.served(), socket.socket() as taken:
        taken.bind(("127.0.0.1", PORT))
        taken.listen()
        agent = Running(cluster, tmp_path)
        assert agent.process.wait(PATIENCE) == 2
    assert "podfence: error: the agent cannot listen on 127.0.0.1:9474: the address is in use" in agent.text
    assert "Traceback" not in agent.text


def clean_up(directory: Path) -> subprocess.CompletedProcess[str]:
    words = ["--state-dir", str(directory / "state"), "--run-dir", str(directory / "run")]
    command = [sys.executable, "-m", "podfence", "agent", "cleanup", *words]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_cleaning_up_waits_for_the_agent_to_be_stopped_and_leaves_nothing_then(
    cluster: FakeCluster, tmp_path: Path
) -> None:
    with cluster.served(), running(cluster, tmp_path) as agent:
        until(lambda: knows("10.0.0.1"), "the pod was programmed", agent)
        refused = clean_up(tmp_path)
        assert (refused.returncode, knows("10.0.0.1")) == (2, True)
        assert "an agent already runs on this node" in refused.stderr
        agent.end()
    done, again = clean_up(tmp_path), clean_up(tmp_path)

    assert (done.returncode, done.stderr) == (0, "")
    assert "deleted table inet podfence: podfence no longer enforces policies on this node" in done.stdout
    assert (again.returncode, again.stderr) == (0, "")
    assert not subprocess.run(["nft", "list", "tables"], capture_output=True, check=True).stdout
    assert not any((tmp_path / name).exists() for name in ("state", "run"))


def test_the_node_has_to_be_named(tmp_path: Path) -> None:
    environ = {name: value for name, value in os.environ.items() if name != "NODE_NAME"}
    run = subprocess.run(
        [sys.executable, "-m", "podfence", "agent"], env=environ, capture_output=True, text=True, check=False
    )

    assert run.returncode == 2
    assert "the name of this node is missing; give it with --node-name, or in NODE_NAME" in run.stderr
