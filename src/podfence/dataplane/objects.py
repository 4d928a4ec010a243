# SPDX-License-Identifier: Apache-2.0
"""Chains and sets while a ruleset is put together, and the words that all of them are written with."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from podfence.dataplane.ruleset import ChainBody, SetBody, rule
from podfence.errors import PodfenceError
from podfence.nft.chain import Chain
from podfence.nft.sets import Set
from podfence.policy.verdict import Direction
from podfence.sets.addresses import family_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from podfence.dataplane.ruleset import ElementKey, Part
    from podfence.nft.chain import Hook
    from podfence.nft.element import Key, Verdict
    from podfence.nft.sets import Flag, Map
    from podfence.sets.addresses import Family

    _Key = int | tuple[*tuple[Part, ...], int]

FAMILIES: Final[tuple[tuple[Family, str, Key], ...]] = ((4, "ip", ("ipv4_addr",)), (6, "ip6", ("ipv6_addr",)))
"""Each family with what rules call it, and the type of its addresses."""

RESET: Final = "meta l4proto 6 counter reject with tcp reset"


class NameTakenError(PodfenceError):
    """Two things would have one name in the table, and one of them would be lost."""

    def __init__(self, name: str) -> None:
        """Keep the name."""
        super().__init__(f"two different things would be called {name} in the kernel's table, so neither is programmed")


@dataclass(slots=True)
class Objects:
    """Chains and sets, by name."""

    chains: dict[str, ChainBody] = field(default_factory=dict)
    sets: dict[str, SetBody] = field(default_factory=dict)

    def chain(self, name: str, *texts: str, hook: Hook | None = None, comment: str | None = None) -> None:
        """Take in a chain with these rules; raise NameTakenError if there is another one of the name."""
        body = _body(name, texts, hook, comment)
        if not self.chains.setdefault(name, body).same_as(body):
            raise NameTakenError(name)

    def put(self, container: Set | Map, elements: Mapping[ElementKey, Verdict | None]) -> None:
        """Take in a set or map with its elements; raise NameTakenError if there is another one of the name."""
        body = SetBody(container, elements)
        if not self.sets.setdefault(container.name, body).same_as(body):
            raise NameTakenError(container.name)

    def addresses(
        self, name: str, keys: Iterable[_Key], *, before: Key = (), times: int = 1, flags: frozenset[Flag] = frozenset()
    ) -> None:
        """Take in a set for each family, with those keys whose last part is an address of it.

        A key has parts of the types `before`, and then as many addresses as `times` says.
        """
        found: dict[Family, dict[ElementKey, Verdict | None]] = {family: {} for family, _, _ in FAMILIES}
        for key in keys:
            found[family_of(key[-1] if isinstance(key, tuple) else key)][key] = None
        for family, _, types in FAMILIES:
            self.put(Set(f"{name}{family}", (*before, *types * times), flags), found[family])

    def as_in(self, others: Objects) -> Objects:
        """Return the same, with the chains of others in the place of those that do the same."""
        for name, chain in self.chains.items():
            known = others.chains.get(name)
            if known is not None and known.same_as(chain):
                self.chains[name] = known
        return self

    def update(self, other: Objects) -> None:
        """Take over what is in others; what is there already and does the same stays the same object."""
        for name, chain in other.chains.items():
            known = self.chains.get(name)
            if known is not chain and (known is None or not known.same_as(chain)):
                self.chains[name] = chain
        self.sets.update(other.sets)


@lru_cache(maxsize=512)
def _body(name: str, texts: tuple[str, ...], hook: Hook | None, comment: str | None) -> ChainBody:
    """Return a chain with its rules; what every change asks for stays the same object, and is not checked again."""
    return ChainBody(Chain(name, hook, comment), tuple(rule(name, text) for text in texts))


def short(direction: Direction) -> str:
    """Return what a direction is called in names."""
    return "eg" if direction is Direction.EGRESS else "in"
