# SPDX-License-Identifier: Apache-2.0
"""Names: what the records say, and what programs in a pod find with the search path that Kubernetes gives."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING

import msgspec
import pytest

from podfence.cluster.state import ClusterState
from podfence.kube.objects import Owner, Service, ServicePort
from podfence.lab.addresses import Plan
from podfence.lab.network import dns
from podfence.lab.network.proxy import Proxy
from tests.lab.wiring import PATIENCE, Wired, needs_namespaces
from tests.policy.parts import pod

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PLAN = Plan((4, 6))
WEB = Service(namespace="shop", name="web", selector={"app": "web"}, addresses=("10.96.1.5", "fd00:10:96::105"), ports=(ServicePort(80, 80),))  # fmt: skip
PEERS = Service(namespace="shop", name="peers", selector={"app": "db"}, headless=True, ports=(ServicePort(5432, 5432),))
KUBE_DNS = Service(
    namespace="kube-system",
    name="kube-dns",
    selector={"k8s-app": "kube-dns"},
    addresses=(PLAN.dns_address(),),
    ports=(ServicePort(53, 53, "UDP"), ServicePort(53, 53)),
)
API = "10.96.0.1 kubernetes.default.svc.cluster.local\n"


def member(name: str, *addresses: str, owner: str = "StatefulSet") -> object:
    found = pod(name, *addresses, labels={"app": "db"})
    return msgspec.structs.replace(found, owner=Owner(owner, "db"))


def lines(*objects: object, plan: Plan | None = None) -> str:
    return dns.records(ClusterState(objects), plan or Plan())  # type: ignore[arg-type]


# Records


def test_a_service_has_its_cluster_addresses() -> None:
    assert lines(WEB) == API + "10.96.1.5 web.shop.svc.cluster.local\nfd00:10:96::105 web.shop.svc.cluster.local\n"


def test_a_headless_service_has_its_running_pods() -> None:
    waiting = msgspec.structs.replace(pod("db-9", "10.244.1.9", labels={"app": "db"}), phase="Pending")
    assert lines(PEERS, member("db-0", "10.244.1.4", "fd00:10:244:1::4"), waiting) == (
        "10.244.1.4 db-0.peers.shop.svc.cluster.local\nfd00:10:244:1::4 db-0.peers.shop.svc.cluster.local\n"
        + API
        + "10.244.1.4 peers.shop.svc.cluster.local\nfd00:10:244:1::4 peers.shop.svc.cluster.local\n"
    )


@pytest.mark.parametrize(
    ("address", "hostname"), [("10.244.1.4", "10-244-1-4"), ("fd00:10:244:1::4", "fd00-10-244-1--4")]
)
def test_pods_of_other_kinds_have_names_of_their_addresses(address: str, hostname: str) -> None:
    assert f"{address} {hostname}.peers.shop.svc.cluster.local\n" in lines(
        PEERS, member("x", address, owner="ReplicaSet")
    )


def test_a_headless_service_needs_no_ports() -> None:
    bare = msgspec.structs.replace(PEERS, ports=())
    assert "10.244.1.4 peers.shop.svc.cluster.local\n" in lines(bare, member("db-0", "10.244.1.4"))


def test_the_api_server_has_a_name_even_without_its_service() -> None:
    assert lines(plan=PLAN) == API + "fd00:10:96::1 kubernetes.default.svc.cluster.local\n"
    own = Service(namespace="default", name="kubernetes", addresses=("10.96.0.7",), ports=(ServicePort(443, 6443),))
    assert lines(own) == API.replace("0.1 ", "0.7 ")


def test_a_service_without_selector_or_address_has_no_name() -> None:
    assert lines(Service(namespace="shop", name="far", type="ExternalName")) == API


# Servers

pytestmark_servers = pytest.mark.skipif(shutil.which("dnsmasq") is None, reason="needs dnsmasq")
RESOLVE = """
import json, socket, sys
for line in sys.stdin:
    try:
        found = sorted({item[4][0] for item in socket.getaddrinfo(line.strip(), 80, type=socket.SOCK_STREAM)})
    except socket.gaierror as error:
        found = [error.args[1]]
    print(json.dumps(found), flush=True)
"""


class Names:
    """A lab with DNS, and a resolver in a pod of namespace shop."""

    def __init__(self, lab: Wired, folder: Path, stack: ExitStack) -> None:
        self.lab = lab
        self._stack = stack
        self.records = folder / "hosts"
        self.records.mkdir()
        self.proxy = Proxy(PLAN, [("node-1", lab.nodes[0]), ("node-2", lab.nodes[1])])
        self.server = lab.pods[1][0]
        client = lab.pods[0][0]
        self.update()
        self._run(lab.outside, dns.outside_server(PLAN))
        self._run(self.server.pid, dns.cluster_server(self.records, [PLAN.gateway(4)]))
        resolver = folder / "resolv.conf"
        # It asks once: a question that nobody answers is a wrong answer here, and not a slow one.
        resolver.write_text(
            f"search shop.svc.cluster.local svc.cluster.local cluster.local\nnameserver {PLAN.dns_address()}\noptions ndots:5 timeout:30 attempts:1\n"
        )
        self.inside = ("nsenter", "-t", str(client.pid), "-n", "unshare", "--mount", "sh", "-c", f'mount --bind {resolver} /etc/resolv.conf && exec "$@"', "-")  # fmt: skip
        self._resolver = subprocess.Popen([*self.inside, sys.executable, "-Ic", RESOLVE], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)  # fmt: skip
        stack.callback(self._resolver.communicate)

    def _run(self, pid: int, command: tuple[str, ...]) -> None:
        process = subprocess.Popen(["nsenter", "-t", str(pid), "-n", *command], stderr=subprocess.PIPE, text=True)
        self._stack.callback(process.communicate)
        self._stack.callback(process.terminate)
        assert process.stderr is not None
        for line in process.stderr:
            if "cleared cache" in line:
                return
        pytest.fail("dnsmasq ended")

    def update(self, *objects: object) -> None:
        """Have a cluster of these objects and DNS."""
        server = pod("coredns", *self.server.addresses, namespace="kube-system", labels={"k8s-app": "kube-dns"}, node="node-2")  # fmt: skip
        state = ClusterState([KUBE_DNS, server, *objects])  # type: ignore[list-item]
        self.proxy.update(state)
        dns.publish(self.records, dns.records(state, PLAN))

    def find(self, name: str) -> list[str]:
        """Return the addresses that getaddrinfo finds, or what it says."""
        assert self._resolver.stdin is not None
        assert self._resolver.stdout is not None
        self._resolver.stdin.write(f"{name}\n")
        self._resolver.stdin.flush()
        return list(json.loads(self._resolver.stdout.readline()))

    def find_until(self, name: str, wanted: list[str]) -> None:
        """Ask until the answer is as wanted."""
        deadline = time.monotonic() + PATIENCE
        while (found := self.find(name)) != wanted:
            assert time.monotonic() < deadline, found


@pytest.fixture(scope="module")
def names(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Names]:
    with Wired(PLAN, (1, 1)) as lab, ExitStack() as stack:
        yield Names(lab, tmp_path_factory.mktemp("dns"), stack)


UNKNOWN = ["Name or service not known"]


@needs_namespaces
@pytestmark_servers
def test_a_pod_finds_services_by_short_and_long_names(names: Names) -> None:
    both = ["10.96.1.5", "fd00:10:96::105"]
    names.update(WEB)
    names.find_until("web", both)
    for name in ("web.shop", "web.shop.svc", "web.shop.svc.cluster.local", "web.shop.svc.cluster.local."):
        assert names.find(name) == both
    assert names.find("kube-dns.kube-system") == ["10.96.0.10"]
    assert names.find("kubernetes.default")[0] == "10.96.0.1"


@needs_namespaces
@pytestmark_servers
def test_names_that_do_not_exist_are_refused_at_once(names: Names) -> None:
    names.update(WEB)
    names.find_until("web", ["10.96.1.5", "fd00:10:96::105"])
    for name in ("wbe", "web.other", "web.prod", "kube-dns", "web.", "nothing.svc.cluster.local"):
        assert names.find(name) == UNKNOWN


@needs_namespaces
@pytestmark_servers
def test_names_outside_are_addresses_outside(names: Names) -> None:
    assert names.find("google.com") == ["142.251.42.238", "2001:db8::238"]
    assert names.find("www.google.com") == ["142.251.42.238", "2001:db8::238"]
    assert names.find("example.com") == ["2001:db8::80", "203.0.113.80"]
    assert names.find("api.stripe.com") == ["2001:db8::80", "203.0.113.80"]


@needs_namespaces
@pytestmark_servers
def test_records_are_followed_without_a_restart(names: Names) -> None:
    names.update(PEERS, member("db-0", "10.244.1.4"), member("db-1", "10.244.1.5"))
    names.find_until("peers", ["10.244.1.4", "10.244.1.5"])
    assert names.find("db-0.peers") == ["10.244.1.4"]
    names.update(PEERS, member("db-1", "10.244.1.5"))
    names.find_until("peers", ["10.244.1.5"])
    assert names.find("db-0.peers") == UNKNOWN


@needs_namespaces
@pytestmark_servers
def test_outside_servers_can_be_asked_at_any_address(names: Names) -> None:
    for server in ("8.8.8.8", "172.30.0.1"):
        done = subprocess.run([*names.inside, "busybox", "nslookup", "example.com", server], capture_output=True, text=True, check=True)  # fmt: skip
        assert "203.0.113.80" in done.stdout


@needs_namespaces
@pytestmark_servers
def test_busybox_says_what_the_documents_show(names: Names) -> None:
    names.update(WEB)
    names.find_until("web", ["10.96.1.5", "fd00:10:96::105"])

    def wget(name: str) -> str:
        done = subprocess.run([*names.inside, "busybox", "wget", "-qO-", f"http://{name}"], capture_output=True, text=True, check=False)  # fmt: skip
        return done.stderr.strip()

    assert wget("wbe") == "wget: bad address 'wbe'"
    assert "refused" in wget("web")


def test_a_lab_of_ipv4_only_has_empty_answers_for_ipv6() -> None:
    command = dns.outside_server(Plan((4,)))
    assert "--local=/google.com/" in command
    assert not [item for item in command if ":" in item]
