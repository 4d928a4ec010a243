# SPDX-License-Identifier: Apache-2.0
"""Sets of IP addresses of both families, exact for any combination of blocks.

Both families lie on one line: an IPv4 address is its number, an IPv6 address 2**128 plus its number;
the gap keeps their intervals apart, so ``::/0`` never is ``0.0.0.0/0`` (semantics 6.3).
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Final, Literal

import msgspec

from podfence.documents import Value
from podfence.sets import blocks, spans
from podfence.sets.spans import SpanSet

if TYPE_CHECKING:
    from podfence.sets.spans import Spans

Family = Literal[4, 6]
FAMILIES: Final[tuple[Family, Family]] = (4, 6)
V4_LAST: Final = (1 << 32) - 1
V6_FIRST: Final = 1 << 128
V6_LAST: Final = V6_FIRST + (1 << 128) - 1
_FEW: Final = 16


class AddressBlock(Value, frozen=True):
    """Addresses outside, written as an ipBlock: a CIDR and the CIDRs taken out of it."""

    cidr: str
    excepts: tuple[str, ...] = msgspec.field(name="except", default=())

    def __str__(self) -> str:
        """Return ``10.0.0.0/8 except 10.1.0.0/16, 10.2.0.0/16``."""
        return f"{self.cidr} except {', '.join(self.excepts)}" if self.excepts else self.cidr


class AddressSet(SpanSet):
    """An immutable set of addresses; its members are numbers on the line of both families."""

    __slots__ = ()

    EMPTY: AddressSet
    ALL: AddressSet
    V4: AddressSet
    V6: AddressSet
    PRIVATE: AddressSet
    LOOPBACK: AddressSet

    @classmethod
    def cidr(cls, text: str) -> AddressSet:
        """Return the addresses of a block or a single address; host bits are masked (semantics 6.4).

        Raises ValueError if the text is neither.
        """
        return _of_cidr(text)

    @classmethod
    def block(cls, cidr: str, excepts: tuple[str, ...] = ()) -> AddressSet:
        """Return an ipBlock's addresses: in `cidr` and in none of `excepts` (semantics 6.1)."""
        # Many blocks in one are seldom there twice, and would be kept for nothing.
        return _of_block(cidr, excepts) if len(excepts) <= _FEW else _of_block.__wrapped__(cidr, excepts)

    @classmethod
    def of_family(cls, family: Family) -> AddressSet:
        """Return all addresses of a family."""
        return cls.V4 if family == 4 else cls.V6

    @classmethod
    def single(cls, number: int) -> AddressSet:
        """Return the set of one address, given as its number on the line."""
        return cls(((number, number),))

    def __repr__(self) -> str:
        """Return a form for debugging."""
        return f"AddressSet({', '.join(self.cidrs())})"

    def cuts(self) -> tuple[int, ...]:
        """Return the numbers at which membership changes: each span's first, and the number after its last."""
        return tuple(number for first, last in self.spans for number in (first, last + 1))

    def cidrs(self) -> tuple[str, ...]:
        """Return the canonical decomposition into CIDR blocks, in order (semantics 6.7)."""
        return tuple(text for first, last in self.spans for text in _span_cidrs(first, last))

    def blocks(self) -> tuple[AddressBlock, ...]:
        """Return the set as the fewest blocks and excepts."""
        return _blocks(self.spans)


@lru_cache(maxsize=4096)
def _blocks(canonical: Spans) -> tuple[AddressBlock, ...]:
    result: list[AddressBlock] = []
    for first, last in ((0, V4_LAST), (V6_FIRST, V6_LAST)):
        inside = spans.intersection(canonical, ((first, last),))
        for prefix, taken in blocks.shortest(inside, blocks.Prefix(first, last)):
            result.append(AddressBlock(_cidr(prefix), tuple(_cidr(item) for item in taken)))
    return tuple(result)


def _cidr(prefix: blocks.Prefix) -> str:
    bits = 32 if prefix.last <= V4_LAST else 128
    return f"{format_address(prefix.first)}/{bits + 1 - (prefix.last - prefix.first + 1).bit_length()}"


def _span_cidrs(first: int, last: int) -> list[str]:
    bits, base = (32, 0) if last <= V4_LAST else (128, V6_FIRST)
    result = []
    low, high = first - base, last - base
    while low <= high:
        size = min((low & -low).bit_length() - 1 if low else bits, (high - low + 1).bit_length() - 1)
        result.append(f"{format_address(low + base)}/{bits - size}")
        low += 1 << size
    return result


@lru_cache(maxsize=4096)
def _of_cidr(text: str) -> AddressSet:
    """Return the addresses of a block; policies have few blocks, and have them over and over."""
    address, separator, length = text.partition("/")
    number = parse_address(address)
    bits = 32 if number <= V4_LAST else 128
    if separator and not (length.isascii() and length.isdigit() and int(length) <= bits):
        raise ValueError(f"{text!r} has no valid prefix length")
    host = (1 << (bits - int(length))) - 1 if separator else 0
    return AddressSet(((number & ~host, number | host),))


@lru_cache(maxsize=1024)
def _of_block(cidr: str, excepts: tuple[str, ...]) -> AddressSet:
    """Return the addresses of a block without those of others; policies have the same ones over and over."""
    if not excepts:
        return _of_cidr(cidr)
    taken = spans.normalize(pair for item in excepts for pair in _of_cidr(item).spans)
    return AddressSet(spans.difference(_of_cidr(cidr).spans, taken))


def parse_address(text: str) -> int:
    """Return an address as its number on the line; an IPv4-mapped IPv6 address is the IPv4 one (semantics 6.5).

    Raises ValueError if the text is no address.
    """
    import socket  # noqa: PLC0415  takes longer than all of this room, and a question may have no address

    try:
        if ":" not in text:
            return int.from_bytes(socket.inet_pton(socket.AF_INET, text), "big")
        number = int.from_bytes(socket.inet_pton(socket.AF_INET6, text), "big")
    except (OSError, UnicodeEncodeError) as error:
        raise ValueError(f"{text!r} is not an IP address") from error
    return number & V4_LAST if number >> 32 == 0xFFFF else V6_FIRST + number


def format_address(number: int) -> str:
    """Return the text of an address given as its number on the line."""
    if number <= V4_LAST:
        return ".".join(map(str, number.to_bytes(4, "big")))
    # The C library writes some blocks in mixed notation (::ffff:1.2.3.4); RFC 5952 text is wanted.
    from ipaddress import IPv6Address  # noqa: PLC0415  (5 ms that IPv4-only questions need not pay)

    return str(IPv6Address(number - V6_FIRST))


def family_of(number: int) -> Family:
    """Return the family of an address given as its number on the line."""
    return 4 if number <= V4_LAST else 6


AddressSet.EMPTY = AddressSet(())
AddressSet.V4 = AddressSet(((0, V4_LAST),))
AddressSet.V6 = AddressSet(((V6_FIRST, V6_LAST),))
AddressSet.ALL = AddressSet(((0, V4_LAST), (V6_FIRST, V6_LAST)))
AddressSet.LOOPBACK = AddressSet(((127 << 24, (128 << 24) - 1), (V6_FIRST + 1, V6_FIRST + 1)))
# Address space that is never reached over the internet: RFC 6890 and its updates. The blocks by number and length.
_PRIVATE_V4: Final = (
    *((0, 8), (10 << 24, 8), (100 << 24 | 64 << 16, 10), (127 << 24, 8), (169 << 24 | 254 << 16, 16)),
    *((172 << 24 | 16 << 16, 12), (192 << 24, 24), (192 << 24 | 168 << 16, 16), (198 << 24 | 18 << 16, 15)),
    *((224 << 24, 4), (240 << 24, 4)),
)
_PRIVATE_V6: Final = ((0, 127), (0xFC << 120, 7), (0xFE80 << 112, 10), (0xFF << 120, 8))
AddressSet.PRIVATE = AddressSet(
    spans.normalize(
        (base + first, base + first + (1 << bits - length) - 1)
        for base, bits, listed in ((0, 32, _PRIVATE_V4), (V6_FIRST, 128, _PRIVATE_V6))
        for first, length in listed
    )
)
