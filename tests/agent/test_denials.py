# SPDX-License-Identifier: Apache-2.0
"""Lines about denied flows: from packets as the kernel logs them, with names, and no more than one a minute."""

from __future__ import annotations

import json
import os
import shutil
import socket
import struct
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from podfence.agent.denials import MOST, Denials, Denied, parse
from podfence.agent.nflog import Logged
from podfence.agent.source import Bookmark, Synced
from podfence.api import Cluster
from podfence.dataplane.compiler import Compiler
from podfence.kube.objects import Node
from podfence.policy.verdict import Direction
from podfence.sets.addresses import parse_address
from tests.agent.live import PATIENCE, LiveAgent, added
from tests.dataplane.network import Network, Probe
from tests.policy.parts import app, pod, policy, space

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from podfence.kube.objects import KubeObject

NODE = Node(name="n1", labels={}, addresses=("172.18.0.1",))
WEB = pod("web", "10.244.1.5", "fd00::5", node="n1")
DB = pod("db", "10.244.1.6", node="n1")
LONG = [policy(f"{'p' * 60}{n}", app("db"), ingress=[]) for n in range(3)]
OBJECTS: tuple[KubeObject, ...] = (space("shop"), NODE, WEB, DB, policy("web", app("web"), egress=[]), *LONG)
EGRESS = "podfence egress denied by shop/web: "

needs_kernel = pytest.mark.skipif(
    os.geteuid() != 0 or not all(map(shutil.which, ("nft", "ip", "unshare", "nsenter"))),
    reason="needs root, nft, iproute2 and util-linux",
)


@pytest.fixture
def compiler() -> Compiler:
    return Compiler(Cluster.from_objects(OBJECTS).model, "n1")


def four(source: str, destination: str, protocol: int, content: bytes, *, fragment: int = 0, options: bytes = b"") -> bytes:  # fmt: skip
    words = 5 + len(options) // 4
    head = struct.pack(">BBHHHBBH", 0x40 | words, 0, 0, 0, fragment, 64, protocol, 0)
    return head + socket.inet_aton(source) + socket.inet_aton(destination) + options + content


def six(source: str, destination: str, protocol: int, content: bytes) -> bytes:
    addresses = socket.inet_pton(socket.AF_INET6, source) + socket.inet_pton(socket.AF_INET6, destination)
    return struct.pack(">IHBB", 6 << 28, len(content), protocol, 64) + addresses + content


def ports(destination: int) -> bytes:
    return struct.pack(">HH", 40000, destination) + bytes(16)


@pytest.mark.parametrize(
    ("packet", "line"),
    [
        (four("10.244.1.5", "203.0.113.9", 6, ports(443)), "shop/web (10.244.1.5) -> 203.0.113.9 TCP 443"),
        (four("10.244.1.5", "10.244.1.6", 17, ports(53)), "shop/web (10.244.1.5) -> shop/db (10.244.1.6) UDP 53"),
        (four("10.244.1.5", "172.18.0.1", 132, ports(9)), "shop/web (10.244.1.5) -> node n1 (172.18.0.1) SCTP 9"),
        (four("10.244.1.5", "203.0.113.9", 1, b"\x08\0\0\0"), "shop/web (10.244.1.5) -> 203.0.113.9 ICMP"),
        (four("10.244.1.5", "203.0.113.9", 47, bytes(8)), "shop/web (10.244.1.5) -> 203.0.113.9 protocol 47"),
        (four("10.244.1.5", "203.0.113.9", 6, ports(80), options=bytes(8)), "shop/web (10.244.1.5) -> 203.0.113.9 TCP 80"),
        (four("10.244.1.5", "203.0.113.9", 17, ports(53), fragment=5), "shop/web (10.244.1.5) -> 203.0.113.9 UDP"),
        (four("10.244.1.5", "203.0.113.9", 6, b"\0"), "shop/web (10.244.1.5) -> 203.0.113.9 TCP"),
        (six("fd00::5", "2001:db8::9", 6, ports(443)), "shop/web (fd00::5) -> 2001:db8::9 TCP 443"),
        (six("fd00::5", "2001:db8::9", 58, bytes(8)), "shop/web (fd00::5) -> 2001:db8::9 ICMP"),
        (six("fd00::5", "2001:db8::9", 0, b"\x11\0" + bytes(6) + ports(53)), "shop/web (fd00::5) -> 2001:db8::9 UDP 53"),
        (six("fd00::5", "2001:db8::9", 44, b"\x11\0\0\x01" + bytes(4) + ports(53)), "shop/web (fd00::5) -> 2001:db8::9 UDP 53"),
        (six("fd00::5", "2001:db8::9", 44, b"\x11\0\x01\0" + bytes(4) + ports(53)), "shop/web (fd00::5) -> 2001:db8::9 UDP"),
    ],
)  # fmt: skip
def test_a_line_names_both_ends_the_port_and_the_policies(compiler: Compiler, packet: bytes, line: str) -> None:
    found = parse(Logged(EGRESS, packet))
    assert found is not None
    assert as_text(Denials(), [found], compiler, 0.0) == [f"denied egress {line} by shop/web"]


@pytest.mark.parametrize("size", range(49))
def test_a_packet_that_is_cut_anywhere_does_no_harm(size: int) -> None:
    for packet in (four("10.0.0.1", "10.0.0.2", 6, ports(80)), six("fd00::1", "fd00::2", 0, b"\x2c\0" + bytes(30))):
        found = parse(Logged(EGRESS, packet[:size]))
        assert found is None or found.port in (None, 80, 0)


@pytest.mark.parametrize("prefix", ["", "theirs: ", "podfence forward denied by x: ", "podfence egress"])
def test_what_others_log_to_the_group_is_left_out(prefix: str) -> None:
    assert parse(Logged(prefix, four("10.244.1.5", "203.0.113.9", 6, ports(443)))) is None


def as_text(denials: Denials, found: Iterable[Denied], compiler: Compiler, now: float) -> list[str]:
    """Return what is told as people read it."""
    return list(map(str, denials.tell(found, compiler, now)))


def test_policies_that_do_not_fit_into_the_prefix_are_all_named(compiler: Compiler) -> None:
    found = parse(Logged("podfence ingress denied by shop/ppp...: ", four("10.0.0.9", "10.244.1.6", 6, ports(80))))
    assert found is not None
    assert found.policies == "shop/ppp..."
    (line,) = as_text(Denials(), [found], compiler, 0.0)
    assert line.endswith(f"by shop/{','.join(item.name for item in LONG)}")


def test_a_flow_has_one_line_a_minute_whatever_its_source_port(compiler: Compiler) -> None:
    def at(destination: int) -> Denied:
        found = parse(Logged(EGRESS, four("10.244.1.5", "203.0.113.9", 6, ports(destination))))
        assert found is not None
        return found

    denials = Denials()
    assert len(as_text(denials, [at(443), at(443), at(80)], compiler, 100.0)) == 2
    assert as_text(denials, [at(443), at(80)], compiler, 159.9) == []
    assert len(as_text(denials, [at(443), at(443)], compiler, 160.0)) == 1


def scan(source: str, policies: str, count: int) -> list[Denied]:
    web, outside = parse_address(source), parse_address("203.0.113.9")
    return [Denied(Direction.EGRESS, web, outside, 6, port, policies) for port in range(count)]


def test_nodes_are_named_as_they_are_now_and_not_searched_for_each_packet(compiler: Compiler) -> None:
    denials, nodes = Denials(), compiler.model.state.nodes
    looks: list[None] = []

    class Addresses(tuple[str, ...]):
        __slots__ = ()

        def __iter__(self) -> Iterator[str]:
            looks.append(None)
            return super().__iter__()

    for number in range(100):
        nodes[f"m{number}"] = Node(name=f"m{number}", labels={}, addresses=Addresses([f"172.19.0.{number}"]))
    found = [item._replace(destination=parse_address("172.19.0.7")) for item in scan("10.244.1.5", "shop/web", 50)]
    lines = as_text(denials, found, compiler, 1000.0)
    assert len(lines) == 50
    assert all("-> node m7 (172.19.0.7)" in line for line in lines)
    assert len(looks) == 100

    nodes["m7"] = Node(name="m7", labels={}, addresses=("172.19.0.200",))
    (line,) = as_text(denials, [found[0]._replace(port=9999)], compiler, 1001.0)
    assert "-> 172.19.0.7 TCP" in line


def test_a_scan_does_not_fill_the_log_and_is_counted(compiler: Compiler) -> None:
    found = scan("10.244.1.5", "shop/web", MOST + 50)
    denials = Denials()
    lines = as_text(denials, found, compiler, 1000.0)
    assert len(lines) == MOST + 1
    assert (
        lines[-1]
        == f"egress denied by shop/web: more than {MOST} flows in a minute, 1 packets of the rest were not logged"
    )
    assert as_text(denials, found[-10:], compiler, 1059.0) == []
    lines = as_text(denials, found[:10], compiler, 1060.0)
    assert len(lines) == 11
    assert any(line.endswith("in a minute, 59 packets of the rest were not logged") for line in lines)


def test_scans_of_some_pods_hide_nothing_that_other_policies_deny(compiler: Compiler) -> None:
    denials = Denials()
    for number in range(20):
        as_text(denials, scan("10.244.1.9", f"evil/p{number}", 2 * MOST), compiler, 1000.0)
    assert len(as_text(denials, scan("10.244.1.5", "shop/web", 1), compiler, 1001.0)) == 1


def test_what_policies_left_untold_that_deny_no_more_is_told_with_whatever_comes_next(compiler: Compiler) -> None:
    denials = Denials()
    as_text(denials, scan("10.244.1.9", "gone/p", MOST + 5), compiler, 1000.0)
    told = as_text(denials, scan("10.244.1.5", "shop/web", 1), compiler, 1200.0)
    assert told[1:] == [
        f"egress denied by gone/p: more than {MOST} flows in a minute, 4 packets of the rest were not logged"
    ]


IN_USER_NAMESPACE = """
import json, socket, subprocess
from contextlib import closing
from podfence.agent.denials import parse
from podfence.agent.nflog import LogGroup
from podfence.netlink.asking import NetlinkError
subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
subprocess.run(["nft", "-f", "-"], check=True, text=True, input='''
table inet t {
  chain c { type filter hook output priority 0
    udp dport 99 log prefix "podfence egress denied by shop/web: " group 5
    meta l4proto udp log prefix "podfence ingress denied by shop/db: " group 6
  }
}''')
with closing(LogGroup(5)) as group:
    try:
        LogGroup(5)
    except NetlinkError as error:
        refusal = str(error)
    for family, address in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")):
        with socket.socket(family, socket.SOCK_DGRAM) as sender:
            sender.sendto(bytes(2000), (address, 98))
            sender.sendto(bytes(2000), (address, 99))
    found = []
    while len(found) < 2:
        found += [parse(item) for item in group.receive()]
with closing(LogGroup(5)):
    print(json.dumps([refusal, found]))
"""


@needs_kernel
def test_an_ordinary_users_namespace_can_listen_and_one_listener_at_a_time() -> None:
    done = subprocess.run(
        ["unshare", "--user", "--map-root-user", "--net", sys.executable, "-c", IN_USER_NAMESPACE],
        capture_output=True,
        text=True,
        check=True,
        timeout=PATIENCE,
    )
    refusal, found = json.loads(done.stdout)
    assert refusal.startswith("listening to log group 5, to which another program may listen: ")
    one, six_one = parse_address("127.0.0.1"), parse_address("::1")
    assert found == [["egress", one, one, 17, 99, "shop/web"], ["egress", six_one, six_one, 17, 99, "shop/web"]]


@needs_kernel
def test_a_running_agent_reports_what_the_kernel_denies() -> None:
    objects: tuple[KubeObject, ...] = (
        space("shop"),
        Node(name="n1", labels={}),
        pod("web", "10.0.0.1", node="n1"),
        pod("db", "10.0.0.2", node="n1"),
        policy("db", app("db"), ingress=[]),
    )
    denied = Probe("tcp", "10.0.0.1", "10.0.0.2", 80)
    with Network(("172.18.0.1",), (("10.0.0.1",), ("10.0.0.2",))) as network:
        with LiveAgent(network.prefix, log_group=5) as agent:
            agent.send(*added(objects), Bookmark(1), Synced())
            agent.enforced(1)
            assert network.passed({denied: False}) == {denied: False}
            report = agent.until(lambda report: report.errors)
            assert agent.end() == 0
        network.forget()
    assert report.errors == ("denied ingress shop/web (10.0.0.1) -> shop/db (10.0.0.2) TCP 80 by shop/db",)
