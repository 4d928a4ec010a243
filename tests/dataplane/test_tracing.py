# SPDX-License-Identifier: Apache-2.0
"""A connection followed through program and table: what is said of it, against a walk of the rules as they are written."""

from __future__ import annotations

from dataclasses import replace
from random import Random
from typing import TYPE_CHECKING

import pytest

from podfence.api import Cluster
from podfence.dataplane.chains import Builder
from podfence.dataplane.compiler import Compiler
from podfence.dataplane.settings import Settings
from podfence.dataplane.tracing import differences, side
from podfence.policy.verdict import Direction
from podfence.sets.addresses import family_of
from tests.dataplane import dense
from tests.dataplane.simulate import Walk
from tests.dataplane.test_flows import ENDS, OWN

if TYPE_CHECKING:
    from collections.abc import Iterator

    from podfence.dataplane.program import NodeProgram
    from podfence.dataplane.ruleset import Ruleset


def pairs() -> Iterator[tuple[int, int]]:
    for source in ENDS:
        for destination in ENDS:
            if OWN not in (source, destination) and source != destination and family_of(source) == family_of(destination):  # fmt: skip
                yield source, destination


def made(random: Random, *, without_policies: bool = False) -> tuple[NodeProgram, Ruleset]:
    options = dense.options(random)
    objects = [item for item in dense.cluster(random) if not without_policies or item.key.kind != "NetworkPolicy"]
    program = Compiler(Cluster.from_objects(objects, options).model, "n1", shared_from=random.choice((256, 1, 2))).program  # fmt: skip
    return program, Builder(Settings()).build(program)


@pytest.mark.parametrize("seed", range(25))
def test_both_sides_together_admit_what_the_table_forwards(seed: int) -> None:
    program, ruleset = made(Random(seed))
    for source, destination in pairs():
        egress = side(program, Direction.EGRESS, source, destination)
        ingress = side(program, Direction.INGRESS, destination, source)
        assert egress.admitted & ingress.admitted == Walk(ruleset, source, destination).hook("forward")
        for found in (egress, ingress):
            assert found.key is None or found.chain in ruleset.chains


@pytest.mark.parametrize("start", range(0, 25, 5))
def test_where_a_table_does_otherwise_than_wanted_a_difference_is_told(start: int) -> None:
    told = 0
    for seed in range(start, start + 5):
        _, wanted = made(Random(seed))
        _, actual = made(Random(seed), without_policies=True)
        for source, destination in pairs():
            assert not list(differences(wanted, wanted, source, destination))
            if Walk(wanted, source, destination).hook("forward") != Walk(actual, source, destination).hook("forward"):
                assert list(differences(wanted, actual, source, destination))
                assert list(differences(actual, wanted, source, destination))
                told += 1
    assert told


@pytest.mark.parametrize("seed", range(25))
def test_an_element_that_is_missing_is_told_where_it_decides(seed: int) -> None:
    random = Random(seed)
    _, wanted = made(random)
    filled = sorted(name for name, body in wanted.sets.items() if body.elements)
    for name in random.sample(filled, min(len(filled), 5)):
        body = wanted.sets[name]
        gone = random.choice(sorted(body.elements, key=str))
        elements = {key: value for key, value in body.elements.items() if key != gone}
        actual = replace(wanted, sets={**wanted.sets, name: replace(body, elements=elements)})
        for source, destination in pairs():
            if Walk(wanted, source, destination).hook("forward") != Walk(actual, source, destination).hook("forward"):
                assert any(name in text for text in differences(wanted, actual, source, destination))
