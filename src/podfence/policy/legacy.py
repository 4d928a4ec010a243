# SPDX-License-Identifier: Apache-2.0
"""The form before 1.7: extensions/v1beta1 policies and the namespace annotation (semantics 10).

Isolation was a property of the namespace, ingress only, asked for by an annotation; without it the
policies of the namespace had no effect at all. Here that becomes compiled policies: the annotation one
that isolates every pod, each old policy one that only admits.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from podfence.cluster.selection import Selection
from podfence.policy.budget import refusals, size_of
from podfence.policy.grants import CompiledPolicy, compile_policy, rule_grants, subject_of
from podfence.policy.verdict import Direction

if TYPE_CHECKING:
    from collections.abc import Iterable

    from podfence.kube.objects import Namespace, NetworkPolicy
    from podfence.policy.budget import Size
    from podfence.policy.options import Options

ANNOTATION = "net.beta.kubernetes.io/network-policy"
MISSPELT_ANNOTATION = "net.beta.kubernetes.io/networkpolicy"
OLD_API_VERSION = "extensions/v1beta1"


def is_old(policy: NetworkPolicy) -> bool:
    """Return whether the object is of the API group that had the old form."""
    return policy.api_version == OLD_API_VERSION


def isolates(namespace: Namespace) -> bool:
    """Return whether the annotation asks for isolation (semantics 10.1); what cannot be read does not (10.2)."""
    return isolation_asked(namespace.annotations.get(ANNOTATION, ""))


def isolation_asked(annotation: str) -> bool:
    """Return whether an annotation's text asks for isolation: JSON with ``DefaultDeny`` and no other value."""
    import json  # noqa: PLC0415  the annotation has been out of use for many years

    try:
        value = json.loads(annotation)
    except (ValueError, RecursionError):
        return False
    ingress = value.get("ingress") if isinstance(value, dict) else None
    return isinstance(ingress, dict) and ingress.get("isolation") == "DefaultDeny"


def compile_namespace(
    namespace: Namespace,
    policies: Iterable[NetworkPolicy],
    options: Options,
    earlier: Iterable[CompiledPolicy] = (),
) -> tuple[CompiledPolicy, ...]:
    """Compile the policies in force in a namespace, those of the old form as `options.legacy` says.

    ``auto``: the old meaning for old objects, the annotation counting where there are any. ``v1beta1``:
    the same, the annotation counting everywhere. ``v1``: as the group was read from 1.7 on (semantics 10.8).
    All are in order of name, whatever their form. `earlier` are policies compiled before with the same options;
    those of the same objects are not compiled again. Those that are in force add up for the budget (semantics 2.8).
    """
    new, old, is_isolated = _in_force(namespace, policies, options)
    known = {id(item.source): item for item in earlier}
    sizes = [(item, known[id(item)].size if id(item) in known else size_of(item)) for item in (*new, *old)]
    refused = refusals(sizes, options.budget)
    result: list[CompiledPolicy] = []
    for policy, size in sizes:
        why = refused.get(policy.name, "")
        before = known.get(id(policy))
        if is_isolated and is_old(policy):
            before = _compile_old(policy, options, size, why)
        elif before is None or before.refused != why:
            before = compile_policy(policy, options, size, why)
        result.append(before)
    if is_isolated:
        result.append(
            CompiledPolicy(namespace, namespace.key, Selection(namespace.name, None, None), {Direction.INGRESS: ()})
        )
    return tuple(sorted(result, key=lambda policy: (policy.source.name, policy.key.kind)))


def _in_force(
    namespace: Namespace, policies: Iterable[NetworkPolicy], options: Options
) -> tuple[list[NetworkPolicy], list[NetworkPolicy], bool]:
    """Return the new and the old policies in force, in order of name, and whether the annotation isolates all pods."""
    ordered = sorted(policies, key=lambda policy: policy.name)
    if options.legacy == "v1":
        return ordered, [], False
    old = [policy for policy in ordered if is_old(policy)]
    new = [policy for policy in ordered if not is_old(policy)]
    is_isolated = bool(old or options.legacy == "v1beta1") and isolates(namespace)
    return new, old if is_isolated else [], is_isolated


def _compile_old(policy: NetworkPolicy, options: Options, size: Size, refused: str) -> CompiledPolicy:
    """Compile an old policy of an isolated namespace: it admits ingress and nothing else (semantics 10.3, 10.4)."""
    grants = () if refused else tuple(rule_grants(policy, Direction.INGRESS, options))
    if options.legacy_empty_list == "none":
        empty = {index for index, rule in enumerate(policy.ingress) if rule.empty_peers or rule.empty_ports}
        grants = tuple(grant for grant in grants if grant.rule not in empty)
    return CompiledPolicy(policy, policy.key, subject_of(policy), {Direction.INGRESS: grants}, size, refused)
