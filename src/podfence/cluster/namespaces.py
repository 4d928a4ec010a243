# SPDX-License-Identifier: Apache-2.0
"""Namespaces by label, so that a selector costs what it matches and not one look at each."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Mapping

    from podfence.kube.objects import Labels, Requirement, Selector

_K = TypeVar("_K")
_V = TypeVar("_V")


class NamespaceIndex:
    """The namespaces that exist, by the labels they have."""

    def __init__(self, namespaces: Mapping[str, Labels]) -> None:
        """Index namespaces by name with their labels."""
        self._labels: dict[str, Labels] = {}
        self._with_label: dict[tuple[str, str], set[str]] = defaultdict(set)
        self._with_key: dict[str, set[str]] = defaultdict(set)
        for name, labels in namespaces.items():
            self.put(name, labels)

    def copy(self) -> NamespaceIndex:
        """Return an index of its own of the same namespaces."""
        return NamespaceIndex(self._labels)

    def __len__(self) -> int:
        """Return how many namespaces there are."""
        return len(self._labels)

    def put(self, name: str, labels: Labels | None) -> None:
        """Let a namespace have these labels from now on; None takes it out."""
        for item in self._labels.pop(name, {}).items():
            discard(self._with_label, item, name)
            discard(self._with_key, item[0], name)
        if labels is not None:
            self._labels[name] = labels
            for item in labels.items():
                self._with_label[item].add(name)
                self._with_key[item[0]].add(name)

    def matching(self, selector: Selector | None) -> frozenset[str]:
        """Return the namespaces a selector means; None means all (semantics 4.1)."""
        found: set[str] | None = None
        for requirement in selector.requirements if selector else ():
            holding = self._holding(requirement)
            found = holding if found is None else found & holding
        return frozenset(self._labels if found is None else found)

    def _holding(self, requirement: Requirement) -> set[str]:
        """Return the namespaces for which a requirement holds: the truth table of semantics 4.3."""
        if requirement.operator in ("Exists", "DoesNotExist"):
            found = self._with_key.get(requirement.key, set())
        else:
            found = set()
            for value in requirement.values:
                found |= self._with_label.get((requirement.key, value), set())
        return found if requirement.operator in ("In", "Exists") else self._labels.keys() - found


def discard(table: dict[_K, set[_V]], key: _K, item: _V) -> None:
    """Take an item out of the set of a key, if it is there; no set is empty."""
    found = table.get(key)
    if found is not None:
        found.discard(item)
        if not found:
            del table[key]
