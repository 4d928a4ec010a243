# SPDX-License-Identifier: Apache-2.0
"""A test that fails says what differs, and nothing of all that is equal."""

from __future__ import annotations

import pytest

from tests.differing import told

MANY = dict.fromkeys(range(2000), "same")
DIFFERENCES = [
    (MANY, MANY | {7: "other"}, ["dict of 2000 == dict of 2000", "[7]: 'same' != 'other'"]),
    (MANY, MANY | {-1: "new"}, ["dict of 2000 == dict of 2001", "[-1]: nothing != 'new'"]),
    ({"a": MANY, "b": {}}, {"a": {**MANY, 7: ""}, "b": {}}, ["dict of 2 == dict of 2", "['a'][7]: 'same' != ''"]),
    ({*MANY}, {*MANY, -1} - {7}, ["set of 2000 == set of 2000", "only on the left: 7", "only on the right: -1"]),
    (MANY.keys(), {*MANY} - {7}, ["dict_keys of 2000 == set of 1999", "only on the left: 7"]),
    ([*MANY], [*MANY, 7], ["list of 2000 == list of 2001", "[2000]: nothing != 7"]),
    ({1: MANY}, {1: "x"}, ["dict of 1 == dict of 1", f"[1]: {str(MANY)[:400]}… != 'x'"]),
]


@pytest.mark.parametrize(("left", "right", "lines"), DIFFERENCES)
def test_only_what_differs_is_told(left: object, right: object, lines: list[str]) -> None:
    assert told(left, right) == lines


def test_of_many_differences_ten_are_told() -> None:
    lines = told(MANY, dict.fromkeys(MANY, "other")) or []

    assert len(lines) == 12
    assert lines[-1] == "and 1990 more"


@pytest.mark.parametrize(("left", "right"), [({1: 2}, {1: 3}), ("x" * 5000, "y"), (MANY, [*MANY])])
def test_what_is_short_or_of_two_kinds_is_left_to_pytest(left: object, right: object) -> None:
    assert told(left, right) is None
