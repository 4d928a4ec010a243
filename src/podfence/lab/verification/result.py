# SPDX-License-Identifier: Apache-2.0
"""The answer of `lab verify`: every connection that was tried, what was expected of it, and what happened."""

from __future__ import annotations

from typing import Literal

from podfence.documents import Value
from podfence.sets.addresses import Family

Judgement = Literal["allowed", "denied"]

ARRIVED = frozenset({"open", "refused"})
"""Outcomes of a probe that got there: an answer, or the refusal of a port where nothing listens."""


class Trial(Value, frozen=True, kw_only=True, gc=False):
    """A connection that was tried and judged.

    The ends are named themselves (``shop/web-1``, ``node:node-2``, ``203.0.113.9``), the groups name what they stand
    for (``shop/deploy/web``). `portKind` is ``other TCP`` or ``other UDP`` for a port that is neither declared nor
    named by a policy, else the port itself. `outcomes` are those of the probes in order: ``open`` and ``refused`` got
    there, others did not; a second one was sent when the first was not as expected. `reason` says of a difference why
    the other was expected.
    """

    source: str
    destination: str
    source_group: str
    destination_group: str
    port: str
    port_kind: str
    family: Family
    expected: Judgement
    observed: Judgement
    outcomes: tuple[str, ...]
    reason: str

    @property
    def differs(self) -> bool:
        """Whether the last probe did what was not expected."""
        return self.observed != self.expected


class DeadTarget(Value, frozen=True):
    """A target that could not be reached without policies either; `connections` counts what is not judged."""

    destination: str
    port: str
    family: Family
    sources: tuple[str, ...]
    connections: int
    outcome: str


class LeftOut(Value, frozen=True):
    """What was not tried, and why."""

    what: str
    why: str


class Verification(Value, frozen=True, kw_only=True):
    """The answer of `lab verify`; it `holds` if there is no difference and no dead target.

    `tried` counts connections, judged or not; `differences` are those of `trials` where `observed` is not
    what was `expected`.
    """

    holds: bool
    tried: int
    as_expected: int
    differences: tuple[Trial, ...]
    dead: tuple[DeadTarget, ...]
    left_out: tuple[LeftOut, ...]
    trials: tuple[Trial, ...]


def verification(
    trials: tuple[Trial, ...], dead: tuple[DeadTarget, ...] = (), left_out: tuple[LeftOut, ...] = ()
) -> Verification:
    """Return the answer about everything that was tried; `left_out` names what was not."""
    differences = tuple(trial for trial in trials if trial.differs)
    return Verification(
        holds=not dead and not differences,
        tried=len(trials) + sum(item.connections for item in dead),
        as_expected=len(trials) - len(differences),
        differences=differences,
        dead=dead,
        left_out=left_out,
        trials=trials,
    )
