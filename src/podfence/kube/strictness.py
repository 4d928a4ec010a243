# SPDX-License-Identifier: Apache-2.0
"""Where libyaml falls short of go-yaml v2: what it reads and kubectl refuses, and what takes it too long."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from podfence.kube.construct import DEPTH_LIMIT, ConstructError

if TYPE_CHECKING:
    from podfence.kube.events import Library

_SLASH: Final = re.compile(r"(?:[^\\]|\\[^/])*?\\/", re.DOTALL)
_TAG_WITH_COMMA: Final = re.compile(r"(?:&\S+\s+)?!\S*,")

_BRACKET: Final = re.compile(r"[\[\]{}]")
# For each token libyaml looks at every open bracket. That many looks take a second or two.
_MOST_LOOKS: Final = 500_000_000
_SUSPICIOUS_DEPTH: Final = 100


def may_be_slow(text: str) -> bool:
    """Return whether brackets may be so deep, with so much in them, that `check_depth` has to count."""
    if text.count("[") + text.count("{") <= _SUSPICIOUS_DEPTH:
        return False
    depth = deepest = 0
    for bracket in _BRACKET.finditer(text):
        depth += 1 if bracket[0] in "[{" else -1
        deepest = max(deepest, depth)
    return deepest * len(text) > _MOST_LOOKS


def check_depth(text: str, library: Library) -> None:
    """Raise ConstructError for brackets so deep, with so much in them, that reading takes minutes.

    kubectl reads such a document; nobody writes one.
    """
    depth = looks = 0
    for event in library.events(text):
        kind = event.__class__
        looks += depth
        if kind is library.mapping_start or kind is library.sequence_start:
            depth += 1 if event.flow_style else 0
        elif kind is library.mapping_end or kind is library.sequence_end:
            # Block collections stand around brackets, never in them.
            depth -= 1 if depth else 0
        elif kind is library.document_end:
            return
        if depth > DEPTH_LIMIT:
            return
        if looks > _MOST_LOOKS:
            message = "too much stands in brackets that are too deep"
            raise ConstructError(message, event.start_mark.index)


def may_differ(text: str) -> bool:
    """Return whether `check` can find anything; it is as slow as reading the document again."""
    if "\\/" in text:
        return True
    return ("[" in text or "{" in text) and ("?" in text or ("!" in text and "," in text))


def check(text: str, library: Library) -> None:
    """Raise ConstructError for the first thing in a document that kubectl does not read."""
    flow: list[bool] = []
    for event in library.events(text):
        kind = event.__class__
        if kind is library.mapping_start or kind is library.sequence_start:
            flow.append(event.flow_style)
        elif kind is library.mapping_end or kind is library.sequence_end:
            flow.pop()
        elif kind is library.document_end:
            return
        elif kind is library.scalar:
            start, end = event.start_mark.index, event.end_mark.index
            if event.style == '"':
                escaped = "/" in event.value and _SLASH.match(text, start, end)
                if escaped:
                    message = "found unknown escape character"
                    raise ConstructError(message, escaped.end() - 2, "write / without the backslash")
            elif flow and flow[-1]:
                _check_in_brackets(text, start, end, plain=event.implicit[0] and not event.style)


def _check_in_brackets(text: str, start: int, end: int, *, plain: bool) -> None:
    if _TAG_WITH_COMMA.match(text, start, end + 1):
        message = "a comma ends no tag between brackets"
        raise ConstructError(message, start, "put a space after the tag")
    mark = text.find("?", start, end) if plain else -1
    if mark >= 0:
        message = "found '?' in a text without quotes between brackets"
        raise ConstructError(message, mark, "quote the value")
