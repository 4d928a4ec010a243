# SPDX-License-Identifier: Apache-2.0
"""Which classes of pods the peers of rules mean, surely or as far as is known."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from podfence.cluster.selection import Selection, may_match
from podfence.cluster.state import NAME_LABEL
from podfence.policy.engine import Bound, settle
from podfence.sets import union

if TYPE_CHECKING:
    from podfence.cluster.classes import ClassIndex
    from podfence.kube.objects import Selector
    from podfence.policy.engine import Engine
    from podfence.sets import AddressSet
    from podfence.sets.addresses import Family

_BY_NAME = (NAME_LABEL, "In")
"""The key and the operator of a requirement that names namespaces."""


class Scenario(Struct, frozen=True, eq=False):
    """One way to take what is open: the address family that is used, and the bound (see `Engine`).

    It is equal to itself alone: what is known in it is looked up all the time.
    """

    family: Family
    bound: Bound


class Peers:
    """The classes of an index that each peer means, worked out once."""

    def __init__(self, engine: Engine, index: ClassIndex) -> None:
        """Find the namespaces of unknown labels; `index` must look at all keys and cuts of the peers."""
        self._engine = engine
        self._index = index
        self._open: dict[Selection, tuple[int, int]] = {}
        self._open_spaces: dict[Selector, int] = {}
        self._known: dict[tuple[Selection | AddressSet | None, Scenario], int] = {}
        spaces = sorted(index.namespaces_of(index.all)) if engine.world else ()
        self.unknown_spaces = tuple(name for name in spaces if engine.world.has_unknown_labels(name))

    def of(self, peer: Selection | AddressSet | None, scenario: Scenario) -> int:
        """Return the classes a grant's peer means: by labels, by address in the scenario's family, or all."""
        key = (peer, scenario)
        found = self._known.get(key)
        if found is None:
            found = self._known[key] = self._meant(peer, scenario)
        return found

    def _meant(self, peer: Selection | AddressSet | None, scenario: Scenario) -> int:
        if peer is None:
            return self._index.all
        if isinstance(peer, Selection):
            return self._selected(peer, scenario.bound)
        engine = self._engine
        if settle(engine.options.ip_block_pods, scenario.bound, "never", "match") == "never":
            return 0
        found = self._index.with_address_in(peer, scenario.family)
        if self._index.unaddressed:
            unset = engine.world.holds_unset(peer, "Pod", scenario.family)
            if unset or (unset is None and scenario.bound is Bound.OPTIMISTIC):
                found |= self._index.unaddressed
        return found

    def _selected(self, selection: Selection, bound: Bound) -> int:
        """Return the classes that a selection means, those of namespaces of unknown labels as the bound says."""
        bits = self._index.bits(selection)
        if selection.namespaces is None or not self.unknown_spaces:
            return bits
        known = self._open.get(selection)
        if known is None:
            inside = self._may_be_in(selection.namespaces)
            meant = self._index.bits(Selection(None, None, selection.pods)) & inside if inside else 0
            known = self._open[selection] = (inside, meant)
        inside, meant = known
        return bits & ~inside | (meant if bound is Bound.OPTIMISTIC else 0)

    def _may_be_in(self, namespaces: Selector) -> int:
        """Return the classes of the namespaces of unknown labels that a selector may mean."""
        found = self._open_spaces.get(namespaces)
        if found is None:
            # Their names are known, and most selectors ask for these.
            named = [{*term.values} for term in namespaces.requirements if (term.key, term.operator) == _BY_NAME]
            names = [name for name in self.unknown_spaces if all(name in values for values in named)]
            known = {name: dict(self._engine.state.labels_of_namespace(name)) for name in names}
            may_be = (name for name, labels in known.items() if may_match(namespaces, labels, whole=False) is None)
            found = self._open_spaces[namespaces] = union(map(self._index.in_namespace, may_be))
        return found

    def is_nobody(self, peer: Selection | AddressSet | None) -> bool:
        """Return whether a peer means pods by their labels, and surely none that there is."""
        return isinstance(peer, Selection) and not self._selected(peer, Bound.OPTIMISTIC)
