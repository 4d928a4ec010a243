# SPDX-License-Identifier: Apache-2.0
"""Whatever fails on a node or in the control plane: nothing forbidden passes, and what is allowed lives on.

Each fault happens below continuous connections: kept ones, new ones every 20 ms that are allowed, and new ones every
20 ms that are forbidden; inside a node, between nodes, from nodes and from outside.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from typing import TYPE_CHECKING

import pytest

from podfence.lab.processes.probing import Probe
from tests.kubernetes.harness import NAMESPACE, SCRIPTS
from tests.kubernetes.packets import machinery
from tests.kubernetes.packets.comparing import compare, told
from tests.kubernetes.packets.fixture import (
    Town,
    apply,
    listed,
    namespace,
    nodes_of,
    pod,
    policy,
    wait_for_accounts,
)
from tests.kubernetes.packets.places import Spot
from tests.kubernetes.packets.traffic import PATIENCE
from tests.kubernetes.packets.watching import Flow, Watch

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.kubernetes.harness import Bed
    from tests.kubernetes.packets.barrier import Barrier
    from tests.kubernetes.packets.fixture import Manifest
    from tests.kubernetes.packets.places import Servers

SPACE = "verify-fault"
OUTSIDE, STRANGE = "203.0.113.9", "198.51.100.9"
OUTAGE = float(os.environ.get("PODFENCE_OUTAGE", "120"))
BEFORE_AND_AFTER = 1.5
"""Seconds for which connections are watched before a fault and after it."""


class Street(Town):
    """On each node a server, a client of it, and a stranger; the server lets clients, one node, and one block in."""

    def build(self) -> None:
        self.namespaces = {SPACE: {}}
        apply(self.bed, [namespace(SPACE, {})])
        wait_for_accounts(self.bed, [SPACE])
        clients: list[Manifest] = [
            {"podSelector": {"matchLabels": {"app": "client"}}},
            {"ipBlock": {"cidr": "203.0.113.0/24"}},
        ]
        to_servers = [{"to": [{"podSelector": {"matchLabels": {"app": "server"}}}], "ports": [{"port": 80}]}]
        apply(
            self.bed,
            [
                policy(
                    SPACE,
                    "server",
                    {
                        "podSelector": {"matchLabels": {"app": "server"}},
                        "ingress": [{"from": clients, "ports": [{"port": 80}, {"port": 81}]}],
                    },
                ),
                policy(
                    SPACE,
                    "client",
                    {
                        "podSelector": {"matchLabels": {"app": "client"}},
                        "policyTypes": ["Egress"],
                        "egress": to_servers,
                    },
                ),
            ],
        )
        apply(
            self.bed,
            [self.pod(app, node.number) for node in self.nodes for app in ("server", "client", "stranger", "victim")],
        )
        self.bed.kubectl("-n", SPACE, "wait", "--for=condition=Ready", "pod", "--all", "--timeout=120s", timeout=150)

    def pod(self, app: str, number: int) -> Manifest:
        return pod(SPACE, f"{app}-{number}", {"app": app}, f"n{number}")

    def destroy(self) -> None:
        self.bed.kubectl("delete", "namespace", SPACE, "--ignore-not-found", "--timeout=120s", timeout=150)

    def addresses(self) -> dict[str, str]:
        return {item["metadata"]["name"]: item["status"]["podIP"] for item in listed(self.bed, "pods", "-n", SPACE)}

    def flows(self, servers: Servers) -> list[Flow]:
        """Return the connections to watch: for each pair of nodes, all that is allowed and all that is forbidden."""
        at, spots = self.addresses(), servers.scan()
        found = []
        for there in self.nodes:
            server = at[f"server-{there.number}"]
            for here in self.nodes:
                client, stranger = at[f"client-{here.number}"], at[f"stranger-{here.number}"]
                way = f"n{here.number} -> n{there.number}"
                found += [
                    Flow(f"client {way}", spots[client], "allowed", client, server, 80),
                    Flow(f"client kept {way}", spots[client], "kept", client, server, 80),
                    Flow(f"stranger {way}", spots[stranger], "forbidden", stranger, server, 80),
                    Flow(f"client egress {way}", spots[client], "forbidden", client, server, 81),
                    Flow(
                        f"client to stranger {way}",
                        spots[client],
                        "forbidden",
                        client,
                        at[f"stranger-{there.number}"],
                        80,
                    ),
                ]
                own = here == there
                found.append(
                    Flow(
                        f"node {way}", Spot(here.name, ""), "allowed" if own else "forbidden", here.address, server, 80
                    )
                )
            world = Spot("", "")
            found += [
                Flow(f"outside -> n{there.number}", world, "allowed", OUTSIDE, server, 81),
                Flow(f"outside kept -> n{there.number}", world, "kept", OUTSIDE, server, 81),
                Flow(f"strange -> n{there.number}", world, "forbidden", STRANGE, server, 81),
            ]
        return found


@pytest.fixture(scope="module")
def town(enforced: Bed) -> Iterator[Street]:
    town = Street(enforced, nodes_of(enforced))
    town.destroy()
    town.build()
    yield town
    town.destroy()


@pytest.fixture
def flows(town: Street, servers: Servers, barrier: Barrier) -> list[Flow]:
    barrier.pass_through(30)
    return town.flows(servers)


def settle() -> None:
    time.sleep(BEFORE_AND_AFTER)


def agents(bed: Bed) -> list[tuple[int, machinery.Program]]:
    found = [(node, machinery.agent(bed, node)) for node in bed.nodes]
    return [(node, program) for node, program in found if program is not None]


def start_again(bed: Bed, node: int, program: machinery.Program) -> None:
    """Have an agent on a node again: the kubelet starts those in pods by itself."""
    if not program.in_container:
        program.start()


def wait_for_agent(bed: Bed, node: int, old: int) -> None:
    end = time.monotonic() + 90
    while True:
        program = machinery.agent(bed, node)
        if program is not None and program.pid != old:
            return
        assert time.monotonic() < end, f"there is no new agent on n{node}"
        time.sleep(0.2)


def check(watch: Watch) -> None:
    sys.stdout.write(f"{watch.summary()}\n")
    assert watch.wrong() == []


def test_watching_notices_what_passes_and_what_does_not(town: Street, servers: Servers, flows: list[Flow]) -> None:
    turned = {"allowed": "forbidden", "forbidden": "allowed"}
    swapped = [flow._replace(kind=turned[flow.kind]) for flow in flows if flow.kind in turned]
    with Watch(servers, swapped) as watch:
        time.sleep(PATIENCE + 1)
    noticed = {name for name, seen in watch.seen.items() if seen.events}
    assert noticed == {flow.name for flow in swapped}


def test_killed_agents_and_those_that_follow_them(
    town: Street, servers: Servers, barrier: Barrier, flows: list[Flow]
) -> None:
    with Watch(servers, flows) as watch:
        settle()
        for node, program in agents(town.bed):
            program.end(signal.SIGKILL)
            settle()
            start_again(town.bed, node, program)
            wait_for_agent(town.bed, node, program.ended)
        barrier.pass_through(60)
        settle()
    check(watch)


def test_changes_made_while_there_was_no_agent_are_enforced_by_the_next_one(
    town: Street, servers: Servers, barrier: Barrier, flows: list[Flow]
) -> None:
    at = town.addresses()
    with Watch(servers, flows) as watch:
        settle()
        stopped = agents(town.bed)
        if any(program.in_container for _, program in stopped):
            pytest.skip("the kubelet starts agents in pods again at once")
        for _, program in stopped:
            program.end(signal.SIGKILL)
        for number in (1, 2):
            town.bed.kubectl("-n", SPACE, "label", "--overwrite", "pod", f"victim-{number}", "app=client")
        for node, program in stopped:
            program.start()
            wait_for_agent(town.bed, node, program.ended)
        barrier.pass_through(60)
        spots = servers.scan()
        for number in (1, 2):
            victim = at[f"victim-{number}"]
            probes = [Probe("tcp", victim, at[f"server-{there}"], port) for there in (1, 2) for port in (80, 81)]
            assert servers.probe(spots[victim], probes) == ["open", "timeout"] * 2
            town.bed.kubectl("-n", SPACE, "label", "--overwrite", "pod", f"victim-{number}", "app=victim")
        settle()
    check(watch)


def test_a_rollout_of_the_daemonset(town: Street, servers: Servers, barrier: Barrier, flows: list[Flow]) -> None:
    if town.bed.kubectl("-n", NAMESPACE, "get", "daemonset", "podfence-agent", check=False).returncode != 0:
        pytest.skip("the agents here are no DaemonSet's: the chart is not installed")
    with Watch(servers, flows) as watch:
        settle()
        town.bed.kubectl("-n", NAMESPACE, "rollout", "restart", "daemonset/podfence-agent")
        town.bed.kubectl(
            "-n", NAMESPACE, "rollout", "status", "daemonset/podfence-agent", "--timeout=180s", timeout=200
        )
        barrier.pass_through(60)
        settle()
    check(watch)


@pytest.mark.parametrize("name", ["kubelet", "containerd"])
def test_a_restart_of(town: Street, servers: Servers, barrier: Barrier, flows: list[Flow], name: str) -> None:
    with Watch(servers, flows) as watch:
        settle()
        for node in town.nodes:
            program = machinery.of_bed(town.bed, name, node.number)
            program.end()
            settle()
            program.start()
        for node in town.nodes:
            town.bed.kubectl("wait", "--for=condition=Ready", f"node/{node.name}", "--timeout=60s")
        settle()
        barrier.pass_through(60)
    check(watch)


def test_an_api_server_that_is_away_while_pods_die_and_come(
    town: Street, servers: Servers, barrier: Barrier, flows: list[Flow]
) -> None:
    at = town.addresses()
    for number in (1, 2):
        town.bed.kubectl("-n", SPACE, "label", "--overwrite", "pod", f"victim-{number}", "app=client")
    barrier.pass_through()
    api = machinery.of_bed(town.bed, "kube-apiserver")
    with Watch(servers, flows) as watch:
        settle()
        api.end(signal.SIGKILL)
        try:
            began = time.monotonic()
            # A container dies, and comes again in the pod as it was; a pod's network dies, and comes with another address.
            containers = [kill_container(town.bed, number, at[f"stranger-{number}"], servers) for number in (1, 2)]
            assert all(containers)
            for number in (1, 2):
                kill_sandbox(town.bed, number, f"victim-{number}")
            moved = [new_address(town.bed, number, f"victim-{number}", at[f"victim-{number}"]) for number in (1, 2)]
            spots = servers.scan()
            for node, program in agents(town.bed):
                program.end(signal.SIGKILL)
                start_again(town.bed, node, program)
                wait_for_agent(town.bed, node, program.ended)
            while time.monotonic() - began < OUTAGE:
                # Nobody can know whose the new addresses are: what comes from them, and to them, is held.
                for address in moved:
                    probes = [
                        Probe("tcp", address, at[f"server-{there}"], port, expected=False)
                        for there in (1, 2)
                        for port in (80, 81)
                    ]
                    assert servers.probe(spots[address], probes) == ["timeout"] * 4
                settle()
        finally:
            api.start()
        end = time.monotonic() + 60
        while town.bed.kubectl("get", "--raw", "/readyz", check=False).returncode != 0:
            assert time.monotonic() < end, "the API server does not come back"
            time.sleep(0.5)
        town.bed.kubectl("-n", SPACE, "wait", "--for=condition=Ready", "pod", "--all", "--timeout=120s", timeout=150)
        barrier.pass_through(90)
        settle()
    check(watch)
    for number in (1, 2):
        town.bed.kubectl("-n", SPACE, "label", "--overwrite", "pod", f"victim-{number}", "app=victim")
    barrier.pass_through()
    found = compare(town, servers, barrier)
    assert found.holds, told(found)


def kill_container(bed: Bed, node: int, address: str, servers: Servers) -> int:
    """Kill the server of a pod, and return how many processes that were: the kubelet starts it again in the pod's network."""
    path = servers.scan()[address].netns
    found = bed.node_exec(node, "ip", "netns", "pids", path.rpartition("/")[2]).stdout.split()
    killed = 0
    for pid in found:
        words = bed.node_exec(node, "cat", f"/proc/{pid}/cmdline", check=False).stdout
        if "agnhost" in words:
            bed.node_exec(node, "kill", "-9", pid)
            killed += 1
    return killed


def _containerd(bed: Bed, node: int, *arguments: str) -> str:
    return bed.node_exec(node, "ctr", "--address", "/run/containerd/containerd.sock", "-n", "k8s.io", *arguments).stdout


def kill_sandbox(bed: Bed, node: int, name: str) -> None:
    """Kill the process that holds a pod's network, so that the kubelet makes the pod another one."""
    found = _containerd(
        bed,
        node,
        "containers",
        "list",
        "-q",
        f'labels."io.kubernetes.pod.name"=={name},labels."io.cri-containerd.kind"==sandbox',
    ).split()
    assert found, f"{name} has no sandbox"
    for sandbox in found:
        bed.node_exec(
            node,
            "ctr",
            "--address",
            "/run/containerd/containerd.sock",
            "-n",
            "k8s.io",
            "tasks",
            "kill",
            "-s",
            "SIGKILL",
            sandbox,
            check=False,
        )


def new_address(bed: Bed, node: int, name: str, old: str) -> str:
    """Wait until a pod's network was made anew, and return its address, as the runtime knows it."""
    end = time.monotonic() + 90
    while time.monotonic() < end:
        for sandbox in _containerd(
            bed,
            node,
            "containers",
            "list",
            "-q",
            f'labels."io.kubernetes.pod.name"=={name},labels."io.cri-containerd.kind"==sandbox',
        ).split():
            info = json.loads(_containerd(bed, node, "containers", "info", sandbox))
            text = json.dumps(info)
            path = next(
                (part for part in text.split('"') if part.startswith(("/run/netns/cni-", "/var/run/netns/cni-"))),
                "",
            )
            if path:
                shown = bed.node_exec(
                    node, "nsenter", f"--net={path}", "ip", "-4", "-o", "addr", "show", "eth0", check=False
                ).stdout.split()
                address = next((word.partition("/")[0] for word in shown if "/" in word and word[0].isdigit()), "")
                if address and address != old:
                    return address
        time.sleep(0.5)
    raise AssertionError(f"{name} was not given another network")


def test_a_node_made_anew(town: Street, servers: Servers, barrier: Barrier, flows: list[Flow]) -> None:
    rebuilt = town.nodes[1]
    if not all(program.in_container for _, program in agents(town.bed)):
        pytest.skip("the agents here are no DaemonSet's: nobody starts one on a new node")
    environment = {**os.environ, "PODFENCE_BED": str(town.bed.work)}
    # What ends with the node has no flows there, and other pods get its addresses.
    remaining = [flow for flow in flows if f"n{rebuilt.number}" not in flow.name]
    assert {flow.kind for flow in remaining} == {"allowed", "forbidden", "kept"}
    with Watch(servers, remaining) as watch:
        settle()
        machinery.run(str(SCRIPTS / "node-down.sh"), str(rebuilt.number), environment=environment)
        machinery.run(str(SCRIPTS / "node-up.sh"), str(rebuilt.number), environment=environment)
        kubectl = town.bed.kubectl
        kubectl("wait", "--for=condition=Ready", f"node/{rebuilt.name}", "--timeout=120s", timeout=150)
        # A node that pulls images would have podfence's by itself.
        town.bed.install_podfence()
        servers.start(rebuilt.name)
        barrier.find()
        kubectl("-n", SPACE, "wait", "--for=condition=Ready", "pod", "--all", "--timeout=120s", timeout=150)
        barrier.pass_through(60)
        settle()
    check(watch)
    found = compare(town, servers, barrier)
    assert found.holds, told(found)
