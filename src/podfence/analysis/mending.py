# SPDX-License-Identifier: Apache-2.0
"""The policies of a cluster as they would be if a denied connection were admitted."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from msgspec.structs import replace

from podfence.kube.objects import NetworkPolicy
from podfence.policy.changes import AddRule, LabelTemplate, NewPolicy, applied, free_name, selector_of
from podfence.policy.verdict import Decision

if TYPE_CHECKING:
    from collections.abc import Mapping

    from podfence.cluster.state import ClusterState
    from podfence.kube.objects import Key
    from podfence.policy.changes import Change
    from podfence.policy.verdict import Verdict


class Mended(NamedTuple):
    """A policy after the changes that `texts` say; None for changes of something else."""

    texts: tuple[str, ...]
    policy: NetworkPolicy | None


def mended(state: ClusterState, verdict: Verdict) -> tuple[Mended, ...]:
    """Return what the narrowest change of each direction makes of its policy; nothing where none is proposed.

    Where the parts of a question are decided differently, it is about the one whose reasons the verdict shows; where
    all are denied and need different changes, about all.
    """
    after: dict[Key, Mended] = {}
    others: list[Mended] = []
    denied = verdict.parts if verdict.decision is Decision.DENIED else ()
    tried: list[Change] = []
    for reason in (reason for part in denied or (verdict,) for reason in (part.egress, part.ingress)):
        narrow = [remedy for remedy in reason.remedies if not remedy.also] or reason.remedies
        for remedy in narrow[:1]:
            if remedy.change in tried:
                continue
            tried.append(remedy.change)
            if isinstance(remedy.change, LabelTemplate):
                others.append(Mended((remedy.text,), None))
                continue
            space = remedy.change.namespace
            done = {key.name: item.policy for key, item in after.items() if key.namespace == space and item.policy}
            known = {**state.policies.get(space, {}), **done}
            policy = applied(_beside(done, known, remedy.change), known)
            if policy is not None:
                before = after[policy.key].texts if policy.key in after else ()
                after[policy.key] = Mended((*before, remedy.text), policy)
    return (*after.values(), *others)


def _beside(done: Mapping[str, NetworkPolicy], known: Mapping[str, NetworkPolicy], change: Change) -> Change:
    """Return a change as it is made after others, of which the change of a new policy does not know.

    It becomes a rule of the policy that another change added for the same pods, or a policy with a free name.
    """
    if not isinstance(change, NewPolicy):
        return change
    for name, there in done.items():
        same_pods = there.pod_selector == selector_of(change.pod_labels)
        if same_pods and [way.lower() for way in there.policy_types] == [change.direction]:
            return AddRule(namespace=change.namespace, policy=name, direction=change.direction, rule=change.rule)
    return replace(change, policy=free_name(change.policy, known))
