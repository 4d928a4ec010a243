# SPDX-License-Identifier: Apache-2.0
"""The compiled policies of two clusters: equal ones compiled once, and which say something else."""

from __future__ import annotations

from functools import reduce
from typing import TYPE_CHECKING

from msgspec import Struct

from podfence.policy.budget import BUDGETS, NOTHING, Size
from podfence.policy.engine import Engine
from podfence.policy.legacy import is_old

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from podfence.analysis.diff.objects import Pair
    from podfence.kube.objects import Key
    from podfence.policy.grants import CompiledPolicy


class Policies(Struct, frozen=True):
    """What differs between the policies of two engines.

    `old` and `new` are the compiled policies that say something else on the other side, or are not there. `entangled`
    are the namespaces where a policy has a say in what others mean: by the budget (semantics 2.8) or the old form (10).
    """

    old: tuple[CompiledPolicy, ...]
    new: tuple[CompiledPolicy, ...]
    entangled: frozenset[str]


def engine_beside(old: Engine, new: Engine, found: Mapping[Key, Pair]) -> Engine:
    """Return an engine for NEW that compiles only what differs from OLD."""
    result = Engine(new.state, new.options, new.world).as_read()
    if old.options == new.options:
        differing = _namespaces(found)
        for name in new.state.namespaces:
            if name in old.state.namespaces and name not in differing:
                result.keep(name, old.policies(name))
    return result


def differing(old: Engine, new: Engine, found: Mapping[Key, Pair]) -> Policies:
    """Return which policies say something else, of two engines of which one is beside the other."""
    names = _namespaces(found)
    if old.options != new.options:
        names |= {*old.state.namespaces, *new.state.namespaces}
    before: list[CompiledPolicy] = []
    after: list[CompiledPolicy] = []
    entangled: set[str] = set()
    for name in names:
        one = {policy.key: policy for policy in old.policies(name)}
        other = {policy.key: policy for policy in new.policies(name)}
        equal = {key for key in one.keys() & other.keys() if _meaning(one[key]) == _meaning(other[key])}
        before += [policy for key, policy in one.items() if key not in equal]
        after += [policy for key, policy in other.items() if key not in equal]
        both = [*one.values(), *(policy for key, policy in other.items() if key not in equal)]
        if _may_refuse(both, new) or any(
            is_old(policy) for side in (old, new) for policy in side.state.policies.get(name, {}).values()
        ):
            entangled.add(name)
    return Policies(tuple(before), tuple(after), frozenset(entangled))


def _meaning(policy: CompiledPolicy) -> object:
    return policy.subject, policy.refused, tuple(policy.grants.items())


def _may_refuse(policies: Collection[CompiledPolicy], engine: Engine) -> bool:
    """Return whether policies of both sides are too large together for a namespace, or one of them is (2.8)."""
    budget = BUDGETS[engine.options.budget]
    total = reduce(Size.plus, (policy.size for policy in policies), NOTHING)
    return any(policy.refused for policy in policies) or bool(budget and total.beyond(budget.namespace))


def _namespaces(found: Mapping[Key, Pair]) -> set[str]:
    """Return the namespaces of which policies, or what the namespace itself says about them, differ."""
    return {key.namespace or key.name for key, pair in found.items() if key.kind in ("NetworkPolicy", "Namespace")}
