# SPDX-License-Identifier: Apache-2.0
"""Packets in a completion of a random part of a cluster do what every firm verdict about the part says (semantics 13)."""

from __future__ import annotations

import os
import shutil
from typing import Final

import pytest

from tests.dataplane.parts_by_packets import compare
from tests.twin.effort import LONG

pytestmark = pytest.mark.skipif(
    os.geteuid() != 0 or not all(map(shutil.which, ("nft", "ip", "nsenter"))),
    reason="needs root, nft, iproute2 and util-linux",
)

CASES: Final = 200 if LONG else 4
BATCHES: Final = 4


@pytest.mark.parametrize("batch", range(BATCHES))
def test_packets_in_a_completion_do_what_firm_verdicts_of_the_part_say(batch: int) -> None:
    tried = 0
    for seed in range(batch, CASES, BATCHES):
        outcome = compare(seed)
        assert not outcome.differences, f"seed {seed}\n" + "\n".join(outcome.differences)
        tried += outcome.probes
    assert tried
