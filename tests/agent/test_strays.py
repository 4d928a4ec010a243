# SPDX-License-Identifier: Apache-2.0
"""Packets that are not their link's pod's: what is told of them, how often, and of whose link."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import pytest

from podfence.agent.denials import AGAIN
from podfence.agent.nflog import Logged
from podfence.agent.strays import MOST, LeftOutStrays, Stray, Strays
from podfence.api import Cluster
from podfence.dataplane.compiler import Compiler
from podfence.dataplane.links import Links, PodLink
from podfence.sets.addresses import parse_address
from tests.agent.test_denials import four, ports, six
from tests.policy.parts import pod, space

if TYPE_CHECKING:
    from podfence.kube.objects import KubeObject

WEB = "10.244.1.5"
LINKS = Links((PodLink("lo", "", "", (parse_address(WEB),), "shop/web"),))
LO = socket.if_nametoindex("lo")
HARDWARE = "0a:58:0a:f4:01:05"
HEAD = ("dropped", "unknown-source", "lo", "shop/web", HARDWARE)


@pytest.fixture
def compiler() -> Compiler:
    items: list[KubeObject] = [space("shop"), pod("web", WEB, node="n1"), pod("db", "10.244.1.6")]
    return Compiler(Cluster.from_objects(items).model, "n1")


def logged(packet: bytes, *, reason: str = "unknown-source", kind: int = 0x0800, interface: int = LO) -> Logged:
    return Logged(f"podfence {reason}: ", packet, interface, kind, HARDWARE)


@pytest.mark.parametrize(
    ("packet", "expected", "text"),
    [
        pytest.param(
            logged(four("10.244.1.6", "10.244.1.7", 6, ports(80))),
            Stray(*HEAD, "10.244.1.6", "shop/db", "10.244.1.7", "", "TCP", 80),
            "dropped unknown-source by lo of shop/web: shop/db (10.244.1.6) -> 10.244.1.7 TCP 80",
            id="the address of another",
        ),
        pytest.param(
            logged(six("fe80::1", "ff02::1", 17, ports(5353)), kind=0x86DD),
            Stray(*HEAD, "fe80::1", "", "ff02::1", "", "UDP", 5353),
            "dropped unknown-source by lo of shop/web: fe80::1 -> ff02::1 UDP 5353",
            id="link-local",
        ),
        pytest.param(
            logged(b"\0\1\x08\0\6\4", kind=0x0806),
            Stray(*HEAD, "", "", "", "", "ARP", None),
            "dropped unknown-source by lo of shop/web: 0a:58:0a:f4:01:05 ARP",
            id="ARP",
        ),
        pytest.param(
            logged(b"", kind=0x88B5),
            Stray(*HEAD, "", "", "", "", "frame 0x88b5", None),
            "dropped unknown-source by lo of shop/web: 0a:58:0a:f4:01:05 frame 0x88b5",
            id="any frame",
        ),
        pytest.param(
            logged(four(WEB, "10.0.0.1", 17, ports(8472)), reason="tunnel", interface=1 << 20),
            Stray("dropped", "tunnel", "interface 1048576", "", HARDWARE, WEB, "shop/web", "10.0.0.1", "", "UDP", 8472),
            "dropped tunnel by interface 1048576: shop/web (10.244.1.5) -> 10.0.0.1 UDP 8472",
            id="an interface that is gone",
        ),
    ],
)
def test_a_packet_is_told_with_the_link_that_it_came_by(
    compiler: Compiler, packet: Logged, expected: Stray, text: str
) -> None:
    (found,) = Strays("enforce").tell([packet], LINKS, compiler, 0.0)
    assert found == expected
    assert str(found) == text


def test_what_is_only_told_of_is_said_to_have_passed(compiler: Compiler) -> None:
    (found,) = Strays("report").tell([logged(four(WEB, WEB, 6, ports(80)))], None, compiler, 0.0)
    assert str(found).startswith("passed unknown-source by lo: ")


@pytest.mark.parametrize("prefix", ["podfence egress denied by shop/p: ", "podfence other: ", "unknown-source: ", ""])
def test_what_others_log_is_left_out(compiler: Compiler, prefix: str) -> None:
    packet = Logged(prefix, four(WEB, WEB, 6, ports(80)), LO)
    assert Strays("enforce").tell([packet], LINKS, compiler, 0.0) == []


def test_what_is_alike_is_told_once_a_minute(compiler: Compiler) -> None:
    strays, packet = Strays("enforce"), logged(four("10.0.0.9", WEB, 6, ports(80)))
    assert len(strays.tell([packet, packet], LINKS, compiler, 0.0)) == 1
    assert strays.tell([packet], LINKS, compiler, AGAIN - 1) == []
    assert len(strays.tell([packet], LINKS, compiler, AGAIN)) == 1


def test_one_link_cannot_hide_what_another_sends(compiler: Compiler) -> None:
    strays = Strays("enforce")
    many = [logged(four("10.0.0.9", WEB, 6, ports(port))) for port in range(1, MOST + 11)]
    assert len(strays.tell(many, LINKS, compiler, 1.0)) == MOST
    (other,) = strays.tell([logged(four("10.0.0.8", WEB, 6, ports(80)), interface=1 << 20)], LINKS, compiler, 2.0)
    assert isinstance(other, Stray)
    assert strays.tell([], LINKS, compiler, AGAIN) == [LeftOutStrays("lo", 10)]
    assert len(strays.tell(many[-5:], LINKS, compiler, 2 * AGAIN)) == 5
