# SPDX-License-Identifier: Apache-2.0
"""YAML line by line, for documents that are written plainly: a key or an item on each line, or some in brackets.

libyaml makes an object of every key and every value, which takes most of the time of a command. Equal lines are common
in manifests, so here a line is looked at once. Whatever is not surely the same to libyaml is left to it.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec

from podfence.kube.scalars import Special

if TYPE_CHECKING:
    from podfence.kube.scalars import PlainScalars

_QUOTED: Final = r""""[ !#-\[\]-~]*"|'[ -&(-~]*'"""
# In brackets: opened, closed, between items, after a key, a quoted text, a word.
_PIECE: Final = rf"[\[{{][ ]?|[ ]?[\]}}]|,[ ]?|:[ ]|{_QUOTED}|[\w./][\w./-]{{0,253}}"
_PIECES: Final = re.compile(_PIECE, re.ASCII)
# No part gives back what it has taken: then a line takes as long as it is, whoever has written it.
_LINE: Final = re.compile(
    rf"""
    ([ ]*+)
    (-[ ]++)?+
    (?:([A-Za-z_][\w./-]{{0,253}}|"[!#-\[\]-~]{{0,253}}"):(?=[ ]|$))?+
    [ ]*+
    (?:
        ({_QUOTED}) | ((?=[\[{{])(?:{_PIECE})++)
        # A plain scalar ends at a colon before a space, and at a space before a "#".
        | ((?:[\w./+~$(]|-(?=[!-~])) (?:[!-9;-~] | :(?=[!-~]) | [ ]++(?=[!"$-~]))*+)
    )?+
    [ ]*+
    (?:(?<![^ ])\#[ -~]*+)?+
    """,
    re.VERBOSE | re.ASCII,
)
_LONGEST: Final = 10_000
_LONGEST_KEPT: Final = 100
_MOST_KEPT: Final = 4096
_DEEPEST: Final = 100


class NotPlainError(Exception):
    """A document that has to be read by libyaml."""


class _Line(NamedTuple):
    """What a line says: the column of its dash, or -1; the column after that; a key, or None; and a value.

    The value is a scalar if it `is_there`. Otherwise `made` returns what stands in brackets, each time anew, and if
    that is None too, the value begins in the next line.
    """

    dash: int
    column: int
    key: str | None
    value: object = None
    is_there: bool = False
    made: Callable[[], object] | None = None


class Lines(dict[str, _Line | None]):
    """What each line says, by its text; None for a line that says nothing."""

    def __init__(self, plain: PlainScalars) -> None:
        """Take the values of plain scalars from `plain`."""
        self._plain = plain

    def __missing__(self, text: str) -> _Line | None:
        """Return what a line says that is met for the first time; raises NotPlainError."""
        found = _LINE.fullmatch(text) if len(text) <= _LONGEST else None
        if found is None:
            raise NotPlainError
        line = self._line(found)
        if len(text) <= _LONGEST_KEPT:
            # Names are there once, and lines that are common are soon back.
            if len(self) >= _MOST_KEPT:
                self.clear()
            self[text] = line
        return line

    def _line(self, found: re.Match[str]) -> _Line | None:
        indent, dash, name, quoted, brackets, plain = found.groups(default="")
        made = partial(msgspec.json.decode, self._in_brackets(brackets)) if brackets else None
        is_there = bool(quoted or plain)
        if not (name or dash or is_there or made):
            return None
        key = self._scalar(name) if name else None
        if not (isinstance(key, str) if name else dash and (is_there or made)):
            raise NotPlainError
        return _Line(
            len(indent) if dash else -1,
            len(indent) + len(dash),
            key if isinstance(key, str) else None,
            self._scalar(quoted or plain) if is_there else None,
            is_there,
            made,
        )

    def _scalar(self, text: str) -> object:
        value = text[1:-1] if text[0] in "\"'" else self._plain[text]
        if isinstance(value, Special):
            raise NotPlainError
        return value

    def _in_brackets(self, text: str) -> bytes:
        """Return a list or mapping in brackets as JSON."""
        if text.count("[") + text.count("{") > _DEEPEST:
            raise NotPlainError
        parts = [piece[0] for piece in _PIECES.finditer(text)]
        data = b"".join(
            part.encode() if part.strip() in "[]{},:" else msgspec.json.encode(self._scalar(part)) for part in parts
        )
        try:
            value = msgspec.json.decode(data)
        except msgspec.DecodeError:
            raise NotPlainError from None
        if _keys(value) != parts.count(": "):
            raise NotPlainError  # one of them is there twice
        return data


def _keys(value: object) -> int:
    if isinstance(value, dict):
        return len(value) + sum(map(_keys, value.values()))
    return sum(map(_keys, value)) if isinstance(value, list) else 0


def read(text: str, lines: Lines) -> object:
    """Return the value of a document, which is all of `text` and ends with a line break; raises NotPlainError."""
    if ": |" in text or ": >" in text:
        raise NotPlainError  # most likely a text in a block, seen before a long document is read for nothing
    holder: dict[str, Any] = {}
    top: Any = holder
    at = -1
    # If something is due, the collection that begins in the next line is the value of `top[last]`.
    last, is_due = "", True
    outer: list[tuple[Any, int]] = []
    for written in text.removeprefix("---\n")[:-1].split("\n"):
        line = lines[written]
        if line is None:
            continue
        dash, column, key, value, is_there, made = line
        begin = column if dash < 0 else dash
        while begin < at or (begin == at and dash < 0 and top.__class__ is list):
            top, at = outer.pop()
            is_due = False
        if begin != at or (dash >= 0 and top.__class__ is not list):
            if not is_due or len(outer) > _DEEPEST:
                raise NotPlainError
            outer.append((top, at))
            collection: Any = {} if dash < 0 else []
            top[last] = collection
            top, at = collection, begin
        is_due = not is_there and made is None
        if made is not None:
            value = made()
        if key is None:
            top.append(value)
            continue
        if dash >= 0:
            item: dict[str, Any] = {}
            top.append(item)
            outer.append((top, at))
            top, at = item, column
        if key in top:
            raise NotPlainError
        top[key] = value
        last = key
    if not holder:
        raise NotPlainError
    return holder[""]
