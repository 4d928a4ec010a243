# SPDX-License-Identifier: Apache-2.0
"""What one direction of a connection is decided by: an exemption, the policies that isolate, the grant that admits."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from podfence.policy.grants import CompiledPolicy

if TYPE_CHECKING:
    from podfence.policy.ends import End, PodEnd
    from podfence.policy.engine import Bound, Engine
    from podfence.policy.verdict import Direction


class Admitting(NamedTuple):
    """The grant that admits: the first by policy name and rule, which is the one that a node's kernel counts.

    `rule` and `item`, the item of its peers, are numbered from 0.
    """

    policy: CompiledPolicy
    rule: int
    item: int


@dataclass(frozen=True, slots=True)
class Evidence:
    """What decides a direction of a connection on one port, what is open taken as a bound says.

    `exemption` is the rule of the semantics that exempts it, if one does. `sure` are the policies that isolate the
    pod, `maybe` those of which it is not known whether they do.
    """

    exemption: str | None
    sure: tuple[CompiledPolicy, ...]
    maybe: tuple[CompiledPolicy, ...]
    admitting: Admitting | None

    @property
    def policies(self) -> tuple[CompiledPolicy, ...]:
        """The policies that isolate the pod or may do so."""
        return (*self.sure, *self.maybe)


def evidence(engine: Engine, direction: Direction, subject: PodEnd, peer: End, point: int, bound: Bound) -> Evidence:
    """Return what decides a direction of a connection on one port (a point as in `podfence.sets.ports`)."""
    exemption = engine.exemption(direction, subject, peer, bound)
    sure, maybe = engine.concerned(direction, subject)
    # Where none surely isolates the pod, each that may is alone.
    asked = (*sure, *maybe) if sure else maybe[:1]
    found = (_admitting(engine, policy, direction, subject, peer, point, bound) for policy in asked)
    return Evidence(exemption, sure, maybe, next((item for item in found if item is not None), None))


def _admitting(
    engine: Engine, policy: CompiledPolicy, direction: Direction, subject: PodEnd, peer: End, point: int, bound: Bound
) -> Admitting | None:
    items: Counter[int] = Counter()
    for grant in policy.grants[direction]:
        if engine.matches_peer(grant, peer, bound) and point in engine.ports_of(grant, direction, subject, peer, bound):
            return Admitting(policy, grant.rule, items[grant.rule])
        items[grant.rule] += 1
    return None
