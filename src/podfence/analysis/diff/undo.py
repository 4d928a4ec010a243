# SPDX-License-Identifier: Apache-2.0
"""Changes of objects that can be undone one by one: a policy or a rule of it, a workload, a namespace."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from msgspec.structs import replace

from podfence.analysis.diff.answer import Cause
from podfence.analysis.diff.objects import what
from podfence.analysis.diff.rules import aligned, differing
from podfence.cluster.members import display_name
from podfence.kube.objects import Key, NetworkPolicy
from podfence.policy.grants import rules_of
from podfence.policy.references import place
from podfence.policy.verdict import Direction

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from podfence.analysis.diff.answer import Effect
    from podfence.analysis.diff.objects import Pair
    from podfence.kube.objects import KubeObject, Rule
    from podfence.kube.origin import Path

WHOLE: Final = ""
SELECTOR: Final = "podSelector"
TYPES: Final = "policyTypes"
ISOLATION: Final = "isolation"
"""Of a policy that NEW does not have: that it is there, without its rules."""
CLUSTER: Final = Key("Cluster", "", "")
"""In the place of an object: everything that is neither a policy nor a namespace nor a pod."""


class Undo(NamedTuple):
    """An object that is to be as it was in OLD, or a `part` of it: `SELECTOR`, `TYPES`, or a rule.

    A rule is given by its direction and its place in the alignment of the rules of both sides.
    """

    object: Key
    part: str = WHOLE
    rule: int = -1

    @property
    def bare(self) -> Undo:
        """The same policy without its rules, if NEW does not have it."""
        return Undo(self.object, ISOLATION)


def parts(key: Key, pair: Pair) -> Iterator[Undo]:
    """Yield what differs inside of a policy, in parts that can be undone alone."""
    old, new = _policies(pair)
    for direction in Direction:
        for number, _, _ in differing(rules_of(old, direction), rules_of(new, direction)):
            yield Undo(key, direction, number)
    if old is not None and new is not None:
        if old.pod_selector != new.pod_selector:
            yield Undo(key, SELECTOR)
        if old.policy_types != new.policy_types:
            yield Undo(key, TYPES)


def restored(pair: Pair, undone: Collection[Undo]) -> NetworkPolicy | None:
    """Return the policy of NEW with some parts as they were in OLD, None for no policy."""
    old, new = _policies(pair)
    if any(item.part == WHOLE for item in undone):
        return old
    base = new if new is not None else old
    if base is None:
        return None
    fields: dict[str, object] = {}
    for direction in Direction:
        before, after = rules_of(old, direction), rules_of(new, direction)
        rules: list[Rule] = []
        for number, (one, other) in enumerate(aligned(before, after)):
            is_undone = any((item.part, item.rule) == (direction, number) for item in undone)
            if is_undone and one is not None:
                rules.append(before[one])
            elif not is_undone and other is not None:
                rules.append(after[other])
        fields[direction] = tuple(rules)
    for item in undone:
        if old is not None and item.part == SELECTOR:
            fields["pod_selector"] = old.pod_selector
        elif old is not None and item.part == TYPES:
            fields.update(policy_types=old.policy_types, left_out_types=old.left_out_types)
    return replace(base, **fields)


def cause(undo: Undo, pair: Pair | None) -> Cause:
    """Return a change as an answer names it; `pair` is the object on both sides, None if it is not one object."""
    if undo.object == CLUSTER:
        return Cause(effect="clusterChanged", text="nodes, addresses of pods, or options changed")
    if undo.object.kind == "NetworkPolicy" and pair is not None:
        return _of_policy(undo, pair)
    if undo.object.kind == "Namespace":
        return _of_object(pair, "namespaceChanged", f"Namespace {undo.object.name}")
    return _of_object(pair, "workloadChanged", display_name(undo.object))


def _of_policy(undo: Undo, pair: Pair) -> Cause:
    name = str(undo.object)
    if undo.part == WHOLE:
        effect: Effect = "policyAdded" if pair.old is None else "policyRemoved" if pair.new is None else "policyChanged"
        return _cause(effect, name, name, (pair.old, pair.new))
    if undo.part in (SELECTOR, TYPES):
        effect = "podSelectorChanged" if undo.part == SELECTOR else "policyTypesChanged"
        path = ("spec", undo.part)
        return _cause(effect, f"{undo.part} of {name}", name, (pair.old, pair.new), path, path)
    direction = Direction(undo.part)
    before, after = (rules_of(item, direction) for item in (pair.old, pair.new))
    one, other = list(aligned(before, after))[undo.rule]
    effect = "ruleAdded" if one is None else "ruleRemoved" if other is None else "ruleChanged"
    number = (one or 0) if other is None else other
    found = _cause(
        effect,
        f"{direction} rule {number + 1} of {name}",
        name,
        (pair.old if one is not None else None, pair.new if other is not None else None),
        ("spec", str(direction), one or 0),
        ("spec", str(direction), other or 0),
    )
    return replace(found, direction=direction, old_rule=one, new_rule=other)


def _of_object(pair: Pair | None, effect: Effect, name: str) -> Cause:
    if pair is None:
        return Cause(effect=effect, text=f"pods of {name} were changed", object=name)
    found = _cause(effect, name, name, (pair.old, pair.new))
    details = what(pair)
    if not details:
        return found
    return replace(found, text=f"{found.text}: {', '.join(details)}")


def _cause(
    effect: Effect,
    subject: str,
    name: str,
    sides: tuple[KubeObject | None, KubeObject | None],
    old_path: Path = (),
    new_path: Path = (),
) -> Cause:
    """Return a cause; its text says what was done to the subject, and where that is written.

    `sides` are the object in OLD and in NEW, None where the subject is not there.
    """
    old, new = place(sides[0], *old_path), place(sides[1], *new_path)
    verb = "added" if sides[0] is None else "removed" if sides[1] is None else "changed"
    at = new or old
    where = f" ({at})" if at else ""
    return Cause(effect=effect, text=f"{subject} was {verb}{where}", object=name, old=old, new=new)


def _policies(pair: Pair) -> tuple[NetworkPolicy | None, NetworkPolicy | None]:
    old, new = (item if isinstance(item, NetworkPolicy) else None for item in (pair.old, pair.new))
    return old, new
