# SPDX-License-Identifier: Apache-2.0
"""The lab's wiring, by packets: who reaches whom, through which hook, and with which source address."""

from __future__ import annotations

import errno
import ipaddress
import json
import shlex
import socket
import struct
import subprocess
import sys
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import pytest

from podfence.lab.addresses import Plan, PodNetworkKind
from podfence.lab.network import namespaces
from podfence.lab.network.attachment import AttachError
from podfence.lab.network.namespaces import NetworkError, inside, ip
from podfence.lab.network.neighbours import capacity, finders, require_room_for_all_pairs
from podfence.lab.network.outside import ANY_PORT
from podfence.lab.network.wiring import Network
from tests.lab.wiring import PATIENCE, Wired, needs_namespaces

if TYPE_CHECKING:
    from collections.abc import Iterator

    from podfence.sets.addresses import Family

pytestmark = needs_namespaces
FAMILIES: tuple[Family, ...] = (4, 6)


@pytest.fixture(scope="module", params=get_args(PodNetworkKind))
def lab(request: pytest.FixtureRequest) -> Iterator[Wired]:
    with Wired(Plan((4, 6), request.param), (2, 1)) as found:
        yield found


@pytest.mark.parametrize("kind", ["tcp", "udp"])
@pytest.mark.parametrize("family", FAMILIES)
def test_pods_reach_each_other_with_their_own_addresses(lab: Wired, family: Family, kind: str) -> None:
    client, neighbour, far = lab.pods[0][0], lab.pods[0][1], lab.pods[1][0]
    which = FAMILIES.index(family)
    for target in (neighbour, far):
        server = lab.server(target.pid, kind, family, 80)
        assert lab.call(client.pid, target.addresses[which], 80, server, kind).client == client.addresses[which]


@pytest.mark.parametrize("family", FAMILIES)
def test_two_pods_of_one_node_pass_the_forward_hook(lab: Wired, family: Family) -> None:
    client, neighbour = lab.pods[0]
    server = lab.server(neighbour.pid, "tcp", family, 80)
    address = neighbour.addresses[FAMILIES.index(family)]
    node = lab.nodes[0]
    lab.run(
        node,
        "nft",
        "add table inet t; add chain inet t c { type filter hook forward priority -5; }; add rule inet t c meta l4proto tcp reject",
    )
    try:
        with pytest.raises(ConnectionRefusedError):
            lab.call(client.pid, address, 80, server)
    finally:
        lab.run(node, "nft", "delete table inet t")
    lab.call(client.pid, address, 80, server)


@pytest.mark.parametrize(
    "address",
    ["192.168.3.1", "172.17.0.5", "10.0.0.9", "8.8.8.8", "142.251.42.238", "2001:db8::1", "2607:f8b0::7"],
)
@pytest.mark.parametrize("port", [53, 443, 61000])
def test_outside_answers_at_any_address_and_port(lab: Wired, address: str, port: int) -> None:
    client = lab.pods[1][0]
    family: Family = 6 if ":" in address else 4
    own = client.addresses[FAMILIES.index(family)]
    assert lab.call(client.pid, address, port, lab.server(lab.outside, "tcp", family, ANY_PORT)).client == own
    assert lab.call(client.pid, address, port, lab.server(lab.outside, "udp", family, ANY_PORT), "udp").client == own


@pytest.mark.parametrize("address", ["10.0.0.9", "8.8.8.8", "2001:db8::1"])
def test_outside_answers_pings_at_any_address(lab: Wired, address: str) -> None:
    with inside(lab.pods[0][0].pid):
        protocol, request = (socket.IPPROTO_ICMPV6, 128) if ":" in address else (socket.IPPROTO_ICMP, 8)
        end = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM, protocol)
    with end:
        end.settimeout(PATIENCE)
        end.connect((address, 0))
        end.send(struct.pack(">BBHHH", request, 0, 0, 0, 7) + b"hello")
        assert end.recv(64).endswith(b"hello")


@pytest.mark.parametrize(
    ("source", "family"), [("203.0.113.9", 4), ("192.168.3.1", 4), ("2001:db8::9", 6), ("", 4), ("", 6)]
)
def test_outside_reaches_pods_and_nodes_from_any_address(lab: Wired, source: str, family: Family) -> None:
    seen = source or lab.plan.gateway(family)
    for node, pods in enumerate(lab.pods, 1):
        target = pods[0]
        server = lab.server(target.pid, "tcp", family, 80)
        assert lab.call(lab.outside, target.addresses[FAMILIES.index(family)], 80, server, source=source).client == seen
        server = lab.server(lab.nodes[node - 1], "tcp", family, 10250)
        address = lab.plan.node_address(node, family)
        assert lab.call(lab.outside, address, 10250, server, source=source).client == seen


@pytest.mark.parametrize("family", FAMILIES)
def test_nodes_reach_pods_and_pods_reach_nodes(lab: Wired, family: Family) -> None:
    which = FAMILIES.index(family)
    pod, far = lab.pods[0][0], lab.pods[1][0]
    for target in (pod, far):
        server = lab.server(target.pid, "tcp", family, 80)
        seen = lab.call(lab.nodes[0], target.addresses[which], 80, server)
        assert seen.client == (lab.speaks_as(1, family) if target is pod else lab.plan.node_address(1, family))
    for node in (1, 2):
        server = lab.server(lab.nodes[node - 1], "tcp", family, 10250)
        seen = lab.call(pod.pid, lab.plan.node_address(node, family), 10250, server)
        assert seen.client == pod.addresses[which]


@pytest.mark.parametrize("address", ["10.244.1.200", "10.244.9.9", "10.96.0.77", "fd00:10:244:9::9"])
def test_nobody_answers_for_pods_and_services_that_are_not_there(lab: Wired, address: str) -> None:
    for client in (lab.outside, lab.pods[0][0].pid):
        # On a bridge they are asked for three times, a second each.
        with lab.open(client, "tcp", 6 if ":" in address else 4) as end, pytest.raises(OSError) as caught:
            end.connect((address, 80))
        assert caught.value.errno in {errno.EHOSTUNREACH, errno.ENETUNREACH}


def test_a_pod_that_is_gone_leaves_no_link_and_its_address_serves_the_next(lab: Wired) -> None:
    first = lab.link(1, 60)
    lab.network.attach([first])
    lab.network.attach([first])
    assert "pod60" in lab.run(lab.nodes[0], "ip", "link")
    # So that its neighbours remember it.
    lab.call(lab.pods[0][0].pid, first.addresses[0], 80, lab.server(first.pid, "tcp", 4, 80))
    lab.network.detach([first])
    lab.network.detach([first])
    assert "pod60" not in lab.run(lab.nodes[0], "ip", "link")
    assert "10.244.1.60" not in lab.run(lab.nodes[0], "ip", "route")
    second = lab.link(1, 60)
    lab.network.attach([second])
    client = lab.pods[0][0]
    for address, family in zip(second.addresses, FAMILIES, strict=True):
        server = lab.server(second.pid, "tcp", family, 80)
        assert lab.call(client.pid, address, 80, server).client in client.addresses
    lab.network.detach([second])


def test_a_pod_takes_the_place_of_one_that_was_not_detached(lab: Wired) -> None:
    first, second = lab.link(1, 61), lab.link(1, 61)
    lab.network.attach([first])
    lab.network.attach([second])
    lab.network.detach([first])
    server = lab.server(second.pid, "tcp", 4, 80)
    lab.call(lab.pods[0][0].pid, "10.244.1.61", 80, server)
    lab.network.detach([second])


def test_a_pod_whose_process_is_gone_fails_alone(lab: Wired) -> None:
    process = subprocess.Popen(["true"])
    process.wait()
    dead, alive = lab.link(1, 70, process.pid), lab.link(1, 71)
    with pytest.raises(AttachError) as caught:
        lab.network.attach([dead, alive])
    assert list(caught.value.failed) == [dead]
    assert "pod 10.244.1.70" in str(caught.value)
    assert "10.244.1.70" not in lab.run(lab.nodes[0], "ip", "route")
    lab.call(lab.pods[0][0].pid, "10.244.1.71", 80, lab.server(alive.pid, "tcp", 4, 80))
    lab.network.detach([dead, alive])


def test_a_pod_takes_in_packets_of_ipv6_as_soon_as_it_is_attached(lab: Wired) -> None:
    pod = lab.link(1, 62)
    for _ in range(8):
        lab.network.attach([pod])
        routes = [line.split() for line in Path(f"/proc/{pod.pid}/net/ipv6_route").read_text().splitlines()]
        # The flag says that packets to there are for the pod itself (linux/ipv6_route.h).
        assert ipaddress.ip_address(pod.addresses[1]).packed.hex() in {
            row[0] for row in routes if int(row[8], 16) & 0x80000000
        }
        lab.network.detach([pod])


def test_a_kernel_that_does_not_route_to_an_address_is_named(lab: Wired, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(namespaces, "_TIMEOUT", 0.1)
    with inside(lab.hold()):
        lines = ["link add dev br0 type bridge", "link set dev br0 up", "addr add fd00::1/64 dev br0 nodad"]
        assert not ip(lines)
        with pytest.raises(NetworkError, match=r"did not route to its own addresses of IPv6"):
            ip(["route delete local fd00::1 dev br0 table local", "addr add fd00::2/64 dev br0 nodad"])


def test_an_address_of_another_node_is_refused(lab: Wired) -> None:
    stray = lab.link(2, 5)._replace(node=1)
    with pytest.raises(AttachError, match=r"pod 10\.244\.2\.5, .* not among the addresses of node 1"):
        lab.network.attach([stray])


@pytest.mark.parametrize("family", FAMILIES)
def test_pods_and_nodes_look_for_each_other(lab: Wired, family: Family) -> None:
    pod, node = lab.pods[0][0], lab.nodes[0]
    lab.call(pod.pid, lab.plan.node_address(1, family), 80, lab.server(node, "tcp", family, 80))
    there = neighbours(lab, pod.pid, family)
    here = [item for item in neighbours(lab, node, family) if item["dev"] != "eth0"]
    assert any(item.get("lladdr") == pod.mac for item in here)
    assert any("lladdr" in item for item in there)
    assert not any("PERMANENT" in item["state"] for item in (*here, *there))


def test_pods_and_their_nodes_have_link_local_addresses(lab: Wired) -> None:
    pod, node = lab.pods[0][0].pid, lab.nodes[0]
    ends = [(pod, "eth0"), (node, "cni0" if lab.plan.network == "bridge" else "pod2")]
    for place, device in ends:
        found = json.loads(lab.run(place, "ip", "-j", "-6", "addr", "show", "dev", device))[0]["addr_info"]
        assert any(item["scope"] == "link" and not item.get("dadfailed") for item in found)


@pytest.mark.parametrize("network", get_args(PodNetworkKind))
def test_in_a_lab_with_more_pods_than_the_kernel_has_room_for_the_others_are_told_their_neighbours(
    network: PodNetworkKind,
) -> None:
    with Wired(Plan((4, 6), network), (3,), room=finders_for(2)) as lab:
        found = [neighbours(lab, pod.pid, family) for pod in lab.pods[0] for family in FAMILIES]
        permanent = [any("PERMANENT" in item["state"] for item in items) for items in found]
        assert permanent == [False, False, False, False, True, True]
        first, *_, last = lab.pods[0]
        for one, other in ((first, last), (last, first)):
            for address, family in zip(other.addresses, FAMILIES, strict=True):
                lab.call(one.pid, address, 80, lab.server(other.pid, "tcp", family, 80))


@pytest.mark.parametrize(
    ("pods", "room", "needed"), [([20, 20], 1024, 960), ([21, 21], 1024, 1050), ([40], 1024, 1760), ([40], 4096, 1760)]
)
def test_all_pairs_of_a_bridge_are_refused_where_the_kernel_has_no_room_for_them(
    pods: list[int], room: int, needed: int
) -> None:
    if needed <= room:
        require_room_for_all_pairs(pods, room)
        return
    with pytest.raises(NetworkError, match=rf"need {needed} entries .* has room for {room} .*gc_thresh3={2 * needed} "):
        require_room_for_all_pairs(pods, room)


def test_the_kernel_is_asked_how_much_room_there_is(lab: Wired) -> None:
    limits = [Path(f"/proc/sys/net/{family}/neigh/default/gc_thresh3").read_text() for family in ("ipv4", "ipv6")]
    with inside(lab.nodes[0]):
        assert capacity() == min(map(int, limits))


HIDDEN = """
import sys
from podfence.lab.addresses import Plan
from podfence.lab.network.bridged import Bridged
from podfence.lab.network.namespaces import NetworkError
try:
    Bridged(Plan((4,), "bridge")).start_node(1)
except NetworkError as error:
    print(error)
"""


def test_without_br_netfilter_there_is_no_bridge_and_the_remedy_is_named() -> None:
    script = f"mount -t tmpfs none /proc/sys/net; {sys.executable} -c {shlex.quote(HIDDEN)}"
    command = ("unshare", "--net", "--mount", "sh", "-ec", script)
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=PATIENCE)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == (
        "packets on a bridge do not pass the hooks of policies without the kernel's module br_netfilter: "
        "load it (as root: modprobe br_netfilter), or take `--network routed`"
    )


def finders_for(pods: int) -> int:
    """Return the room in which so many pods find their neighbours themselves."""
    return next(room for room in count() if finders(room) == pods)


def neighbours(lab: Wired, pid: int, family: Family) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(lab.run(pid, "ip", "-j", f"-{family}", "neigh"))
    return found


@pytest.mark.parametrize("network", get_args(PodNetworkKind))
@pytest.mark.parametrize("family", FAMILIES)
def test_a_lab_of_one_family_works(family: Family, network: PodNetworkKind) -> None:
    with Wired(Plan((family,), network), (1, 1)) as lab:
        client, target = lab.pods[0][0], lab.pods[1][0]
        server = lab.server(target.pid, "tcp", family, 80)
        assert lab.call(client.pid, target.addresses[0], 80, server).client == client.addresses[0]


def test_a_node_that_is_gone_is_named() -> None:
    process = subprocess.Popen(["true"])
    process.wait()
    with Wired(Plan(), ()) as lab:
        network = Network(lab.plan, [process.pid], lab.hold())
        with inside(lab.hold()), pytest.raises(NetworkError, match=r"connecting the nodes: ip link add node-1 "):
            network.start()
        network.close()
