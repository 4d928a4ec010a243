# SPDX-License-Identifier: Apache-2.0
"""Flows that a change of policies cut, and what their ends do to have them back.

Podfence 0.1.0 marked the entry that the kernel keeps of a flow. A client that feigned the end of its connection let
the entry expire, and the server's next word made a new one, the wrong way round: everything the client said then
passed as an answer. Connections that began while somebody had deleted the table could not be marked, and went on. And
what the server's end was allowed to send by itself was dropped for as long as it tried.
"""

from __future__ import annotations

import os
import socket
import struct
import time
from contextlib import ExitStack, closing, contextmanager
from typing import TYPE_CHECKING, Final

import pytest
from scapy.compat import raw
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import ICMPv6EchoRequest, IPv6
from scapy.layers.l2 import Ether
from scapy.packet import Packet, Raw

from podfence.dataplane.conntrack import KernelConntrack
from podfence.dataplane.flows import Sides
from podfence.dataplane.settings import Settings
from podfence.sets.addresses import parse_address
from tests.attacks import plain
from tests.attacks.bed import PATIENCE, ingress_of_t
from tests.attacks.judging import datagram, ethernet, packet
from tests.attacks.plain import ARRIVES, QUIET
from tests.attacks.wiring import NETWORKS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.attacks.bed import Bed
    from tests.attacks.judging import Pair

on_both_networks = pytest.mark.parametrize("network", NETWORKS)
both_families = pytest.mark.parametrize("family", [4, 6])

NOBODY: Final = ingress_of_t(peers=())
EVERYTHING_OF_C: Final = ingress_of_t(peers=("c",), ports=None)
AS_EVER: Final = ingress_of_t()


def arrives(bed: Bed, sender: str, receiver: str, frame: Packet, patience: float) -> bool:
    """Return whether a frame reaches a link within so many seconds; it is given a token of its own."""
    token = bed.token()
    port = bed.port(receiver)
    port.forget()
    bed.port(sender).send(frame / Raw(token))
    return port.hears(token, patience) is not None


def fresh(bed: Bed, sender: str, receiver: str, port: int = 5353) -> tuple[str, str, Packet]:
    """Return both ends, and a datagram that no flow is known of."""
    ends = bed[sender], bed[receiver]
    return sender, receiver, ethernet(bed, *ends) / datagram(bed, *ends, port=port)


@pytest.fixture
def guarded(pair: Pair) -> Iterator[Bed]:
    """Return the guarded bed, as it is a minute after its start; its policies are put back afterwards."""
    bed = pair.guarded
    bed.run("n1", "nft", "flush set inet podfence grace")
    yield bed
    bed.cluster.put(AS_EVER)
    bed.until(lambda: arrives(bed, *fresh(bed, "c", "t"), 0.1), "c may send to t again")
    bed.until(lambda: not arrives(bed, *fresh(bed, "c", "t", port=5354), 0.1), "and only that")


@contextmanager
def changed(bed: Bed, policy: dict[str, object], *, cuts: bool = True) -> Iterator[None]:
    """Put a policy, and go on when flows are cut; that of this function is one of them."""
    c, t = bed["c"], bed["t"]
    canary = ethernet(bed, c, t) / datagram(bed, c, t)
    assert arrives(bed, "c", "t", canary, ARRIVES)
    bed.cluster.put(policy)
    if cuts:
        bed.until(lambda: not arrives(bed, "c", "t", canary, 0.1), "the flow is cut")
    yield


class Connection:
    """An ordinary connection from c to t, and what its segments say next."""

    def __init__(self, bed: Bed, stack: ExitStack, family: int, port: int = 80) -> None:
        """Open it, and let both ends speak once."""
        self.family = family
        self._bed = bed
        address = bed["t"].address(family)
        listening = stack.enter_context(closing(plain.listening(bed, "t", plain.STREAM, port, family)))
        self.client = stack.enter_context(closing(plain.opened(bed, "c", plain.STREAM, family)))
        heard = bed.port("c")
        heard.forget()
        self.client.connect_ex((address, port))
        assert plain.ready(self.client, ARRIVES, writable=True)
        assert plain.ready(listening, ARRIVES)
        self.server = stack.enter_context(closing(listening.accept()[0]))
        self.server.setblocking(False)
        first = heard.first(self._opens, ARRIVES)
        assert first is not None
        answer = Ether(first)[TCP]
        self.ports = answer.dport, answer.sport
        self.client.send(b"hello")
        assert plain.ready(self.server, ARRIVES)
        self.server.recv(64)
        self.next = answer.ack + len(b"hello")

    def _opens(self, frame: bytes) -> bool:
        found = Ether(frame)
        return TCP in found and found[TCP].flags == "SA" and found[TCP].dport == self.client.getsockname()[1]

    def segment(self, flags: str) -> Packet:
        """Return what the client would send with these flags."""
        c, t = self._bed["c"], self._bed["t"]
        head = packet(c.address(self.family), t.address(self.family))
        sport, dport = self.ports
        return ethernet(self._bed, c, t) / head / TCP(sport=sport, dport=dport, flags=flags, seq=self.next)

    def entry(self) -> bool:
        """Return whether the kernel of the node has an entry of it."""
        words = self._bed.run("n1", "cat", "/proc/net/nf_conntrack").splitlines()
        return any(f"sport={self.ports[0]} dport={self.ports[1]}" in line and "TIME_WAIT" not in line for line in words)

    def server_says(self, words: bytes) -> None:
        try:
            self.server.send(words)
        except OSError:
            return

    def server_hears(self, patience: float = QUIET) -> bytes:
        """Return what the server hears from the client within so many seconds."""
        try:
            return self.server.recv(64) if plain.ready(self.server, patience) else b""
        except OSError:
            return b""

    def client_says(self, words: bytes) -> None:
        try:
            self.client.send(words)
        except OSError:
            return


@on_both_networks
@both_families
def test_a_connection_whose_end_the_client_feigned_does_not_come_back(guarded: Bed, family: int) -> None:
    with ExitStack() as stack, remembering(guarded, "tcp_timeout_close", 1):
        connection = Connection(guarded, stack, family)
        with changed(guarded, NOBODY):
            assert connection.entry()
            guarded.port("c").send(connection.segment("R"))
            guarded.until(lambda: not connection.entry(), "the entry is gone")
            connection.server_says(b"tick")
            connection.client_says(b"after the cut")
            assert b"after the cut" not in connection.server_hears()


@on_both_networks
@both_families
def test_a_connection_whose_entry_is_lost_does_not_come_back(guarded: Bed, family: int) -> None:
    with ExitStack() as stack:
        connection = Connection(guarded, stack, family)
        with changed(guarded, NOBODY):
            lose(guarded)
            assert not connection.entry()
            connection.server_says(b"tick")
            connection.client_says(b"after the cut")
            assert b"after the cut" not in connection.server_hears()


@on_both_networks
def test_a_connection_that_loses_its_entry_before_the_cut_does_not_survive_it(guarded: Bed) -> None:
    with ExitStack() as stack:
        connection = Connection(guarded, stack, 4)
        lose(guarded)
        with changed(guarded, NOBODY):
            connection.server_says(b"tick")
            connection.client_says(b"after the cut")
            assert b"after the cut" not in connection.server_hears()


@contextmanager
def remembering(bed: Bed, name: str, seconds: int) -> Iterator[None]:
    """Let the node forget flows of a kind after so many seconds."""
    path = f"net.netfilter.nf_conntrack_{name}"
    before = bed.run("n1", "sysctl", "-n", path).strip()
    bed.run("n1", "sysctl", "-qw", f"{path}={seconds}")
    try:
        yield
    finally:
        bed.run("n1", "sysctl", "-qw", f"{path}={before}")


def flows_of(bed: Bed) -> KernelConntrack:
    """Return what lists the flows of the node."""
    with bed["n1"].space.entered():
        return KernelConntrack(Settings().label)


def lose(bed: Bed) -> None:
    """Let the node forget all flows, as if so many others had come that there was no room."""
    with closing(flows_of(bed)) as conntrack:
        assert conntrack.forget([flow.handle for flow in conntrack.flows(None)]) == set()


FLOOD: Final = 60_000


@on_both_networks
@pytest.mark.skipif(not os.environ.get("PODFENCE_LONG"), reason="fills the node's table of flows: PODFENCE_LONG=1")
def test_a_flow_whose_entry_a_flood_has_pushed_out_does_not_come_back(guarded: Bed) -> None:
    """The room of that table is that of the machine, and nobody can make less of it in a namespace."""
    number = guarded.number()
    room = int(guarded.run("n1", "sysctl", "-n", "net.netfilter.nf_conntrack_max"))
    frame = of_c(guarded, "udp", 4, number)
    sources = iter(range(1024, 2048))
    with remembering(guarded, "udp_timeout", 600), closing(flows_of(guarded)) as conntrack:
        while int(guarded.run("n1", "sysctl", "-n", "net.netfilter.nf_conntrack_count")) < room - FLOOD:
            flood(guarded, next(sources))
        allow_everything(guarded)
        guarded.until(lambda: arrives(guarded, "c", "t", frame, 0.1), "c may send it")
        with changed(guarded, NOBODY):
            guarded.until(lambda: not arrives(guarded, "c", "t", frame, 0.1), "this one is cut too")
            t = frozenset({parse_address(guarded["t"].four)})
            assert is_known(conntrack, t, number)
            before = early_drops(guarded)
            while is_known(conntrack, t, number):
                flood(guarded, next(sources))
            assert early_drops(guarded) > before
            assert not arrives(guarded, "c", "t", frame, QUIET)
            assert not plain.connection(guarded, "a", "t", guarded["t"].four, 80, patience=QUIET)
            assert plain.connection(guarded, "a", "c", guarded["c"].four, 80, patience=ARRIVES)
        lose(guarded)


def flood(bed: Bed, source: int) -> None:
    """Let a begin as many flows to x from a port as there are ports, nearly."""
    head = ethernet(bed, bed["a"], bed["x"]) / packet(bed["a"].four, bed["x"].four) / UDP(sport=source, chksum=0)
    frame = bytearray(raw(head))
    for port in range(1024, 1024 + FLOOD):
        struct.pack_into(">H", frame, 14 + 20 + 2, port)
        bed.port("a").send(bytes(frame))


def is_known(conntrack: KernelConntrack, addresses: frozenset[int], number: int) -> bool:
    return any(flow.original.source_port == number for flow in conntrack.flows(Sides.both(addresses)))


def early_drops(bed: Bed) -> int:
    """Return how many entries the kernel has pushed out for others."""
    titles, *lines = bed.run("n1", "cat", "/proc/net/stat/nf_conntrack").splitlines()
    place = titles.split().index("early_drop")
    return sum(int(line.split()[place], 16) for line in lines)


def of_c(bed: Bed, kind: str, family: int, number: int, *, back: bool = False) -> Packet:
    """Return what c sends to t on a flow, or t to c."""
    ends = (bed["t"], bed["c"]) if back else (bed["c"], bed["t"])
    head = ethernet(bed, *ends) / packet(*(end.address(family) for end in ends))
    if kind == "udp":
        return head / UDP(sport=number, dport=number)
    if kind == "half-open":
        return head / TCP(sport=number, dport=82, flags="S", seq=5)
    if kind == "echo":
        return head / (ICMPv6EchoRequest(id=number & 0x7FFF) if family == 6 else ICMP(id=number & 0x7FFF))
    head[IPv6 if family == 6 else IP].setfieldval("nh" if family == 6 else "proto", 253)
    return head


@on_both_networks
@both_families
@pytest.mark.parametrize("kind", ["udp", "half-open", "echo", "protocol-253"])
def test_what_was_under_way_is_cut(guarded: Bed, kind: str, family: int) -> None:
    number = guarded.number()
    allow_everything(guarded)
    frame = of_c(guarded, kind, family, number)
    guarded.until(lambda: arrives(guarded, "c", "t", frame, 0.1), "c may send it")
    with changed(guarded, NOBODY):
        guarded.until(lambda: not arrives(guarded, "c", "t", frame, 0.1), "this one is cut too")
        assert not arrives(guarded, "c", "t", frame, QUIET)


def allow_everything(bed: Bed) -> None:
    """Let c send everything to t."""
    bed.cluster.put(EVERYTHING_OF_C)
    bed.until(lambda: arrives(bed, *fresh(bed, "c", "t", port=5355), 0.1), "c may send everything to t")


@on_both_networks
@both_families
@pytest.mark.parametrize("kind", ["udp", "protocol-253"])
def test_the_other_end_may_send_what_it_is_allowed_and_opens_no_way_back(guarded: Bed, kind: str, family: int) -> None:
    number = guarded.number()
    allow_everything(guarded)
    there, back = of_c(guarded, kind, family, number), of_c(guarded, kind, family, number, back=True)
    # A flow of a protocol without ports may be one that was cut before, which is allowed again a moment later.
    guarded.until(lambda: arrives(guarded, "c", "t", there, 0.1), "c may send it")
    assert arrives(guarded, "t", "c", back, ARRIVES)
    with changed(guarded, NOBODY):
        guarded.until(lambda: not arrives(guarded, "c", "t", there, 0.1), "cut")
        assert arrives(guarded, "t", "c", back, ARRIVES)
        assert not arrives(guarded, "c", "t", there, QUIET)


@on_both_networks
def test_a_port_that_is_used_again_is_judged_again(guarded: Bed) -> None:
    number = guarded.number()

    def connects(patience: float) -> bool:
        with ExitStack() as stack:
            server = stack.enter_context(closing(plain.listening(guarded, "t", plain.STREAM, 80, 4)))
            client = stack.enter_context(closing(plain.opened(guarded, "c", plain.STREAM, 4)))
            client.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            client.bind((guarded["c"].four, number))
            client.connect_ex((guarded["t"].four, 80))
            if not plain.ready(client, patience, writable=True):
                return False
            if client.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
                return False
            stack.enter_context(closing(server.accept()[0]))
            return True

    assert connects(ARRIVES)
    with changed(guarded, NOBODY):
        assert not connects(QUIET)
    guarded.cluster.put(AS_EVER)
    guarded.until(lambda: connects(0.2), "allowed again")


@on_both_networks
def test_a_connection_that_began_while_the_table_was_gone_ends_with_the_repair(guarded: Bed) -> None:
    with ExitStack() as stack:
        server = stack.enter_context(closing(plain.listening(guarded, "t", plain.STREAM, 81, 4)))
        client = None
        end = time.monotonic() + PATIENCE
        while client is None:
            assert time.monotonic() < end, "no connection got in while the table was gone"
            guarded.run("n1", "nft", "delete table inet podfence")
            client = began(guarded, stack)
            settled(guarded)
        accepted = stack.enter_context(closing(server.accept()[0]))
        client.send(b"still here")
        assert not plain.ready(accepted, QUIET) or not heard(accepted)


def began(bed: Bed, stack: ExitStack) -> socket.socket | None:
    """Return a connection from a to t that is made right now, or nothing if it is not."""
    for _ in range(20):
        client = plain.opened(bed, "a", plain.STREAM, 4)
        client.connect_ex((bed["t"].four, 81))
        if plain.ready(client, 0.002, writable=True) and not client.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            return stack.enter_context(closing(client))
        client.close()
    return None


def settled(bed: Bed) -> None:
    """Wait until the agent has repaired its table and looked at all flows."""
    bed.until(lambda: "in4" in bed.run("n1", "nft", "list table inet podfence"), "the table is back")
    bed.until(lambda: not arrives(bed, *fresh(bed, "a", "t"), 0.1), "a is kept from t")


def heard(item: socket.socket) -> bytes:
    try:
        return item.recv(64)
    except OSError:
        return b""
