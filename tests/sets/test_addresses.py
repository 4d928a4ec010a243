# SPDX-License-Identifier: Apache-2.0
"""Sets of addresses against the standard library and against a solver for bit-vectors."""

from __future__ import annotations

import ipaddress
import random
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from podfence.sets import AddressSet
from podfence.sets.addresses import V4_LAST, V6_FIRST, V6_LAST, family_of, format_address, parse_address

if TYPE_CHECKING:
    from hypothesis.strategies import DrawFn

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
BITS = {4: 32, 6: 128}


def on_line(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> int:
    return int(address) + (V6_FIRST if address.version == 6 else 0)


def network_of(version: int, number: int, length: int) -> Network:
    kind = ipaddress.IPv4Network if version == 4 else ipaddress.IPv6Network
    return kind((number, length), strict=False)


@st.composite
def networks(draw: DrawFn, version: int, around: Network | None = None) -> Network:
    """Return a block, inside of `around` and longer than it if given."""
    bits = BITS[version]
    shortest = around.prefixlen + 1 if around else 0
    length = draw(st.integers(shortest, bits))
    number = draw(st.integers(0, 2**bits - 1))
    if around is not None:
        number = int(around.network_address) | (number & int(around.hostmask))
    # An IPv4-mapped address is read as the IPv4 one, which has a test of its own.
    if version == 6 and number >> 32 == 0xFFFF:
        number |= 1 << 127
    return network_of(version, number, length)


@st.composite
def ip_blocks(draw: DrawFn) -> tuple[Network, list[Network]]:
    """Return a block and some that lie in it; they may overlap and nest."""
    version = draw(st.sampled_from((4, 6)))
    whole = draw(networks(version).filter(lambda block: block.prefixlen < BITS[version]))
    return whole, draw(st.lists(networks(version, whole), max_size=4))


def block_set(whole: Network, excepts: list[Network]) -> AddressSet:
    return AddressSet.block(str(whole), tuple(map(str, excepts)))


def edges(whole: Network, excepts: list[Network]) -> set[int]:
    """Return the numbers on and beside both ends of every block, as far as they are addresses of the family."""
    found = set()
    for block in (whole, *excepts):
        first, last = int(block.network_address), int(block.broadcast_address)
        found |= {first - 1, first, first + 1, last - 1, last, last + 1}
    return {number for number in found if 0 <= number < 2 ** BITS[whole.version]}


@given(block=ip_blocks())
def test_a_block_without_its_excepts_is_right_at_every_boundary(block: tuple[Network, list[Network]]) -> None:
    """Semantics 6.7."""
    whole, excepts = block
    found = block_set(whole, excepts)
    address_type = type(whole.network_address)
    for number in edges(whole, excepts):
        address = address_type(number)
        expected = address in whole and not any(address in item for item in excepts)
        assert (on_line(address) in found) == expected, address


@given(block=ip_blocks())
def test_the_decomposition_is_disjoint_in_order_and_denotes_the_set(block: tuple[Network, list[Network]]) -> None:
    found = block_set(*block)
    pieces = [ipaddress.ip_network(text) for text in found.cidrs()]
    rebuilt = AddressSet.EMPTY
    for text in found.cidrs():
        assert not rebuilt & AddressSet.cidr(text)
        rebuilt |= AddressSet.cidr(text)

    assert rebuilt == found
    assert hash(rebuilt) == hash(found)
    firsts = [int(piece.network_address) for piece in pieces]
    assert firsts == sorted(firsts)


@given(data=st.data(), version=st.sampled_from((4, 6)))
def test_ranges_are_decomposed_as_the_standard_library_does(data: st.DataObject, version: int) -> None:
    numbers = st.integers(0, 2 ** BITS[version] - 1)
    first, last = sorted((data.draw(numbers), data.draw(numbers)))
    low, high = (
        (ipaddress.IPv4Address(first), ipaddress.IPv4Address(last))
        if version == 4
        else (ipaddress.IPv6Address(first), ipaddress.IPv6Address(last))
    )
    expected = [str(block) for block in ipaddress.summarize_address_range(low, high)]

    assert list(AddressSet(((on_line(low), on_line(high)),)).cidrs()) == expected


@settings(max_examples=50)
@given(one=ip_blocks(), other=ip_blocks(), third=ip_blocks())
def test_algebra_is_that_of_sets(
    one: tuple[Network, list[Network]], other: tuple[Network, list[Network]], third: tuple[Network, list[Network]]
) -> None:
    a, b, c = block_set(*one), block_set(*other), block_set(*third)
    for number in {*a.cuts(), *b.cuts(), *c.cuts()}:
        for place in (number - 1, number):
            assert (place in a | b) == (place in a or place in b)
            assert (place in a & b) == (place in a and place in b)
            assert (place in a - b) == (place in a and place not in b)
    assert (a | b) & c == (a & c) | (b & c)
    assert (a - b) | (a & b) == a
    assert AddressSet.ALL - (a | b) == (AddressSet.ALL - a) & (AddressSet.ALL - b)
    assert (a <= b) == (not a - b)
    assert a & b <= a <= a | b


@settings(max_examples=100)
@given(block=ip_blocks())
def test_blocks_denote_the_set_and_are_never_more_than_the_decomposition(block: tuple[Network, list[Network]]) -> None:
    found = block_set(*block)
    rebuilt = AddressSet.EMPTY
    for item in found.blocks():
        rebuilt |= AddressSet.block(item.cidr, item.excepts)

    assert rebuilt == found
    written = sum(1 + len(item.excepts) for item in found.blocks())
    assert written <= len(found.cidrs())
    assert written <= 1 + len(block[1])


@settings(max_examples=200)
@given(number=st.one_of(st.integers(0, V4_LAST), st.integers(V6_FIRST, V6_LAST)))
def test_texts_of_addresses_are_the_standard_librarys(number: int) -> None:
    text = format_address(number)
    address = ipaddress.ip_address(text)

    assert str(address) == text
    assert on_line(address) == number
    assert family_of(number) == address.version
    mapped = isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped
    assert parse_address(text) == (int(mapped) if mapped else number)


@pytest.mark.parametrize(
    ("text", "same"),
    [
        ("10.1.2.3/24", "10.1.2.0/24"),
        ("10.1.2.3", "10.1.2.3/32"),
        ("::ffff:10.1.2.3", "10.1.2.3/32"),
        ("2001:DB8::7/64", "2001:db8::/64"),
        ("2001:db8::7", "2001:db8::7/128"),
        ("255.255.255.255/0", "0.0.0.0/0"),
    ],
)
def test_spellings_of_one_block(text: str, same: str) -> None:
    """Semantics 6.4 and 6.5."""
    assert AddressSet.cidr(text).cidrs() == (same,)


@pytest.mark.parametrize(
    "text",
    ["", "/8", "10.0.0.0/", "10.0.0.0/33", "::/129", "10.0.0.0/-1", "10.0.0/8", "10.0.0.256", "fe80::1%eth0", "web",
     "10.0.0.0/٨", "10.0.0.0/8/8", "1.2.3.4\0", "010.0.0.1", "é80::", " 10.0.0.1"],
)  # fmt: skip
def test_texts_that_are_no_block_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"address|prefix|null|character"):
        AddressSet.cidr(text)


def test_a_whole_family_is_never_the_other_nor_both() -> None:
    """Semantics 6.3: ``::/0`` is not ``0.0.0.0/0``, and the two together are everything."""
    v4, v6 = AddressSet.cidr("0.0.0.0/0"), AddressSet.cidr("::/0")

    assert (v4, v6) == (AddressSet.V4, AddressSet.V6)
    assert not v4 & v6
    assert v4 | v6 == AddressSet.ALL
    assert parse_address("253.0.0.0") not in AddressSet.cidr("fd00::/64")
    assert (v4 | v6).cidrs() == ("0.0.0.0/0", "::/0")


def test_private_space_is_what_is_never_reached_over_the_internet() -> None:
    inside = ["10.1.2.3", "192.168.0.1", "172.31.255.255", "127.0.0.1", "100.64.0.1", "169.254.1.1", "255.255.255.255",
              "::1", "fd00::1", "fe80::1", "ff02::1"]  # fmt: skip
    outside = ["8.8.8.8", "203.0.113.9", "172.32.0.0", "100.128.0.0", "2001:db8::1", "64:ff9b::1"]

    assert [text for text in inside if parse_address(text) not in AddressSet.PRIVATE] == []
    assert [text for text in outside if parse_address(text) in AddressSet.PRIVATE] == []


def random_block(choice: random.Random, version: int) -> tuple[Network, list[Network]]:
    bits = BITS[version]
    whole = network_of(version, choice.getrandbits(bits) | 1 << bits - 1, choice.randrange(bits - 8))
    inside = [int(whole.network_address) | (choice.getrandbits(bits) & int(whole.hostmask)) for _ in range(3)]
    return whole, [network_of(version, number, choice.randint(whole.prefixlen + 1, bits)) for number in inside]


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("seed", range(6))
def test_a_solver_finds_no_address_where_block_and_decomposition_differ(version: int, seed: int) -> None:
    z3: Any = pytest.importorskip("z3")
    bits = BITS[version]
    whole, excepts = random_block(random.Random(seed), version)
    address = z3.BitVec("address", bits)

    def has(block: Network) -> Any:  # noqa: ANN401 - a formula of an untyped library
        shift = bits - block.prefixlen
        if shift == bits:
            return z3.BoolVal(val=True)
        return z3.LShR(address, shift) == int(block.network_address) >> shift

    plain = z3.And(has(whole), *(z3.Not(has(item)) for item in excepts))
    found = block_set(whole, excepts)
    by_cidrs = z3.Or(*(has(ipaddress.ip_network(text)) for text in found.cidrs()))
    by_blocks = z3.Or(
        *(
            z3.And(has(ipaddress.ip_network(item.cidr)), *(z3.Not(has(ipaddress.ip_network(t))) for t in item.excepts))
            for item in found.blocks()
        )
    )
    for other in (by_cidrs, by_blocks):
        solver = z3.Solver()
        solver.add(plain != other)
        assert solver.check() == z3.unsat


def test_private_and_loopback_addresses_are_these_blocks_and_no_others() -> None:
    assert AddressSet.PRIVATE.cidrs() == (
        *("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12"),
        *("192.0.0.0/24", "192.168.0.0/16", "198.18.0.0/15", "224.0.0.0/3"),
        *("::/127", "fc00::/7", "fe80::/10", "ff00::/8"),
    )
    assert AddressSet.LOOPBACK.cidrs() == ("127.0.0.0/8", "::1/128")


def test_cuts_are_where_membership_changes() -> None:
    found = AddressSet.block("10.0.0.0/8", ("10.1.0.0/16",)) | AddressSet.cidr("::1")
    assert found.cuts() == tuple(map(parse_address, ("10.0.0.0", "10.1.0.0", "10.2.0.0", "11.0.0.0", "::1", "::2")))
    assert all((cut in found) != (cut - 1 in found) for cut in found.cuts())
