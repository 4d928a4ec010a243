# SPDX-License-Identifier: Apache-2.0
"""ICMPv6 types that must work between neighbours, used as a tunnel: any payload, to any address, routed.

Podfence 0.1.0 let types 130 to 136 and 143 pass wherever they went, before it asked who was known and who was allowed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from scapy.layers.inet6 import ICMPv6Unknown, IPv6

from tests.attacks.judging import Attack, Frames, Make, Pair, against, ethernet, judge
from tests.attacks.wiring import NETWORKS, Network

if TYPE_CHECKING:
    from collections.abc import Iterator

    from scapy.packet import Packet, Raw

    from tests.attacks.bed import Bed
    from tests.attacks.wiring import End

DISCOVERY: Final = (133, 134, 135, 136)
LISTENERS: Final = (130, 131, 132, 143)
OTHERS: Final = (127, 128, 129, 137, 138, 139, 141, 144, 151, 153, 200)


def message(kind: int, limit: int) -> Make:
    """Return what makes a message of a type with a hop limit, and nothing but the token in it."""

    def make(bed: Bed, sender: End, receiver: End, token: Raw) -> Packet:
        return (
            ethernet(bed, sender, receiver)
            / IPv6(src=sender.six, dst=receiver.six, hlim=limit)
            / ICMPv6Unknown(type=kind)
            / token
        )

    return make


def rows() -> Iterator[Attack]:
    for sender, receiver in (("a", "t"), ("x", "c"), ("x", "d"), ("x", "outside"), ("h", "c"), ("h", "outside")):
        for kind in (*DISCOVERY, *LISTENERS, *OTHERS):
            if kind in OTHERS and receiver in ("d", "outside"):
                continue
            yield Frames(f"{sender}-to-{receiver}-{kind}", sender, receiver, message(kind, 64))
        for kind in (*DISCOVERY, *LISTENERS):
            # Discovery between neighbours has to work, and a message of it has room for more: see SECURITY.md.
            honest = kind in (133, 135, 136) and receiver in ("t", "c")
            networks: tuple[Network, ...] = ("routed",) if honest else NETWORKS
            yield Frames(
                f"{sender}-to-{receiver}-{kind}-at-255", sender, receiver, message(kind, 255), networks=networks
            )


@against(*rows())
def test_no_message_passes_further_than_discovery_needs(pair: Pair, attack: Attack) -> None:
    judge(pair, attack)


def in_the_name_of(source: str, kind: int) -> Make:
    """Return what makes a message as between neighbours, with somebody else's source, for somebody far away."""
    return lambda bed, sender, receiver, token: (
        ethernet(bed, sender, receiver)
        / IPv6(src=bed[source].six if source in bed.ends else source, dst=receiver.six, hlim=255)
        / ICMPv6Unknown(type=kind)
        / token
    )


@against(
    *(
        Frames(
            f"{sender}-as-{source.partition(':')[0]}-to-{receiver}-{kind}",
            sender,
            receiver,
            in_the_name_of(source, kind),
        )
        for sender in "axh"
        for source in ("r", "2001:db8:1::7")
        for receiver in ("d", "outside")
        for kind in DISCOVERY
    )
)
def test_no_message_between_neighbours_leaves_its_link_in_the_name_of_another(pair: Pair, attack: Attack) -> None:
    judge(pair, attack)
