# SPDX-License-Identifier: Apache-2.0
"""Nodes of the tests: network namespaces with pods behind them."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

import pytest

from tests.spaces import Space

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def node() -> Iterator[Space]:
    """Return an empty network namespace, which the test enters."""
    if os.geteuid() != 0 or not all(map(shutil.which, ("nft", "ip", "unshare"))):
        pytest.skip("needs root, nft, iproute2 and util-linux")
    space = Space()
    space.ip("link set lo up")
    with space.entered():
        yield space
    space.close()
