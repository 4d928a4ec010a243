# SPDX-License-Identifier: Apache-2.0
"""Which pods a change may be about: only their connections are asked about, on both sides.

All others have the same policies on both sides, and these mean the same peers.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from podfence.cluster.selection import Selection, may_match
from podfence.policy.options import KINDS
from podfence.policy.verdict import Direction
from podfence.sets import AddressSet, union
from podfence.sets.addresses import FAMILIES

if TYPE_CHECKING:
    from collections.abc import Collection

    from podfence.analysis.diff.policies import Policies
    from podfence.analysis.diff.units import Units
    from podfence.analysis.doubts import Doubts
    from podfence.policy.engine import Engine
    from podfence.policy.reach import Reach


def affected(
    units: Units,
    reaches: tuple[Reach, Reach],
    doubts: tuple[Doubts, Doubts],
    policies: Policies,
    spaces: Collection[str],
) -> dict[Direction, int]:
    """Return the groups of pods of which a direction may be judged otherwise, or whose peers may be others.

    `spaces` are the namespaces of which the labels, or what is known of them, differ.
    """
    old, new = units.old.engine, units.new.engine
    if old.options != new.options or any(old.world.is_open(kind) != new.world.is_open(kind) for kind in KINDS):
        return dict.fromkeys(Direction, units.all)
    found = dict.fromkeys(Direction, units.moved)
    for side, (view, several) in enumerate(((units.old, policies.old), (units.new, policies.new))):
        for policy in several:
            name = policy.key.namespace or policy.key.name
            subjects = view.index.bits(policy.subject) | (doubts[side].unsure & view.index.in_namespace(name))
            for direction in policy.grants:
                found[direction] |= units.of_classes(side, subjects)
    addresses = _differ_in_unset_addresses(units)

    @cache
    def is_touched(peer: Selection | AddressSet | None) -> bool:
        if isinstance(peer, AddressSet):
            return addresses
        if peer is None or peer.namespaces is None:
            return False
        return any(_matched(peer, name, old) is not _matched(peer, name, new) for name in spaces)

    for side, reach in enumerate(reaches):
        for direction in Direction if spaces or addresses else ():
            touched = (bits for peer, bits in reach.rectangles(direction) if is_touched(peer))
            found[direction] |= units.of_classes(side, union(touched))
    return found


def _matched(peer: Selection, name: str, engine: Engine) -> bool | None:
    """Return whether a selection by labels of namespaces means a namespace; None where that is not known."""
    whole = not engine.world.has_unknown_labels(name)
    return may_match(peer.namespaces, dict(engine.state.labels_of_namespace(name)), whole=whole)


def _differ_in_unset_addresses(units: Units) -> bool:
    """Return whether pods of which no address is known may have others (semantics 13.6)."""
    old, new = units.old, units.new
    if not (old.index.unaddressed or new.index.unaddressed) or not (old.engine.world or new.engine.world):
        return False
    return any(
        old.engine.world.unset_addresses("Pod", family) != new.engine.world.unset_addresses("Pod", family)
        for family in FAMILIES
    )
