# SPDX-License-Identifier: Apache-2.0
"""JSON as Go's ``encoding/json`` reads it: values from the standard library's scanner, or from a walk of our own.

The scanner is fast but knows no positions, stops at the interpreter's recursion limit, keeps lone
surrogates and integers of any size. `walk` has none of these limits, and is what positions come from.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, Final

from podfence.kube.complaints import DocumentError
from podfence.kube.scalars import DEPTH_LIMIT, Scalar, ScalarError, json_number, json_value, resolve

if TYPE_CHECKING:
    from collections.abc import Callable

    from podfence.kube.positions import Places

_BLANKS: Final = re.compile(r"[ \t\r\n]*")
_NUMBER: Final = re.compile(r"-?(?:0|[1-9][0-9]*)(\.[0-9]+)?([eE][-+]?[0-9]+)?")
_SURROGATE: Final = re.compile("[\ud800-\udfff]")
_HARD: Final = re.compile(r"\\u[dD][89a-fA-F]|[0-9]{19}")
_LITERALS: Final[dict[str, tuple[str, Scalar]]] = {"t": ("true", True), "f": ("false", False), "n": ("null", None)}
_CLOSERS: Final = {"{": "}", "[": "]"}
_EXCERPT: Final = 20

_scan_string: Callable[[str, int, bool], tuple[str, int]] = vars(json.decoder)["scanstring"]


class NumberError(DocumentError):
    """JSON with a number that Go's cannot hold."""


def skip_blanks(text: str, offset: int) -> int:
    """Return the offset of the first character from `offset` that is not JSON white space."""
    match = _BLANKS.match(text, offset)
    return match.end() if match else offset


class Decoder:
    """Reads JSON values from one text."""

    def __init__(self, text: str) -> None:
        """Prepare to read values from `text`."""
        self._text = text
        self._hard = _HARD.search(text) is not None
        self._duplicates = False
        self._scan = json.JSONDecoder(
            object_pairs_hook=self._mapping, parse_float=_float, parse_constant=_refuse
        ).raw_decode

    def decode(self, offset: int) -> tuple[object, int, bool]:
        """Return what `walk` returns for the value that starts at `offset`; raises DocumentError."""
        self._duplicates = False
        if not self._hard:
            try:
                return *self._scan(self._text, offset), self._duplicates
            except (RecursionError, ValueError):
                pass
        return walk(self._text, offset)

    def _mapping(self, pairs: list[tuple[str, object]]) -> dict[str, object]:
        mapping = dict(pairs)
        if len(mapping) != len(pairs):
            self._duplicates = True
        return mapping


def walk(text: str, offset: int, places: Places | None = None) -> tuple[object, int, bool]:
    """Return the value at `offset`, the offset after it, and whether an object had one key twice; raises DocumentError.

    Of a key's values the last one counts. With `places` it is the place of the value, seen from `offset`.
    """
    # Containers still open: what is in them, where they began, and what ends them.
    stack: list[tuple[list[Any], int, str]] = []
    items: list[Any] = []
    began, closer = offset, ""
    duplicates = False
    place = skip_blanks(text, offset)

    def add(value: Scalar, start: int, end: int, *, is_key: bool = False) -> int:
        items.append(value if places is None else places.scalar(value, start - offset, end - offset, is_key=is_key))
        return end

    while True:
        # A value is due here, in an object after its key.
        if closer == "}":
            if not text.startswith('"', place):
                raise DocumentError(f"expected a key in double quotes{_found(text, place)}", place)
            key, end = _string(text, place)
            place = skip_blanks(text, add(key, place, end, is_key=True))
            if not text.startswith(":", place):
                raise DocumentError(f"expected ':' after a key{_found(text, place)}", place)
            place = skip_blanks(text, place + 1)
        first = text[place : place + 1]
        if first in _CLOSERS:
            if len(stack) >= DEPTH_LIMIT:
                raise DocumentError(f"nested deeper than {DEPTH_LIMIT} levels", place)
            stack.append((items, began, closer))
            items, began, closer = [], place, _CLOSERS[first]
            place = skip_blanks(text, place + 1)
            if not text.startswith(closer, place):
                continue
        else:
            scalar, end = _scalar(text, place)
            place = add(scalar, place, end)
        # A value has ended or an empty container is about to.
        while closer:
            place = skip_blanks(text, place)
            if not text.startswith(closer, place):
                break
            place += 1
            found: object = items
            if places is not None:
                found = places.collection(items, began - offset, place - offset, is_mapping=closer == "}")
            elif closer == "}":
                found = dict(zip(items[::2], items[1::2], strict=True))
                duplicates = duplicates or len(found) * 2 != len(items)
            items, began, closer = stack.pop()
            items.append(found)
        if not closer:
            return items[0], place, duplicates
        if not text.startswith(",", place):
            raise DocumentError(f"expected ',' or '{closer}'{_found(text, place)}", place)
        place = skip_blanks(text, place + 1)


def _float(text: str) -> int | float:
    value = float(text)
    if value in (float("inf"), float("-inf")):
        raise ValueError("out of range")
    return json_number(value)


def _refuse(_text: str) -> Scalar:
    raise ValueError("no number of JSON")


def _scalar(text: str, place: int) -> tuple[Scalar, int]:
    first = text[place : place + 1]
    if first == '"':
        return _string(text, place)
    if first in _LITERALS and text.startswith(_LITERALS[first][0], place):
        word, literal = _LITERALS[first]
        return literal, place + len(word)
    number = _NUMBER.match(text, place)
    if not number:
        raise DocumentError(f"expected a value{_found(text, place)}", place)
    try:
        # JSON's numbers are a part of YAML's, except for those that overflow, which YAML takes as text.
        resolved = json_value(resolve(number[0]))
    except ScalarError as error:
        raise DocumentError(str(error), place) from None
    if isinstance(resolved, str):
        raise NumberError(f"the number {number[0][:_EXCERPT]} is out of range", place)
    return resolved, number.end()


def _string(text: str, place: int) -> tuple[str, int]:
    try:
        value, end = _scan_string(text, place + 1, True)  # noqa: FBT003  a C function without keywords
    except json.JSONDecodeError as error:
        message = error.msg[:1].lower() + error.msg[1:].removesuffix(" at")
        raise DocumentError(message, error.pos) from None
    return _SURROGATE.sub("\ufffd", value), end


def _found(text: str, place: int) -> str:
    return f", found {text[place]!r}" if place < len(text) else ", found the end of the input"
