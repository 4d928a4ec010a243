# SPDX-License-Identifier: Apache-2.0
"""Pods do not put packets into the tunnels of nodes, and nodes do, with a VXLAN whose inner packets say who got through."""

from __future__ import annotations

import os
import shutil
import socket
from contextlib import ExitStack
from typing import TYPE_CHECKING, Final

import pytest

from podfence.cluster.state import Event, EventType
from podfence.dataplane.settings import Settings
from podfence.kube.objects import Node
from tests.dataplane.bed import (
    LOG_GROUP,
    MARKER_PORT,
    NODE_ADDRESSES,
    OPEN_PORT,
    PATIENCE,
    UNDER,
    Bed,
    C,
    T,
    token,
    until,
)
from tests.dataplane.frames import IPV4, ether, udp
from tests.spaces import Space

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.skipif(
    os.geteuid() != 0 or not all(map(shutil.which, ("nft", "ip"))), reason="needs root, nft and iproute2"
)

VXLAN: Final = 8472
FLANNEL_MAC: Final = "02:aa:00:00:00:01"
REMOTE_MAC: Final = "02:aa:00:00:00:02"
REMOTE_POD: Final = "10.244.2.2"


class Tunnelled:
    """A bed whose node takes packets out of a VXLAN, and the other node at its other end."""

    def __init__(self, stack: ExitStack, kind: str, settings: Settings) -> None:
        self.bed = bed = stack.enter_context(Bed(kind, settings))  # type: ignore[arg-type]
        self.other = Space()
        stack.callback(self.other.close)
        node, other = bed.node, self.other
        node.ip(
            f"link add under type veth peer name under netns {other.path}",
            "link set under up",
            f"route add {UNDER[0]}/32 dev under src {NODE_ADDRESSES[0]}",
            f"link add flannel.1 address {FLANNEL_MAC} type vxlan id 1 dev under local {NODE_ADDRESSES[0]} dstport {VXLAN} nolearning",
            "link set flannel.1 up",
            "route add 10.244.2.0/24 dev flannel.1",
        )
        other.ip(
            "link set lo up",
            f"addr add {UNDER[0]}/32 dev lo",
            f"addr add {REMOTE_POD}/32 dev lo",
            "link set under up",
            f"route add {NODE_ADDRESSES[0]}/32 dev under src {UNDER[0]}",
            f"route add 10.244.1.0/24 via {NODE_ADDRESSES[0]} dev under onlink",
        )
        node.wait_for_links()
        bed.bind(tunnel_ports=frozenset({VXLAN}), tunnel_protocols=frozenset({4, 47}))


def inside(source: str, content: bytes) -> bytes:
    """Return what VXLAN carries for T, which policies allow from C and from no other pod but for markers."""
    port = OPEN_PORT if source == C.four else MARKER_PORT
    inner = ether(REMOTE_MAC, FLANNEL_MAC, IPV4, udp(source, T.four, port, content))
    return bytes((8, 0, 0, 0, 0, 0, 1, 0)) + inner


@pytest.fixture(scope="module", params=["bridge", "routed"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def tunnelled(kind: str) -> Iterator[Tunnelled]:
    with ExitStack() as stack:
        yield Tunnelled(stack, kind, Settings(log_group=LOG_GROUP))


@pytest.fixture(scope="module")
def unbound(kind: str) -> Iterator[Tunnelled]:
    with ExitStack() as stack:
        yield Tunnelled(stack, kind, Settings(binding="off"))


def gets(where: Tunnelled, sender: Space, to: str, source: str) -> bool:
    """Return whether T gets a packet that somebody puts into the tunnel by an ordinary socket."""
    key = token()
    with sender.entered():
        one = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with where.bed.listening(T) as receiver, one:
        one.sendto(inside(source, key), (to, VXLAN))
        where.bed.send(C, where.bed.datagram(C, T, b"last", MARKER_PORT))
        return key in until(receiver, b"last")


@pytest.mark.parametrize("to", [NODE_ADDRESSES[0], "10.244.1.1"])
def test_a_pod_does_not_speak_to_the_tunnel_of_its_node(to: str, tunnelled: Tunnelled, unbound: Tunnelled) -> None:
    assert gets(unbound, unbound.bed.pods["a"], to, C.four)
    assert not gets(tunnelled, tunnelled.bed.pods["a"], to, C.four)


def test_a_pod_of_another_node_does_not_speak_to_it_either(tunnelled: Tunnelled, unbound: Tunnelled) -> None:
    """Its packets come with its own address, as they do where the network of pods is routed."""
    for where in (tunnelled, unbound):
        key = token()
        with where.other.entered():
            one = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            one.bind((REMOTE_POD, 0))
        with where.bed.listening(T) as receiver, one:
            one.sendto(inside(C.four, key), (NODE_ADDRESSES[0], VXLAN))
            where.bed.send(C, where.bed.datagram(C, T, b"last", MARKER_PORT))
            assert (key in until(receiver, b"last")) is (where is unbound)


def test_another_node_does_and_not_with_the_address_of_a_pod_that_is_here(
    tunnelled: Tunnelled, unbound: Tunnelled
) -> None:
    assert gets(tunnelled, tunnelled.other, NODE_ADDRESSES[0], REMOTE_POD)
    assert gets(unbound, unbound.other, NODE_ADDRESSES[0], C.four)
    assert not gets(tunnelled, tunnelled.other, NODE_ADDRESSES[0], C.four)


def test_a_node_that_is_new_is_not_to_be_spoken_to_either(kind: str) -> None:
    """A flow to its tunnel that began before is cut, too."""
    with ExitStack() as stack:
        where = Tunnelled(stack, kind, Settings())
        bed = where.bed
        with bed.pods["a"].entered():
            sender = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        address = "198.51.100.77"
        where.other.ip(f"addr add {address}/32 dev lo")
        bed.node.ip(f"route add {address}/32 dev under")
        with where.other.entered():
            receiver = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        receiver.bind((address, VXLAN))
        receiver.settimeout(PATIENCE)
        sender.sendto(b"before", (address, VXLAN))
        assert receiver.recv(99) == b"before"
        node = Node(name="n3", labels={}, addresses=(address,))
        bed.enforcer.apply(bed.cluster.apply(Event(EventType.ADDED, node)))
        sender.sendto(b"after", (address, VXLAN))
        with where.other.entered():
            last = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        last.sendto(b"last", (address, VXLAN))
        assert receiver.recv(99) == b"last"
