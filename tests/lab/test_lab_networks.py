# SPDX-License-Identifier: Apache-2.0
"""Whole labs whose pods share a bridge do what those with a link for each pod do, and show what a bridge lets past."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, get_args

import pytest

from podfence.dataplane.settings import Binding
from tests.lab.labs import EXAMPLES, needs_lab, running, within

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.lab.labs import Run

pytestmark = needs_lab

SHOP = EXAMPLES / "three-tier"
WEB, API = "shop/deploy/web", "shop/deploy/api"

POD = """
apiVersion: v1
kind: Pod
metadata: {{name: {0}, namespace: default, labels: {{app: {0}}}}}
spec: {{nodeName: node-1, containers: [{{name: main, image: example/echo, ports: [{{containerPort: 80}}]}}]}}
---"""
CLOSED = """
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: closed, namespace: default}
spec: {podSelector: {matchLabels: {app: closed}}, policyTypes: [Ingress]}
---"""
NODE_PORT = """
apiVersion: v1
kind: Service
metadata: {name: open, namespace: shop}
spec: {type: NodePort, selector: {tier: web}, ports: [{port: 80, nodePort: 30080}]}
"""


def holds(run: Run, *words: str) -> bool:
    answer = json.loads(run("verify", "-o", "json", *words, check=False).stdout)
    assert answer["tried"] > 0
    assert answer["dead"] == []
    assert answer["differences"] == []
    return bool(answer["holds"])


@pytest.fixture(scope="module")
def shop() -> Iterator[Run]:
    with running("--network", "bridge", "--dual", "-f", str(SHOP), "-R") as run:
        yield run


class TestABridge:
    def test_status_tells_the_network(self, shop: Run) -> None:
        assert shop.status()["network"] == "bridge"

    def test_packets_do_what_the_engine_says_between_all_pairs_of_pods(self, shop: Run) -> None:
        assert holds(shop, "--all-pairs")

    def test_services_names_and_outside_are_reached(self, shop: Run) -> None:
        assert shop("exec", WEB, "--", "wget", "-qO-", "--timeout=30", "http://api:5000").stdout.startswith("pod api-")
        shop("apply", "-f", "-", stdin=NODE_PORT)
        try:
            assert shop("exec", "outside", "--", "curl", "-s", "-m", "30", "http://172.30.0.11:30080").stdout
        finally:
            shop("delete", "svc", "open", "-n", "shop")
        assert (
            shop("exec", "kube-system/deploy/coredns", "--", "nc", "-z", "-w", "30", "203.0.113.9", "443").stdout == ""
        )

    def test_a_pod_reaches_itself_through_its_service(self, shop: Run) -> None:
        # Until the Service has chosen the one that asks, which its policy lets in.
        assert within(lambda: reaches_itself(shop))

    def test_pods_that_are_replaced_are_bound_and_judged_as_their_successors(self, shop: Run) -> None:
        pods = [item["name"] for item in shop.status()["pods"] if item["namespace"] == "shop"]
        shop("delete", "pod", *pods, "-n", "shop")
        assert holds(shop)

    def test_nothing_that_was_meant_to_pass_was_dropped_as_not_its_links_own(self, shop: Run) -> None:
        assert [line for line in shop("logs").stdout.splitlines() if "unknown-" in line] == []


def reaches_itself(run: Run) -> bool:
    done = run("exec", API, "--", "wget", "-qO-", "--timeout=1", "http://api:5000", check=False)
    own = run("exec", API, "--", "hostname").stdout.strip()
    return own in done.stdout


@pytest.mark.parametrize("binding", get_args(Binding))
def test_what_goes_past_policies_on_a_bridge_is_there_to_be_seen_and_stopped(binding: str) -> None:
    with running(
        "--network", "bridge", "--binding", binding, "-f", "-", stdin=POD.format("closed") + POD.format("any") + CLOSED
    ) as run:
        link_local = ""

        def settled() -> bool:
            nonlocal link_local
            words = run("exec", "closed", "--", "ip", "-6", "addr", "show", "eth0").stdout.split()
            link_local = next((word for word in words if word.startswith("fe80:")), "").partition("/")[0]
            return bool(link_local) and "tentative" not in words

        def passes(address: str, seconds: int = 1) -> bool:
            words = ("exec", "any", "--", "nc", "-z", "-w", str(seconds), address, "80")
            return run(*words, check=False).returncode == 0

        assert within(settled)
        address = next(item["addresses"][0] for item in run.status()["pods"] if item["name"] == "closed")
        assert not passes(address)
        assert passes(f"{link_local}%eth0", 1 if binding == "enforce" else 30) is (binding != "enforce")
        word = {"off": "", "report": "passed", "enforce": "dropped"}[binding]
        told = f"{word} unknown-destination by" if binding == "report" else f"{word} unknown-source by"
        assert within(lambda: not word or told in run("logs").stdout)
