# SPDX-License-Identifier: Apache-2.0
"""An agent that has seen much is as fast and as small as one that has seen little."""

from __future__ import annotations

from bench.ages import ages


def test_events_cost_no_more_and_leave_nothing_behind() -> None:
    first, *others = list(ages(5_000, 30))[1:]
    assert max(age.pieces for age in others) < 1.02 * first.pieces
    # Where events cost more with each that there was, the last cost ten times the first; a busy machine may double any.
    assert min(age.seconds for age in others) < 3 * first.seconds
