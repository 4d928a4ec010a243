# SPDX-License-Identifier: Apache-2.0
"""Policies and rules as reasons name them: with their place and their text."""

from __future__ import annotations

from typing import TYPE_CHECKING

from podfence.kube.objects import NetworkPolicy
from podfence.policy.grants import rules_of
from podfence.policy.verdict import ANNOTATION_KIND, Direction, Line, PolicyRef, RuleRef

if TYPE_CHECKING:
    from podfence.kube.findings import Position
    from podfence.policy.grants import CompiledPolicy, Source


def policy_ref(policy: CompiledPolicy) -> PolicyRef:
    """Return the name and place of a policy, or of the namespace whose annotation isolates."""
    source = policy.source
    if policy.key.kind == "Namespace":
        return PolicyRef(ANNOTATION_KIND, source.name, source.name, place(source))
    return PolicyRef(*policy.key, place(source))


def place(item: Source | None, *path: str | int) -> Position | None:
    """Return the place of an object, or of a field of it, None where nothing says one."""
    return item.origin.at(*path) if item is not None and item.origin is not None else None


def rule_ref(policy: CompiledPolicy, direction: Direction, index: int, item: int | None = None) -> RuleRef:
    """Return the place of a rule and its lines, and those of an item of its peers, if it came from a file."""
    origin = policy.source.origin
    path = ("spec", str(direction), index)
    peers = (*path, "from" if direction is Direction.INGRESS else "to", item) if item is not None else ()
    return RuleRef(
        policy_ref(policy),
        direction,
        index,
        place(policy.source, *path),
        tuple(Line(*line) for line in origin.excerpt(*path)) if origin else (),
        tuple(Line(*line) for line in origin.excerpt(*peers)) if origin and peers else (),
    )


def is_by_default(policy: CompiledPolicy, direction: Direction) -> bool:
    """Return whether a policy is for ingress only because its types were left out, and not its egress rules (2.3)."""
    source = policy.source
    if direction is not Direction.INGRESS or not isinstance(source, NetworkPolicy):
        return False
    return source.left_out_types and bool(source.egress) and not source.ingress


def has_idle_rules(policy: CompiledPolicy, direction: Direction) -> bool:
    """Return whether a policy has rules of a direction that its types leave out (semantics 2.4)."""
    return bool(rules_of(policy.source, direction)) and not policy.isolates(direction)
