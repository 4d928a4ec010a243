# SPDX-License-Identifier: Apache-2.0
"""The shortest list of blocks and excepts, for every set of a universe of eight addresses."""

from __future__ import annotations

import pytest

from podfence.sets import AddressBlock, AddressSet, blocks, spans
from podfence.sets.blocks import Prefix

SIZE = 8
EVERY_SET = range(1 << SIZE)


def bits_of(prefix: Prefix) -> int:
    return sum(1 << number for number in range(prefix.first, prefix.last + 1))


PREFIXES = [Prefix(first, first + size - 1) for size in (8, 4, 2, 1) for first in range(0, SIZE, size)]


def spans_of(bits: int) -> spans.Spans:
    return spans.normalize((number, number) for number in range(SIZE) if bits >> number & 1)


def cheapest_unions(pieces: dict[int, int]) -> list[int]:
    """Return for each set the least cost of pieces whose union it is, found by trying all of them."""
    best = [0] + [SIZE * SIZE] * (len(EVERY_SET) - 1)
    changed = True
    while changed:
        changed = False
        for have in EVERY_SET:
            for piece, cost in pieces.items():
                if best[have] + cost < best[have | piece]:
                    best[have | piece] = best[have] + cost
                    changed = True
    return best


@pytest.fixture(scope="module")
def least() -> list[int]:
    """Return the number of blocks and excepts of the shortest list of each set, by brute force."""
    holes = cheapest_unions({bits_of(prefix): 1 for prefix in PREFIXES})
    pieces: dict[int, int] = {}
    for prefix in PREFIXES:
        whole = bits_of(prefix)
        for hole in EVERY_SET:
            if hole & ~whole == 0 and hole != whole:
                pieces[whole & ~hole] = min(pieces.get(whole & ~hole, SIZE * SIZE), 1 + holes[hole])
    return cheapest_unions(pieces)


def test_every_set_is_denoted_by_a_list_that_no_other_beats(least: list[int]) -> None:
    for bits in EVERY_SET:
        found = blocks.shortest(spans_of(bits), Prefix(0, SIZE - 1))
        denoted = 0
        for prefix, taken in found:
            inside = bits_of(prefix)
            for hole in taken:
                assert prefix.first <= hole.first <= hole.last <= prefix.last
                assert hole != prefix
                inside &= ~bits_of(hole)
            denoted |= inside
        assert denoted == bits
        assert sum(1 + len(taken) for _, taken in found) == least[bits], spans_of(bits)


@pytest.mark.parametrize(
    ("cidr", "excepts", "written"),
    [
        ("10.0.0.0/8", (), [AddressBlock("10.0.0.0/8")]),
        ("10.0.0.0/8", ("10.1.0.0/16",), [AddressBlock("10.0.0.0/8", ("10.1.0.0/16",))]),
        ("10.0.0.0/8", ("10.128.0.0/9",), [AddressBlock("10.0.0.0/9")]),
        ("10.0.0.0/8", ("10.0.0.0/9", "10.128.0.0/9"), []),
        ("10.0.0.0/8", ("10.2.0.0/16", "10.1.0.0/16", "10.1.2.0/24"),
            [AddressBlock("10.0.0.0/8", ("10.1.0.0/16", "10.2.0.0/16"))]),
        ("10.0.0.0/8", ("10.2.0.0/16", "10.3.0.0/16"), [AddressBlock("10.0.0.0/8", ("10.2.0.0/15",))]),
        ("::/0", ("fd00::/8",), [AddressBlock("::/0", ("fd00::/8",))]),
        ("0.0.0.0/0", ("255.255.255.255/32",), [AddressBlock("0.0.0.0/0", ("255.255.255.255/32",))]),
    ],
)  # fmt: skip
def test_blocks_are_written_as_people_would(cidr: str, excepts: tuple[str, ...], written: list[AddressBlock]) -> None:
    assert list(AddressSet.block(cidr, excepts).blocks()) == written


def test_what_lies_inside_of_an_except_is_a_block_of_its_own() -> None:
    found = AddressSet.block("10.0.0.0/8", ("10.1.0.0/16",)) | AddressSet.cidr("10.1.2.0/24")

    assert list(found.blocks()) == [AddressBlock("10.0.0.0/8", ("10.1.0.0/16",)), AddressBlock("10.1.2.0/24")]


def test_both_families_are_written_one_after_the_other() -> None:
    assert list(map(str, AddressSet.ALL.blocks())) == ["0.0.0.0/0", "::/0"]
    assert (
        str(AddressBlock("10.0.0.0/8", ("10.1.0.0/16", "10.2.0.0/16"))) == "10.0.0.0/8 except 10.1.0.0/16, 10.2.0.0/16"
    )
