# SPDX-License-Identifier: Apache-2.0
"""A few of the frames that `make fuzz-packets` goes on with, the same on every run."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from tests.attacks.drawing import plan
from tests.attacks.fuzz import TOGETHER, Fuzzer
from tests.attacks.wiring import NETWORKS

if TYPE_CHECKING:
    from tests.attacks.judging import Pair

LOTS = 12


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.usefixtures("forgetting")
def test_of_frames_at_random_only_that_arrives_which_the_engine_allows(pair: Pair) -> None:
    with ExitStack() as stack:
        fuzzer = Fuzzer(pair.guarded, stack)
        for lot in range(LOTS):
            found = fuzzer.run(plan(seed) for seed in range(lot * TOGETHER, (lot + 1) * TOGETHER))
            assert not found, "\n".join(str(fuzzer.reduced(item)) for item in found)
            pair.guarded.restore()
    # Most are broken in some way; if none arrived at all, nothing would have been tried.
    assert fuzzer.arrived > fuzzer.sent / 50


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.usefixtures("forgetting")
def test_where_nobody_enforces_anything_the_oracle_finds_such_frames_at_once(pair: Pair) -> None:
    with ExitStack() as stack:
        fuzzer = Fuzzer(pair.open, stack)
        assert len(fuzzer.run(plan(seed) for seed in range(2 * TOGETHER))) > 5


@pytest.mark.parametrize("network", ["routed"])
@pytest.mark.usefixtures("forgetting")
def test_an_answer_to_a_packet_with_a_priority_tag_is_an_answer(pair: Pair) -> None:
    begins, answers = 12866758, 13033157
    with ExitStack() as stack:
        fuzzer = Fuzzer(pair.guarded, stack)
        assert not fuzzer.run([plan(begins)])
        before = fuzzer.arrived
        assert not fuzzer.run([plan(answers)])
        assert fuzzer.arrived > before
