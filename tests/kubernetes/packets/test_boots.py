# SPDX-License-Identifier: Apache-2.0
"""A node boots with pods on it, or is new: its pods send nothing that a policy forbids, from their first moment on.

The clients, on one node, try without pause to reach a port of the server, on the other node, that a policy forbids.
A client is ready once it has reached a port that the policy allows.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Final, NamedTuple

import pytest

from tests.kubernetes.harness import NAMESPACE, until
from tests.kubernetes.packets.fixture import apply, listed, namespace, pod, policy, wait_for_accounts

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.kubernetes.harness import Bed
    from tests.kubernetes.packets.fixture import Manifest

SPACE: Final = "boots"
CLIENTS: Final = 20
SERVER_NODE, CLIENT_NODE = 1, 2
FORBIDDEN, ALLOWED = 80, 81
TRIES: Final = 10
"""Packets that each client sends to the forbidden port before a test looks at what came."""

TAINT: Final = "podfence.io/agent-not-ready"
UNIT: Final = "bootUnit.enabled=true"
AGENT: Final = "app.kubernetes.io/component=agent"
CONTROLLER: Final = "app.kubernetes.io/component=controller"
FREED: Final = "removed the taint from the node"

_CLIENT: Final = """
while :; do nc -z -w 1 {server} {forbidden} & sleep 0.2; done &
until nc -z -w 1 {server} {allowed}; do sleep 0.2; done
exec httpd -f -p 8080
"""
_WITNESS: Final = """
add table inet boots_witness
delete table inet boots_witness
table inet boots_witness {{
  set heard {{ type ipv4_addr . inet_service; flags dynamic; size 65535; counter; }}
  chain hear {{
    type filter hook prerouting priority -350; policy accept;
    ip daddr {server} tcp dport {{ {forbidden}, {allowed} }} update @heard {{ ip saddr . tcp dport }}
  }}
}}
"""


@dataclass(frozen=True)
class Witness:
    """Counts what comes to a node for the server, before any rule can drop it."""

    bed: Bed
    node: int
    server: str

    def begin(self) -> None:
        """Count from nothing."""
        rules = _WITNESS.format(server=self.server, forbidden=FORBIDDEN, allowed=ALLOWED)
        self.bed.node_exec(self.node, "nft", "-f", "-", text=rules)

    def packets(self, port: int) -> dict[str, int]:
        """Return how many packets came to a port of the server, by address of their source."""
        told = self.bed.node_exec(self.node, "nft", "-j", "list", "set", "inet", "boots_witness", "heard").stdout
        (heard,) = [item["set"] for item in json.loads(told)["nftables"] if "set" in item]
        elements = [item["elem"] for item in heard.get("elem", ())]
        return {
            source: element["counter"]["packets"]
            for element in elements
            for source, to in [element["val"]["concat"]]
            if to == port
        }

    def end(self) -> None:
        """Leave nothing on the node."""
        self.bed.node_exec(self.node, "nft", "delete", "table", "inet", "boots_witness", check=False)


class Client(NamedTuple):
    """A container of a client that runs."""

    container: str
    address: str
    is_ready: bool


@dataclass(frozen=True)
class Street:
    """The server, the clients, and what was sent and what arrived."""

    bed: Bed
    sent: Witness
    arrived: Witness

    def install(self, *settings: str) -> None:
        """Install the chart with these values, and have all clients run. Their node then has an agent."""
        for node in (SERVER_NODE, CLIENT_NODE):
            self.bed.kubectl("label", "node", f"n{node}", "boots=agent", "--overwrite")
        self.bed.install_podfence("nodeSelector.boots=agent", "maxUnavailable=2", *settings)
        self.let_agent_come()
        self.scale_clients(CLIENTS)
        self.wait_for_clients()
        self.sent.begin()
        self.arrived.begin()

    def scale_clients(self, number: int) -> None:
        """Ask for so many clients."""
        self.bed.kubectl("-n", SPACE, "scale", "deployment/client", f"--replicas={number}")

    def wait_for_clients(self) -> None:
        """Wait until all clients have reached what they may reach."""
        self.bed.kubectl("-n", SPACE, "rollout", "status", "deployment/client", "--timeout=120s", timeout=150)
        until(
            lambda: [client.is_ready for client in self.clients()] == [True] * CLIENTS, "the readiness of all clients"
        )

    def clients(self) -> list[Client]:
        """Return the clients that run."""
        return [
            Client(status["containerID"], item["status"].get("podIP", ""), status["ready"])
            for item in listed(self.bed, "pods", "-n", SPACE, "-l", "app=client")
            for status in item["status"].get("containerStatuses", ())
            if "running" in status["state"]
        ]

    def started_since(self, before: set[str]) -> list[Client]:
        """Return the clients whose container is not one of those."""
        return [client for client in self.clients() if client.container not in before]

    def boot(self) -> None:
        """Boot the node of the clients, and wait until all of them run again and have tried the forbidden port."""
        before = {client.container for client in self.clients()}
        self.bed.script("node-reboot.sh", str(CLIENT_NODE))
        self.sent.begin()
        until(lambda: len(self.started_since(before)) == CLIENTS, "the start of all clients after the boot")
        self.wait_for_tries()

    def require_release(self) -> None:
        """Wait until no client is held; then each has reached what it may, and nothing that it may not."""
        self.wait_for_clients()
        until(lambda: not self.is_held(), "the end of the hold")
        self.sent.begin()
        self.wait_for_tries()
        assert self.arrived.packets(FORBIDDEN) == {}
        assert self.arrived.packets(ALLOWED).keys() >= {client.address for client in self.clients()}

    def wait_for_tries(self) -> None:
        """Wait until each client has sent some packets to the forbidden port since `sent` began."""

        def tried() -> bool:
            sent = self.sent.packets(FORBIDDEN)
            return all(sent.get(client.address, 0) >= TRIES for client in self.clients())

        until(tried, "the tries of all clients")

    def agent(self) -> Manifest | None:
        """Return the agent's pod on the node of the clients, None if there is none."""
        place = ("-l", AGENT, f"--field-selector=spec.nodeName=n{CLIENT_NODE}")
        return next(iter(listed(self.bed, "pods", "-n", NAMESPACE, *place)), None)

    def send_agent_away(self) -> None:
        """Have no agent on the node of the clients any more, not after a boot either."""
        self.bed.kubectl("label", "node", f"n{CLIENT_NODE}", "boots-")
        until(lambda: self.agent() is None, "the end of the agent")

    def let_agent_come(self) -> None:
        """Have an agent there, and wait until it is ready."""
        self.bed.kubectl("label", "node", f"n{CLIENT_NODE}", "boots=agent", "--overwrite")
        until(lambda: is_ready(self.agent()), "the readiness of the agent")

    def is_held(self) -> bool:
        """Whether rules of the unit are in the kernel of the clients' node."""
        return "podfence_hold" in self.bed.node_exec(CLIENT_NODE, "nft", "list", "tables").stdout

    def wait_for_unit(self) -> None:
        """Wait until the next boot will hold pods."""
        unit = "/etc/systemd/system/multi-user.target.wants/podfence-hold.service"
        both_exist = ("test", "-e", unit, "-a", "-e", "/var/lib/podfence/hold.nft")
        until(
            lambda: self.bed.node_exec(CLIENT_NODE, *both_exist, check=False).returncode == 0,
            "the installation of the unit",
        )


def is_ready(item: Manifest | None) -> bool:
    if item is None or "deletionTimestamp" in item["metadata"]:
        return False
    conditions = item["status"].get("conditions", ())
    return any(condition["type"] == "Ready" and condition["status"] == "True" for condition in conditions)


def taints(node: Manifest) -> list[str]:
    return [taint["key"] for taint in node["spec"].get("taints", ())]


def deployment(server: str) -> Manifest:
    """Return the clients, on their node."""
    labels = {"app": "client"}
    container = {
        "name": "client",
        "image": "busybox",
        "imagePullPolicy": "IfNotPresent",
        "command": ["sh", "-c", _CLIENT.format(server=server, forbidden=FORBIDDEN, allowed=ALLOWED)],
        "readinessProbe": {"tcpSocket": {"port": 8080}, "periodSeconds": 1},
    }
    spec = {
        "nodeSelector": {"kubernetes.io/hostname": f"n{CLIENT_NODE}"},
        "terminationGracePeriodSeconds": 0,
        "enableServiceLinks": False,
        "automountServiceAccountToken": False,
        "containers": [container],
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "client", "namespace": SPACE},
        "spec": {
            "replicas": 0,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": spec},
        },
    }


def build(bed: Bed) -> str:
    """Make the namespace with its policy, the server and the clients, and return the address of the server."""
    apply(bed, [namespace(SPACE, {})])
    wait_for_accounts(bed, [SPACE])
    to_server = {"to": [{"podSelector": {"matchLabels": {"app": "server"}}}], "ports": [{"port": ALLOWED}]}
    clients = {"podSelector": {"matchLabels": {"app": "client"}}, "policyTypes": ["Egress"], "egress": [to_server]}
    apply(bed, [policy(SPACE, "client", clients), pod(SPACE, "server", {"app": "server"}, f"n{SERVER_NODE}")])
    bed.kubectl("-n", SPACE, "wait", "--for=condition=Ready", "pod/server", "--timeout=120s", timeout=150)
    address: str = listed(bed, "pods", "-n", SPACE)[0]["status"]["podIP"]
    apply(bed, [deployment(address)])
    return address


@pytest.fixture(scope="module")
def street(bed: Bed) -> Iterator[Street]:
    """Return the street without an agent; afterwards nothing of it and of podfence is on the nodes."""
    bed.remove_podfence()
    bed.kubectl("delete", "namespace", SPACE, "--ignore-not-found", "--timeout=120s", timeout=150)
    server = build(bed)
    street = Street(bed, Witness(bed, CLIENT_NODE, server), Witness(bed, SERVER_NODE, server))
    yield street
    bed.kubectl("delete", "namespace", SPACE, "--timeout=120s", timeout=150)
    bed.install_podfence(UNIT, "cleanup=true")
    bed.remove_podfence()
    bed.kubectl("taint", "node", f"n{CLIENT_NODE}", f"{TAINT}-", check=False)
    bed.kubectl("label", "node", f"n{SERVER_NODE}", f"n{CLIENT_NODE}", "boots-")
    street.sent.end()
    street.arrived.end()


def test_after_a_boot_without_the_unit_pods_send_what_is_forbidden_until_the_agent_is_ready(street: Street) -> None:
    street.install()
    street.send_agent_away()
    assert street.arrived.packets(FORBIDDEN) == {}

    street.boot()
    assert not street.is_held()
    assert street.arrived.packets(FORBIDDEN).keys() >= {client.address for client in street.clients()}

    street.let_agent_come()
    street.sent.begin()
    street.arrived.begin()
    street.wait_for_tries()
    assert street.arrived.packets(FORBIDDEN) == {}


def test_after_a_boot_with_the_unit_pods_reach_nobody_until_the_agent_is_ready(street: Street) -> None:
    street.install(UNIT)
    street.wait_for_unit()
    street.send_agent_away()

    street.boot()
    assert street.is_held()
    assert street.arrived.packets(FORBIDDEN) == {}
    assert street.arrived.packets(ALLOWED) == {}
    assert not any(client.is_ready for client in street.clients())

    street.let_agent_come()
    street.require_release()


def test_pods_that_start_together_with_the_agent_after_a_boot_send_nothing_forbidden(street: Street) -> None:
    street.install(UNIT)
    street.wait_for_unit()

    street.boot()
    street.require_release()
    agent = street.agent()
    assert agent is not None
    log = street.bed.kubectl("-n", NAMESPACE, "logs", agent["metadata"]["name"]).stdout
    assert "the pods of this node are no longer blocked" in log


def test_a_new_node_gets_no_pods_until_a_controller_sees_its_agent_ready(
    street: Street, monkeypatch: pytest.MonkeyPatch
) -> None:
    bed, node = street.bed, f"n{CLIENT_NODE}"

    def controllers(number: int) -> None:
        bed.kubectl("-n", NAMESPACE, "scale", "deployment/podfence-controller", f"--replicas={number}")
        until(
            lambda: (
                [is_ready(item) for item in listed(bed, "pods", "-n", NAMESPACE, "-l", CONTROLLER)] == [True] * number
            ),
            f"the change to {number} controllers",
        )

    def removals() -> int:
        return bed.kubectl("-n", NAMESPACE, "logs", "-l", CONTROLLER, "--tail=-1").stdout.count(FREED)

    street.install("controller.enabled=true")
    controllers(0)
    street.scale_clients(0)
    until(lambda: listed(bed, "pods", "-n", SPACE, "-l", "app=client") == [], "the end of the clients")
    street.send_agent_away()
    monkeypatch.setenv("PODFENCE_BED_TAINTS", f"{TAINT}=:NoSchedule")
    bed.script("node-down.sh", str(CLIENT_NODE))
    bed.kubectl("delete", "node", node)
    bed.script("node-up.sh", str(CLIENT_NODE))
    bed.load_image(CLIENT_NODE)
    street.sent.begin()

    # The agent is ready, and no controller sees it.
    street.let_agent_come()
    street.scale_clients(CLIENTS)

    def waiting() -> list[str]:
        return [
            condition["message"]
            for item in listed(bed, "pods", "-n", SPACE, "-l", "app=client")
            for condition in item["status"].get("conditions", ())
            if condition["type"] == "PodScheduled" and condition.get("reason") == "Unschedulable"
        ]

    until(lambda: len(waiting()) == CLIENTS, "the scheduling of the clients, in vain,")
    assert all("untolerated taint" in message for message in waiting())
    (new,) = [item for item in listed(bed, "nodes") if item["metadata"]["name"] == node]
    assert taints(new) == [TAINT]
    assert street.clients() == []

    controllers(2)
    street.wait_for_clients()
    street.wait_for_tries()
    assert street.arrived.packets(FORBIDDEN) == {}

    # Another agent becomes ready; the node keeps what it has.
    agent = street.agent()
    assert agent is not None
    bed.kubectl("-n", NAMESPACE, "delete", "pod", agent["metadata"]["name"])
    street.let_agent_come()
    since = f"fieldSelector=metadata.name%3D{node}&resourceVersion={new['metadata']['resourceVersion']}"
    watched = bed.kubectl("get", "--raw", f"/api/v1/nodes?watch=1&timeoutSeconds=1&{since}").stdout
    seen = [new, *(json.loads(line)["object"] for line in watched.splitlines())]
    assert [tainted for tainted, _ in groupby(TAINT in taints(item) for item in seen)] == [True, False]
    assert removals() == 1
