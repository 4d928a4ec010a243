# SPDX-License-Identifier: Apache-2.0
"""The same attacks, and what must go on, where others have their say on the node too: rules, and settings of bridges."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

import pytest
from scapy.layers.inet import UDP
from scapy.layers.l2 import Dot1Q

from tests.attacks import plain
from tests.attacks.judging import Frames, Sockets, Trial, against, datagram, ethernet, judge, packet
from tests.attacks.plain import ARRIVES, TO_MANY

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from contextlib import AbstractContextManager

    from scapy.packet import Packet, Raw

    from tests.attacks.bed import Bed
    from tests.attacks.judging import Attack, Pair
    from tests.attacks.wiring import End, Network

    Circumstance = Callable[[Bed], AbstractContextManager[None]]

pytestmark = pytest.mark.usefixtures("forgetting")

KUBE_PROXY: Final = """
table inet others {
    chain forward {
        type filter hook forward priority 0; policy accept;
        ct state invalid drop
        ct state established,related accept
        ip saddr 10.244.0.0/16 accept
        ip daddr 10.244.0.0/16 accept
    }
    chain early {
        type filter hook prerouting priority -300; policy accept;
        meta mark set meta mark | 0x4000 accept
    }
}
"""
"""Rules that track connections, accept what is a pod's, and set marks, as kube-proxy and flannel have them."""


@contextmanager
def other_rules(bed: Bed) -> Iterator[None]:
    bed.run("n1", "nft", KUBE_PROXY)
    assert "others" in bed.run("n1", "nft", "list tables")
    yield
    bed.run("n1", "nft", "delete table inet others")


@contextmanager
def promiscuous(bed: Bed) -> Iterator[None]:
    """Let the bridge take in every frame, as the plugin does with `promiscMode`, and pods get none of their own back."""
    ports = [end.link for end in bed.wiring.nodes[1].pods.values()]
    bed["n1"].space.ip(
        "link set cni0 promisc on", *(f"link set {port} type bridge_slave hairpin off" for port in ports)
    )
    yield
    bed["n1"].space.ip(
        "link set cni0 promisc off", *(f"link set {port} type bridge_slave hairpin on" for port in ports)
    )


@contextmanager
def proxying(bed: Bed) -> Iterator[None]:
    """Let the node answer for the addresses of others, as Calico has it."""
    names = ["cni0"] if bed.network == "bridge" else [end.link for end in bed.wiring.nodes[1].pods.values()]
    bed["n1"].space.sysctl({f"ipv4/conf/{name}/proxy_arp": 1 for name in names})
    yield
    bed["n1"].space.sysctl({f"ipv4/conf/{name}/proxy_arp": 0 for name in names})


@contextmanager
def strict(bed: Bed) -> Iterator[None]:
    """Let the kernel drop sources that it would answer another way."""
    bed["n1"].space.sysctl({"ipv4/conf/all/rp_filter": 1})
    yield
    bed["n1"].space.sysctl({"ipv4/conf/all/rp_filter": 0})


def spoofed(bed: Bed, sender: End, receiver: End, token: Raw) -> Packet:
    source = bed["c"].six
    return ethernet(bed, sender, receiver) / packet(source, receiver.six) / UDP(sport=bed.number(), dport=5353) / token


def tagged(bed: Bed, sender: End, receiver: End, token: Raw) -> Packet:
    head = ethernet(bed, sender, receiver, type=0x8100)
    return head / Dot1Q(vlan=0) / datagram(bed, sender, receiver) / token


ATTACKS: Final[tuple[Attack, ...]] = (
    Frames("another-source", "a", "t", spoofed),
    Frames("vlan-0", "a", "t", tagged),
    Frames("vlan-0-from-x", "x", "c", tagged),
    Sockets("straight", "a", "t", lambda _bed, _sender, receiver: receiver.four, tcp=True),
    Sockets("from-x", "x", "outside", lambda _bed, _sender, receiver: receiver.six, tcp=True),
    Sockets("link-local", "a", "t", lambda _bed, _sender, receiver: receiver.link_local, networks=("bridge",)),
    Sockets("broadcast", "a", "t", "255.255.255.255", options=TO_MANY, networks=("bridge",)),
)


def under(circumstance: Circumstance, attack: Attack) -> Trial:
    """Return an attack under a circumstance."""

    def works(bed: Bed) -> bool:
        with circumstance(bed):
            return attack.works(bed)

    name = circumstance.__name__.replace("_", "-")
    networks: Sequence[Network] = ("bridge",) if circumstance is promiscuous else attack.networks
    return Trial(f"{attack.name}-under-{name}", works, networks)


@against(*(under(each, attack) for each in (other_rules, promiscuous, proxying, strict) for attack in ATTACKS))
def test_attacks_are_held_under_the_circumstances_of_real_nodes(pair: Pair, attack: Attack) -> None:
    judge(pair, attack)


@pytest.mark.parametrize("network", ["bridge", "routed"])
@pytest.mark.parametrize("circumstance", [other_rules, promiscuous, proxying, strict])
def test_what_is_allowed_passes_under_the_circumstances_of_real_nodes(pair: Pair, circumstance: Circumstance) -> None:
    bed = pair.guarded
    if circumstance is promiscuous and bed.network != "bridge":
        pytest.skip("there is no bridge")
    with circumstance(bed):
        for sender, receiver in (("c", "t"), ("a", "c"), ("r", "t"), ("a", "outside"), ("outside", "a"), ("n1", "t")):
            for family in (4, 6):
                address = bed[receiver].address(family)
                assert plain.connection(bed, sender, receiver, address, 80, patience=ARRIVES), (sender, receiver)
