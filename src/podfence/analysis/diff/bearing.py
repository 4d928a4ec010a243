# SPDX-License-Identifier: Apache-2.0
"""What changes of policies can do to the connections of one pair of ends, as far as it is seen without a trial.

Many policies may select the same pod. Most rules of the others do not matter to one pair of ends, and isolating a pod
once more changes nothing, so that few of their changes have to be tried.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, NamedTuple

from podfence.analysis.diff.states import DENIED, whole
from podfence.policy.ends import PodEnd
from podfence.policy.verdict import Direction
from podfence.sets import PortSet

if TYPE_CHECKING:
    from podfence.analysis.diff.states import State
    from podfence.analysis.diff.trial import Ends, Trials
    from podfence.analysis.diff.undo import Undo
    from podfence.policy.grants import CompiledPolicy


class _Saying(NamedTuple):
    """What one policy says of a pair of ends: which directions it isolates, and what its rules admit."""

    isolates: frozenset[Direction]
    admits: tuple[object, ...]
    ports: PortSet
    is_sure: bool


class Bearing:
    """Judges changes for one pair of ends that differ in nothing but policies."""

    def __init__(self, trials: Trials, ends: Ends, before: State) -> None:
        """Look at connections that are as in `before` in OLD."""
        self._trials = trials
        self._engine, self._pairs = trials.now(ends)
        self._anywhere = any(isinstance(end, PodEnd) and end.address is None for pair in self._pairs for end in pair)
        after = trials.after(ends)
        # Policies that admit less bring back no port that was allowed, and those that admit more none that was denied.
        self._by_less = PortSet.ALL - _with(before, "") - _with(after, DENIED)
        self._by_more = PortSet.ALL - _with(before, DENIED) - _with(after, "")
        self._isolating_in = cache(self._isolating)
        self._saying = cache(self._said)

    def ports(self, undo: Undo) -> PortSet:
        """Return the ports of which a change, undone alone or in part, may bring back what OLD says."""
        old, new = self._trials.compiled(undo.object, anywhere=self._anywhere)
        if old is not None and new is not None:
            is_alike = old.subject == new.subject and old.grants.keys() == new.grants.keys()
            return self._saying(old).ports | self._saying(new).ports if is_alike else PortSet.ALL
        policy = new or old
        if policy is None:
            return PortSet.ALL
        said = self._saying(policy)
        if any(self._isolating_in(direction) <= {policy} for direction in said.isolates):
            return PortSet.ALL
        return said.ports & (self._by_less if old is None else self._by_more)

    def kind(self, undo: Undo) -> object:
        """Return a value that is equal for changes that do the same to these ends, as long as only policies differ."""
        old, new = self._trials.compiled(undo.object, anywhere=self._anywhere)
        policy = old if new is None else new if old is None else None
        said = self._saying(policy) if policy is not None else None
        return (old is None, said.isolates, said.admits) if said is not None and said.is_sure else undo

    def _isolating(self, direction: Direction) -> frozenset[CompiledPolicy]:
        """Return the policies of NEW that surely isolate the subject in a direction: the same ones in both families."""
        subject, _ = direction.ordered(*self._pairs[0])
        return frozenset(self._engine.concerned(direction, subject)[0] if isinstance(subject, PodEnd) else ())

    def _said(self, policy: CompiledPolicy) -> _Saying:
        isolates: set[Direction] = set()
        admits: list[object] = []
        ports: list[PortSet] = []
        is_sure = True
        for place, pair in enumerate(self._pairs):
            for direction, grants in policy.grants.items():
                subject, peer = direction.ordered(*pair)
                selects = isinstance(subject, PodEnd) and self._engine.selects(policy.subject, subject)
                if selects is False:
                    continue
                isolates.add(direction)
                is_sure = is_sure and selects is True
                for grant in grants:
                    matches = self._engine.matches(grant, peer)
                    if matches is not False:
                        is_sure = is_sure and matches is True
                        admits.append((place, direction, grant.rule, grant.ports, grant.names, grant.names_in))
                        ports.append(PortSet.ALL if grant.names else grant.ports)
        return _Saying(frozenset(isolates), tuple(admits), PortSet.union(ports) if ports else PortSet.EMPTY, is_sure)


def _with(state: State, text: str) -> PortSet:
    return PortSet.union(ports for said, ports in whole(state) if said == text)
