# SPDX-License-Identifier: Apache-2.0
"""What a reader of an answer should know about its cluster: what was made up, left out, or read another way."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import TYPE_CHECKING

from podfence.analysis.effects import without_effect
from podfence.analysis.unseen import unseen
from podfence.cluster.addresses import claimants
from podfence.cluster.members import FINISHED_PHASES, display_name
from podfence.cluster.selection import namespace_keys_of
from podfence.cluster.state import NAME_LABEL
from podfence.kube.objects import NetworkPolicy
from podfence.policy.legacy import ANNOTATION, MISSPELT_ANNOTATION, is_old, isolates
from podfence.policy.references import policy_ref
from podfence.policy.wording import shortened
from podfence.sets.addresses import format_address

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from podfence.cluster.state import ClusterState
    from podfence.kube.objects import Namespace
    from podfence.policy.engine import Engine
    from podfence.policy.options import Options

_FEW = 5


def notes(engine: Engine, ignored: Mapping[str, int]) -> tuple[str, ...]:
    """Return one sentence for each thing worth knowing, in a stable order.

    `ignored` counts the objects that were not read, by kind and group.
    """
    state, options = engine.state, engine.options
    return (
        *_no_policy(engine, ignored),
        *_too_large(engine),
        *_other_policies(ignored),
        *unseen(engine, ignored),
        *_made_up(engine),
        *_finished(state),
        *_host_network(state, options),
        *_idle(state),
        *_shared_addresses(state),
        *_further_addresses(state),
        *_old_form(state, options),
        *without_effect(engine),
    )


def _no_policy(engine: Engine, ignored: Mapping[str, int]) -> Iterator[str]:
    state = engine.state
    judged = any(not member.host for member in state.members.values())
    # Before 1.7 an annotation isolated a namespace without any policy.
    if any(map(_is_policy, ignored)) or any(map(engine.world.unread, state.namespaces)):
        return
    if judged and not state.policies and not any(engine.policies(name) for name in state.namespaces):
        yield "there is no NetworkPolicy, so no pod is isolated (`kubectl get all` does not include policies)"


def assumed_of_others(ignored: Mapping[str, int]) -> tuple[str, ...]:
    """Return what an answer takes for granted of policies of other kinds, which may well decide, in one sentence.

    `ignored` counts the objects that were not read, by kind and group.
    """
    others = ", ".join(_others(ignored))
    return (
        (f"policies of other kinds, which are not judged, neither deny nor allow anything: {others}",) if others else ()
    )


def _other_policies(ignored: Mapping[str, int]) -> Iterator[str]:
    for other in _others(ignored):
        yield (
            f"{other} left out: only NetworkPolicies are judged, "
            "and answers assume that other policies neither deny nor allow anything"
        )


def _others(ignored: Mapping[str, int]) -> list[str]:
    return [f"{count} {kind}" for kind, count in sorted(ignored.items()) if _is_policy(kind)]


def _is_policy(kind: str) -> bool:
    return kind.partition(".")[0].endswith("NetworkPolicy")


def _too_large(engine: Engine) -> Iterator[str]:
    for name in sorted(engine.state.policies):
        for policy in engine.policies(name):
            if policy.refused and isinstance(policy.source, NetworkPolicy):
                yield f"{policy_ref(policy)} {policy.refused} (--set budget=tenfold reads more)"


def _some(names: list[str]) -> str:
    return shortened(names, most=_FEW, shown=_FEW)


def _made_up(engine: Engine) -> Iterator[str]:
    """Say which namespaces are only mentioned, where a selector asks for a label that they may have."""
    state = engine.state
    asked = {key for table in state.policies.values() for policy in table.values() for key in namespace_keys_of(policy)}
    names = sorted(state.implied - {"default"}) if asked - {NAME_LABEL} else []
    if names:
        which = f"namespace {names[0]} is" if len(names) == 1 else f"namespaces {_some(names)} are"
        if engine.world.is_open("Namespace"):
            whose, it = ("its", "it") if len(names) == 1 else ("their", "them")
            how = f"give {it}: kubectl get ns {' '.join(names)} -o yaml"
            yield f"{which} only mentioned: {whose} labels are not known ({how})"
        else:
            yield f"{which} only mentioned: podfence assumes only the label that every namespace has"


def _finished(state: ClusterState) -> Iterator[str]:
    phases = Counter(pod.phase for pod in state.pods.values() if pod.phase in FINISHED_PHASES)
    for phase in sorted(phases):
        yield f"{phases[phase]} {phase} pod{'s' if phases[phase] > 1 else ''} left out: finished pods have no address"


def _host_network(state: ClusterState, options: Options) -> Iterator[str]:
    names = sorted({display_name(member.owner) for member in state.members.values() if member.host})
    if names and options.host_network == "node":
        yield f"hostNetwork pods are part of their node, not selected (--set host-network=pod): {_some(names)}"


def _idle(state: ClusterState) -> Iterator[str]:
    names = sorted(
        display_name(key)
        for key in state.members
        if (workload := state.workloads.get(key)) is not None and workload.replicas == 0
    )
    if names:
        yield f"workloads with 0 replicas are judged as if they ran: {_some(names)}"


def _shared_addresses(state: ClusterState) -> Iterator[str]:
    for number, several in claimants(state.members.values()).items():
        names = ", ".join(display_name(member.key) for member in several)
        yield f"{format_address(number)} is claimed by {names}; connections to it count as connections to the first"


def _further_addresses(state: ClusterState) -> Iterator[str]:
    names = [
        display_name(key)
        for key, member in sorted(state.members.items())
        if not member.host and member.pod is not None and len(member.addresses) < len(set(member.pod.addresses))
    ]
    if names:
        yield f"only the first address of a family counts, because no pod has more than one: {_some(names)}"


def _old_form(state: ClusterState, options: Options) -> Iterator[str]:
    old: dict[str, list[NetworkPolicy]] = defaultdict(list)
    for name, table in state.policies.items():
        old[name] += [policy for policy in table.values() if is_old(policy)]
    for name, namespace in sorted(state.namespaces.items()):
        yield from _annotation(namespace, has_old=bool(old[name]), legacy=options.legacy)
        if not old[name]:
            continue
        names = _some(sorted(policy.name for policy in old[name]))
        which = f"extensions/v1beta1 policies of {name} ({names})"
        if options.legacy == "v1":
            yield f"{which} are read as networking.k8s.io/v1: each isolates the pods it selects"
        elif isolates(namespace):
            yield f"{which} have the meaning from before 1.7: the annotation of {name} isolates all its pods"
        else:
            yield (
                f"{which} have no effect: before 1.7 they had one only in a namespace with the annotation "
                f"{ANNOTATION}; --set legacy=v1 gives them the meaning they had from 1.7 on"
            )


def _annotation(namespace: Namespace, *, has_old: bool, legacy: str) -> Iterator[str]:
    if MISSPELT_ANNOTATION in namespace.annotations:
        yield f"namespace {namespace.name}: annotation {MISSPELT_ANNOTATION} never had an effect; write {ANNOTATION}"
    if ANNOTATION not in namespace.annotations:
        return
    if legacy == "v1" or (legacy == "auto" and not has_old):
        yield (
            f"namespace {namespace.name}: the annotation {ANNOTATION} has had no effect since 1.7; "
            "--set legacy=v1beta1 reads it the old way"
        )
    elif not isolates(namespace):
        yield f"namespace {namespace.name}: annotation {ANNOTATION} does not say DefaultDeny, so nothing is isolated"
