# SPDX-License-Identifier: Apache-2.0
"""What five tutorials show or say about NetworkPolicy is what the engine says of the examples."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

import podfence
from tests.observations.observations import OBSERVATIONS, Row, Situation

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
SCENARIOS = sorted(path.name for path in EXAMPLES.iterdir() if path.is_dir())

# The rows of each document are numbered from 1 without a gap.
ROWS_OF_DOCUMENT = {0: 14, 1: 27, 2: 13, 3: 61, 4: 13}

# Folders whose files are not meant to be loaded together, and what each warning says when they are.
REPLACED = "NetworkPolicy default/db-network-policy replaces the one at "
DELIBERATE_WARNINGS = {
    "pod-traffic-rules": [REPLACED, REPLACED],
    "ci": ["NetworkPolicy login/provider replaces the one at "],
}


def load(situation: Situation) -> podfence.Cluster:
    """Return the cluster of one situation."""
    folder = EXAMPLES / situation.example
    return podfence.load(
        *(folder / name for name in situation.files), options=podfence.Options.parse(situation.options)
    )


@pytest.mark.parametrize("row", [pytest.param(row, id=row.id) for row in OBSERVATIONS])
def test_observation_holds(row: Row) -> None:
    verdict = load(row.situation).check(row.source, row.destination, row.port)
    assert verdict.decision is row.decision, f"{row.remark}\n{verdict}"


def test_every_observation_is_there_once() -> None:
    counts = Counter(row.id for row in OBSERVATIONS)
    expected = [f"{document}.{number}" for document, last in ROWS_OF_DOCUMENT.items() for number in range(1, last + 1)]
    assert [identifier for identifier, count in counts.items() if count > 1] == []
    assert list(counts) == expected
    assert len(OBSERVATIONS) == 128


@pytest.mark.parametrize(
    "files",
    [pytest.param(("app.yaml",), id="no policy"), pytest.param(("app.yaml", "default-deny-all.yaml"), id="denied")],
)
def test_short_name_is_looked_up_in_the_namespace_of_the_client(files: tuple[str, ...]) -> None:
    """3.11: wget http://web in kube-system ends before any policy is asked, with or without one."""
    cluster = load(Situation("deny-namespace", files))
    with pytest.raises(podfence.EndpointError, match="web"):
        cluster.check("kube-system/client", "kube-system/svc/web", 80)


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_example_loads_without_a_warning_that_is_not_meant(scenario: str) -> None:
    cluster = podfence.load(EXAMPLES / scenario, recursive=True)
    expected = DELIBERATE_WARNINGS.get(scenario, [])
    assert len(cluster.warnings) == len(expected), cluster.warnings
    for warning, text in zip(cluster.warnings, expected, strict=True):
        assert text in warning.message


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_example_says_what_it_shows_and_is_in_the_index(scenario: str) -> None:
    assert (EXAMPLES / scenario / "README.md").read_text().startswith("# ")
    assert f"({scenario}/README.md)" in (EXAMPLES / "README.md").read_text()


@pytest.mark.parametrize("scenario", sorted({row.situation.example for row in OBSERVATIONS}))
def test_every_manifest_of_an_observed_example_is_part_of_a_row(scenario: str) -> None:
    used = {name for row in OBSERVATIONS if row.situation.example == scenario for name in row.situation.files}
    assert used == {path.name for path in (EXAMPLES / scenario).glob("*.yaml")}


@pytest.mark.parametrize(
    ("source", "destination", "port", "after"),
    [
        ("203.0.113.9", "shop/web", 80, True),
        ("shop/web", "shop/api", 5000, True),
        ("shop/api", "shop/db", 3306, True),
        ("shop/web", "shop/db", 3306, False),
        ("shop/db", "shop/api", 5000, False),
        ("203.0.113.9", "shop/api", 5000, False),
        ("203.0.113.9", "shop/web", 8080, False),
        ("shop/db", "internet", 443, False),
    ],
)
def test_three_tiers_are_open_before_and_closed_after_their_policies(
    source: str, destination: str, port: int, *, after: bool
) -> None:
    folder = EXAMPLES / "three-tier"
    assert podfence.load(folder / "app.yaml").check(source, destination, port).allowed is True
    assert podfence.load(folder, recursive=True).check(source, destination, port).allowed is after
