# SPDX-License-Identifier: Apache-2.0
"""One table of the fake: what it holds, who refers to whom, and what nft refuses."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from podfence.nft.element import Verdict
from podfence.nft.errors import AlreadyExistsError, BusyError, NftError, NotFoundError
from podfence.nft.sets import Elements, Map, Set
from tests.nft.fake_elements import Store

if TYPE_CHECKING:
    from podfence.nft.chain import Chain
    from podfence.nft.element import Element
    from podfence.nft.rule import Rule
    from podfence.nft.table import Table
    from podfence.nft.transaction import Verb

MISSING: Final = "Could not process rule: No such file or directory"
EXISTS: Final = "Could not process rule: File exists"
BUSY: Final = "Could not process rule: Device or resource busy"
UNSUPPORTED: Final = "Could not process rule: Operation not supported"
TOO_DEEP: Final = "Could not process rule: Too many links"
DEPTH: Final = 16
"""How many jumps and gotos in a row the kernel refuses."""

_QUOTED = re.compile(r'"[^"]*"')
_TARGET = re.compile(r"\b(?:jump|goto) ([\w/.-]+)")
_LOOKUP = re.compile(r"(\bvmap )?@(?!(?:ll|nh|th),)([A-Za-z_][\w/.-]*)")


@lru_cache(maxsize=4096)
def references(text: str) -> tuple[tuple[str, ...], tuple[tuple[str, bool], ...]]:
    """Return the chains that the text of a rule leads to, and its sets with whether each is used as a verdict map."""
    bare = _QUOTED.sub("", text)
    return tuple(_TARGET.findall(bare)), tuple((found[2], bool(found[1])) for found in _LOOKUP.finditer(bare))


@dataclass(slots=True)
class FakeTable:
    """The state of a table; `uses` counts references to chains, `bound` those of rules to sets."""

    table: Table
    chains: dict[str, Chain] = field(default_factory=dict)
    rules: dict[str, list[Rule]] = field(default_factory=dict)
    stores: dict[str, Store] = field(default_factory=dict)
    uses: Counter[str] = field(default_factory=Counter)
    bound: Counter[str] = field(default_factory=Counter)
    handle: int = 0
    touched: set[str] = field(default_factory=set)

    def copy(self) -> FakeTable:
        """Return a table that changes apart from this one; elements are copied when they are first touched."""
        rules = {name: list(rules) for name, rules in self.rules.items()}
        return FakeTable(
            self.table, dict(self.chains), rules, dict(self.stores), self.uses.copy(), self.bound.copy(), self.handle
        )

    def chain(self, verb: Verb, chain: Chain) -> None:
        """Add, delete or flush a chain."""
        present = self.chains.get(chain.name)
        if verb == "add":
            self._add_chain(chain, present)
            return
        if present is None:
            raise NotFoundError(MISSING)
        if verb == "delete" and self.uses[chain.name]:
            # Its own rules count too, though they would go with it.
            raise BusyError(BUSY)
        for rule in self.rules[chain.name]:
            self._release(rule)
        self.rules[chain.name] = []
        if verb == "delete":
            del self.chains[chain.name], self.rules[chain.name]

    def flush(self) -> None:
        """Empty all chains."""
        for rules in self.rules.values():
            for rule in rules:
                self._release(rule)
            rules.clear()

    def rule(self, verb: Verb, rule: Rule) -> None:
        """Add or delete a rule."""
        rules = self.rules.get(rule.chain)
        if rules is None:
            raise NotFoundError(MISSING)
        if verb == "add":
            self._bind(rule)
            self.handle += 1
            rules.append(replace(rule, handle=self.handle))
            return
        place = next((index for index, other in enumerate(rules) if other.handle == rule.handle), -1)
        if place < 0:
            raise NotFoundError(MISSING)
        self._release(rules.pop(place))

    def container(self, verb: Verb, container: Set | Map) -> None:
        """Add, delete or flush a set or map."""
        store = self.stores.get(container.name)
        if verb == "add":
            if store is None:
                self.handle += 1
                self.stores[container.name] = Store(container)
            elif replace(store.container, comment=None) != replace(container, comment=None):
                raise AlreadyExistsError(EXISTS)
            return
        # nft finds a map under `set` too, but only to delete it.
        if store is None or (verb == "flush" and type(store.container) is not type(container)):
            raise NotFoundError(MISSING)
        if verb == "delete" and self.bound[container.name]:
            raise BusyError(BUSY)
        for element in self._own(container.name).flush():
            self._leave(element)
        if verb == "delete":
            del self.stores[container.name]

    def elements(self, verb: Verb, elements: Elements) -> None:
        """Add or delete elements."""
        if elements.container.name not in self.stores:
            raise NotFoundError(MISSING)
        store = self._own(elements.container.name)
        if verb == "delete":
            for element in store.delete(elements.items):
                self._leave(element)
            return
        for element in store.add(elements.items, self._enter):
            self._leave(element)

    def refuse_depth(self) -> None:
        """Raise NftError if a packet could take 16 jumps and gotos in a row from a base chain, or run in a circle."""
        known: dict[str, int] = {}
        for name, chain in self.chains.items():
            if chain.hook is not None:
                self._depth(name, known, 0)

    def _depth(self, name: str, known: dict[str, int], level: int) -> int:
        """Return how many jumps and gotos can follow `name`, which is reached after `level` of them."""
        if name not in known and level < DEPTH:
            known[name] = max((1 + self._depth(target, known, level + 1) for target in self._targets(name)), default=0)
        if level >= DEPTH or level + known[name] >= DEPTH:
            raise NftError(TOO_DEEP)
        return known[name]

    def _targets(self, name: str) -> set[str]:
        found: set[str] = set()
        for rule in self.rules[name]:
            chains, sets = references(rule.text)
            found.update(chains)
            for used, as_map in sets:
                if as_map:
                    found.update(self.stores[used].targets())
        return found

    def _add_chain(self, chain: Chain, present: Chain | None) -> None:
        if present is None:
            self.handle += 1
            self.chains[chain.name], self.rules[chain.name] = chain, []
            return
        if chain.hook is None:
            return
        if present.hook is None or (present.hook.hook, present.hook.priority) != (chain.hook.hook, chain.hook.priority):
            raise NftError(UNSUPPORTED)
        if present.hook.type != chain.hook.type:
            raise AlreadyExistsError(EXISTS)
        self.chains[chain.name] = replace(present, hook=chain.hook)

    def _own(self, name: str) -> Store:
        if name not in self.touched:
            self.touched.add(name)
            self.stores[name] = self.stores[name].copy()
        return self.stores[name]

    def _bind(self, rule: Rule) -> None:
        chains, sets = references(rule.text)
        for name, as_map in sets:
            if name not in self.stores:
                raise NotFoundError(MISSING)
            if as_map and isinstance(self.stores[name].container, Set):
                raise NftError("Expression is not a map")
        for name in chains:
            self._use(name)
        self.bound.update(name for name, _ in sets)

    def _release(self, rule: Rule) -> None:
        chains, sets = references(rule.text)
        self.uses.subtract(chains)
        self.bound.subtract(name for name, _ in sets)

    def _use(self, name: str) -> None:
        if name not in self.chains:
            raise NotFoundError(MISSING)
        if self.chains[name].hook is not None:
            raise NftError(UNSUPPORTED)
        self.uses[name] += 1

    def _enter(self, element: Element) -> None:
        if isinstance(element.value, Verdict) and element.value.chain:
            self._use(element.value.chain)

    def _leave(self, element: Element) -> None:
        if isinstance(element.value, Verdict) and element.value.chain:
            self.uses[element.value.chain] -= 1
