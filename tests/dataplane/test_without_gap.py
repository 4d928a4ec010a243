# SPDX-License-Identifier: Apache-2.0
"""Policies change under traffic: what is allowed before and after never stops, what is forbidden never starts."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

import pytest

from tests.dataplane.change_under_traffic import run
from tests.twin.effort import LONG

if TYPE_CHECKING:
    from pathlib import Path

CHANGES = 300 if LONG else 75
CONNECTIONS = 200_000 if LONG else 50_000


@pytest.mark.skipif(
    os.geteuid() != 0 or not all(map(shutil.which, ("nft", "ip", "nsenter"))),
    reason="needs root, nft, iproute2 and util-linux",
)
def test_no_connection_is_lost_or_let_through_by_a_change(tmp_path: Path) -> None:
    seen = run(tmp_path, seed=15, changes=CHANGES, connections=CONNECTIONS)
    assert not seen.lost, (str(seen), seen.lost[:5])
    assert not seen.passed, (str(seen), seen.passed[:5])
    assert seen.connections >= CONNECTIONS
    assert seen.allowed > CONNECTIONS // 10
    assert seen.forbidden > CONNECTIONS // 10
