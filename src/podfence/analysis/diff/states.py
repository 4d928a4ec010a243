# SPDX-License-Identifier: Apache-2.0
"""How connections of one pair of ends are on one side, and what it is to go from one such state to another."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Final, NamedTuple

from podfence.analysis.diff.answer import ConnectionWord, Family
from podfence.sets import PortSet

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


State = tuple[tuple[str, PortSet], ...]
"""The ports that are not surely denied, by what a listing says of them: "" for allowed; in a stable order."""

DENIED: Final = "denied"
_KEPT: Final = 1024
_ALLOWED: Final = ""
_ONE_FAMILY: Final[dict[str, Family]] = {"IPv4 only": "IPv4", "IPv6 only": "IPv6"}
_BOTH: Final[frozenset[Family]] = frozenset({"IPv4", "IPv6"})


class Step(NamedTuple):
    """What changes on some ports: the word for it, in which family if only in one, and how it is before and after."""

    word: ConnectionWord
    family: Family
    before: str
    after: str
    ports: PortSet


def state_of(pieces: Iterable[tuple[str, PortSet]]) -> State:
    """Return a state of pieces whose ports are disjoint."""
    found: dict[str, PortSet] = {}
    for text, ports in pieces:
        if ports:
            found[text] = found[text] | ports if text in found else ports
    return tuple(sorted(found.items(), key=lambda item: item[0]))


@lru_cache(_KEPT)
def steps(before: State, after: State) -> tuple[Step, ...]:
    """Return what changes between two states, each port once for each family."""
    return tuple(
        Step(word, family, _told(one), _told(other), common)
        for one, ports in whole(before)
        for other, there in whole(after)
        if one != other and (common := ports & there)
        for word, family in _turns(one, other)
    )


def equal_ports(one: State, other: State) -> PortSet:
    """Return the ports on which two states are equal, whatever they depend on."""
    return PortSet.union(
        ports & there for text, ports in whole(one) for name, there in whole(other) if not any(_turns(text, name))
    )


def whole(state: State) -> Iterator[tuple[str, PortSet]]:
    """Yield all ports of a state by what is said of them, those that are `DENIED` among them."""
    yield from state
    yield DENIED, PortSet.ALL - PortSet.union(ports for _, ports in state)


def _turns(one: str, other: str) -> Iterator[tuple[ConnectionWord, Family]]:
    before, after = _families(one), _families(other)
    if before is None or after is None:
        if before is not after:
            yield ("known" if before is None else "unknown"), ""
        return
    if gained := after - before:
        yield "opened", _one_of(gained)
    if lost := before - after:
        yield "closed", _one_of(lost)


def _one_of(families: frozenset[Family]) -> Family:
    return "" if families == _BOTH else next(iter(families))


def _families(text: str) -> frozenset[Family] | None:
    """Return the families in which connections are allowed, None where that depends."""
    if text == DENIED:
        return frozenset()
    if text == _ALLOWED:
        return _BOTH
    return frozenset({_ONE_FAMILY[text]}) if text in _ONE_FAMILY else None


def _told(text: str) -> str:
    if text in _ONE_FAMILY:
        return f"allowed on {_ONE_FAMILY[text]} only"
    return text or "allowed"
