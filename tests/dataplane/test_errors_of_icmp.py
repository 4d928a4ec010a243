# SPDX-License-Identifier: Apache-2.0
"""Errors of ICMP: a pod may tell only of flows of its own, routers and nodes of all."""

from __future__ import annotations

import select
import socket
import time
from typing import TYPE_CHECKING

from tests.dataplane.forging import MTU, TOO_BIG, UNREACHABLE, error
from tests.dataplane.lines import SOON
from tests.dataplane.scene import (
    ADDED,
    CLOSED_IN,
    DELETED,
    FAMILY,
    NEEDED,
    OPEN,
    PORT,
    Addresses,
    Scene,
    service,
)
from tests.policy.parts import app, pod, policy, rule

if TYPE_CHECKING:
    from podfence.dataplane.conntrack import KernelConntrack
    from tests.dataplane.lines import Line, Lines
    from tests.dataplane.network import Network

pytestmark = NEEDED
ROUTER = {4: "198.51.100.1", 6: "2001:db8:f::1"}
_MTU_OF = {socket.AF_INET: (socket.IPPROTO_IP, 14), socket.AF_INET6: (socket.IPPROTO_IPV6, 24)}


def believed(line: Line, name: str, fence: Line, patience: float = 0.0) -> bool:
    """Return whether an end of UDP is told that its port is unreachable, by the time others have come and gone, or later.

    What was sent by another processor than they were may come so many seconds later.
    """
    fence.works()
    told = select.poll()
    told.register(line.ends[name], 0)
    told.poll(1000 * patience)
    return bool(line.ends[name].getsockopt(socket.SOL_SOCKET, socket.SO_ERROR))


def mtu(line: Line, name: str) -> int:
    item = line.ends[name]
    return item.getsockopt(*_MTU_OF[item.family])


@FAMILY
def test_a_pod_that_is_no_end_of_a_flow_tells_nobody_of_it_and_an_end_does(
    network: Network, conntrack: KernelConntrack, lines: Lines, at: Addresses
) -> None:
    scene = Scene(network, conntrack)
    line, fence = lines.connect("udp", at.web, at.db, PORT), lines.connect("udp", at.api, at.db, OPEN)
    also = lines.connect("udp", at.api, at.web, OPEN)
    for hearer, end, near in (("client", at.db, also), ("server", at.web, fence)):
        error(network, at.api, at.api, line, hearer, UNREACHABLE)
        assert not believed(line, hearer, near)
        error(network, end, end, line, hearer, UNREACHABLE)
        assert believed(line, hearer, near, SOON)

    # It is the rule that stops it.
    network.nft("flush chain inet podfence announced")
    error(network, at.api, at.api, line, "server", UNREACHABLE)
    assert believed(line, "server", fence, SOON)
    assert scene.enforcer.verify() == ("chain announced had other rules",)


@FAMILY
def test_a_pod_may_tell_the_client_of_a_service_of_a_flow_that_it_answers(
    network: Network, conntrack: KernelConntrack, lines: Lines, at: Addresses
) -> None:
    Scene(network, conntrack)
    with service(network, at, "udp", {80: PORT}):
        line, fence = lines.connect("udp", at.web, at.db, PORT, via=(at.service, 80)), lines.connect("udp", at.web, at.db, OPEN)  # fmt: skip
        # The server's own kernel says it.
        line.ends["server"].close()
        line.ends["client"].send(b"is anybody there?")
        assert believed(line, "client", fence, SOON)


@FAMILY
def test_a_router_on_the_way_says_what_does_not_fit_and_a_pod_in_its_place_does_not(
    network: Network, conntrack: KernelConntrack, lines: Lines, at: Addresses
) -> None:
    Scene(network, conntrack, CLOSED_IN, policy("w", app("web"), namespace="front", ingress=[], egress=[rule()]))
    line = lines.connect("udp", at.web, at.outside, PORT)
    fence = lines.connect("udp", at.web, at.db, OPEN)
    before = mtu(line, "client")
    error(network, at.api, at.api, line, "client", TOO_BIG)
    fence.works()
    assert mtu(line, "client") == before > MTU
    error(network, ROUTER[6 if ":" in at.web else 4], at.outside, line, "client", TOO_BIG)
    near = lines.connect("udp", at.web, at.outside, OPEN)
    end = time.monotonic() + SOON
    while mtu(line, "client") != MTU:
        assert time.monotonic() < end
        near.works()


@FAMILY
def test_a_pod_tells_its_node_only_of_flows_of_its_own(
    network: Network, conntrack: KernelConntrack, lines: Lines, at: Addresses
) -> None:
    Scene(network, conntrack)
    line = lines.connect("udp", at.node, at.web, PORT)
    fence, near = lines.connect("udp", at.api, at.node, OPEN), lines.connect("udp", at.web, at.node, OPEN + 1)
    error(network, at.api, at.api, line, "client", UNREACHABLE)
    assert not believed(line, "client", fence)
    error(network, at.web, at.web, line, "client", UNREACHABLE)
    assert believed(line, "client", near, SOON)


@FAMILY
def test_an_address_that_is_no_pods_yet_tells_nobody_of_anything(
    network: Network, conntrack: KernelConntrack, lines: Lines, at: Addresses
) -> None:
    scene = Scene(network, conntrack)
    line, fence = lines.connect("udp", at.web, at.db, PORT), lines.connect("udp", at.web, at.db, OPEN)
    unborn = "fd00::8" if ":" in at.web else "10.0.0.8"
    error(network, unborn, at.api, line, "server", UNREACHABLE)
    assert not believed(line, "server", fence)
    scene.apply((ADDED, pod("born", unborn, node="n1")))
    error(network, unborn, at.api, line, "server", UNREACHABLE)
    assert not believed(line, "server", fence)


@FAMILY
def test_errors_about_a_flow_that_is_cut_are_cut_with_it(
    network: Network, conntrack: KernelConntrack, lines: Lines, at: Addresses
) -> None:
    scene = Scene(network, conntrack)
    line, fence = lines.connect("udp", at.web, at.db, PORT), lines.connect("udp", at.web, at.db, OPEN)
    scene.apply((ADDED, CLOSED_IN))
    for hearer, end in (("client", at.db), ("server", at.web)):
        error(network, end, end, line, hearer, UNREACHABLE)
        assert not believed(line, hearer, fence)
    scene.apply((DELETED, CLOSED_IN))
    error(network, at.db, at.db, line, "client", UNREACHABLE)
    assert believed(line, "client", fence, SOON)
