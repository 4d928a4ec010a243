# SPDX-License-Identifier: Apache-2.0
"""The objects of table `inet podfence` that a node should have, as values that can be compared.

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

Container = Set | Map
ElementKey = int | tuple[int, int]
"""An address, the first and last of a range of addresses, or a pair of addresses; numbers as in `podfence.sets`."""


def rule(chain: str, text: str) -> Rule:
    """Return a rule with the digest of its text as comment."""
    return Rule(chain, text, digest(text))


def digest(text: str) -> str:
    """Return twelve hexadecimal digits that tell texts apart."""
    return hashlib.sha256(text.encode()).hexdigest()[:12]


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

    def nft_elements(self, keys: Iterable[ElementKey]) -> Elements:
        """Return some of the elements as nft has them."""
        container, values = self.container, self.elements
        return Elements(container, tuple(_element(container, key, values.get(key)) for key in keys))


@dataclass(frozen=True, slots=True)
class Ruleset:
    """Everything in the table, by name."""

    chains: Mapping[str, ChainBody] = field(default_factory=dict)
    sets: Mapping[str, SetBody] = field(default_factory=dict)


def read_back(contents: Contents) -> Ruleset:
    """Return what a table really holds; rules are known by their comments, those of others have none of ours.

    Elements that the kernel takes out by itself are left out: they are there for a time, whatever is wanted.
    """
    return Ruleset(
        {item.name: ChainBody(item, tuple(contents.rules.get(item.name, ()))) for item in contents.chains},
        {
            item.name: SetBody(item, {_key(item, one): _verdict(one) for one in _lasting(item, contents)})
            for item in contents.sets
        },
    )


def _lasting(container: Container, contents: Contents) -> Iterable[Element]:
    return () if "timeout" in container.flags else contents.elements.get(container.name, ())


def _verdict(element: Element) -> Verdict | None:
    if element.value is None or isinstance(element.value, tuple):
        return None
    return element.value


def _element(container: Container, key: ElementKey, value: Verdict | None) -> Element:
    if isinstance(key, int):
        return Element((address_text(key),), None, value)
    first, last = address_text(key[0]), address_text(key[1])
    if len(container.types) > 1:
        return Element((first, last), None, value)
    return Element((first,), None if first == last else (last,), value)


def _key(container: Container, element: Element) -> ElementKey:
    if len(container.types) > 1:
        return _number(element.key[0]), _number(element.key[1])
    first = _number(element.key[0])
    if "interval" in container.flags:
        return first, _number(element.end[0]) if element.end else first
    return first


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
