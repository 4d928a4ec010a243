# SPDX-License-Identifier: Apache-2.0
"""Lengths of time, written as for kubectl."""

from __future__ import annotations

import pytest

from podfence.cli.duration import parse


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0", 0),
        ("30", 30),
        ("30s", 30),
        ("1m30s", 90),
        ("1.5h", 5400),
        (".5s", 0.5),
        ("1.s", 1),
        ("250ms", 0.25),
        ("2us", 2e-6),
    ],
)
def test_a_number_with_units_is_a_time_and_one_alone_counts_seconds(text: str, seconds: float) -> None:
    assert parse(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "s", "5d", "1h30", "1 s", " 1s", "-1s", "1e3s", "٣s", "one minute"])
def test_everything_else_is_refused_with_the_ways_to_write_one(text: str) -> None:
    with pytest.raises(ValueError, match="is not a duration; write 30s, 2m or 1h30m, or a number of seconds"):
        parse(text)
