# SPDX-License-Identifier: Apache-2.0
"""The API server of a lab answers random requests as a real one does, and tells of the same changes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest

from podfence.lab.addresses import Plan
from podfence.lab.objects.world import World
from tests.kubernetes.apiserver.comparing import compare, prepare
from tests.kubernetes.apiserver.real import missing, real_server
from tests.kubernetes.conftest import bed_directory
from tests.lab.apiserver.serving import Client, served
from tests.twin.effort import part

if TYPE_CHECKING:
    from collections.abc import Iterator

BATCHES = 10
PER_BATCH = part(200)


class Pair(NamedTuple):
    """Clients of both servers."""

    real: Client
    lab: Client


@pytest.fixture(scope="module")
def pair(request: pytest.FixtureRequest) -> Iterator[Pair]:
    """Run both servers, neither with controllers: a lab's work only when they are told to follow."""
    folder = Path(bed_directory() / "bin")
    if missing(folder):
        # The bed builds them.
        request.getfixturevalue("bed")
    with real_server(folder) as real, served(World(Plan(), 1).store) as lab:
        prepare(real)
        prepare(lab.client)
        yield Pair(real, lab.client)


@pytest.mark.parametrize("batch", range(BATCHES))
def test_both_servers_answer_random_requests_alike(pair: Pair, batch: int) -> None:
    outcomes = [compare(seed, *pair) for seed in range(batch * PER_BATCH, (batch + 1) * PER_BATCH)]
    assert not (found := [str(item.difference) for item in outcomes if item.difference is not None]), "\n".join(found)
    # What a lab lets pass must not be what most sequences end with.
    assert sum(bool(item.passed) for item in outcomes) <= len(outcomes) / 10
