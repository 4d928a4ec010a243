# SPDX-License-Identifier: Apache-2.0
"""What differs between two large collections, in a few lines; pytest would print thousands, with all that is equal."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from collections.abc import Set as AbstractSet
from itertools import zip_longest
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

_SHORT: Final = 4000
"""How many characters pytest may print in its own words."""

_FEW: Final = 10
_WIDTH: Final = 400
_LISTS: Final = {list, tuple}
_KINDS: Final = (Mapping, AbstractSet, list, tuple)


class _Nothing:
    def __repr__(self) -> str:
        return "nothing"


_NOTHING: Final = _Nothing()


def told(left: object, right: object) -> list[str] | None:
    """Return how two collections differ: a line about both, and lines about the first ten differences.

    None stands for what is no two collections of one kind, or is short.
    """
    if not isinstance(left, Collection) or not isinstance(right, Collection):
        return None
    alike = any(isinstance(left, kind) and isinstance(right, kind) for kind in _KINDS)
    if not alike or len(repr(left)) + len(repr(right)) < _SHORT:
        return None
    found = list(_differing(left, right, ""))
    more = [f"and {len(found) - _FEW} more"] if len(found) > _FEW else []
    head = f"{type(left).__name__} of {len(left)} == {type(right).__name__} of {len(right)}"
    return [head, *found[:_FEW], *more]


def _differing(left: object, right: object, place: str) -> Iterator[str]:
    if isinstance(left, Mapping) and isinstance(right, Mapping):
        for key in dict.fromkeys((*left, *right)):
            one, other = left.get(key, _NOTHING), right.get(key, _NOTHING)
            if one != other:
                yield from _differing(one, other, f"{place}[{_cut(key)}]")
    elif isinstance(left, AbstractSet) and isinstance(right, AbstractSet):
        for word, items in (("left", left - right), ("right", right - left)):
            yield from (f"{place} only on the {word}: {_cut(item)}".lstrip() for item in items)
    elif isinstance(left, list | tuple) and isinstance(right, list | tuple) and {type(left), type(right)} <= _LISTS:
        # The fields of a named tuple, such as a connection, are read together.
        for number, (one, other) in enumerate(zip_longest(left, right, fillvalue=_NOTHING)):
            if one != other:
                yield from _differing(one, other, f"{place}[{number}]")
    else:
        yield f"{place}: {_cut(left)} != {_cut(right)}".removeprefix(": ")


def _cut(item: object) -> str:
    text = repr(item)
    return text if len(text) <= _WIDTH else f"{text[:_WIDTH]}…"
