# SPDX-License-Identifier: Apache-2.0
"""Policies and rules that do nothing in a cluster, which is seldom what their author meant."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from podfence.cluster.controllers import is_unknown
from podfence.cluster.namespaces import NamespaceIndex
from podfence.cluster.selection import Selection
from podfence.kube.objects import NetworkPolicy
from podfence.policy.ends import PodEnd
from podfence.policy.grants import rules_of
from podfence.policy.legacy import is_old
from podfence.policy.references import has_idle_rules
from podfence.policy.verdict import Direction
from podfence.policy.wording import peer_text, shortened

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

    from podfence.cluster.members import Member
    from podfence.cluster.state import ClusterState
    from podfence.kube.objects import Requirement
    from podfence.policy.engine import Engine
    from podfence.policy.grants import CompiledPolicy

_FEW = 3


class MeantPods:
    """The pods that selectors mean or may mean, found by namespace and by one of their labels, not one by one."""

    def __init__(self, engine: Engine, spaces: Collection[str] | None = None) -> None:
        """Look at all pods that are no part of their node, of some namespaces, or of all."""
        state = engine.state
        self._engine = engine
        self._unknown_spaces = [name for name in state.namespaces if engine.world.has_unknown_labels(name)]
        self._unknown_keys: set[str] = set()
        self._namespaces = NamespaceIndex({name: item.labels for name, item in state.namespaces.items()})
        self._inside: dict[str, list[Member]] = defaultdict(list)
        self._labelled: dict[tuple[str, str, str], list[Member]] = defaultdict(list)
        self._known: dict[Selection, bool] = {}
        for member in state.members.values():
            if (spaces is not None and member.namespace not in spaces) or not engine.is_judged(member):
                continue
            self._inside[member.namespace].append(member)
            for key, value in member.labels.items():
                if is_unknown(value):
                    self._unknown_keys.add(key)
                self._labelled[member.namespace, key, value].append(member)

    def any_meant(self, selection: Selection) -> bool:
        """Return whether a selection means any pod, or may do so for all that is known."""
        found = self._known.get(selection)
        if found is None:
            found = self._known[selection] = next(self.meant(selection), None) is not None
        return found

    def meant(self, selection: Selection) -> Iterator[Member]:
        """Yield the pods that a selection means (semantics 3.3, 3.4), or may mean (13.3, 13.4)."""
        terms = selection.pods.requirements if selection.pods else ()
        known = next(((term.key, term.values[0]) for term in terms if self._is_one_value(term)), None)
        for space in self._spaces(selection):
            near = self._labelled.get((space, *known), ()) if known else self._inside.get(space, ())
            for member in near:
                if self._engine.selects(selection, PodEnd(member, None, 4)) is not False:
                    yield member

    def _spaces(self, selection: Selection) -> Iterable[str]:
        if selection.namespace is not None:
            return (selection.namespace,)
        return dict.fromkeys((*self._namespaces.matching(selection.namespaces), *self._unknown_spaces))

    def _is_one_value(self, term: Requirement) -> bool:
        return term.operator == "In" and len(term.values) == 1 and term.key not in self._unknown_keys


def without_effect(engine: Engine) -> Iterator[str]:
    """Yield one sentence for each kind of policy, rule, peer or port name that does nothing here.

    In a cluster without pods nothing is said: everything would be named.
    """
    state = engine.state
    pods = MeantPods(engine)
    selecting: list[str] = []
    peers: list[str] = []
    names: list[str] = []
    idle: list[str] = []
    if not state.members:
        return
    for name in sorted(state.policies):
        for policy in engine.policies(name):
            if not isinstance(policy.source, NetworkPolicy) or is_old(policy.source):
                continue
            left_out = (way for way in (Direction.INGRESS, Direction.EGRESS) if has_idle_rules(policy, way))
            idle += [f"{way} of {name}/{policy.source.name}" for way in left_out]
            if not pods.any_meant(policy.subject):
                selecting.append(_selecting_none(state, policy))
                continue
            peers += _peers_of_none(pods, policy)
            names += _names_of_none(pods, policy)
    for what, several in (
        ("policies that select no pod", selecting),
        ("peers that match no pod here", peers),
        ("port names that no pod has", names),
        ("rules without effect, because policyTypes leaves their direction out", idle),
    ):
        if several:
            yield f"{what}: {shortened(several, most=_FEW, shown=_FEW)}"


def _selecting_none(state: ClusterState, policy: CompiledPolicy) -> str:
    """Return the name of a policy; one that stands in `default` alone may lack its namespace."""
    source = policy.source
    text = f"{policy.key.namespace}/{source.name}"
    lonely = all(member.namespace != "default" for member in state.members.values())
    return f"{text} (is its namespace missing?)" if policy.key.namespace == "default" and lonely else text


def _peers_of_none(pods: MeantPods, policy: CompiledPolicy) -> Iterator[str]:
    for direction, grants in policy.grants.items():
        place: dict[int, int] = defaultdict(int)
        for grant in grants:
            index = place[grant.rule]
            place[grant.rule] += 1
            if not isinstance(grant.peer, Selection) or pods.any_meant(grant.peer):
                continue
            rule = rules_of(policy.source, direction)[grant.rule]
            peer = peer_text(rule.peers[index], policy.key.namespace)
            yield f"{_rule(policy, direction, grant.rule)} ({peer})"


def _names_of_none(pods: MeantPods, policy: CompiledPolicy) -> Iterator[str]:
    """Yield the rules that name a port which none of the pods has on which the name is looked up (semantics 5.4)."""
    for direction, grants in policy.grants.items():
        there: dict[tuple[int, tuple[str, str]], bool] = {}
        for grant in grants:
            on = policy.subject if direction is Direction.INGRESS else grant.peer
            if not grant.names or not isinstance(on, Selection) or not pods.any_meant(on):
                continue
            declared = {(port.name, port.protocol) for member in pods.meant(on) for port in member.ports}
            for name in grant.names:
                there[grant.rule, name] = there.get((grant.rule, name), False) or name in declared
        for (rule, (text, protocol)), has in there.items():
            if not has:
                yield f"{_rule(policy, direction, rule)} ({protocol} {text})"


def _rule(policy: CompiledPolicy, direction: Direction, index: int) -> str:
    return f"{policy.key.namespace}/{policy.source.name} {direction} rule {index + 1}"
