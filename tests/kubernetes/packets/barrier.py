# SPDX-License-Identifier: Apache-2.0
"""Waiting until the agents of all nodes have what the API server has, by packets alone.

The events of one kind come in order. So a change of a namespace, of a pod and of a policy, made after all others,
is seen by packets on a node only when all others have been delivered there, and programmed with it at the latest.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from podfence.kube.objects import Key
from podfence.lab.processes.probing import Probe
from podfence.lab.verification.result import ARRIVED
from tests.kubernetes.packets.fixture import apply, listed, namespace, pod, policy, wait_for_accounts
from tests.kubernetes.packets.places import Spot

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.kubernetes.packets.fixture import Manifest, Town
    from tests.kubernetes.packets.places import Servers

SPACE: Final = "verify-barrier"
_PORTS: Final = (20000, 80, 81)
"""The first of the ports that a policy opens in turn, that for peers by namespace, and that for peers by pod."""


class Barrier:
    """A namespace with a pod on each node, whose policies change with every turn."""

    def __init__(self, town: Town, servers: Servers) -> None:
        self._town = town
        self._servers = servers
        self._turn = 0
        self._pods: list[Manifest] = []
        self._addresses: dict[str, str] = {}

    def build(self) -> None:
        """Make the namespace and its pods."""
        bed = self._town.bed
        apply(bed, [namespace(SPACE, {})])
        wait_for_accounts(bed, [SPACE])
        self._pods = [pod(SPACE, f"on-{node.name}", {}, node.name) for node in self._town.nodes]
        apply(bed, self._pods)
        self.find()

    def find(self) -> None:
        """Wait for the pods, and learn their addresses anew."""
        bed = self._town.bed
        bed.kubectl("-n", SPACE, "wait", "--for=condition=Ready", "pod", "--all", "--timeout=120s", timeout=150)
        self._addresses = {
            item["metadata"]["name"]: item["status"]["podIP"] for item in listed(bed, "pods", "-n", SPACE)
        }

    def destroy(self) -> None:
        self._town.bed.kubectl("delete", "namespace", SPACE, "--ignore-not-found", "--timeout=60s")

    def pass_through(self, deadline: float = 15.0) -> float:
        """Return, in seconds, how long it took until all that was changed before this call was enforced."""
        self._turn += 1
        turn = {"turn": str(self._turn)}
        label = f'{{"metadata":{{"labels":{{"turn":"{self._turn}"}}}}}}'
        bed = self._town.bed
        first, by_space, by_pod = _PORTS
        gate = policy(
            SPACE,
            "gate",
            {
                "podSelector": {},
                "ingress": [
                    {"ports": [{"port": first + self._turn}]},
                    {"from": [{"namespaceSelector": {"matchLabels": turn}}], "ports": [{"port": by_space}]},
                    {"from": [{"podSelector": {"matchLabels": turn}}], "ports": [{"port": by_pod}]},
                ],
            },
        )
        labelled = [item | {"metadata": item["metadata"] | {"labels": turn}} for item in self._pods]
        apply(bed, [namespace(SPACE, turn), *labelled, gate])
        began = time.monotonic()
        spots = self._servers.scan()
        ports = (first + self._turn, by_space, by_pod)
        routes = [
            (one, other) for one in self._addresses.values() for other in self._addresses.values() if one != other
        ]
        while True:
            outcomes = [
                outcome
                for one, other in routes
                for outcome in self._servers.probe(
                    spots[one], [Probe("tcp", one, other, port, expected=False) for port in ports]
                )
            ]
            if all(outcome in ARRIVED for outcome in outcomes):
                return time.monotonic() - began
            late = time.monotonic() - began > deadline
            assert not late, f"the agents did not follow within {deadline} s: {outcomes} ({label})"


def spots_of(objects: Mapping[Key, tuple[str, str, bool]], servers: Servers) -> dict[Key, Spot]:
    """Return where each pod and each node is; `objects` have the node, the address, and whether it is the node's own."""
    scanned = servers.scan()
    found = {Key("Node", "", name): Spot(name, "") for name in servers.nodes}
    for key, (node, address, host) in objects.items():
        if host:
            found[key] = Spot(node, "")
        elif address in scanned:
            found[key] = scanned[address]
    return found
