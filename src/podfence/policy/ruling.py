# SPDX-License-Identifier: Apache-2.0
"""How one direction of a connection is decided on every port, and by what: the evidence comes with the decision."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from podfence.policy.grants import CompiledPolicy, Grant
from podfence.sets import PortSet


class Admission(NamedTuple):
    """A grant whose peer is the other end, surely or as far as is known, and the ports that it admits.

    `item` is the item of the rule's peers that it stands for, numbered from 0. What it admits `is_unread`
    if it names ports of a pod whose ports nobody has read.
    """

    policy: CompiledPolicy
    grant: Grant
    item: int
    ports: PortSet
    surely: bool
    is_unread: bool = False


@dataclass(frozen=True, slots=True)
class Ruling:
    """What one direction of a connection allows: the ports in `low` surely, those in `high` perhaps.

    `exemption` is the rule of the semantics that surely exempts it from policies, if one does. `sure` are the policies
    that isolate the pod, `maybe` those of which it is not known whether they do, and `admissions` the grants of both
    that admit, in order of policy name and rule.
    """

    low: PortSet
    high: PortSet
    exemption: str | None = None
    sure: tuple[CompiledPolicy, ...] = ()
    maybe: tuple[CompiledPolicy, ...] = ()
    admissions: tuple[Admission, ...] = ()

    @property
    def policies(self) -> tuple[CompiledPolicy, ...]:
        """The policies that isolate the pod or may do so."""
        return (*self.sure, *self.maybe)

    def admitting(self, point: int, *, surely: bool) -> Admission | None:
        """Return the first that admits a port (a point as in `podfence.sets.ports`), which a node's kernel counts.

        One that may admit it will do unless it is to be `surely`.
        """
        # Where none surely isolates the pod, each that may is alone.
        alone = self.maybe[:1] if not self.sure else ()
        found = (
            item
            for item in self.admissions
            if point in item.ports and (item.surely or not surely) and (not alone or item.policy is alone[0])
        )
        return next(found, None)


UNJUDGED = Ruling(PortSet.ALL, PortSet.ALL)
"""The ruling of a direction whose subject is no pod (semantics 1.3)."""
