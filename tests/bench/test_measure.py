# SPDX-License-Identifier: Apache-2.0
"""The measurements measure what they say, and say so when there is nothing to measure."""

from __future__ import annotations

import math
import sys

import pytest

from bench.growth import exponent
from bench.measure import Measured, several, smallest_memory
from bench.report import Goal, Row, measurements


def python(program: str, limit: float = 120.0) -> Measured:
    return several([sys.executable, "-c", program], runs=1, limit=limit, says="done", warm=False)


def test_a_program_that_ends_well_is_measured() -> None:
    measured = python("print('done')")

    assert not measured.failure
    assert measured.cpu > 0
    assert measured.wall > 0


def test_memory_is_that_of_the_program() -> None:
    before = python("print('done')")
    after = python("x = b'x' * 200 * 2**20; print('done')")

    assert before.memory < 100
    assert 200 <= after.memory < 300


def test_memory_is_not_that_of_who_measures() -> None:
    held = b"x" * 200 * 2**20

    assert smallest_memory() < 100
    assert python("print('done')").memory < 100 < len(held) / 2**20


@pytest.mark.parametrize(
    ("program", "limit", "failure"),
    [
        ("while True: pass", 0.2, "did not end within 0 s"),
        ("raise SystemExit('no such file')", 20.0, "exit code 1: no such file"),
        ("print('nothing')", 20.0, "did not print 'done': 'nothing\\n'"),
    ],
)
def test_a_program_that_fails_has_a_reason_instead_of_numbers(program: str, limit: float, failure: str) -> None:
    assert python(program, limit).failure == failure


@pytest.mark.parametrize("power", [0.5, 1.0, 2.0])
def test_the_exponent_is_the_power_with_which_time_grows(power: float) -> None:
    sizes = [500.0, 1000.0, 2000.0, 4000.0, 8000.0]

    assert math.isclose(exponent(sizes, [0.001 * size**power for size in sizes]), power)


@pytest.mark.parametrize(
    ("measured", "goal", "verdict"),
    [
        (Measured(wall=1.0, memory=10.0, runs=3), Goal(2.0), "yes"),
        (Measured(wall=3.0, memory=10.0, runs=3), Goal(2.0), "**no**"),
        (Measured(wall=1.0, memory=10.0, runs=3), Goal(2.0, 5.0), "**no**"),
        (Measured(wall=1.0, memory=10.0, runs=3), Goal(), ""),
        (Measured(failure="exit code 2: broken"), Goal(), "**no**"),
    ],
)
def test_a_goal_is_met_by_time_and_memory_together(measured: Measured, goal: Goal, verdict: str) -> None:
    row = Row("a", measured, goal)

    assert row.verdict == verdict
    assert measurements("t", "", [row]).missed == (verdict == "**no**")
