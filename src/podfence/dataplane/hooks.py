# SPDX-License-Identifier: Apache-2.0
"""The chains that every table has: where packets enter, and how they come to the groups of their ends.

Two base chains at the forward hook, one for each direction: a packet that egress accepts goes on to
ingress by the kernel's own order of base chains. Were the chains of egress to lead to those of ingress,
a kernel that checks every path through a table for loops would check the product of both.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from podfence.dataplane.objects import FAMILIES, Objects
from podfence.dataplane.tracked import leaving, passing, put_tracked
from podfence.nft.chain import Hook
from podfence.nft.sets import INTERVAL

if TYPE_CHECKING:
    from collections.abc import Iterable

    from podfence.dataplane.program import NodeProgram

PRIORITY: Final = -5
"""Before the filter chains of others, after destination addresses were rewritten."""

_SOURCE_ROUTES: Final = tuple(f"ip option {name} exists ip saddr @known4 counter drop" for name in ("lsrr", "ssrr"))
"""A pod's packet that says where to go next: a kernel that heeds this puts the next hop in after all rules."""

_DISCOVERY: Final = "icmpv6 type { 130-136, 143 } jump discovery"


def fixed(program: NodeProgram, label: int, forward: Iterable[str] = ()) -> Objects:
    """Return what every table has: the hooks, and who is known; `forward` are more rules of the chain of that name."""
    result = Objects()
    result.addresses("known", program.known)
    result.addresses("podcidr", program.pod_range.spans, flags=INTERVAL)
    result.addresses("own", program.own, times=2)
    result.chain("hold", "counter drop", comment="a local pod that is not programmed yet")
    put_tracked(result, program.known, _hold("saddr"), label)
    own = [f"{word} saddr . {word} daddr @own{family} accept" for family, word, _ in FAMILIES]
    egress = (f"{word} saddr vmap @eg{n}" for n, word, _ in FAMILIES)
    result.chain("evaluate", *_hold("saddr"), *_SOURCE_ROUTES, *own, *egress)
    result.chain("routed", *_hold("daddr"), "goto evaluate")
    result.chain("routed_cut", "jump revoked", "goto routed")
    # A router lowers the hop limit, so these come from the link itself; anything else may be a pod's payload.
    result.chain(
        "discovery",
        "ip6 nexthdr 58 icmpv6 type { 133-136 } ip6 hoplimit 255 accept",
        "icmpv6 type { 130-132, 143 } ip6 hoplimit 1 ip6 daddr ff02::/16 accept",
        comment="router, neighbour and multicast listener discovery on a link",
    )
    hook = Hook("filter", "forward", PRIORITY)
    result.chain("forward", *passing(label, "routed_cut"), _DISCOVERY, *forward, "goto routed", hook=hook)
    if program.judges_own_node:
        hook = Hook("filter", "input", PRIORITY)
        rules = ['iifname "lo" accept', *passing(label, "own_node_cut"), _DISCOVERY, "goto evaluate"]
        result.chain("own_node", *rules, hook=hook)
        result.chain("own_node_cut", "jump revoked", "goto evaluate")
        result.chain("own_node_out", *leaving(label), hook=Hook("filter", "output", PRIORITY))
    result.chain("received", *own, *(f"{word} daddr vmap @in{family}" for family, word, _ in FAMILIES))
    result.chain(
        "stage_in",
        f"ct label {label} goto received",
        "ct state established,related accept",
        _DISCOVERY,
        "goto received",
        hook=Hook("filter", "forward", PRIORITY + 1),
    )
    return result


def _hold(end: str) -> list[str]:
    return [f"{word} {end} @podcidr{family} {word} {end} != @known{family} goto hold" for family, word, _ in FAMILIES]
