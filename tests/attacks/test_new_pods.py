# SPDX-License-Identifier: Apache-2.0
"""The moments around a pod's beginning and end, and those in which no agent runs.

Podfence 0.1.0 held a new pod's address from the first moment, and nothing else that it sent.
"""

from __future__ import annotations

import itertools
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

import pytest
from scapy.layers.inet import UDP
from scapy.layers.l2 import Dot1Q
from scapy.packet import Packet, Raw

from tests.attacks import plain
from tests.attacks.bed import told_pod
from tests.attacks.judging import arrived_before, datagram, ethernet, packet
from tests.attacks.plain import ARRIVES, QUIET
from tests.attacks.wiring import NETWORKS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.attacks.bed import Bed
    from tests.attacks.judging import Pair
    from tests.attacks.wiring import End

on_both_networks = pytest.mark.parametrize("network", NETWORKS)

_NUMBERS: Final = itertools.count(20)


@contextmanager
def wired(bed: Bed) -> Iterator[End]:
    """Give a pod that has its network from now on, and of which no object tells."""
    number = next(_NUMBERS)
    end = bed.wire(f"z{number}", number, bed.wiring.nodes[1])
    bed.ends = bed.wiring.ends
    try:
        yield end
    finally:
        bed.unwire(end)


def frames(bed: Bed, sender: End, token: Raw) -> Iterator[Packet]:
    """Give what a pod might try at first, straight to c and by way of the node."""
    c = bed["c"]
    for to in dict.fromkeys((bed.toward(sender.name, "c"), sender.via)):
        head = ethernet(bed, sender, c, dst=to)
        yield head / datagram(bed, sender, c) / token
        yield head / datagram(bed, sender, c, 6) / token
        yield head / packet(bed["a"].four, c.four) / UDP(sport=bed.number(), dport=5353) / token
        yield head / packet(bed["a"].six, c.six) / UDP(sport=bed.number(), dport=5353) / token
        yield ethernet(bed, sender, c, dst=to, type=0x8100) / Dot1Q(vlan=0) / datagram(bed, sender, c) / token
    if bed.network == "bridge":
        stolen = ethernet(bed, sender, c, src=bed["a"].mac)
        yield stolen / packet(bed["a"].four, c.four) / UDP(sport=9, dport=5353) / token
        straight = ethernet(bed, sender, c)
        yield straight / packet(sender.link_local, c.link_local) / UDP(sport=9, dport=5353) / token
        yield ethernet(bed, sender, c, type=0x88B5) / token


@on_both_networks
@pytest.mark.usefixtures("forgetting")
def test_a_pod_is_held_even_before_the_agent_has_noticed_its_link(pair: Pair) -> None:
    """At first the node took a pod's address for proved that came over the bridge, by a port it had not noticed."""
    bed = pair.guarded
    for _ in range(5):
        with wired(bed) as pod:
            held(bed, pod)


@on_both_networks
@pytest.mark.usefixtures("forgetting")
def test_a_pod_sends_nothing_from_its_first_moment_until_it_is_told_of_and_after_it_has_gone(pair: Pair) -> None:
    bed = pair.guarded
    with wired(bed) as pod:
        held(bed, pod)
        told = told_pod(pod, "n1")
        bed.cluster.put(told)
        bed.until(lambda: plain.connection(bed, pod.name, "c", bed["c"].four, 80, patience=0.2), "the new pod connects")
        assert plain.connection(bed, pod.name, "c", bed["c"].six, 80, patience=ARRIVES)
        assert not plain.connection(bed, pod.name, "t", bed["t"].four, 80, patience=QUIET)
        bed.cluster.delete(told)
        bed.until(lambda: not plain.connection(bed, pod.name, "c", bed["c"].four, 80, patience=0.2), "it is held again")
        held(bed, pod)


def held(bed: Bed, pod: End) -> None:
    """Assert that nothing which a pod might try comes to c."""
    token = bed.token()
    bed.port("c").forget()
    bed.port(pod.name).send(*frames(bed, pod, Raw(token)))
    assert not arrived_before(bed, "c", token)


@on_both_networks
def test_the_same_arrives_where_nobody_enforces_anything(pair: Pair) -> None:
    bed = pair.open
    with wired(bed) as pod:
        bed.until(lambda: plain.connection(bed, pod.name, "c", bed["c"].four, 80, patience=0.2), "the new pod connects")
        for place in range(len(list(frames(bed, pod, Raw(b""))))):
            token = bed.token()
            bed.port("c").forget()
            bed.port(pod.name).send(list(frames(bed, pod, Raw(token)))[place])
            assert bed.port("c").hears(token, ARRIVES), place


@on_both_networks
@pytest.mark.usefixtures("forgetting")
def test_all_of_it_is_held_while_no_agent_runs(pair: Pair) -> None:
    bed = pair.guarded
    bed.kill()
    try:
        held(bed, bed["x"])
        held(bed, bed["h"])
        with wired(bed) as pod:
            held(bed, pod)
        assert not plain.connection(bed, "a", "t", bed["t"].four, 80, patience=QUIET)
        assert plain.connection(bed, "c", "t", bed["t"].four, 80, patience=ARRIVES)
    finally:
        bed.launch()
        bed.until(bed.ready, "the next agent is ready")
    held(bed, bed["x"])
    assert plain.connection(bed, "c", "t", bed["t"].six, 80, patience=ARRIVES)
