# SPDX-License-Identifier: Apache-2.0
"""Policies that differ and select no pod of the input are told, because nobody knows what their change does."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

import podfence
from tests.cli import manifests

if TYPE_CHECKING:
    from pathlib import Path

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
    clusters = []
    for name, policy in (("old", old), ("new", new)):
        file = tmp_path / f"{name}.yaml"
        file.write_text(f"{manifests.SHOP}---\n{policy}")
        clusters.append(podfence.load(file, options=podfence.Options.parse([f"world={world}"])))
    changes = podfence.diff(*clusters).objects

    assert [item.change for item in changes if item.selects_nothing] == told
