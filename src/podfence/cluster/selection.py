# SPDX-License-Identifier: Apache-2.0
"""Selections: which pods a policy means, as interned values that match labels."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct
from msgspec.structs import force_setattr

from podfence.cluster.controllers import UNKNOWN, is_unknown
from podfence.kube.objects import Selector

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from podfence.kube.objects import Labels, NetworkPolicy, Requirement


class Selection(Struct, frozen=True, gc=False):
    """A set of pods by labels.

    `namespace` names the one namespace meant (semantics 1.5, 3.4), or is None and `namespaces` selects
    them by their labels. `pods` selects inside them; None means all (semantics 3.3, 3.4).
    """

    namespace: str | None
    namespaces: Selector | None
    pods: Selector | None
    _hash: int = 0

    def __post_init__(self) -> None:
        # Selections are keys of nearly every table, and a selector of many requirements takes long to hash.
        force_setattr(self, "_hash", hash((self.namespace, self.namespaces, self.pods)))

    def __hash__(self) -> int:
        """Return the hash of the value."""
        return self._hash

    def __repr__(self) -> str:
        """Return the value without its hash, which is another in each process: names in the kernel are made of this."""
        return f"Selection(namespace={self.namespace!r}, namespaces={self.namespaces!r}, pods={self.pods!r})"

    @property
    def all_keys(self) -> frozenset[str]:
        """The label keys it looks at, of namespaces and of pods."""
        selectors = [selector for selector in (self.namespaces, self.pods) if selector]
        return frozenset(item.key for selector in selectors for item in selector.requirements)

    def keys(self) -> frozenset[str]:
        """Return the pod label keys it looks at."""
        return frozenset(item.key for item in self.pods.requirements) if self.pods else frozenset()

    def matches_namespace(self, name: str, labels: Labels) -> bool:
        """Return whether pods of this namespace can be meant."""
        if self.namespace is not None:
            return self.namespace == name
        return self.namespaces is None or matches(self.namespaces, labels)

    def matches_labels(self, labels: Labels) -> bool:
        """Return whether a pod with these labels is meant, its namespace given."""
        return self.pods is None or matches(self.pods, labels)


def keys_of(policy: NetworkPolicy) -> frozenset[str]:
    """Return the pod label keys that the selectors of a policy look at."""
    return frozenset(item.key for item in requirements_of(policy))


def requirements_of(policy: NetworkPolicy) -> Iterator[Requirement]:
    """Yield what the selectors of a policy ask of the labels of pods."""
    for selector in (policy.pod_selector, *(peer.pod_selector for peer in policy.peers())):
        yield from selector.requirements if selector else ()


def namespace_keys_of(policy: NetworkPolicy) -> frozenset[str]:
    """Return the namespace label keys that the selectors of a policy look at."""
    selectors = (peer.namespace_selector for peer in policy.peers())
    return frozenset(item.key for selector in selectors if selector for item in selector.requirements)


def matches(selector: Selector, labels: Labels) -> bool:
    """Return whether all requirements hold for the labels (semantics 4.1)."""
    return all(holds(requirement, labels) for requirement in selector.requirements)


def may_match(selector: Selector | None, labels: Mapping[str, str | None], *, whole: bool) -> bool | None:
    """Return whether all requirements hold for labels of which not all are known; None where that is not known.

    A label is known to be absent if its value is None, and if it is not there while the labels are the `whole`.
    """
    result: bool | None = True
    for item in selector.requirements if selector else ():
        answer = may_hold(item, labels, whole=whole)
        if answer is False:
            return False
        if answer is None:
            result = None
    return result


def may_hold(requirement: Requirement, labels: Mapping[str, str | None], *, whole: bool) -> bool | None:
    """Return whether one requirement holds, as `may_match` does."""
    value = labels.get(requirement.key)
    if value is None:
        if not whole and requirement.key not in labels:
            return None
    elif requirement.operator in ("In", "NotIn") and is_unknown(value):
        possible = any(item.startswith(value.removesuffix(UNKNOWN)) for item in requirement.values)
        return None if possible else requirement.operator == "NotIn"
    return requirement.is_met(value)


def holds(requirement: Requirement, labels: Labels) -> bool:
    """Return whether one requirement holds for labels all of which are known."""
    return requirement.is_met(labels.get(requirement.key))
