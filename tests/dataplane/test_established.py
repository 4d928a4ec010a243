# SPDX-License-Identifier: Apache-2.0
"""Established flows through a real kernel: what is forbidden now is cut, and nothing else; what is allowed again lives."""

from __future__ import annotations

import socket
import time
from typing import TYPE_CHECKING, NamedTuple

import pytest

from podfence.cluster.state import EventType
from podfence.dataplane.revocation import Reviewed
from podfence.kube.objects import KubeObject
from tests.dataplane.lines import SOON
from tests.dataplane.scene import (
    ADDED,
    CLOSED_IN,
    CLOSED_OUT,
    DB,
    DELETED,
    FAMILY,
    FOUR,
    FROM_WEB,
    FRONT,
    KIND,
    MODIFIED,
    NEEDED,
    OPEN,
    PORT,
    STILL,
    STREAM,
    WEB,
    Addresses,
    Scene,
    service,
)
from tests.policy.parts import app, block, pod, policy, rule, space

if TYPE_CHECKING:
    from collections.abc import Iterable

    from podfence.dataplane.conntrack import KernelConntrack, Settled
    from podfence.dataplane.flows import Flow, Sides
    from tests.dataplane.lines import Line, Lines, Ping
    from tests.dataplane.network import Network

pytestmark = NEEDED


class Tightening(NamedTuple):
    """What is there before, an event that forbids port 5000 from web to db, and one that allows it again."""

    before: tuple[KubeObject, ...]
    event: tuple[EventType, KubeObject]
    undo: tuple[EventType, KubeObject]


WIDE = policy("p", app("db"), ingress=[STILL, rule(block("10.0.0.0/30"), block("fd00::/126"))])
NARROW = policy("p", app("db"), ingress=[STILL, rule(block("10.0.0.0/30", "10.0.0.1/32"), block("fd00::2/127"))])
CLOSED_OUT_DB = policy("q", app("db"), egress=[STILL])
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
@CHANGE
@pytest.mark.parametrize("speaker", ["client", "server"])
@pytest.mark.parametrize("forgotten", [False, True], ids=["labelled", "forgotten"])
def test_a_connection_that_a_change_forbids_is_reset_at_both_ends_whoever_speaks_first_and_no_other(
    network: Network, conntrack: KernelConntrack, lines: Lines, change: Tightening, at: Addresses, speaker: str, forgotten: bool
) -> None:  # fmt: skip
    scene = Scene(network, conntrack, *change.before)
    cut = lines.connect("tcp", at.web, at.db, PORT)
    others = [lines.connect("tcp", at.web, at.db, OPEN), lines.connect("tcp", at.db, at.web, PORT), lines.connect("tcp", at.api, at.web, PORT)]  # fmt: skip
    assert scene.apply(change.event).cut == 1
    assert [flow.labelled for flow in scene.flows(at, PORT)] == [True]
    if forgotten:
        scene.forget()
        assert not scene.flows(at, PORT)

    cut.refuses(speaker, others[0])
    cut.resets("server" if speaker == "client" else "client")
    for line in others:
        line.works()
    assert scene.enforcer.review() == 0


@FAMILY
@CHANGE
def test_the_client_of_a_flow_of_udp_that_a_change_forbids_is_cut_whatever_its_server_says_and_no_other(
    network: Network, conntrack: KernelConntrack, lines: Lines, change: Tightening, at: Addresses
) -> None:
    scene = Scene(network, conntrack, *change.before)
    cut = lines.connect("udp", at.web, at.db, PORT)
    others = [lines.connect("udp", at.web, at.db, OPEN), lines.connect("udp", at.db, at.web, PORT), lines.connect("udp", at.api, at.web, PORT)]  # fmt: skip
    assert scene.apply(change.event).cut == 1
    for _ in range(2):
        cut.refuses("client", others[0])
        cut.arrives("server")
    for line in others:
        line.works()
    assert [flow.labelled for flow in scene.flows(at, PORT)] == [True]
    assert scene.enforcer.review() == 0


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
    with service(network, at, kind, {80: PORT, 81: OPEN}):
        cut = lines.connect(kind, at.web, at.db, PORT, via=(at.service, 80))
        kept = lines.connect(kind, at.web, at.db, OPEN, via=(at.service, 81))
        assert scene.apply((ADDED, CLOSED_IN), (ADDED, CLOSED_OUT_DB)).cut == 1
        cut.refuses(speaker, kept)


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

    if (kind, speaker) == ("udp", "server"):
        # The node reaches its pods; that is no way for the pod to go on.
        cut.arrives("server")
        speaker = "client"
    cut.refuses(speaker, fence)
    kept.works()


def asked(ping: Ping, fence: Line, patience: float = 0.0) -> bool:
    """Return whether an echo request is answered by the time that others have come and gone, or so many seconds later."""
    ping.ask()
    fence.works()
    return ping.answered(patience)


@FAMILY
def test_echo_requests_are_a_flow_too(
    network: Network, conntrack: KernelConntrack, lines: Lines, at: Addresses
) -> None:
    scene = Scene(network, conntrack)
    fence = lines.connect("udp", at.web, at.db, OPEN)
    ping = lines.ping(at.web, at.db)
    assert asked(ping, fence, SOON)
    scene.apply((ADDED, CLOSED_IN))
    assert not asked(ping, fence)
    scene.apply((DELETED, CLOSED_IN))
    assert asked(ping, fence, SOON)


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
        gone.arrives("server")
        gone.refuses("client", fence)
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
    gone.arrives("server")
    gone.refuses("client", kept)


class Blind:
    """A node's kernel whose first list is from before a flow: its first packet had not left the node yet."""

    def __init__(self, real: KernelConntrack) -> None:
        self.own_addresses = real.own_addresses
        self.label = real.label
        self.forget = real.forget
        self._real = real
        self.blind = False

    def flows(self, sides: Sides | None, settled: Settled | None = None, *, quick: bool = False) -> Iterable[Flow]:
        if self.blind:
            self.blind = False
            return []
        return self._real.flows(sides, settled)


@FAMILY
@KIND
def test_a_flow_that_was_on_its_way_during_the_change_is_cut_by_the_second_look(
    network: Network, conntrack: KernelConntrack, lines: Lines, kind: str, at: Addresses
) -> None:
    kernel = Blind(conntrack)
    scene = Scene(network, kernel)
    late, fence = lines.connect(kind, at.web, at.db, PORT), lines.connect(kind, at.web, at.db, OPEN)
    kernel.blind = True
    assert scene.apply((ADDED, CLOSED_IN)).cut == 0
    assert scene.enforcer.review() == 1
    late.refuses("client", fence)
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
        (flow,) = scene.flows(at, PORT)
        return flow

    assert not found().is_over
    for name in ("client", "server"):
        line.ends[name].shutdown(socket.SHUT_WR)
    for end in line.ends.values():
        assert end.recv(64) == b""
    deadline = time.monotonic() + SOON
    while not found().is_over:
        assert time.monotonic() < deadline
    assert scene.apply((ADDED, CLOSED_IN)) == Reviewed()
    assert found().labelled
    assert scene.apply((DELETED, CLOSED_IN)) == Reviewed()
    assert not found().labelled
