# SPDX-License-Identifier: Apache-2.0
"""Policies whose change is about pods that are not in the input are told, because nobody knows what it does."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

import podfence
from tests.cli import manifests

if TYPE_CHECKING:
    from pathlib import Path

    from podfence.analysis.diff.answer import ObjectChange


def compared(folder: Path, old: str, new: str, world: str) -> tuple[ObjectChange, ...]:
    """Return the objects that differ between the shop with some policies and with others."""
    clusters = []
    for name, policies in (("old", old), ("new", new)):
        file = folder / f"{name}.yaml"
        file.write_text(f"{manifests.SHOP}{policies}")
        clusters.append(podfence.load(file, options=podfence.Options.parse([f"world={world}"])))
    return podfence.diff(*clusters).objects


ELSEWHERE = manifests.POLICY.replace("{app: db}", "{app: elsewhere}")


@pytest.mark.parametrize(
    ("old", "new", "world", "told"),
    [
        ("", ELSEWHERE, "open", ["added"]),
        (ELSEWHERE, "", "open", ["removed"]),
        (ELSEWHERE, ELSEWHERE.replace("5432", "1"), "open", ["changed"]),
        (ELSEWHERE, ELSEWHERE.replace("5432", "5432 # text"), "open", []),
        (manifests.POLICY, ELSEWHERE, "open", []),
        (ELSEWHERE, manifests.POLICY, "open", []),
        ("", ELSEWHERE, "closed", []),
    ],
)
def test_a_policy_that_differs_and_selects_no_pod_is_marked(
    tmp_path: Path, old: str, new: str, world: str, told: list[str]
) -> None:
    changes = compared(tmp_path, f"---\n{old}", f"---\n{new}", world)

    assert [item.change for item in changes if item.unseen] == told


def isolating(name: str, selector: str) -> str:
    return (
        "---\napiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\n"
        f"metadata: {{name: {name}, namespace: shop}}\n"
        f"spec: {{podSelector: {selector}, policyTypes: [Ingress, Egress]}}\n"
    )


HERE = "{matchExpressions: [{key: app, operator: Exists}]}"
ALL_HERE = isolating("here", HERE)
EVERYTHING = isolating("all", "{}")
DIFFERENT = "{matchExpressions: [{key: app, operator: NotIn, values: [elsewhere]}]}"


@pytest.mark.parametrize(
    ("old", "new", "world", "told"),
    [
        (ALL_HERE, ALL_HERE + EVERYTHING, "open", ["isolates pods that are not here"]),
        (ALL_HERE + EVERYTHING, ALL_HERE, "open", ["no longer isolates pods that are not here"]),
        (
            ALL_HERE + EVERYTHING,
            ALL_HERE + isolating("all", HERE),
            "open",
            ["no longer isolates pods that are not here"],
        ),
        (ALL_HERE + EVERYTHING, ALL_HERE + isolating("every", DIFFERENT), "open", ["", ""]),
        (ALL_HERE, ALL_HERE + isolating("more", "{matchLabels: {app: web}}"), "open", [""]),
        ("", EVERYTHING, "open", [""]),
        (ALL_HERE, ALL_HERE + EVERYTHING, "closed", [""]),
    ],
)
def test_a_policy_that_causes_nothing_here_is_marked_if_it_isolates_other_pods(
    tmp_path: Path, old: str, new: str, world: str, told: list[str]
) -> None:
    changes = compared(tmp_path, old, new, world)

    assert [item.unseen for item in changes] == told
