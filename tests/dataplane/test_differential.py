# SPDX-License-Identifier: Apache-2.0
"""Engine, slow twin and real packets agree: on random clusters over two nodes, after the first load and each update."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.dataplane.drawing import case
from tests.dataplane.reducing import reduced
from tests.dataplane.trial import Bench, told
from tests.twin.effort import part

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.dataplane.fabric import Fabric
    from tests.dataplane.prober import Prober

CLUSTERS = part(300)
STEPS = 3
PROBES = 300
AT_ONCE = 10


@pytest.fixture(scope="module")
def bench(fabric: Fabric, prober: Prober) -> Iterator[Bench]:
    with Bench(fabric, prober) as found:
        yield found


@pytest.mark.parametrize("start", range(0, CLUSTERS, AT_ONCE))
def test_packets_pass_exactly_where_engine_and_twin_allow_them(bench: Bench, start: int) -> None:
    for seed in range(start, start + AT_ONCE):
        wanted = case(seed, STEPS)
        outcome = bench.run(wanted, PROBES)
        if outcome.differences:
            text = "\n".join(
                (*told(wanted, outcome), "", "as little as shows it:", *told(*reduced(bench, wanted, outcome)))
            )
            pytest.fail(f"seed {seed}\n{text}", pytrace=False)
