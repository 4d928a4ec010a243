# SPDX-License-Identifier: Apache-2.0
"""Policies and rules as reasons name them: with their place and their text."""

from __future__ import annotations

from typing import TYPE_CHECKING

from podfence.kube.objects import NetworkPolicy
from podfence.policy.verdict import ANNOTATION_KIND, Direction, Line, PolicyRef, Position, RuleRef

if TYPE_CHECKING:
    from podfence.kube.objects import Namespace
    from podfence.policy.grants import CompiledPolicy


def policy_ref(policy: CompiledPolicy) -> PolicyRef:
    """Return the name and place of a policy, or of the namespace whose annotation isolates."""
    source = policy.source
    if isinstance(source, NetworkPolicy):
        return written_ref(source)
    return PolicyRef(ANNOTATION_KIND, source.name, source.name, _place(source))


def written_ref(policy: NetworkPolicy) -> PolicyRef:
    """Return the name and place of a policy as it was written."""
    return PolicyRef("NetworkPolicy", policy.namespace, policy.name, _place(policy))


def _place(source: NetworkPolicy | Namespace) -> Position | None:
    return Position(*source.origin.at()) if source.origin else None


def rule_ref(policy: CompiledPolicy, direction: Direction, index: int) -> RuleRef:
    """Return the place of a rule and its lines, if it came from a file."""
    origin = policy.source.origin
    path = ("spec", str(direction), index)
    return RuleRef(
        policy_ref(policy),
        direction,
        index,
        Position(*origin.at(*path)) if origin else None,
        tuple(Line(*item) for item in origin.excerpt(*path)) if origin else (),
    )
