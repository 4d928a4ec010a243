# SPDX-License-Identifier: Apache-2.0
"""Packets of connections that the kernel tracks: which of them pass without being judged, and which begin nothing.

With TCP only a SYN begins a connection. The kernel's connection tracking takes any segment for a beginning when it
has no entry for it; if that is the server's, the entry is the wrong way round, and passes whatever the client must
not do. So a connection without an entry is reset, and to take the entry away is to end the connection.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from podfence.dataplane.objects import FAMILIES, RESET
from podfence.nft.element import Element
from podfence.nft.sets import TIMEOUT, Elements, Set

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from podfence.dataplane.objects import Objects
    from podfence.sets.addresses import Family

GRACE_SECONDS: Final = 60
"""How long connections that were under way when the first table of a node was made may be picked up."""

GRACE: Final = Set("grace", ("inet_proto",), TIMEOUT, GRACE_SECONDS)
"""Holds the number of TCP while that is so; the kernel takes it out by its own clock, whether an agent runs or not."""

GRACE_BEGINS: Final = Elements(GRACE, (Element(("6",)),))

ENDED: Final[dict[Family, Set]] = {
    family: Set(f"ended{family}", (*types, "inet_service") * 2, TIMEOUT, GRACE_SECONDS) for family, _, types in FAMILIES
}
"""Hold who sends to whom, with ports, on connections that are cut during the grace and not picked up again."""

CHAINS: Final = ("revoked", "announced", "midstream", "refused")
SETS: Final = (GRACE.name, *(item.name for item in ENDED.values()), "self4", "self6")

# A reset opens nothing, and may belong to a connection that is still being opened.
_NOT_BEGUN: Final = "ct state new tcp flags & (fin | syn | ack) != syn tcp flags & rst != rst jump midstream"
# Each of them costs a packet back, and whoever forges segments gets no more of those than this.
_AT_MOST: Final = "limit rate 200/second burst 200 packets"


def put_tracked(result: Objects, known: Collection[int], held: Sequence[str], label: int) -> None:
    """Take in the chains that `passing` and `leaving` lead to, and their sets.

    `known` are the addresses of the node's pods, `held` the rules that stop a source that is none of them yet.
    """
    for container in (GRACE, *ENDED.values()):
        result.put(container, {})
    result.addresses("self", ((item, item) for item in known), times=2)
    result.chain(
        "revoked",
        # This rule matches nothing; while there is such a rule, the kernel keeps room for labels on new flows.
        f"ct state untracked ct label set {label}",
        RESET,
        "ct state related counter drop",
        "ct direction original counter drop",
        comment="an established flow that is forbidden now; what answers on it returns, to be judged",
    )
    result.chain(
        "announced",
        "meta l4proto != { 1, 58 } accept",
        *held,
        *(
            rule
            for family, word, _ in FAMILIES
            for rule in (
                f"{word} saddr != @known{family} accept",
                f"{word} saddr . ct original {word} saddr @self{family} accept",
                f"{word} saddr . ct reply {word} saddr @self{family} accept",
            )
        ),
        "counter drop",
        comment="what another flow announced, or an ICMP error: a pod tells only of its own flows",
    )
    result.chain(
        "midstream",
        *(f"{word} saddr . tcp sport . {word} daddr . tcp dport @ended{n} goto refused" for n, word, _ in FAMILIES),
        f"meta l4proto @{GRACE.name} return",
        *(f"{word} {end} @known{family} goto refused" for family, word, _ in FAMILIES for end in ("saddr", "daddr")),
        comment="a segment of TCP that does not begin a connection, and belongs to none",
    )
    result.chain("refused", f"meta l4proto 6 {_AT_MOST} counter reject with tcp reset", "counter drop")


def passing(label: int, cut: str) -> list[str]:
    """Return the rules of a hook for packets that belong to a flow, or should; other packets go on.

    The chain `cut` is for those of flows that are cut: it jumps to `revoked`, and judges what returns from there.
    """
    return [
        f"ct label {label} goto {cut}",
        "ct state established accept",
        "ct state related goto announced",
        _NOT_BEGUN,
    ]


def leaving(label: int) -> list[str]:
    """Return the rules for what the node itself sends to its pods; what it begins is not judged."""
    # Resets of flows that are cut come by here too, whichever chain made them.
    return ["tcp flags & rst == rst accept", f"ct label {label} jump revoked", _NOT_BEGUN]
