# SPDX-License-Identifier: Apache-2.0
"""ICMP errors that somebody sends who has nothing to do with the flow they tell of.

Podfence 0.1.0 let through every error that connection tracking found a flow for: a pod that may send nothing told a
pod that lets nobody in of another's flow, with as much else in it as it liked, and the receiver believed it.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

import pytest
from scapy.layers.inet import ICMP, UDP
from scapy.layers.inet6 import ICMPv6DestUnreach, ICMPv6PacketTooBig, ICMPv6ParamProblem, ICMPv6TimeExceeded
from scapy.packet import Packet, Raw

from tests.attacks.judging import Attack, Pair, Trial, against, arrived_before, ethernet, judge, packet
from tests.attacks.plain import ARRIVES
from tests.attacks.wiring import NETWORKS

if TYPE_CHECKING:
    from tests.attacks.bed import Bed

ERRORS: Final[dict[str, tuple[int, Packet]]] = {
    "unreachable": (4, ICMP(type=3, code=3)),
    "does-not-fit": (4, ICMP(type=3, code=4, nexthopmtu=600)),
    "redirect": (4, ICMP(type=5, code=1, gw="10.244.1.2")),
    "time-exceeded": (4, ICMP(type=11)),
    "source-quench": (4, ICMP(type=4)),
    "parameter-problem": (4, ICMP(type=12)),
    "unreachable6": (6, ICMPv6DestUnreach(code=4)),
    "does-not-fit6": (6, ICMPv6PacketTooBig(mtu=1280)),
    "time-exceeded6": (6, ICMPv6TimeExceeded()),
    "parameter-problem6": (6, ICMPv6ParamProblem()),
}


def told(bed: Bed, teller: str, name: str, flow: tuple[str, str] = ("c", "t"), to: str = "t", more: int = 0) -> bytes:
    """Let somebody send an error about a flow that is under way; return the token in it."""
    family, error = ERRORS[name]
    client, server = (bed[end] for end in flow)
    number = bed.number()
    ends = client.address(family), server.address(family)
    begin = ethernet(bed, client, server) / packet(*ends) / UDP(sport=number, dport=5353)
    mark = bed.token()
    heard = bed.port(server.name)
    heard.forget()
    bed.port(client.name).send(begin / Raw(mark))
    assert heard.hears(mark, ARRIVES)
    receiver = bed[to]
    ports = (5353, number) if receiver is server else (number, 5353)
    about = packet(receiver.address(family), (client if receiver is server else server).address(family))
    inner = about / UDP(sport=ports[0], dport=ports[1])
    token = bed.token()
    bed.port(to).forget()
    bed.port(teller).send(
        ethernet(bed, bed[teller], receiver)
        / packet(bed[teller].address(family), receiver.address(family))
        / error.copy()
        / Raw(bytes(inner) + bytes(more) + token)
    )
    return token


def is_believed(bed: Bed, teller: str, name: str, more: int = 0) -> bool:
    """Return whether t hears of its flow with c from somebody else."""
    token = told(bed, teller, name, more=more)
    return arrived_before(bed, "t", token) if bed.guarded else bed.port("t").hears(token, ARRIVES) is not None


@against(
    *(Trial(f"{teller}-{name}", partial(is_believed, teller=teller, name=name)) for teller in "axh" for name in ERRORS),
    *(
        Trial(f"{teller}-with-a-letter", partial(is_believed, teller=teller, name="unreachable", more=1000))
        for teller in "ax"
    ),
)
def test_nobody_tells_of_a_flow_that_is_not_its_own(pair: Pair, attack: Attack) -> None:
    judge(pair, attack)


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("name", ["unreachable", "does-not-fit", "unreachable6", "does-not-fit6", "time-exceeded6"])
@pytest.mark.parametrize(("teller", "to"), [("c", "t"), ("t", "c")])
def test_the_ends_of_a_flow_tell_each_other_of_it(pair: Pair, name: str, teller: str, to: str) -> None:
    for bed in pair:
        token = told(bed, teller, name, to=to)
        assert bed.port(to).hears(token, ARRIVES), bed.guarded
