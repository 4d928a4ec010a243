# SPDX-License-Identifier: Apache-2.0
"""Where a packet goes that a program is for: to the one rule that admits all, or by port.

A chain looks its port up, one lookup for each protocol. Programs with very many ports are alike when a tenant
means harm, each but a few ports the same as the last; so a long lookup is cut into pages, chains of their own
that programs share. Where a page ends depends on the ports in it and on nothing before it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from podfence.dataplane.objects import Objects, short
from podfence.dataplane.ruleset import digest
from podfence.nft.element import goto, jump
from podfence.nft.names import COMMENT_LIMIT, identifier
from podfence.sets import PortSet
from podfence.sets.ports import LAST_PORT

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from podfence.dataplane.program import PortProgram
    from podfence.nft.element import Verdict
    from podfence.policy.identity import RuleId

_NUMBERS: Final = {"TCP": 6, "UDP": 17, "SCTP": 132}
_OTHER: Final = "other"
_PAGED_FROM: Final = 128
"""How many entries a lookup has at least that is cut into pages."""

_PAGE: Final = 32
"""How many entries a page has about."""


class _Entry(NamedTuple):
    """Ports of one protocol, and the chain they lead to."""

    first: int
    last: int
    chain: str


class Verdicts:
    """Makes the chains of programs, and puts them into objects."""

    def __init__(self, result: Objects, *, is_complete: bool = False) -> None:
        """Put chains into `result`; a packet does not come back from programs of which each `is_complete`."""
        self._into = goto if is_complete else jump
        self._result = result
        self._known: dict[PortProgram, Verdict] = {}
        self._by_id: dict[int, tuple[PortProgram, Verdict]] = {}
        self._rules: dict[RuleId, str] = {}
        self._entries: dict[int, tuple[tuple[PortSet, RuleId], list[tuple[str, _Entry]]]] = {}
        self._pages: dict[tuple[str, tuple[_Entry, ...]], str] = {}

    def of(self, program: PortProgram) -> Verdict:
        """Return where a packet goes that a program is for."""
        # Programs can be long, and are mostly asked for again as the same object.
        found = self._by_id.get(id(program))
        if found is None:
            verdict = self._known.get(program)
            if verdict is None:
                verdict = self._known[program] = self._make(program)
            found = self._by_id[id(program)] = program, verdict
        return found[1]

    def _make(self, program: PortProgram) -> Verdict:
        if program and program[0][0] == PortSet.ALL:
            return goto(self._rule(program[0][1]))
        entries: dict[str, list[_Entry]] = {}
        for item in program:
            for protocol, entry in self._entries_of(item):
                entries.setdefault(protocol, []).append(entry)
        other = entries.pop(_OTHER, [])
        texts = [self._lookup(protocol, sorted(entries[protocol])) for protocol in _NUMBERS if protocol in entries]
        numbers = ", ".join(map(str, _NUMBERS.values()))
        return self._into(
            self._chain([*texts, *(f"meta l4proto != {{ {numbers} }} goto {item.chain}" for item in other)])
        )

    def _entries_of(self, item: tuple[PortSet, RuleId]) -> list[tuple[str, _Entry]]:
        """Return the ports of an item of a program by protocol."""
        found = self._entries.get(id(item))
        if found is None:
            ports, name = item
            chain = self._rule(name)
            entries = [(protocol, _Entry(first or 0, last or 0, chain)) for protocol, first, last in ports.ranges()]
            found = self._entries[id(item)] = item, entries
        return found[1]

    def _rule(self, name: RuleId) -> str:
        found = self._rules.get(name)
        if found is None:
            found = self._rules[name] = rule_chain(name)
            self._result.chain(found, "counter accept", comment=cut(name.title, COMMENT_LIMIT))
        return found

    def _chain(self, texts: Sequence[str]) -> str:
        name = identifier("pc", digest("\n".join(texts)))
        self._result.chain(name, *texts)
        return name

    def _lookup(self, protocol: str, entries: Sequence[_Entry]) -> str:
        """Return the rule that leads each port of a protocol to its chain."""
        if len(entries) == 1 and entries[0][:2] == (1, LAST_PORT):
            return f"meta l4proto {_NUMBERS[protocol]} goto {entries[0].chain}"
        if len(entries) < _PAGED_FROM:
            return _port_map(protocol, [(item.first, item.last, f"goto {item.chain}") for item in entries])
        pages = [(page[0].first, page[-1].last, f"jump {self._page(protocol, page)}") for page in _pages(entries)]
        return _port_map(protocol, pages)

    def _page(self, protocol: str, entries: tuple[_Entry, ...]) -> str:
        found = self._pages.get((protocol, entries))
        if found is None:
            found = self._pages[protocol, entries] = self._chain([self._lookup(protocol, entries)])
        return found


def _pages(entries: Sequence[_Entry]) -> Iterator[tuple[_Entry, ...]]:
    """Yield entries in pages; a page ends before a port that is a multiple, scattered so that no pattern spreads it."""
    start = 0
    for place, entry in enumerate(entries):
        if place - start >= _PAGED_FROM - 1 or (place > start and _scattered(entry.first) % _PAGE == 0):
            yield tuple(entries[start:place])
            start = place
    yield tuple(entries[start:])


def _scattered(port: int) -> int:
    return port * 2_654_435_761 >> 16 & 0xFFFF


def _port_map(protocol: str, entries: Sequence[tuple[int, int, str]]) -> str:
    pairs = ", ".join(f"{a if a == b else f'{a}-{b}'} : {verdict}" for a, b, verdict in entries)
    return f"{protocol.lower()} dport vmap {{ {pairs} }}"


def rule_chain(rule: RuleId) -> str:
    """Return the name of the chain that accepts, and counts, what a rule admits; rules count from 1 there."""
    way = short(rule.direction)
    if not rule.is_rule:
        return identifier("ok", way, rule.name.partition("=")[0])
    # No namespace is called as a kind is: that has capital letters.
    return identifier("ok", way, rule.namespace or rule.kind, rule.name, str(rule.index + 1))


def cut(text: str, limit: int) -> str:
    """Return a text, its end left out if it is too long; names of objects are ASCII."""
    return text if len(text) <= limit else f"{text[: limit - 3]}..."
