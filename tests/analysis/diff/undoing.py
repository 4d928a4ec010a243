# SPDX-License-Identifier: Apache-2.0
"""Undoes causes in objects, from nothing but what an answer says of them."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

import msgspec

from podfence.cluster.members import display_name
from podfence.kube.objects import Namespace, NetworkPolicy, Pod, Workload

if TYPE_CHECKING:
    from collections.abc import Sequence

    from podfence.analysis.diff.answer import Cause
    from podfence.kube.objects import KubeObject


def undone(
    before: Sequence[KubeObject], after: Sequence[KubeObject], causes: Sequence[Cause]
) -> list[KubeObject] | None:
    """Return the objects of NEW with causes undone; None if one is about the cluster as a whole."""
    old, new = ({str(item.key): item for item in side} for side in (before, after))
    rules: dict[str, list[Cause]] = defaultdict(list)
    for cause in causes:
        if cause.effect == "clusterChanged":
            return None
        key = key_of(cause, (*before, *after))
        if cause.effect.startswith("rule"):
            rules[key].append(cause)
        elif cause.effect in ("podSelectorChanged", "policyTypesChanged"):
            policy, earlier = new[key], old[key]
            assert isinstance(policy, NetworkPolicy)
            assert isinstance(earlier, NetworkPolicy)
            if cause.effect == "podSelectorChanged":
                new[key] = msgspec.structs.replace(policy, pod_selector=earlier.pod_selector)
            else:
                new[key] = msgspec.structs.replace(policy, policy_types=earlier.policy_types)
        elif key in old:
            new[key] = old[key]
        else:
            del new[key]
    for key, several in rules.items():
        new[key] = with_rules(old.get(key), new.get(key), several)
    return list(new.values())


def key_of(cause: Cause, objects: Sequence[KubeObject]) -> str:
    """Return the key of the object that a cause names."""
    return next(str(item.key) for item in objects if name_of(item) == cause.object)


def name_of(item: KubeObject) -> str:
    if isinstance(item, Namespace):
        return f"Namespace {item.name}"
    if isinstance(item, NetworkPolicy):
        return f"NetworkPolicy {item.namespace}/{item.name}"
    return display_name(item.key) if isinstance(item, Pod | Workload) else ""


def with_rules(old: KubeObject | None, new: KubeObject | None, causes: Sequence[Cause]) -> NetworkPolicy:
    """Return the policy of NEW, or that of OLD without rules, with some rules as they were."""
    base = new if isinstance(new, NetworkPolicy) else old
    assert isinstance(base, NetworkPolicy)
    fields = {}
    for direction in ("ingress", "egress"):
        rules = dict(enumerate(getattr(new, direction))) if new is not None else {}
        extra = []
        for cause in causes:
            if cause.direction != direction:
                continue
            if cause.new_rule is not None:
                del rules[cause.new_rule]
            if cause.old_rule is not None:
                extra.append(getattr(old, direction)[cause.old_rule])
        fields[direction] = (*rules.values(), *extra)
    return msgspec.structs.replace(base, **fields)
