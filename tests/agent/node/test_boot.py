# SPDX-License-Identifier: Apache-2.0
"""The first agent after a boot: what was held is let go when policies judge it, and not before."""

from __future__ import annotations

import subprocess
import time
from contextlib import contextmanager
from ipaddress import ip_network
from typing import TYPE_CHECKING, Final

import pytest

from podfence.agent.node.boot_unit import BOOTS, PACKETS
from podfence.agent.node.hold import Held, frames, packets
from tests.agent.node.cluster import FakeCluster, namespace, node, pod, policy
from tests.agent.node.process import PATIENCE, answer, running, until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.spaces import Space

CIDR: Final = "10.0.0.0/24"


@pytest.fixture
def cluster(node: Space) -> Iterator[FakeCluster]:
    """Return an API server with an isolated pod on the node, on which something was loaded when it booted."""
    found = FakeCluster()
    found.put(namespace("shop"), pod("web", "10.0.0.1"), policy("deny", policyTypes=["Ingress"]))
    held = Held((ip_network(CIDR),))
    for script in (packets(held), frames(held)):
        subprocess.run(("nft", "-f", "-"), input=script, text=True, check=True)
    yield found
    found.close()


def is_held() -> bool:
    return (
        "podfence_hold" in subprocess.run(("nft", "list", "tables"), capture_output=True, text=True, check=True).stdout
    )


@contextmanager
def monitored(path: Path) -> Iterator[None]:
    """Write down what changes in the node's rules, in order."""
    with path.open("w") as changes, subprocess.Popen(("nft", "monitor"), stdout=changes) as monitor:
        try:
            end = time.monotonic() + PATIENCE
            while not path.stat().st_size:
                assert time.monotonic() < end, "nft does not tell of changes"
                subprocess.run(("nft", "add table inet heard; delete table inet heard"), check=True)
            yield
        finally:
            monitor.terminate()


def test_pods_are_held_until_their_policies_are_in_the_kernel(cluster: FakeCluster, tmp_path: Path) -> None:
    cluster.put(node("n1", CIDR))
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / BOOTS).write_text(".")
    cluster.slow.set()
    changes = tmp_path / "changes"
    with cluster.served(), monitored(changes), running(cluster, tmp_path, "--boot-hold", "5m") as agent:
        until(lambda: "watching" in agent.text, "something was listed", agent)
        assert is_held()
        cluster.slow.clear()
        until(lambda: not is_held(), "the hold was released", agent)
        until(lambda: not (tmp_path / "state" / BOOTS).exists(), "boots were counted anew", agent)
        until(lambda: "delete table inet podfence_hold" in changes.read_text(), "that was told", agent)
        until(lambda: "no longer blocked" in agent.text, "that was said", agent)
        done = changes.read_text()
        assert done.index("add element inet podfence in4 { 10.0.0.1") < done.index("delete table bridge podfence_hold")
        until((tmp_path / "state" / PACKETS).exists, "the next boot was prepared", agent)
        assert CIDR in (tmp_path / "state" / PACKETS).read_text()


def test_an_agent_that_is_not_to_hold_lets_go_too(cluster: FakeCluster, tmp_path: Path) -> None:
    cluster.put(node("n1", CIDR))
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / PACKETS).write_text("of an agent that was to hold")
    with cluster.served(), running(cluster, tmp_path) as agent:
        until(lambda: not is_held(), "the hold was released", agent)
        until(lambda: not (tmp_path / "state" / PACKETS).exists(), "nothing is left for the next boot", agent)


def test_a_node_without_a_range_says_so_where_people_look(cluster: FakeCluster, tmp_path: Path) -> None:
    cluster.put(node("n1"))
    with cluster.served(), running(cluster, tmp_path, "--boot-hold", "5m") as agent:
        until(lambda: "boot-hold" in agent.text, "it was logged", agent)
        until(lambda: any(item["reason"] == "PodfenceBootHold" for item in cluster.posted), "an Event was made", agent)
        until(lambda: answer("/readyz")[0] == 200, "the agent is ready all the same", agent)
