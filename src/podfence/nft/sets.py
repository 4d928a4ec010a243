# SPDX-License-Identifier: Apache-2.0
"""Sets and maps with their types, and elements that go with them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Final, Literal, get_args

from podfence.nft.datatypes import datatypes
from podfence.nft.element import Element, Key, Verdict
from podfence.nft.errors import InvalidError
from podfence.nft.names import block, check_comment, check_name, comment_text

if TYPE_CHECKING:
    from podfence.nft.table import Table

Flag = Literal["interval", "timeout", "dynamic"]
INTERVAL: Final[frozenset[Flag]] = frozenset({"interval"})
TIMEOUT: Final[frozenset[Flag]] = frozenset({"timeout"})
DYNAMIC: Final[frozenset[Flag]] = frozenset({"dynamic"})
"""Of a set that rules add to; its elements are those of packets that came by."""

_KEYS_KEPT: Final = 4096
"""How many keys are not made canonical again: mostly addresses of pods, which are in one set after the other."""

_DYNAMIC_SIZE: Final = 65535
"""How many elements such a set holds at most; the kernel would choose the same."""

VERDICT: Final = ("verdict",)
"""The value types of a verdict map."""


@dataclass(frozen=True, slots=True)
class Set:
    """A set of keys; `types` has one name per concatenated part, `timeout` is the default in seconds."""

    name: str
    types: Key
    flags: frozenset[Flag] = frozenset()
    timeout: int | None = None
    comment: str | None = None

    def __post_init__(self) -> None:
        _check(self, "set")

    def statement(self, verb: str, table: Table) -> str:
        """Return the command that does `verb` to this set."""
        body = _body(self, " . ".join(self.types)) if verb == "add" else ""
        return f"{verb} set {table.address} {self.name}{body}"


@dataclass(frozen=True, slots=True)
class Map:
    """A map from keys to verdicts, or to data of the types `values`; else as a set."""

    name: str
    types: Key
    values: Key = VERDICT
    flags: frozenset[Flag] = frozenset()
    timeout: int | None = None
    comment: str | None = None

    def __post_init__(self) -> None:
        _check(self, "map")
        if self.values != VERDICT:
            datatypes(self.values)

    def statement(self, verb: str, table: Table) -> str:
        """Return the command that does `verb` to this map."""
        types = f"{' . '.join(self.types)} : {' . '.join(self.values)}"
        body = _body(self, types) if verb == "add" else ""
        return f"{verb} map {table.address} {self.name}{body}"


@dataclass(frozen=True, slots=True)
class Elements:
    """Elements of one set or map, each in canonical form; raises InvalidError for one that does not fit it."""

    container: Set | Map
    items: tuple[Element, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "items", tuple(canonical(self.container, item) for item in self.items))

    def statement(self, verb: str, table: Table) -> str:
        """Return the command that does `verb` to these elements; `delete` goes by the keys."""
        texts = (item.key_text if verb == "delete" else str(item) for item in self.items)
        return f"{verb} element {table.address} {self.container.name} {{ {', '.join(texts)} }}"


def canonical(container: Set | Map, element: Element) -> Element:
    """Return the element with all parts in the one text of their types, as it will be read back.

    Raises InvalidError if it has other types, or has an interval, a value or a timeout where `container` takes none.
    """
    key = _canonical_key(container, container.types, element.key)
    end = None if element.end is None else _canonical_key(container, container.types, element.end)
    if end == key:
        end = None
    if end is not None:
        if "interval" not in container.flags:
            raise InvalidError(f"{container.name} holds no intervals: {element.key_text}")
        kinds = datatypes(container.types)
        if any(kind.number(a) > kind.number(b) for kind, a, b in zip(kinds, key, end, strict=True)):
            raise InvalidError(f"an interval ends before it begins: {element.key_text}")
    value = element.value
    if value is not None:
        _check_value(container, element)
        if isinstance(container, Map) and not isinstance(value, Verdict):
            value = _canonical_key(container, container.values, value)
    if element.timeout is not None and "timeout" not in container.flags:
        raise InvalidError(f"{container.name} has no timeouts: {element}")
    if (key, end, value) == (element.key, element.end, element.value):
        return element
    return replace(element, key=key, end=end, value=value)


def _canonical_key(container: Set | Map, types: Key, key: Key) -> Key:
    if len(key) != len(types):
        raise InvalidError(f"{container.name} takes {' . '.join(types)}, not {len(key)} parts: {' . '.join(key)}")
    return _canonical_parts(types, key)


@lru_cache(maxsize=_KEYS_KEPT)
def _canonical_parts(types: Key, key: Key) -> Key:
    return tuple(kind.canonical(part) for kind, part in zip(datatypes(types), key, strict=True))


def _check_value(container: Set | Map, element: Element) -> None:
    if isinstance(container, Set):
        raise InvalidError(f"{container.name} is a set, and its elements have no values: {element}")
    if isinstance(element.value, Verdict) != (container.values == VERDICT):
        raise InvalidError(f"{container.name} holds values of {' . '.join(container.values)}: {element}")


def _check(container: Set | Map, what: str) -> None:
    check_name(container.name, what)
    check_comment(container.comment)
    datatypes(container.types)
    unknown = container.flags - set(get_args(Flag))
    if unknown:
        raise InvalidError(f"unknown flags of a {what}: {', '.join(sorted(unknown))}")
    if container.timeout is not None and ("timeout" not in container.flags or container.timeout < 1):
        raise InvalidError(f"a {what} with a timeout has the flag, and at least a second: {container.name}")


def _body(container: Set | Map, types: str) -> str:
    return block(
        f"type {types}",
        f"flags {','.join(sorted(container.flags))}" if container.flags else "",
        f"size {_DYNAMIC_SIZE}" if "dynamic" in container.flags else "",
        "" if container.timeout is None else f"timeout {container.timeout}s",
        comment_text(container.comment).strip(),
    )
