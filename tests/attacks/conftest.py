# SPDX-License-Identifier: Apache-2.0
"""The beds of both networks, made when they are first needed and shared by all tests of one of pytest's workers."""

from __future__ import annotations

import os
import shutil
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from tests.attacks.bed import Bed
from tests.attacks.judging import Pair

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.attacks.wiring import Network


@pytest.fixture(scope="session")
def beds(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[Network], Pair]]:
    """Return what gives the two beds of a network."""
    if os.geteuid() != 0 or not all(map(shutil.which, ("nft", "ip", "bridge"))):
        pytest.skip("needs root, nft and iproute2")
    made: dict[Network, Pair] = {}
    with ExitStack() as stack:

        def find(network: Network) -> Pair:
            if network not in made:
                made[network] = Pair(
                    *(
                        stack.enter_context(Bed(network, tmp_path_factory.mktemp(network), guarded=guarded))
                        for guarded in (False, True)
                    )
                )
            return made[network]

        yield find


@pytest.fixture
def pair(network: Network, beds: Callable[[Network], Pair]) -> Pair:
    """Return the beds of the test's network."""
    return beds(network)


@pytest.fixture
def forgetting(pair: Pair) -> Iterator[None]:
    """Let both beds forget, before and after a test, what its attack tells them."""
    for bed in pair:
        bed.restore()
    yield
    for bed in pair:
        bed.restore()
