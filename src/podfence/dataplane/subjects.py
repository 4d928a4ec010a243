# SPDX-License-Identifier: Apache-2.0
"""Which policies judge a class of pods, and so which group its pods are in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeVar

from podfence.dataplane.program import GroupKey
from podfence.policy.verdict import Direction

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from podfence.cluster.pod_class import PodClass
    from podfence.kube.objects import Key, Labels
    from podfence.policy.grants import CompiledPolicy
    from podfence.policy.model import Model

_K = TypeVar("_K")
_V = TypeVar("_V")
_SPARE: Final = 64


@dataclass(frozen=True, slots=True)
class _Space:
    """The policies of a namespace as the engine compiled them, and those over it by key (see `Subjects.policies`)."""

    compiled: tuple[CompiledPolicy, ...]
    by_key: dict[Key, CompiledPolicy]


@dataclass(frozen=True, slots=True)
class _Known:
    """The groups of a class, and what they were worked out from; `labels` are those of its namespace."""

    pod_class: PodClass
    labels: Labels
    ports: tuple[tuple[str, str, int, bool], ...]
    compiled: tuple[CompiledPolicy, ...]
    groups: dict[Direction, GroupKey]

    def holds(self, pod_class: PodClass, labels: Labels, compiled: tuple[CompiledPolicy, ...]) -> bool:
        """Return whether it is so still: only labels of its namespace change which policies select a class."""
        return (
            self.pod_class is pod_class
            and self.ports == pod_class.ports
            and self.compiled is compiled
            and self.labels == labels
        )


class Subjects:
    """Answers from a model; what it keeps is renewed when the model's policies are others."""

    def __init__(self, model: Model) -> None:
        """Answer nothing yet."""
        self._model = model
        self._spaces: dict[str, _Space] = {}
        self._known: dict[int, _Known] = {}

    def policies(self, namespace: str) -> Mapping[Key, CompiledPolicy]:
        """Return the policies over a namespace by key: its own in order of name, then others as they are asked."""
        compiled = self._model.engine.policies(namespace)
        _forget(self._spaces, self._model.state.namespaces)
        known = self._spaces.get(namespace)
        if known is None or known.compiled is not compiled:
            everything = self._model.engine.policies_over(namespace)
            known = self._spaces[namespace] = _Space(compiled, {policy.key: policy for policy in everything})
        return known.by_key

    def groups(self, classes: Iterable[int]) -> dict[int, dict[Direction, GroupKey]]:
        """Return the groups of some classes by direction; none where no policy selects them (semantics 2.1, 11.2)."""
        isolating: dict[str, dict[Direction, list[tuple[int, Key, CompiledPolicy]]]] = {}
        result: dict[int, dict[Direction, GroupKey]] = {}
        _forget(self._known, self._model.index.classes)
        state = self._model.state
        for number in classes:
            pod_class = self._model.index.classes[number]
            compiled = self._model.engine.policies(pod_class.namespace)
            known = self._known.get(number)
            # Policies of its own namespace select a class whatever these are.
            labels = state.labels_of_namespace(pod_class.namespace) if self._model.engine.clusterwide else {}
            if known is None or not known.holds(pod_class, labels, compiled):
                if pod_class.namespace not in isolating:
                    isolating[pod_class.namespace] = self._isolating(pod_class.namespace)
                groups = {
                    direction: self._group(direction, pod_class, policies)
                    for direction, found in isolating[pod_class.namespace].items()
                    if (policies := [(key, policy) for bits, key, policy in found if bits >> number & 1])
                }
                known = self._known[number] = _Known(pod_class, labels, pod_class.ports, compiled, groups)
            result[number] = known.groups
        return result

    def _isolating(self, namespace: str) -> dict[Direction, list[tuple[int, Key, CompiledPolicy]]]:
        """Return the policies of each direction, with the classes (bits) that they select."""
        bits = self._model.index.bits
        policies = [(bits(policy.subject), key, policy) for key, policy in self.policies(namespace).items()]
        return {direction: [item for item in policies if item[2].isolates(direction)] for direction in Direction}

    def _group(self, direction: Direction, pod_class: PodClass, policies: list[tuple[Key, CompiledPolicy]]) -> GroupKey:
        ports: set[tuple[str, str, int]] = set()
        if direction is Direction.INGRESS and pod_class.ports:
            names = {name for _, policy in policies for grant in policy.grants[direction] for name in grant.names}
            containers_only = self._model.engine.options.init_ports == "containers"
            ports = {
                (name, protocol, number)
                for name, protocol, number, sidecar in pod_class.ports
                if (name, protocol) in names and not (sidecar and containers_only)
            }
        return GroupKey(direction, pod_class.namespace, tuple(key for key, _ in policies), tuple(sorted(ports)))


def _forget(known: dict[_K, _V], there: Mapping[_K, object]) -> None:
    """Forget what is known of what is not there any more, once that is most of it."""
    if len(known) > _SPARE + 2 * len(there):
        for key in known.keys() - there.keys():
            del known[key]
