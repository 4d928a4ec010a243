# SPDX-License-Identifier: Apache-2.0
"""The answer of `lab verify`: every connection that was tried, what was expected of it, and what happened."""

from __future__ import annotations

from typing import Literal

import msgspec

from podfence.sets.addresses import Family

Judgement = Literal["allowed", "denied"]

ARRIVED = frozenset({"open", "refused"})
"""Outcomes of a probe that got there: an answer, or the refusal of a port where nothing listens."""


class Trial(msgspec.Struct, frozen=True, gc=False):
    """One connection that was tried, and judged.

    `source` and `destination` are the ends themselves (``shop/web-1``, ``node:node-2``, ``203.0.113.9``),
    the groups what they stand for (``shop/deploy/web``). `port` is as shown (``TCP 80``), `kind` the same
    for what is declared or named by a policy, and ``other TCP`` for a port that is neither. `outcomes` are
    those of the probes, in order; a second one was sent when the first was not as expected. `reason` says
    of a difference why the other was expected.
    """

    source: str
    destination: str
    source_group: str
    destination_group: str
    port: str
    kind: str
    family: Family
    expected: Judgement
    outcomes: tuple[str, ...]
    reason: str = ""

    @property
    def observed(self) -> Judgement:
        """What the last probe says of the connection."""
        return "allowed" if self.outcomes[-1] in ARRIVED else "denied"

    @property
    def differs(self) -> bool:
        """Whether the last probe did what was not expected."""
        return self.observed != self.expected


class Dead(msgspec.Struct, frozen=True):
    """A target that could not be reached even while no policy was in force, from these sources.

    `count` is how many connections are not judged because of it, `outcome` what the last probe said.
    """

    destination: str
    port: str
    family: Family
    sources: tuple[str, ...]
    count: int
    outcome: str


class LeftOut(msgspec.Struct, frozen=True):
    """What was not tried, and why."""

    what: str
    why: str


class Verification(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that was tried; `left_out` names what was not."""

    trials: tuple[Trial, ...]
    dead: tuple[Dead, ...] = ()
    left_out: tuple[LeftOut, ...] = ()

    @property
    def tried(self) -> int:
        """How many connections were tried, judged or not."""
        return len(self.trials) + sum(item.count for item in self.dead)

    @property
    def differences(self) -> tuple[Trial, ...]:
        """The connections on which the network and the engine do not agree."""
        return tuple(trial for trial in self.trials if trial.differs)

    @property
    def holds(self) -> bool:
        """Whether all that was tried was as expected, and nothing was dead."""
        return not self.dead and not any(trial.differs for trial in self.trials)
