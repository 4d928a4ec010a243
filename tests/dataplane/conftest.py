# SPDX-License-Identifier: Apache-2.0
"""The two nodes that the packet tests share, one pair for each of pytest's workers."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

import pytest

from tests.dataplane.fabric import Fabric
from tests.dataplane.prober import Prober

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="session")
def fabric() -> Iterator[Fabric]:
    if os.geteuid() != 0 or not all(map(shutil.which, ("nft", "ip", "nsenter"))):
        pytest.skip("needs root, nft, iproute2 and util-linux")
    with Fabric() as found:
        yield found


@pytest.fixture(scope="session")
def prober(fabric: Fabric) -> Iterator[Prober]:
    with Prober(fabric) as found:
        yield found
