# SPDX-License-Identifier: Apache-2.0
"""What answers on a cut flow that is not TCP: judged as a flow of its own, it passes, and is no way for the other to go on."""

from __future__ import annotations

import select
import socket
from typing import TYPE_CHECKING

import pytest

from podfence.dataplane.flows import Sides
from podfence.dataplane.revocation import FORGET_AFTER, Reviewed
from podfence.sets.addresses import parse_address
from tests.dataplane.forging import raw
from tests.dataplane.inside import inside
from tests.dataplane.lines import SOON
from tests.dataplane.scene import (
    ADDED,
    CLOSED_IN,
    DELETED,
    FAMILY,
    NEEDED,
    OPEN,
    PORT,
    STILL,
    Addresses,
    Scene,
)
from tests.policy.parts import app, policy

if TYPE_CHECKING:
    from collections.abc import Iterator

    from podfence.dataplane.conntrack import KernelConntrack
    from tests.dataplane.lines import Line, Lines
    from tests.dataplane.network import Network

pytestmark = NEEDED
CLOSED_OUT_DB = policy("q", app("db"), egress=[STILL])
CLOSED_IN_WEB = policy("w", app("web"), namespace="front", ingress=[STILL])
REVERSE = pytest.mark.parametrize("closed", [CLOSED_OUT_DB, CLOSED_IN_WEB], ids=["egress", "ingress"])


@FAMILY
def test_an_answer_that_was_under_way_does_not_bring_the_flow_back(
    network: Network, conntrack: KernelConntrack, lines: Lines, at: Addresses
) -> None:
    scene = Scene(network, conntrack)
    line, fence = lines.connect("udp", at.web, at.db, PORT), lines.connect("udp", at.web, at.db, OPEN)
    line.ends["client"].send(b"question")
    assert line.ends["server"].recv(64) == b"question"
    assert scene.apply((ADDED, CLOSED_IN)).cut == 1
    line.arrives("server")
    line.refuses("client", fence)
    assert scene.enforcer.review() == 0
    line.arrives("server")
    line.refuses("client", fence)


@FAMILY
@REVERSE
def test_the_answering_end_passes_only_where_both_policies_let_it_begin_a_flow(
    network: Network, conntrack: KernelConntrack, lines: Lines, at: Addresses, closed: object
) -> None:
    scene = Scene(network, conntrack)
    line, fence = lines.connect("udp", at.web, at.db, PORT), lines.connect("udp", at.web, at.db, OPEN)
    assert scene.apply((ADDED, CLOSED_IN)).cut == 1
    line.arrives("server")
    scene.apply((ADDED, closed))  # type: ignore[arg-type]
    line.refuses("server", fence)
    line.refuses("client", fence)
    scene.apply((DELETED, closed))  # type: ignore[arg-type]
    line.arrives("server")


@FAMILY
@REVERSE
def test_later_it_has_a_flow_of_its_own_which_the_other_end_may_answer_as_long_as_that_is_allowed(
    network: Network, conntrack: KernelConntrack, lines: Lines, at: Addresses, closed: object
) -> None:
    scene = Scene(network, conntrack)
    line, fence = lines.connect("udp", at.web, at.db, PORT), lines.connect("udp", at.web, at.db, OPEN)
    assert scene.apply((ADDED, CLOSED_IN)).cut == 1
    assert scene.enforcer.forget_at == scene.now + FORGET_AFTER
    scene.forget()
    line.refuses("client", fence)
    line.arrives("server")
    line.arrives("client")
    assert scene.apply((ADDED, closed)).cut == 1  # type: ignore[arg-type]
    line.refuses("server", fence)
    line.refuses("client", fence)


@FAMILY
def test_what_is_allowed_again_before_it_is_forgotten_goes_on_both_ways(
    network: Network, conntrack: KernelConntrack, lines: Lines, at: Addresses
) -> None:
    scene = Scene(network, conntrack)
    line = lines.connect("udp", at.web, at.db, PORT)
    assert scene.apply((ADDED, CLOSED_IN)) == Reviewed(cut=1)
    line.arrives("server")
    assert scene.apply((DELETED, CLOSED_IN)) == Reviewed(freed=1)
    assert scene.enforcer.forget_at is None
    line.works()


@FAMILY
def test_what_an_agent_before_had_cut_is_forgotten_too(
    network: Network, conntrack: KernelConntrack, lines: Lines, at: Addresses
) -> None:
    scene = Scene(network, conntrack)
    line, kept = lines.connect("udp", at.web, at.db, PORT), lines.connect("udp", at.web, at.db, OPEN)
    assert scene.apply((ADDED, CLOSED_IN)).cut == 1
    later = Scene(network, conntrack, CLOSED_IN)
    assert later.enforcer.reviewed == Reviewed()
    later.forget()
    assert not later.flows(at, PORT)
    line.refuses("client", kept)


class Bare:
    """Packets of a protocol that has no ports, between web and db."""

    def __init__(self, network: Network, at: Addresses) -> None:
        self.network = network
        self.at = at
        self.ends = {address: self._open(address) for address in (at.web, at.db)}
        self._count = 0

    def _open(self, address: str) -> socket.socket:
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        item = inside(self.network.pid_of(address), lambda: socket.socket(family, socket.SOCK_RAW, PROTOCOL))
        item.bind((address, 0))
        return item

    def close(self) -> None:
        for item in self.ends.values():
            item.close()

    def passes(self, source: str, fence: Line, patience: float = 0.0) -> bool:
        """Return whether a packet arrives by the time that others have come and gone, or so many seconds later."""
        destination = self.at.db if source == self.at.web else self.at.web
        self._count += 1
        mark = b"number %d" % self._count
        raw(self.network, source, destination, PROTOCOL, mark)
        fence.works()
        item = self.ends[destination]
        return bool(select.select([item], [], [], patience)[0]) and mark in item.recv(256)


PROTOCOL = 253
"""For experiments; nothing in the kernel knows it (RFC 3692)."""


@pytest.fixture
def bare(network: Network, at: Addresses) -> Iterator[Bare]:
    found = Bare(network, at)
    yield found
    found.close()


@FAMILY
def test_of_a_protocol_without_ports_the_end_that_may_begin_is_heard_at_once_and_answered_later(
    network: Network, conntrack: KernelConntrack, lines: Lines, bare: Bare, at: Addresses
) -> None:
    scene = Scene(network, conntrack)
    fence = lines.connect("udp", at.web, at.db, OPEN)
    assert bare.passes(at.web, fence, SOON)
    assert bare.passes(at.db, fence, SOON)
    assert scene.apply((ADDED, CLOSED_IN)).cut == 1
    assert not bare.passes(at.web, fence)
    assert bare.passes(at.db, fence, SOON)
    assert not bare.passes(at.web, fence)

    scene.forget()
    assert not bare.passes(at.web, fence)
    assert bare.passes(at.db, fence, SOON)
    assert bare.passes(at.web, fence, SOON)
    assert scene.apply((ADDED, CLOSED_OUT_DB)).cut == 1
    assert not bare.passes(at.db, fence)
    assert not bare.passes(at.web, fence)
    flows = [flow for flow in conntrack.flows(Sides.both({parse_address(at.db)})) if flow.protocol == PROTOCOL]
    assert [flow.labelled for flow in flows] == [True]
