# SPDX-License-Identifier: Apache-2.0
"""Pauses between tries of what failed."""

from __future__ import annotations

from podfence.backoff import Backoff


def test_pauses_double_up_to_the_longest_and_begin_anew_when_something_worked() -> None:
    backoff = Backoff(0.5, 4.0, max)
    assert [backoff.failed() for _ in range(6)] == [0.5, 1.0, 2.0, 4.0, 4.0, 4.0]
    backoff.worked()
    assert backoff.failed() == 0.5


def test_it_is_known_whether_the_last_try_failed() -> None:
    backoff = Backoff(0.5, 4.0)
    seen = [backoff.has_failed]
    for step in (backoff.failed, backoff.worked, backoff.failed, backoff.failed):
        step()
        seen.append(backoff.has_failed)
    assert seen == [False, True, False, True, True]


def test_a_pause_is_drawn_between_half_of_the_most_and_all_of_it() -> None:
    drawn: list[tuple[float, float]] = []

    def uniform(least: float, most: float) -> float:
        drawn.append((least, most))
        return least

    backoff = Backoff(1.0, 30.0, uniform)
    assert [backoff.failed(), backoff.failed()] == [0.5, 1.0]
    assert drawn == [(0.5, 1.0), (1.0, 2.0)]
    assert all(0.5 <= Backoff(1.0, 30.0).failed() <= 1.0 for _ in range(100))


def test_what_is_hopeless_is_tried_again_after_the_longest_pause() -> None:
    backoff = Backoff(0.1, 30.0, max)
    assert backoff.failed(hopeless=True) == 30.0
    assert backoff.failed() == 0.2


def test_a_month_of_failures_overflows_nothing() -> None:
    backoff = Backoff(0.2, 30.0, max)
    assert {backoff.failed() for _ in range(5000)} == {0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8, 25.6, 30.0}
