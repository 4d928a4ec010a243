# SPDX-License-Identifier: Apache-2.0
"""Addresses, labels and namespaces that are used again mean on a real cluster what they mean now."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING

import pytest

from podfence.lab.processes.probing import Probe
from podfence.policy.verdict import Decision
from tests.kubernetes.packets.comparing import compare, load, told
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
from tests.kubernetes.packets.watching import Flow, Watch

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from tests.kubernetes.harness import Bed
    from tests.kubernetes.packets.barrier import Barrier
    from tests.kubernetes.packets.fixture import Manifest
    from tests.kubernetes.packets.places import Servers, Spot

SPACE, AGAIN = "verify-addr", "verify-again"
_LAST_RESERVED = "/var/lib/cni/networks/pods/last_reserved_ip.0"
_ATTEMPTS = 20


class Small(Town):
    """A namespace with a server on each node, that lets in clients only, and clients of one namespace besides."""

    def build(self) -> None:
        self.namespaces = {SPACE: {}}
        apply(self.bed, [namespace(SPACE, {})])
        wait_for_accounts(self.bed, [SPACE])
        servers = [self.pod(f"server-{node.number}", {"app": "server"}, node.name) for node in self.nodes]
        others = [self.pod(f"other-{node.number}", {"app": "other"}, node.name) for node in self.nodes]
        peers = [
            {"podSelector": {"matchLabels": {"app": "client"}}},
            {"namespaceSelector": {"matchLabels": {"team": "blue"}}},
        ]
        rules = [
            policy(
                SPACE,
                "server",
                {
                    "podSelector": {"matchLabels": {"app": "server"}},
                    "ingress": [{"from": peers, "ports": [{"port": 80}]}],
                },
            ),
            policy(
                SPACE,
                "client",
                {
                    "podSelector": {"matchLabels": {"app": "client"}},
                    "policyTypes": ["Ingress", "Egress"],
                    "egress": [{"to": [{"podSelector": {"matchLabels": {"app": "server"}}}]}],
                },
            ),
        ]
        apply(self.bed, [*servers, *others, *rules])
        self.bed.kubectl("-n", SPACE, "wait", "--for=condition=Ready", "pod", "--all", "--timeout=120s", timeout=150)

    def pod(self, name: str, labels: Mapping[str, str], node: str, space: str = SPACE) -> Manifest:
        return pod(space, name, labels, node)

    def destroy(self) -> None:
        self.bed.kubectl("delete", "namespace", SPACE, AGAIN, "--ignore-not-found", "--timeout=120s", timeout=150)

    def address(self, name: str, space: str = SPACE) -> str:
        return self.bed.kubectl("-n", space, "get", "pod", name, "-o", "jsonpath={.status.podIP}").stdout

    def ready(self, name: str, space: str = SPACE) -> str:
        """Wait until a pod answers, and return its address."""
        self.bed.kubectl("-n", space, "wait", "--for=condition=Ready", f"pod/{name}", "--timeout=60s")
        return self.address(name, space)

    def delete(self, name: str, space: str = SPACE) -> None:
        self.bed.kubectl("-n", space, "delete", "pod", name, "--wait", "--timeout=60s")


@pytest.fixture(scope="module")
def town(enforced: Bed) -> Iterator[Small]:
    town = Small(enforced, nodes_of(enforced))
    town.destroy()
    town.build()
    yield town
    town.destroy()


def finished(town: Small, name: str, labels: Mapping[str, str], node: str, seconds: int = 3) -> tuple[str, Manifest]:
    """Run a pod of a Job that ends by itself; return its address, and the pod, once it has completed."""
    template = town.pod(name, labels, node)
    template["spec"]["restartPolicy"] = "Never"
    server = template["spec"]["containers"][0]
    server["command"], server["args"] = ["sh", "-c", f"/agnhost porter & sleep {seconds}"], []
    del server["readinessProbe"]
    body = {"template": {"metadata": {"labels": dict(labels)}, "spec": template["spec"]}, "backoffLimit": 0}
    apply(
        town.bed,
        [{"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": name, "namespace": SPACE}, "spec": body}],
    )
    town.bed.kubectl("-n", SPACE, "wait", "--for=condition=Complete", f"job/{name}", "--timeout=60s")
    (item,) = listed(town.bed, "pods", "-n", SPACE, "-l", f"batch.kubernetes.io/job-name={name}")
    assert item["status"]["phase"] == "Succeeded"
    return item["status"]["podIP"], item


def taken_by(town: Small, address: str, name: str, labels: Mapping[str, str], node: str) -> None:
    """Make a pod that gets an address that is free: host-local gives the one after the last it gave."""
    number = next(item.number for item in town.nodes if item.name == node)
    head, _, tail = address.rpartition(".")
    for _ in range(_ATTEMPTS):
        town.bed.node_exec(number, "sh", "-c", f"printf %s {head}.{int(tail) - 1} > {_LAST_RESERVED}")
        apply(town.bed, [town.pod(name, labels, node)])
        if town.ready(name) == address:
            return
        town.delete(name)
    pytest.fail(f"no pod got {address} within {_ATTEMPTS} attempts")


def reaches(servers: Servers, spots: Mapping[str, Spot], source: str, destination: str, port: int = 80) -> str:
    (outcome,) = servers.probe(spots[source], [Probe("tcp", source, destination, port)])
    return outcome


@pytest.mark.parametrize("first", ["client", "stranger"])
@pytest.mark.parametrize("server", [0, 1], ids=["server on the same node", "server on the other node"])
def test_a_completed_jobs_address_means_the_pod_that_has_it_now(
    town: Small, servers: Servers, barrier: Barrier, first: str, server: int
) -> None:
    node = town.nodes[0].name
    second = "stranger" if first == "client" else "client"
    job, heir = f"job-{first}-{server}", f"heir-{first}-{server}"
    target = town.address(f"server-{town.nodes[server].number}")
    address, item = finished(town, job, {"app": first}, node)
    taken_by(town, address, heir, {"app": second}, node)
    assert listed(town.bed, "pods", "-n", SPACE, "--field-selector", f"metadata.name={item['metadata']['name']}"), (
        "the completed pod is gone"
    )
    barrier.pass_through()
    spots = servers.scan()
    assert reaches(servers, spots, address, target) == ("open" if second == "client" else "timeout")
    # Clients are isolated for ingress, strangers are not.
    other = town.address(f"other-{town.nodes[server].number}")
    assert reaches(servers, spots, other, address) == ("timeout" if second == "client" else "open")
    found = compare(town, servers, barrier)
    assert found.holds, told(found)
    town.bed.kubectl("-n", SPACE, "delete", "job", job)
    barrier.pass_through()
    found = compare(town, servers, barrier)
    assert found.holds, "after the completed pod was deleted:\n" + told(found)
    town.delete(heir)


def test_a_running_pods_address_means_the_next_pod_once_it_is_deleted(
    town: Small, servers: Servers, barrier: Barrier
) -> None:
    node = town.nodes[0].name
    targets = [town.address(f"server-{item.number}") for item in town.nodes]
    apply(town.bed, [town.pod("before", {"app": "client"}, node)])
    address = town.ready("before")
    for labels, expected in ({"app": "stranger"}, "timeout"), ({"app": "client"}, "open"), ({}, "timeout"):
        town.delete("before")
        taken_by(town, address, "before", labels, node)
        barrier.pass_through()
        spots = servers.scan()
        assert [reaches(servers, spots, address, target) for target in targets] == [expected] * 2, labels
    found = compare(town, servers, barrier)
    assert found.holds, told(found)
    town.delete("before")


def test_a_flapping_label_ends_in_what_it_ends_in_and_changes_nothing_else(
    town: Small, servers: Servers, barrier: Barrier
) -> None:
    one, other = town.nodes
    apply(
        town.bed,
        [
            town.pod("flapper", {"app": "client"}, one.name),
            town.pod("steady", {"app": "client"}, one.name),
            town.pod("outsider", {"app": "x"}, one.name),
        ],
    )
    address, steady, outsider = (town.ready(name) for name in ("flapper", "steady", "outsider"))
    targets = [town.address(f"server-{node.number}") for node in (one, other)]
    barrier.pass_through()
    spots = servers.scan()
    flows = [Flow(f"steady -> {target}", spots[steady], "allowed", steady, target, 80) for target in targets]
    flows += [Flow(f"kept steady -> {target}", spots[steady], "kept", steady, target, 80) for target in targets]
    flows += [Flow(f"outsider -> {target}", spots[outsider], "forbidden", outsider, target, 80) for target in targets]
    flows += [Flow(f"flapper -> {target}:81", spots[address], "forbidden", address, target, 81) for target in targets]
    with Watch(servers, flows) as watch:
        for last in ("stranger", "client", "stranger"):
            for turn in range(12):
                label = last if turn % 2 else ("client" if last == "stranger" else "stranger")
                town.bed.kubectl("-n", SPACE, "label", "--overwrite", "pod", "flapper", f"app={label}")
            barrier.pass_through()
            expected = "open" if last == "client" else "timeout"
            assert [reaches(servers, spots, address, target) for target in targets] == [expected] * 2
    sys.stdout.write(f"{watch.summary()}\n")
    assert watch.wrong() == []
    found = compare(town, servers, barrier)
    assert found.holds, told(found)
    for name in ("flapper", "steady", "outsider"):
        town.delete(name)


def test_a_namespace_made_again_with_other_labels_has_only_those(
    town: Small, servers: Servers, barrier: Barrier
) -> None:
    one, other = town.nodes
    targets = [town.address(f"server-{node.number}") for node in (one, other)]
    for labels, expected in (
        ({"team": "blue"}, "open"),
        ({"team": "red"}, "timeout"),
        ({"team": "blue"}, "open"),
        ({}, "timeout"),
    ):
        apply(town.bed, [namespace(AGAIN, labels)])
        wait_for_accounts(town.bed, [AGAIN])
        names = [f"guest-{node.number}" for node in (one, other)]
        apply(
            town.bed,
            [
                town.pod(name, {"app": "guest"}, node.name, AGAIN)
                for name, node in zip(names, (one, other), strict=True)
            ],
        )
        town.namespaces[AGAIN] = labels
        addresses = [town.ready(name, AGAIN) for name in names]
        barrier.pass_through()
        spots = servers.scan()
        assert [reaches(servers, spots, a, target) for a in addresses for target in targets] == [expected] * 4, labels
        found = compare(town, servers, barrier)
        assert found.holds, f"with {labels}\n{told(found)}"
        town.bed.kubectl("delete", "namespace", AGAIN, "--timeout=120s", timeout=150)
        del town.namespaces[AGAIN]


def test_a_service_without_endpoints_reaches_nobody_until_there_is_one(
    town: Small, servers: Servers, barrier: Barrier
) -> None:
    spec = {"selector": {"app": "server", "late": "yes"}, "ports": [{"port": 80}]}
    apply(
        town.bed,
        [{"apiVersion": "v1", "kind": "Service", "metadata": {"name": "late", "namespace": SPACE}, "spec": spec}],
    )
    address = town.bed.kubectl("-n", SPACE, "get", "service", "late", "-o", "jsonpath={.spec.clusterIP}").stdout
    client, other = (
        town.pod(name, {"app": app}, town.nodes[0].name) for name, app in (("asker", "client"), ("stranger", "x"))
    )
    apply(town.bed, [client, other])
    sources = [town.ready(name) for name in ("asker", "stranger")]
    barrier.pass_through()
    spots = servers.scan()

    def answers() -> list[str | None]:
        return [answer for source in sources for answer in servers.ask(spots[source], [("tcp", source, address, 80)])]

    cluster = load(town.bed, [SPACE])
    assert cluster.check(f"{SPACE}/asker", f"{SPACE}/svc/late", 80).decision is Decision.DENIED
    assert answers() == [None, None]
    name = f"server-{town.nodes[1].number}"
    town.bed.kubectl("-n", SPACE, "label", "pod", name, "late=yes")
    cluster = load(town.bed, [SPACE])
    assert cluster.check(f"{SPACE}/asker", f"{SPACE}/svc/late", 80).decision is Decision.ALLOWED
    assert cluster.check(f"{SPACE}/stranger", f"{SPACE}/svc/late", 80).decision is Decision.DENIED
    end = time.monotonic() + 20
    while (found := answers()) != [f"{SPACE}/{name}", None]:
        assert time.monotonic() < end, found
    town.bed.kubectl("-n", SPACE, "label", "pod", name, "late-")
    end = time.monotonic() + 20
    while (found := answers()) != [None, None]:
        assert time.monotonic() < end, found
    for name in ("asker", "stranger"):
        town.delete(name)
