# SPDX-License-Identifier: Apache-2.0
"""Label selectors as section 4 of the specification defines them."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from podfence.kube.objects import Labels, Requirement, Selector


def requirement_holds(requirement: Requirement, labels: Labels) -> bool:
    """Return whether one requirement holds: the truth table of semantics 4.3, exact equality (4.5)."""
    key, values = requirement.key, requirement.values
    match requirement.operator:
        case "In":
            return key in labels and labels[key] in values
        case "NotIn":
            return key not in labels or labels[key] not in values
        case "Exists":
            return key in labels
        case "DoesNotExist":
            return key not in labels


def selects(selector: Selector, labels: Labels) -> bool:
    """Return whether all requirements hold; the empty selector matches everything (semantics 4.1)."""
    return all(requirement_holds(requirement, labels) for requirement in selector.requirements)
