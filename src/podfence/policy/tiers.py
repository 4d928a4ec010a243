# SPDX-License-Identifier: Apache-2.0
"""Tiers: policies in the order in which they are asked, and what follows from what each of them rules.

Admin policies come first, then NetworkPolicies, then Baseline policies; what no tier decides is allowed (semantics
11.21). A tier is a value: the ports that it allows, and those that it denies. NetworkPolicies make theirs by uniting
what they admit, the other tiers by their first rule that matches.

Where it is not known whether a rule matches, a tier has two rulings, and the truth lies between them. A port is
denied, passed to the next tier, or allowed, and each of these is at least as open as the one before. So the less open
of the two cases is taken for what is sure, and the more open one for what may be.
"""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, Final, NamedTuple

from podfence.sets import PortSet

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


class Action(enum.StrEnum):
    """What a rule does with what it matches; ``Pass`` leaves it to the next tier (semantics 11.2)."""

    ALLOW = "Allow"
    DENY = "Deny"
    PASS = "Pass"  # noqa: S105  no password


class TierRuling(NamedTuple):
    """What one tier rules of a connection: it allows the ports `allowed`, and of the others denies those `denied`.

    The next tier is asked about the ports in neither.
    """

    allowed: PortSet
    denied: PortSet


PASSED: Final = TierRuling(PortSet.EMPTY, PortSet.EMPTY)
"""The ruling of a tier that has no say."""


class Step(NamedTuple):
    """A rule that matches the other end, `surely` or as far as is known, on some ports."""

    action: Action
    ports: PortSet
    surely: bool


def decide(rulings: Iterable[TierRuling]) -> PortSet:
    """Return the ports that are allowed, given what each tier rules in its turn (semantics 11.21)."""
    allowed, left = PortSet.EMPTY, PortSet.ALL
    for ruling in rulings:
        if ruling is PASSED:
            continue
        here = ruling.allowed if left is PortSet.ALL else ruling.allowed & left
        allowed = allowed | here if allowed else here
        if ruling.denied is PortSet.ALL:
            return allowed
        left = left - ruling.allowed - ruling.denied
    return allowed | left if allowed else left


def first_match(steps: Sequence[Step], *, surely: bool) -> TierRuling:
    """Return what rules in their order amount to (semantics 11.2): what is allowed `surely`, or what may be."""
    ruling = PASSED
    for step in reversed(steps):
        ruling = preceded(ruling, step, surely=surely)
    return ruling


def preceded(rest: TierRuling, step: Step, *, surely: bool) -> TierRuling:
    """Return what a rule amounts to together with what those after it rule, which hold no port twice."""
    allowed = rest.allowed | step.ports if step.action is Action.ALLOW else rest.allowed - step.ports
    denied = rest.denied | step.ports if step.action is Action.DENY else rest.denied - step.ports
    if step.surely:
        return TierRuling(allowed, denied)
    if surely:
        return TierRuling(allowed & rest.allowed, denied | rest.denied)
    return TierRuling(allowed | rest.allowed, denied & rest.denied)
