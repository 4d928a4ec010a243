# SPDX-License-Identifier: Apache-2.0
"""Policies whose change is about pods that are not in the input, so that nobody can say what it does."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Final

from msgspec.structs import replace

from podfence.analysis.effects import MeantPods
from podfence.cluster.members import Member
from podfence.kube.objects import Key, NetworkPolicy
from podfence.policy.ends import PodEnd
from podfence.policy.verdict import Direction
from podfence.sets import PortSet

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from podfence.analysis.diff.answer import ObjectChange
    from podfence.cluster.selection import Selection
    from podfence.policy.engine import Engine

_NONE: Final = "selects no pod here"


def marked(
    found: Iterable[ObjectChange], old: Engine, new: Engine, causes: Collection[str]
) -> tuple[ObjectChange, ...]:
    """Return changes of objects, with those of policies marked that are about pods which are not in the input.

    Such a policy selects no pod on any side. Or it causes no change of a connection (`causes` are the objects that
    do), because other policies isolate all pods that it selects, and pods with no other labels than it asks for are
    isolated on one side only. Where the input is the whole cluster, none is marked (semantics 13.1).
    """
    changes = tuple(found)
    names = {(item.namespace, item.name) for item in changes if item.kind == "NetworkPolicy" and item.change != "text"}
    if not names or not (old.world.is_open("Pod") or new.world.is_open("Pod")):
        return changes
    spaces = {space for space, _ in names}
    subjects: dict[tuple[str, str], list[Selection]] = defaultdict(list)
    selecting: set[tuple[str, str]] = set()
    for engine in (old, new):
        pods = MeantPods(engine, spaces)
        for space in spaces:
            for policy in engine.policies(space):
                name = (space, policy.source.name)
                if name in names and isinstance(policy.source, NetworkPolicy):
                    subjects[name].append(policy.subject)
                    if pods.any_meant(policy.subject):
                        selecting.add(name)

    def unseen(item: ObjectChange) -> str:
        name = (item.namespace, item.name)
        if name not in selecting:
            return _NONE
        return "" if str(item) in causes else _isolating(subjects[name], old, new)

    return tuple(
        replace(item, unseen=unseen(item))
        if item.kind == "NetworkPolicy" and (item.namespace, item.name) in names
        else item
        for item in changes
    )


def _isolating(subjects: Sequence[Selection], old: Engine, new: Engine) -> str:
    """Return what a change does to pods that have only the labels by which a policy selects them, "" for nothing."""
    for subject in subjects:
        space = subject.namespace or ""
        terms = subject.pods.requirements if subject.pods else ()
        labels = {term.key: next(iter(term.values), "") for term in terms if term.operator in ("In", "Exists")}
        if not subject.matches_labels(labels) or not (space in old.state.namespaces and space in new.state.namespaces):
            continue
        pod = PodEnd(Member(Key("Pod", space, ""), None, labels, ()), None, 4)
        for direction in Direction:
            before, after = (_is_isolated(engine, direction, pod) for engine in (old, new))
            if before != after:
                return f"{'isolates' if after else 'no longer isolates'} pods that are not here"
    return ""


def _is_isolated(engine: Engine, direction: Direction, pod: PodEnd) -> bool:
    """Return whether policies isolate a pod in a direction, and do not admit everything to it at once."""
    policies, _ = engine.concerned(direction, pod)
    admitted = (grant for policy in policies for grant in policy.grants[direction])
    return bool(policies) and not any(grant.peer is None and grant.ports == PortSet.ALL for grant in admitted)
