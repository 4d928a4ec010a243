# SPDX-License-Identifier: Apache-2.0
"""The town of `fixture`, with podfence enforcing, for the tests that send packets."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.kubernetes.packets.barrier import Barrier
from tests.kubernetes.packets.fixture import Town, nodes_of
from tests.kubernetes.packets.places import Servers, connect_outside, disconnect_outside

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.kubernetes.harness import Bed


@pytest.fixture(scope="module")
def enforced(bed: Bed) -> Iterator[Bed]:
    """Return the bed with an agent on each node: those that run there, or the chart's, installed for these tests."""
    if bed.enforces:
        yield bed
        return
    bed.install_podfence()
    yield bed
    bed.remove_podfence()


@pytest.fixture(scope="module")
def servers(enforced: Bed) -> Iterator[Servers]:
    """Return the servers that send packets from every place."""
    nodes = nodes_of(enforced)
    lan = nodes[0].address.rpartition(".")[0]
    outside = connect_outside(enforced, f"{lan}.99", {node.pods: node.address for node in nodes})
    servers = Servers(enforced, {node.name: node.number for node in nodes}, outside)
    yield servers
    servers.close()
    disconnect_outside(enforced)


@pytest.fixture(scope="module")
def town(enforced: Bed) -> Iterator[Town]:
    """Return the town, all of its pods ready and all of its policies created."""
    town = Town(enforced, nodes_of(enforced))
    town.destroy()
    town.build()
    yield town
    town.destroy()


@pytest.fixture(scope="module")
def barrier(town: Town, servers: Servers) -> Iterator[Barrier]:
    """Return what waits for the agents."""
    barrier = Barrier(town, servers)
    barrier.build()
    yield barrier
    barrier.destroy()
