# SPDX-License-Identifier: Apache-2.0
"""Tiers decide in their order, and rules of one tier in theirs; what is open is taken for both (semantics 11)."""

from __future__ import annotations

from itertools import product

import pytest

from podfence.policy.tiers import PASSED, Action, Step, TierRuling, decide, first_match
from podfence.sets import PortSet

ALL, NONE = PortSet.ALL, PortSet.EMPTY
WEB, DNS = PortSet.of("TCP", 80, 80), PortSet.of("UDP", 53, 53)
ALLOW, DENY, PASS = Action


@pytest.mark.parametrize(
    ("tiers", "expected"),
    [
        ([], ALL),
        ([PASSED], ALL),
        ([TierRuling(WEB, NONE)], ALL),
        ([TierRuling(WEB, ALL)], WEB),
        ([TierRuling(NONE, WEB)], ALL - WEB),
        ([TierRuling(WEB, NONE), TierRuling(NONE, ALL)], WEB),
        ([TierRuling(NONE, WEB), TierRuling(WEB | DNS, ALL)], DNS),
        ([PASSED, TierRuling(DNS, ALL), TierRuling(WEB, NONE)], DNS),
        ([PASSED, PASSED, TierRuling(NONE, WEB)], ALL - WEB),
        ([TierRuling(WEB, NONE), PASSED, TierRuling(NONE, WEB | DNS)], ALL - DNS),
    ],
)
def test_the_first_tier_that_holds_a_port_decides_it_and_the_default_allows(
    tiers: list[TierRuling], expected: PortSet
) -> None:
    assert decide(tiers) == expected


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        ([], PASSED),
        ([Step(ALLOW, WEB, surely=True), Step(DENY, ALL, surely=True)], TierRuling(WEB, ALL - WEB)),
        ([Step(DENY, ALL, surely=True), Step(ALLOW, WEB, surely=True)], TierRuling(NONE, ALL)),
        ([Step(PASS, WEB, surely=True), Step(DENY, ALL, surely=True)], TierRuling(NONE, ALL - WEB)),
        ([Step(ALLOW, DNS, surely=True), Step(PASS, ALL, surely=True), Step(DENY, WEB, surely=True)], TierRuling(DNS, NONE)),
    ],
)  # fmt: skip
def test_the_first_rule_that_matches_decides_in_a_tier(steps: list[Step], expected: TierRuling) -> None:
    assert first_match(steps, surely=True) == first_match(steps, surely=False) == expected


def test_bounds_hold_every_way_in_which_open_rules_may_match() -> None:
    """All tiers of up to three rules on one port: the bounds are the least and the most open of all ways."""
    rules = [Step(action, WEB, surely) for action in Action for surely in (True, False)]
    after = [TierRuling(NONE, ALL), PASSED]
    for steps in (*product(rules, repeat=2), *product(rules, repeat=3)):
        open_at = [place for place, step in enumerate(steps) if not step.surely]
        for below in after:
            ways = {
                is_open([first_match(settled(steps, dict(zip(open_at, chosen, strict=True))), surely=True), below])
                for chosen in product((True, False), repeat=len(open_at))
            }
            low, high = (is_open([first_match(steps, surely=surely), below]) for surely in (True, False))
            assert (low, high) == (all(ways), any(ways)), (steps, below)


def is_open(rulings: list[TierRuling]) -> bool:
    return not WEB - decide(rulings)


def settled(steps: tuple[Step, ...], matching: dict[int, bool]) -> list[Step]:
    """Return the steps as they are if some surely match, and the others do not."""
    return [step._replace(surely=True) for place, step in enumerate(steps) if matching.get(place, True)]
