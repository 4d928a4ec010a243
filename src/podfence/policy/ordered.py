# SPDX-License-Identifier: Apache-2.0
"""What tiers rule of many peers at once: sets of peers (bits) by what is ruled of them.

The tiers of cluster-wide policies are in order, so their rules are not united as those of NetworkPolicies are. From
the last to the first, each rule takes its peers out of the sets that those after it made.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, NamedTuple

from podfence.policy.grants import Grant
from podfence.policy.tiers import PASSED, Step, TierRuling, decide, preceded
from podfence.policy.verdict import Tier
from podfence.sets import AddressSet, PortSet, spans
from podfence.sets.partition import disjoint

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


ORDER = (Tier.ADMIN, Tier.NETWORK_POLICY, Tier.BASELINE)
"""The tiers that have policies, in the order in which they are asked (semantics 11.21)."""

Rulings = dict[TierRuling, int]
"""Disjoint sets of peers (bits) by what a tier rules of them."""


class Ranked(NamedTuple):
    """A grant of a cluster-wide policy, its tier, and the classes (bits) that the policy selects."""

    tier: Tier
    subjects: int
    grant: Grant


class Cells:
    """All addresses, cut where some sets of them begin and end; each piece is a bit."""

    def __init__(self, blocks: Iterable[AddressSet]) -> None:
        """Cut at the bounds of these."""
        cuts = sorted({cut for block in blocks for cut in block.cuts()})
        self._pieces = list(spans.cut(AddressSet.ALL.spans, cuts))
        self.all = (1 << len(self._pieces)) - 1

    def bits(self, block: AddressSet) -> int:
        """Return the pieces that a set holds, which is one of those that made them."""
        return sum(1 << place for place, (first, _) in enumerate(self._pieces) if first in block)

    def addresses(self, bits: int) -> AddressSet:
        """Return the addresses of pieces."""
        return AddressSet(spans.normalize(piece for place, piece in enumerate(self._pieces) if bits >> place & 1))


def ruled(steps: Sequence[tuple[int, Step]], peers: int, *, surely: bool) -> Rulings:
    """Return what the rules of a tier, each with the peers (bits) that it matches, rule of all `peers`."""
    found: Rulings = {PASSED: peers}
    for matched, step in reversed(steps):
        if not matched & peers:
            continue
        parts: Rulings = defaultdict(int)
        for ruling, there in found.items():
            if there & matched:
                parts[preceded(ruling, step, surely=surely)] |= there & matched
            if there & ~matched:
                parts[ruling] |= there & ~matched
        found = parts
    return found


def isolated(admitted: Iterable[tuple[PortSet, int]], peers: int, of: int, opened: int) -> Rulings:
    """Return what NetworkPolicies rule of all `peers`: only those `of` an isolated pod need a rule that admits them.

    `admitted` may overlap. The `opened` may be admitted by policies that were not read.
    """
    rest = peers & of & ~opened
    found: Rulings = {TierRuling(PortSet.ALL, PortSet.EMPTY): opened & peers, PASSED: peers & ~of & ~opened}
    for ports, bits in disjoint(admitted).items():
        found[TierRuling(ports, PortSet.ALL)] = bits & rest
        rest &= ~bits
    return found | {TierRuling(PortSet.EMPTY, PortSet.ALL): rest}


def decided(tiers: Sequence[Rulings], peers: int) -> dict[PortSet, int]:
    """Return disjoint sets of `peers` by the ports that all tiers in order allow, without those that have none."""
    together: dict[tuple[TierRuling, ...], int] = {(): peers}
    for rulings in tiers:
        together = {
            (*before, ruling): there & bits
            for before, there in together.items()
            for ruling, bits in rulings.items()
            if there & bits
        }
    found: dict[PortSet, int] = defaultdict(int)
    for several, bits in together.items():
        ports = decide(several)
        if ports:
            found[ports] |= bits
    return found
