# SPDX-License-Identifier: Apache-2.0
"""The nodes that the packet tests share: two for each of pytest's workers, and one for each module with flows."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

import pytest

from podfence.dataplane.conntrack import KernelConntrack
from podfence.dataplane.settings import Settings
from tests.dataplane.fabric import Fabric
from tests.dataplane.inside import inside
from tests.dataplane.lines import Lines
from tests.dataplane.network import Network
from tests.dataplane.prober import Prober
from tests.dataplane.scene import API, DB, FOUR, SIX, WEB

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


@pytest.fixture(scope="module")
def network() -> Iterator[Network]:
    ends = (WEB.addresses, DB.addresses, API.addresses, (FOUR.outside, SIX.outside))
    with Network((FOUR.node, SIX.node), ends) as found:
        yield found


@pytest.fixture(scope="module")
def conntrack(network: Network) -> Iterator[KernelConntrack]:
    found = inside(network.pid_of(FOUR.node), lambda: KernelConntrack(Settings().label))
    yield found
    found.close()


@pytest.fixture
def lines(network: Network, conntrack: KernelConntrack) -> Iterator[Lines]:
    with Lines(network) as found:
        yield found
    network.forget()
    # Only flows of the next test are to be counted there; this empties the table (IPCTNL_MSG_CT_DELETE).
    assert conntrack._table.change(0x102, [bytes(4)]) == [0]
