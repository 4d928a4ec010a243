# SPDX-License-Identifier: Apache-2.0
"""The object that `lab verify -o json` prints."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from podfence.documents import API_VERSION, ApiVersion, Value

if TYPE_CHECKING:
    from podfence.lab.verification import result as verification

JudgementName = Literal["allowed", "denied"]


class Trial(Value, frozen=True, kw_only=True):
    """A connection that was tried and judged.

    The groups name what the ends stand for; `portKind` is `other TCP` or `other UDP` for a port that is
    neither declared nor named by a policy, else the port itself. `outcomes` are those of the probes in
    order: `open` and `refused` got there, others did not. `reason` is empty where nothing differs.
    """

    source: str
    destination: str
    source_group: str
    destination_group: str
    port: str
    port_kind: str
    family: int
    expected: JudgementName
    observed: JudgementName
    outcomes: tuple[str, ...]
    reason: str


class DeadTarget(Value, frozen=True, kw_only=True):
    """A target that could not be reached without policies either; `connections` counts what is not judged."""

    destination: str
    port: str
    family: int
    sources: tuple[str, ...]
    connections: int
    outcome: str


class LeftOut(Value, frozen=True, kw_only=True):
    """What was not tried, and why."""

    what: str
    why: str


class Verification(Value, frozen=True, kw_only=True):
    """The answer of `lab verify`; it `holds` if there is no difference and no dead target.

    `tried` counts connections, judged or not; `differences` are those of `trials` where `observed` is not
    what was `expected`.
    """

    api_version: ApiVersion
    kind: Literal["Verification"]
    holds: bool
    tried: int
    as_expected: int
    differences: tuple[Trial, ...]
    dead: tuple[DeadTarget, ...]
    left_out: tuple[LeftOut, ...]
    trials: tuple[Trial, ...]


def document(answer: verification.Verification) -> Verification:
    """Return `answer` as a document."""
    differences = answer.differences
    return Verification(
        api_version=API_VERSION,
        kind="Verification",
        holds=answer.holds,
        tried=answer.tried,
        as_expected=len(answer.trials) - len(differences),
        differences=tuple(map(_trial, differences)),
        dead=tuple(_dead(item) for item in answer.dead),
        left_out=tuple(LeftOut(what=item.what, why=item.why) for item in answer.left_out),
        trials=tuple(map(_trial, answer.trials)),
    )


def _trial(trial: verification.Trial) -> Trial:
    return Trial(
        source=trial.source,
        destination=trial.destination,
        source_group=trial.source_group,
        destination_group=trial.destination_group,
        port=trial.port,
        port_kind=trial.kind,
        family=trial.family,
        expected=trial.expected,
        observed=trial.observed,
        outcomes=trial.outcomes,
        reason=trial.reason,
    )


def _dead(item: verification.Dead) -> DeadTarget:
    return DeadTarget(
        destination=item.destination,
        port=item.port,
        family=item.family,
        sources=item.sources,
        connections=item.count,
        outcome=item.outcome,
    )
