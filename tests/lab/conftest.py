# SPDX-License-Identifier: Apache-2.0
"""What several tests of the lab start."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from podfence.lab.processes.spawner import Spawner

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="module")
def spawner() -> Iterator[Spawner]:
    """The process that forks the pods of a module."""
    with Spawner.start() as started:
        yield started
