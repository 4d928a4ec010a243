# SPDX-License-Identifier: Apache-2.0
"""Partitions: every member has the union of the ports of all pieces it is in, and equal ports are together."""

from __future__ import annotations

from random import Random

import pytest

from podfence.sets import AddressSet, PortSet, members
from podfence.sets.partition import disjoint, disjoint_addresses
from podfence.sets.spans import normalize


def some_ports(random: Random) -> PortSet:
    starts = [random.randrange(1, 12) for _ in range(random.randrange(3))]
    return PortSet(normalize([(start, start + random.randrange(4)) for start in starts]))


@pytest.mark.parametrize("seed", range(200))
def test_each_member_has_the_ports_of_all_its_pieces(seed: int) -> None:
    random = Random(seed)
    pieces = [(some_ports(random), random.getrandbits(12)) for _ in range(random.randrange(7))]
    spread = [
        (ports, AddressSet(normalize([(address, address) for address in members(bits)]))) for ports, bits in pieces
    ]
    expected: dict[PortSet, int] = {}
    for number in range(12):
        ports = PortSet.union(ports for ports, bits in pieces if bits >> number & 1)
        if ports:
            expected[ports] = expected.get(ports, 0) | 1 << number

    assert disjoint(pieces) == expected
    assert disjoint_addresses(spread) == {
        ports: AddressSet(normalize([(number, number) for number in members(bits)])) for ports, bits in expected.items()
    }
