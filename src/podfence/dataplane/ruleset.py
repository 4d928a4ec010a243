# SPDX-License-Identifier: Apache-2.0
"""The objects of the tables that a node should have, as values that can be compared.

A rule carries a digest of its text as its comment: the kernel gives rules back in its own wording, and by
the digest they are known again. Elements are numbers here, because a table can hold many and few change.
"""

from __future__ import annotations

import hashlib
import socket
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from podfence.nft.element import Element
from podfence.nft.rule import Rule
from podfence.nft.sets import Elements, Map, Set
from podfence.nft.table import Table
from podfence.sets.addresses import V4_LAST, V6_FIRST

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from podfence.nft.chain import Chain
    from podfence.nft.element import Verdict
    from podfence.nft.runner import Contents

TABLE_NAME: Final = "podfence"
COMMENT: Final = "podfence schema=1"
"""The comment that tells a table of ours, and the form of what is in it."""

TABLE: Final = Table(TABLE_NAME, "inet", COMMENT)
BRIDGE_TABLE: Final = Table(TABLE_NAME, "bridge", COMMENT)
"""The table of what frames between pods of one bridge must be like; only where pods are ports of a bridge."""

Container = Set | Map
Part = int | str
ElementKey = Part | tuple[Part, ...]
"""A key, or the parts of one, or the first and last of a range.

Addresses are numbers as in `podfence.sets`; everything else is text as in `podfence.nft`, names of interfaces bare.
"""

_DIGITS: Final = 32
_ADDRESSES: Final = frozenset({"ipv4_addr", "ipv6_addr"})


def is_ours(comment: str | None) -> bool:
    """Return whether the comment of a table is one that an enforcer of any version writes."""
    return (comment or "").startswith(COMMENT.partition("=")[0])


def rule(chain: str, text: str) -> Rule:
    """Return a rule with the digest of its text as comment."""
    return Rule(chain, text, digest(text))


def digest(text: str) -> str:
    """Return hexadecimal digits that tell texts apart, also those that somebody made up to be taken for another."""
    return hashlib.sha256(text.encode()).hexdigest()[:_DIGITS]


@dataclass(frozen=True, slots=True)
class ChainBody:
    """A chain and its rules in order."""

    chain: Chain
    rules: tuple[Rule, ...]

    def same_as(self, other: ChainBody) -> bool:
        """Return whether both do the same, by the digests of their rules."""
        return self is other or (
            self.chain.hook == other.chain.hook
            and [item.comment for item in self.rules] == [item.comment for item in other.rules]
        )


@dataclass(frozen=True, slots=True)
class SetBody:
    """A set or map and its elements, with the verdict of each in a map."""

    container: Container
    elements: Mapping[ElementKey, Verdict | None]

    def same_as(self, other: SetBody) -> bool:
        """Return whether both hold the same."""
        return self is other or (
            self.container == other.container and (self.elements is other.elements or self.elements == other.elements)
        )

    def nft_elements(self, keys: Iterable[ElementKey]) -> Elements:
        """Return some of the elements as nft has them."""
        container, values = self.container, self.elements
        return Elements(container, tuple(_element(container, key, values.get(key)) for key in keys))


@dataclass(frozen=True, slots=True)
class Ruleset:
    """Everything in a table, by name."""

    chains: Mapping[str, ChainBody] = field(default_factory=dict)
    sets: Mapping[str, SetBody] = field(default_factory=dict)


def read_back(contents: Contents) -> Ruleset:
    """Return what a table really holds; rules are known by their comments, those of others have none of ours.

    Elements that come or go by themselves are left out: nobody wants them, or wants them gone.
    """
    return Ruleset(
        {item.name: ChainBody(item, tuple(contents.rules.get(item.name, ()))) for item in contents.chains},
        {
            item.name: SetBody(item, {_key(item, one): _verdict(one) for one in _kept(item, contents)})
            for item in contents.sets
        },
    )


def _verdict(element: Element) -> Verdict | None:
    if element.value is None or isinstance(element.value, tuple):
        return None
    return element.value


def _kept(container: Container, contents: Contents) -> Iterable[Element]:
    """Return the elements that stay; those of a dynamic set come and go with packets, and others with time."""
    return () if {"dynamic", "timeout"} & container.flags else contents.elements.get(container.name, ())


def _element(container: Container, key: ElementKey, value: Verdict | None) -> Element:
    if not isinstance(key, tuple):
        return Element((part_text(key),), None, value)
    parts = tuple(map(part_text, key))
    if len(container.types) > 1:
        return Element(parts, None, value)
    first, last = parts
    return Element((first,), None if first == last else (last,), value)


def _key(container: Container, element: Element) -> ElementKey:
    if len(container.types) > 1:
        return tuple(map(_part, container.types, element.key))
    first = _part(container.types[0], element.key[0])
    if "interval" in container.flags:
        return first, _part(container.types[0], element.end[0]) if element.end else first
    return first


def part_text(part: Part) -> str:
    """Return a part of a key as nft has it."""
    return part if isinstance(part, str) else address_text(part)


def _part(kind: str, text: str) -> Part:
    if kind in _ADDRESSES:
        return _number(text)
    return text.strip('"') if kind == "ifname" else text


def address_text(number: int) -> str:
    """Return an address as nft writes it."""
    if number <= V4_LAST:
        return socket.inet_ntop(socket.AF_INET, number.to_bytes(4, "big"))
    return socket.inet_ntop(socket.AF_INET6, (number - V6_FIRST).to_bytes(16, "big"))


def _number(text: str) -> int:
    # Not parse_address: to the kernel an IPv4-mapped address in a set of IPv6 is an IPv6 address.
    if ":" in text:
        return V6_FIRST + int.from_bytes(socket.inet_pton(socket.AF_INET6, text), "big")
    return int.from_bytes(socket.inet_pton(socket.AF_INET, text), "big")
