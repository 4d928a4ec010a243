# SPDX-License-Identifier: Apache-2.0
"""Router advertisements and redirects of a pod: whoever believes them sends through the attacker, at new addresses.

Podfence 0.1.0 let them pass on a bridge. All pods of it took a global address and a default route, and connections at
these addresses, which no Pod object has, passed all policies.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import pytest
from scapy.layers.inet6 import (
    ICMPv6ND_RA,
    ICMPv6ND_Redirect,
    ICMPv6NDOptPrefixInfo,
    ICMPv6NDOptRDNSS,
    ICMPv6NDOptSrcLLAddr,
    IPv6,
)
from scapy.layers.l2 import Ether

from tests.attacks.judging import Attack, Frames, Pair, Trial, against, ethernet, judge
from tests.attacks.plain import ARRIVES, QUIET

if TYPE_CHECKING:
    from scapy.packet import Packet, Raw

    from tests.attacks.bed import Bed
    from tests.attacks.wiring import End

pytestmark = pytest.mark.usefixtures("forgetting")

PREFIX: Final = "2001:db8:bad::"
ALL_NODES: Final = ("33:33:00:00:00:01", "ff02::1")


def advertisement(sender: End, mac: str, address: str) -> Packet:
    return (
        Ether(src=sender.mac, dst=mac)
        / IPv6(src=sender.link_local, dst=address, hlim=255)
        / ICMPv6ND_RA(routerlifetime=1800)
        / ICMPv6NDOptPrefixInfo(prefix=PREFIX, prefixlen=64)
        / ICMPv6NDOptSrcLLAddr(lladdr=sender.mac)
    )


def to_all(_bed: Bed, sender: End, _receiver: End, token: Raw) -> Packet:
    return advertisement(sender, *ALL_NODES) / token


def to_one(_bed: Bed, sender: End, receiver: End, token: Raw) -> Packet:
    return advertisement(sender, receiver.mac, receiver.link_local) / token


def of_a_name_server(_bed: Bed, sender: End, _receiver: End, token: Raw) -> Packet:
    return advertisement(sender, *ALL_NODES) / ICMPv6NDOptRDNSS(dns=[sender.six]) / token


def redirect(bed: Bed, sender: End, receiver: End, token: Raw) -> Packet:
    return (
        ethernet(bed, sender, receiver)
        / IPv6(src=sender.link_local, dst=receiver.six, hlim=255)
        / ICMPv6ND_Redirect(tgt=sender.link_local, dst="2001:db8::80")
        / token
    )


@against(
    *(
        Frames(f"{sender}-to-{receiver}-{name}", sender, receiver, make, networks=("bridge",))
        for sender, receiver in (("a", "t"), ("x", "c"), ("h", "c"))
        for name, make in {
            "to-all": to_all,
            "to-one": to_one,
            "of-a-name-server": of_a_name_server,
            "redirect": redirect,
        }.items()
    )
)
def test_no_pod_is_told_of_a_router_by_another(pair: Pair, attack: Attack) -> None:
    judge(pair, attack)


def believed(bed: Bed) -> bool:
    """Return whether t gives itself an address of the prefix that a advertises."""
    bed.port("a").send(advertisement(bed["a"], *ALL_NODES))
    return bed.seen(
        lambda: PREFIX.removesuffix(":") in bed.run("t", "ip", "-6", "addr"), QUIET if bed.guarded else ARRIVES
    )


@against(Trial("address", believed, networks=("bridge",)))
def test_no_pod_takes_an_address_that_another_advertises(pair: Pair, attack: Attack) -> None:
    judge(pair, attack)
