# SPDX-License-Identifier: Apache-2.0
"""Established flows through a real kernel: what is forbidden now is cut, and nothing else; what is allowed again lives."""

from __future__ import annotations

import os
import shutil
import socket
import time
from typing import TYPE_CHECKING, NamedTuple

import pytest

from podfence.api import Cluster
from podfence.cluster.state import Event, EventType
from podfence.dataplane.conntrack import KernelConntrack
from podfence.dataplane.enforcer import Enforcer
from podfence.dataplane.revocation import Reviewed
from podfence.dataplane.settings import Settings
from podfence.kube.objects import KubeObject, Node, Peer, PolicyPort
from podfence.nft.process import NftRunner
from podfence.sets.addresses import parse_address
from tests.dataplane.inside import inside
from tests.dataplane.lines import Lines
from tests.dataplane.network import Network
from tests.policy.parts import app, block, label, pod, policy, rule, space

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

    from podfence.dataplane.conntrack import Settled
    from podfence.dataplane.flows import Flow
    from tests.dataplane.lines import Line, Ping

pytestmark = pytest.mark.skipif(
    os.geteuid() != 0 or not all(map(shutil.which, ("nft", "ip", "unshare", "nsenter"))),
    reason="needs root, nft, iproute2 and util-linux",
)


class Addresses(NamedTuple):
    """The same ends in one family."""

    web: str
    db: str
    api: str
    outside: str
    node: str
    service: str


FOUR = Addresses("10.0.0.1", "10.0.0.2", "10.0.0.3", "203.0.113.9", "172.18.0.1", "10.96.0.1")
SIX = Addresses("fd00::1", "fd00::2", "fd00::3", "2001:db8::9", "fd00:172::1", "fd00:96::1")
FAMILY = pytest.mark.parametrize("at", [FOUR, SIX], ids=["IPv4", "IPv6"])
KIND = pytest.mark.parametrize("kind", ["tcp", "udp"])

NODE = Node(name="n1", labels={}, addresses=(FOUR.node, SIX.node), pod_cidrs=("10.0.0.0/24", "fd00::/120"))
WEB = pod("web", FOUR.web, SIX.web, namespace="front", node="n1")
DB = pod("db", FOUR.db, SIX.db, node="n1")
API = pod("api", FOUR.api, SIX.api, node="n1")
FRONT = space("front", team="a")
PORT, OPEN, STREAM = 5000, 6000, 6001
STILL = rule(ports=[PolicyPort("TCP", OPEN, STREAM), PolicyPort("UDP", OPEN)])
"""What every policy here admits, for the flows that must not suffer."""


@pytest.fixture(scope="module")
def network() -> Iterator[Network]:
    ends = (WEB.addresses, DB.addresses, API.addresses, (FOUR.outside, SIX.outside))
    with Network((FOUR.node, SIX.node), ends) as found:
        yield found


@pytest.fixture(scope="module")
def conntrack(network: Network) -> Iterator[KernelConntrack]:
    found = inside(network.pid_of(FOUR.node), lambda: KernelConntrack(Settings().label))
    yield found
    found.close()


@pytest.fixture
def lines(network: Network, conntrack: KernelConntrack) -> Iterator[Lines]:
    with Lines(network) as found:
        yield found
    network.forget()
    # Only flows of the next test are to be counted there; this empties the table (IPCTNL_MSG_CT_DELETE).
    assert conntrack._table.change(0x102, [bytes(4)]) == [0]


class Scene:
    """A cluster of three pods on the node, enforced with its flows in view."""

    def __init__(self, network: Network, conntrack: KernelConntrack, *objects: KubeObject) -> None:
        self.cluster = Cluster.from_objects([space("shop"), FRONT, NODE, WEB, DB, API, *objects])
        self.enforcer = Enforcer(NftRunner(prefix=network.prefix), "n1", self.cluster.model, None, conntrack)
        self.enforcer.start()

    def apply(self, *events: tuple[EventType, KubeObject]) -> Reviewed:
        self.enforcer.apply(*[self.cluster.apply(Event(kind, item)) for kind, item in events])
        return self.enforcer.reviewed


class Tightening(NamedTuple):
    """What is there before, an event that forbids port 5000 from web to db, and one that allows it again."""

    before: tuple[KubeObject, ...]
    event: tuple[EventType, KubeObject]
    undo: tuple[EventType, KubeObject]


ADDED, MODIFIED, DELETED = EventType.ADDED, EventType.MODIFIED, EventType.DELETED
CLOSED_IN = policy("p", app("db"), ingress=[STILL])
CLOSED_OUT = policy("p", app("web"), namespace="front", egress=[STILL])
FROM_WEB = policy("p", app("db"), ingress=[STILL, rule(Peer(pod_selector=app("web"), namespace_selector=label("team", "a")))])  # fmt: skip
WIDE = policy("p", app("db"), ingress=[STILL, rule(block("10.0.0.0/30"), block("fd00::/126"))])
NARROW = policy("p", app("db"), ingress=[STILL, rule(block("10.0.0.0/30", "10.0.0.1/32"), block("fd00::2/127"))])
OTHER_WEB = pod("web", *WEB.addresses, namespace="front", node="n1", labels={"app": "other"})
TIGHTENINGS = {
    "policy for ingress": Tightening((), (ADDED, CLOSED_IN), (DELETED, CLOSED_IN)),
    "policy for egress": Tightening((), (ADDED, CLOSED_OUT), (DELETED, CLOSED_OUT)),
    "rule of a policy": Tightening((FROM_WEB,), (MODIFIED, CLOSED_IN), (MODIFIED, FROM_WEB)),
    "label of a pod": Tightening((FROM_WEB,), (MODIFIED, OTHER_WEB), (MODIFIED, WEB)),
    "label of a namespace": Tightening((FROM_WEB,), (MODIFIED, space("front", team="b")), (MODIFIED, FRONT)),
    "ipBlock": Tightening((WIDE,), (MODIFIED, NARROW), (MODIFIED, WIDE)),
}
CHANGE = pytest.mark.parametrize("change", TIGHTENINGS.values(), ids=TIGHTENINGS)


@FAMILY
@KIND
@CHANGE
@pytest.mark.parametrize("speaker", ["client", "server"])
def test_a_flow_that_a_change_forbids_is_cut_whoever_speaks_first_and_no_other(
    network: Network, conntrack: KernelConntrack, lines: Lines, change: Tightening, kind: str, at: Addresses, speaker: str
) -> None:  # fmt: skip
    scene = Scene(network, conntrack, *change.before)
    cut = lines.connect(kind, at.web, at.db, PORT)
    others = [lines.connect(kind, at.web, at.db, OPEN), lines.connect(kind, at.db, at.web, PORT), lines.connect(kind, at.api, at.web, PORT)]  # fmt: skip
    assert scene.apply(change.event).cut == 1

    cut.refuses(speaker, others[0])
    if kind == "udp":
        for name in ("client", "server", "client"):
            cut.refuses(name, others[0])
    for line in others:
        line.works()
    assert [flow.labelled for flow in conntrack.flows({parse_address(at.db)}) if is_of(flow, at, PORT)].count(True) == 1
    assert scene.enforcer.review() == 0


def is_of(flow: Flow, at: Addresses, port: int) -> bool:
    """Return whether a flow goes from web to a port of db, as it did when it began."""
    return (flow.source, flow.destination, flow.reply.source_port) == (parse_address(at.web), parse_address(at.db), port)  # fmt: skip


@FAMILY
@KIND
@CHANGE
def test_a_flow_that_is_alive_when_it_is_allowed_again_goes_on(
    network: Network, conntrack: KernelConntrack, lines: Lines, change: Tightening, kind: str, at: Addresses
) -> None:
    scene = Scene(network, conntrack, *change.before)
    line = lines.connect(kind, at.web, at.db, PORT)
    assert scene.apply(change.event) == Reviewed(cut=1)
    assert scene.apply(change.undo) == Reviewed(freed=1)
    line.works()


@FAMILY
def test_flows_that_stay_allowed_keep_all_their_bytes_while_others_are_cut_and_freed(
    network: Network, conntrack: KernelConntrack, lines: Lines, at: Addresses
) -> None:
    scene = Scene(network, conntrack)
    streams = [lines.stream(at.web, at.db, STREAM), lines.stream(at.db, at.web, PORT)]
    for change in TIGHTENINGS.values():
        for item in change.before:
            scene.apply((ADDED, item))
        line = lines.connect("tcp", at.web, at.db, PORT)
        assert scene.apply(change.event).cut >= 1
        scene.enforcer.review()
        line.refuses("client", lines.connect("tcp", at.web, at.db, OPEN))
        scene.apply(change.undo)
        for item in change.before:
            scene.apply((DELETED, item))
    for stream in streams:
        stream.end()
        assert stream.received == stream.sent > 0


@FAMILY
@KIND
@pytest.mark.parametrize("speaker", ["client", "server"])
def test_a_flow_through_a_service_is_judged_by_the_backend_that_answers(
    network: Network, conntrack: KernelConntrack, lines: Lines, kind: str, at: Addresses, speaker: str
) -> None:
    scene = Scene(network, conntrack)
    family, bracketed = ("ip6", f"[{at.db}]") if ":" in at.db else ("ip", at.db)
    network.nft(
        "add table inet services; add chain inet services pre { type nat hook prerouting priority -100; };"
        f"add rule inet services pre {family} daddr {at.service} {kind} dport 80 dnat {family} to {bracketed}:{PORT};"
        f"add rule inet services pre {family} daddr {at.service} {kind} dport 81 dnat {family} to {bracketed}:{OPEN}"
    )
    try:
        cut = lines.connect(kind, at.web, at.db, PORT, via=(at.service, 80))
        kept = lines.connect(kind, at.web, at.db, OPEN, via=(at.service, 81))
        assert scene.apply((ADDED, CLOSED_IN)).cut == 1
        cut.refuses(speaker, kept)
    finally:
        network.nft("delete table inet services")


@FAMILY
@KIND
@pytest.mark.parametrize("speaker", ["client", "server"])
def test_a_flow_to_the_own_node_is_cut_and_one_from_it_is_not(
    network: Network, conntrack: KernelConntrack, lines: Lines, kind: str, at: Addresses, speaker: str
) -> None:
    scene = Scene(network, conntrack)
    cut = lines.connect(kind, at.web, at.node, PORT)
    kept = lines.connect(kind, at.node, at.web, PORT)
    fence = lines.connect(kind, at.web, at.node, OPEN)
    closed = policy("p", app("web"), namespace="front", egress=[STILL], ingress=[])
    assert scene.apply((ADDED, closed)).cut == 1

    cut.refuses(speaker, fence)
    kept.works()


def asked(ping: Ping, fence: Line) -> bool:
    """Return whether an echo request is answered by the time that others have come and gone."""
    ping.ask()
    fence.works()
    return ping.answered()


@FAMILY
def test_echo_requests_are_a_flow_too(
    network: Network, conntrack: KernelConntrack, lines: Lines, at: Addresses
) -> None:
    scene = Scene(network, conntrack)
    fence = lines.connect("udp", at.web, at.db, OPEN)
    ping = lines.ping(at.web, at.db)
    assert asked(ping, fence)
    scene.apply((ADDED, CLOSED_IN))
    assert not asked(ping, fence)
    scene.apply((DELETED, CLOSED_IN))
    assert asked(ping, fence)


def test_icmp_errors_about_a_flow_are_cut_with_it(network: Network, conntrack: KernelConntrack, lines: Lines) -> None:
    scene = Scene(network, conntrack)
    line, fence = lines.connect("udp", FOUR.web, FOUR.db, PORT), lines.connect("udp", FOUR.web, FOUR.db, OPEN)
    lines.unreachable(line)
    with pytest.raises(ConnectionRefusedError):
        line.ends["client"].recv(64)
    scene.apply((ADDED, CLOSED_IN))
    lines.unreachable(line)
    fence.works()
    line.silent("client")


@FAMILY
@KIND
def test_flows_of_a_deleted_pod_are_cut_and_the_next_owner_of_the_address_has_what_its_policies_admit(
    network: Network, conntrack: KernelConntrack, lines: Lines, kind: str, at: Addresses
) -> None:
    other = policy("other", app("new"), ingress=[STILL])
    scene = Scene(network, conntrack, other)
    gone, idle = lines.connect(kind, at.outside, at.db, PORT), lines.connect(kind, at.outside, at.db, OPEN)
    fence = lines.connect(kind, at.outside, at.web, PORT)
    assert scene.apply((DELETED, DB)).cut == 2
    gone.refuses("server", fence)

    assert scene.apply((ADDED, pod("new", *DB.addresses, node="n1"))).freed == 1
    idle.works()
    if kind == "udp":
        gone.refuses("client", fence)
        gone.refuses("server", fence)
        assert scene.apply((DELETED, other)).freed == 1
        gone.works()


@FAMILY
def test_the_next_owner_of_an_address_inherits_no_flow_when_both_pods_are_there_for_a_while(
    network: Network, conntrack: KernelConntrack, lines: Lines, at: Addresses
) -> None:
    scene = Scene(network, conntrack, policy("other", app("new"), ingress=[STILL]))
    gone, kept = lines.connect("udp", at.outside, at.db, PORT), lines.connect("udp", at.outside, at.db, OPEN)
    scene.apply((MODIFIED, pod("db", node="n1")), (ADDED, pod("new", *DB.addresses, node="n1")), (DELETED, DB))
    gone.refuses("client", kept)
    gone.refuses("server", kept)


class Blind:
    """A node's kernel whose first list is from before a flow: its first packet had not left the node yet."""

    def __init__(self, real: KernelConntrack) -> None:
        self.own_addresses = real.own_addresses
        self.label = real.label
        self._real = real
        self.blind = False

    def flows(self, ends: Collection[int] | None, settled: Settled | None = None) -> Iterable[Flow]:
        if self.blind:
            self.blind = False
            return []
        return self._real.flows(ends, settled)


@FAMILY
@KIND
def test_a_flow_that_was_on_its_way_during_the_change_is_cut_by_the_second_look(
    network: Network, conntrack: KernelConntrack, lines: Lines, kind: str, at: Addresses
) -> None:
    kernel = Blind(conntrack)
    scene = Scene(network, kernel)  # type: ignore[arg-type]
    late, fence = lines.connect(kind, at.web, at.db, PORT), lines.connect(kind, at.web, at.db, OPEN)
    kernel.blind = True
    assert scene.apply((ADDED, CLOSED_IN)).cut == 0
    assert scene.enforcer.review() == 1
    late.refuses("server", fence)
    assert scene.enforcer.review() == 0


@KIND
def test_a_new_enforcer_that_adopts_the_table_cuts_and_frees_what_changed_meanwhile(
    network: Network, conntrack: KernelConntrack, lines: Lines, kind: str
) -> None:
    Scene(network, conntrack)
    line, fence = lines.connect(kind, FOUR.web, FOUR.db, PORT), lines.connect(kind, FOUR.web, FOUR.db, OPEN)
    assert Scene(network, conntrack, CLOSED_IN).enforcer.reviewed.cut == 1
    assert Scene(network, conntrack).enforcer.reviewed.freed == 1
    line.works()
    assert Scene(network, conntrack, CLOSED_IN).enforcer.reviewed.cut == 1
    line.refuses("client", fence)


def test_a_flow_that_began_while_somebody_had_emptied_a_chain_is_cut_by_the_repair(
    network: Network, conntrack: KernelConntrack, lines: Lines
) -> None:
    scene = Scene(network, conntrack, CLOSED_IN)
    fence = lines.connect("tcp", FOUR.web, FOUR.db, OPEN)
    network.nft("flush chain inet podfence stage_in")
    line = lines.connect("tcp", FOUR.web, FOUR.db, PORT)
    assert scene.enforcer.verify() == ("chain stage_in had other rules",)
    assert scene.enforcer.reviewed.cut == 1
    line.refuses("server", fence)


@FAMILY
def test_a_flow_that_tcp_has_ended_is_cut_but_not_counted(
    network: Network, conntrack: KernelConntrack, lines: Lines, at: Addresses
) -> None:
    scene = Scene(network, conntrack)
    line = lines.connect("tcp", at.web, at.db, PORT)

    def found() -> Flow:
        (flow,) = (flow for flow in conntrack.flows({parse_address(at.db)}) if is_of(flow, at, PORT))
        return flow

    assert not found().is_over
    for name in ("client", "server"):
        line.ends[name].shutdown(socket.SHUT_WR)
    for end in line.ends.values():
        assert end.recv(64) == b""
    deadline = time.monotonic() + 5
    while not found().is_over:
        assert time.monotonic() < deadline
    assert scene.apply((ADDED, CLOSED_IN)) == Reviewed()
    assert found().labelled
    assert scene.apply((DELETED, CLOSED_IN)) == Reviewed()
    assert not found().labelled


def test_a_forbidden_flow_that_is_older_than_the_table_is_told_of_and_lives(
    network: Network, conntrack: KernelConntrack, lines: Lines
) -> None:
    network.nft(
        "add table inet others; add chain inet others f { type filter hook forward priority 0; };"
        "add rule inet others f ct state established accept"
    )
    try:
        line = lines.connect("tcp", FOUR.web, FOUR.db, PORT)
        scene = Scene(network, conntrack, CLOSED_IN)
        assert scene.enforcer.reviewed.unable >= 1
        line.works()
    finally:
        network.nft("delete table inet others")
