# SPDX-License-Identifier: Apache-2.0
"""What `kubectl get` shows of an object is what it showed of a real cluster's.

`rows.jsonl` has objects and the cells that a real API server made of them; README.md says how it was made.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from podfence.lab.apiserver.ages import duration
from podfence.lab.apiserver.tables import table

ROWS = [json.loads(line) for line in (Path(__file__).parent / "rows.jsonl").read_text(encoding="utf-8").splitlines()]
AGE = re.compile(r"\d+[smhdy](\d+[smhd])?|<unknown>|<invalid>")


def name(row: dict[str, Any]) -> str:
    return f"{row['kind']}-{row['object']['metadata']['name']}-{row['object']['metadata']['resourceVersion']}"


def masked(cells: list[Any]) -> list[Any]:
    """Return cells without the ages in them, which depend on when they were asked for."""
    return [AGE.sub("AGE", cell) if isinstance(cell, str) and AGE.search(cell) else cell for cell in cells]


@pytest.mark.parametrize("row", [pytest.param(row, id=name(row)) for row in ROWS])
def test_a_recorded_object_has_the_recorded_cells(row: dict[str, Any]) -> None:
    (found,) = table(row["kind"], [row["object"]], {}, "Metadata", 2e9)["rows"]
    assert masked(found["cells"]) == masked(row["cells"])
    assert found.get("conditions", []) == row["conditions"]


def test_every_kind_of_table_was_recorded() -> None:
    assert {row["kind"] for row in ROWS} >= {"Pod", "NetworkPolicy", "Namespace", "Service", "Deployment"}


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-5, "<invalid>"), (-1, "0s"), (0, "0s"), (119, "119s"), (120, "2m"), (121, "2m1s"), (599, "9m59s"),
        (600, "10m"), (3599, "59m"), (10799, "179m"), (10800, "3h"), (10860, "3h1m"), (28800, "8h"), (172799, "47h"),
        (172800, "2d"), (176400, "2d1h"), (691200, "8d"), (63071999, "729d"), (63072000, "2y"), (63158400, "2y1d"),
        (252288000, "8y"),
    ],
)  # fmt: skip
def test_ages_are_shown_as_kubectl_shows_them(seconds: float, text: str) -> None:
    assert duration(seconds) == text
