# SPDX-License-Identifier: Apache-2.0
"""The cluster in which the pages are typed."""

from __future__ import annotations

import pytest


@pytest.fixture(scope="module", autouse=True)
def _cluster(cluster_at_hand: None) -> None:
    """Have a cluster for kubectl before the first page."""
