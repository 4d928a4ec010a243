# SPDX-License-Identifier: Apache-2.0
"""What an operator does with podfence, and what podfence may do in the cluster."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.kubernetes.harness import NAMESPACE, until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.kubernetes.harness import Bed

AGENT = f"system:serviceaccount:{NAMESPACE}:podfence-agent"


@pytest.fixture
def empty(bed: Bed) -> Iterator[Bed]:
    """Return the bed without podfence and without anything of it on the nodes."""
    bed.remove_podfence()
    for node in bed.nodes:
        for family in ("inet", "bridge"):
            bed.node_exec(node, "nft", "delete", "table", family, "podfence", check=False)
    yield bed
    bed.remove_podfence()


def tables(bed: Bed) -> list[str]:
    return [bed.node_exec(node, "nft", "list", "tables").stdout for node in bed.nodes]


def in_agent(bed: Bed, node: int, *words: str) -> str:
    """Run podfence in the agent's pod of a node."""
    pods = json.loads(bed.kubectl("-n", NAMESPACE, "get", "pods", "-o", "json").stdout)["items"]
    (name,) = [item["metadata"]["name"] for item in pods if item["spec"]["nodeName"] == f"n{node}"]
    return bed.kubectl("-n", NAMESPACE, "exec", name, "--", "podfence", *words, check=False).stdout


def requested(log: Path, since: int) -> set[tuple[str, str, str]]:
    """Return verb, API group and resource of what agents asked for, after so many bytes of the log."""
    with log.open("rb") as file:
        file.seek(since)
        events = [json.loads(line) for line in file]
    assert all(event["user"]["username"] == AGENT for event in events)
    found = set()
    for event in events:
        assert event["annotations"]["authorization.k8s.io/decision"] == "allow", event
        what = event["objectRef"]
        found.add((event["verb"], what.get("apiGroup", ""), what["resource"]))
    return found


def granted(bed: Bed) -> set[tuple[str, str, str]]:
    """Return the same of what the installed role grants."""
    role = json.loads(bed.kubectl("get", "clusterrole", "podfence-agent", "-o", "json").stdout)
    return {
        (verb, group, resource)
        for rule in role["rules"]
        for verb in rule["verbs"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
    }


def events(bed: Bed, reason: str) -> list[dict[str, Any]]:
    listed = bed.kubectl("-n", "default", "get", "events", "--field-selector", f"reason={reason}", "-o", "json").stdout
    return [item for item in json.loads(listed)["items"] if item["involvedObject"]["name"] == "n1"]


def test_agents_ask_for_all_that_their_roles_grant_and_for_nothing_else(empty: Bed) -> None:
    log = empty.work / "log/audit.log"
    since = log.stat().st_size if log.exists() else 0
    # A table of that name that is somebody else's is fatal for n1, and fatal findings are told as Events.
    empty.kubectl("-n", "default", "delete", "events", "--field-selector", "involvedObject.kind=Node")
    empty.node_exec(1, "nft", "add table inet podfence")
    empty.install_podfence("maxUnavailable=2", ready=False)
    until(lambda: events(empty, "PodfenceForeignTable"), "the Event that says what is wrong")
    empty.node_exec(1, "nft", "delete table inet podfence")
    until(lambda: events(empty, "PodfenceSolved"), "the Event that says that it is solved")
    empty.kubectl("-n", NAMESPACE, "rollout", "status", "daemonset/podfence-agent", "--timeout=120s", timeout=150)

    assert requested(log, since) == granted(empty)


def test_podfence_is_installed_seen_upgraded_and_removed_without_a_trace(empty: Bed) -> None:
    before = tables(empty)
    empty.install_podfence()
    assert all("table inet podfence" in found for found in tables(empty))
    status = in_agent(empty, 1, "agent", "status")
    assert "ready        yes" in status
    assert "Pod " in status
    empty.install_podfence("log.format=json")
    pods = json.loads(empty.kubectl("-n", NAMESPACE, "get", "pods", "-o", "json").stdout)["items"]
    lines = empty.kubectl("-n", NAMESPACE, "logs", pods[0]["metadata"]["name"]).stdout.splitlines()
    assert json.loads(lines[0])["event"] == "starting"
    empty.install_podfence("cleanup=true")

    assert tables(empty) == before
    for node in empty.nodes:
        left = empty.node_exec(node, "find", "/var/lib/podfence", "/run/podfence", "-type", "f", check=False).stdout
        assert left == ""
    empty.remove_podfence()
    left = empty.kubectl("get", "clusterroles,clusterrolebindings,roles,rolebindings,sa", "-A", "-o", "name").stdout
    assert "podfence" not in left
    assert tables(empty) == before
