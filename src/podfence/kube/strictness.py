# SPDX-License-Identifier: Apache-2.0
"""Where libyaml falls short of go-yaml v2: what it reads and kubectl refuses, and what takes it too long."""

from __future__ import annotations

import re
from typing import Final

from yaml import MarkedYAMLError
from yaml.reader import ReaderError

from podfence.kube.complaints import DocumentError, explain, template_remedy
from podfence.kube.construct import Constructed, construct
from podfence.kube.events import DOCUMENT_END, MAPPING_END, MAPPING_START, SCALAR, SEQUENCE_END, SEQUENCE_START, events
from podfence.kube.scalars import DEPTH_LIMIT, PlainScalars

_STARTS: Final = (MAPPING_START, SEQUENCE_START)
_ENDS: Final = (MAPPING_END, SEQUENCE_END)

_SLASH: Final = re.compile(r"(?:[^\\]|\\[^/])*?\\/", re.DOTALL)
_TAG_WITH_COMMA: Final = re.compile(r"(?:&\S+\s+)?!\S*,")

_BRACKET: Final = re.compile(r"[\[\]{}]")
# For each token libyaml looks at every open bracket. That many looks take a second or two.
_MOST_LOOKS: Final = 500_000_000
_SUSPICIOUS_DEPTH: Final = 100


def read(text: str, plain: PlainScalars) -> Constructed:
    """Return the value of the first document in `text`, None if there is none; raises DocumentError as kubectl does."""
    try:
        if _may_be_slow(text):
            _check_depth(text)
        constructed = construct(text, plain)
        if _may_differ(text):
            _check(text)
    except DocumentError as error:
        error.remedy = template_remedy(text, error.offset) or error.remedy
        raise
    except (MarkedYAMLError, ReaderError) as error:
        raise explain(error, text) from None
    return constructed


def _may_be_slow(text: str) -> bool:
    """Return whether brackets may be so deep, with so much in them, that `_check_depth` has to count."""
    if text.count("[") + text.count("{") <= _SUSPICIOUS_DEPTH:
        return False
    depth = deepest = 0
    for bracket in _BRACKET.finditer(text):
        depth += 1 if bracket[0] in "[{" else -1
        deepest = max(deepest, depth)
    return deepest * len(text) > _MOST_LOOKS


def _check_depth(text: str) -> None:
    """Raise DocumentError for brackets so deep, with so much in them, that reading takes minutes.

    kubectl reads such a document; nobody writes one.
    """
    depth = looks = 0
    for event in events(text):
        kind = event.__class__
        looks += depth
        if kind in _STARTS:
            depth += 1 if event.flow_style else 0
        elif kind in _ENDS:
            # Block collections stand around brackets, never in them.
            depth -= 1 if depth else 0
        elif kind is DOCUMENT_END:
            return
        if depth > DEPTH_LIMIT:
            return
        if looks > _MOST_LOOKS:
            raise DocumentError("too much stands in brackets that are too deep", event.start_mark.index)


def _may_differ(text: str) -> bool:
    """Return whether `_check` can find anything; it is as slow as reading the document again."""
    if "\\/" in text:
        return True
    return ("[" in text or "{" in text) and ("?" in text or ("!" in text and "," in text))


def _check(text: str) -> None:
    """Raise DocumentError for the first thing in a document that kubectl does not read."""
    flow: list[bool] = []
    for event in events(text):
        kind = event.__class__
        if kind in _STARTS:
            flow.append(event.flow_style)
        elif kind in _ENDS:
            flow.pop()
        elif kind is DOCUMENT_END:
            return
        elif kind is SCALAR:
            start, end = event.start_mark.index, event.end_mark.index
            if event.style == '"':
                escaped = "/" in event.value and _SLASH.match(text, start, end)
                if escaped:
                    message = "found unknown escape character"
                    raise DocumentError(message, escaped.end() - 2, "write / without the backslash")
            elif flow and flow[-1]:
                _check_in_brackets(text, start, end, plain=event.implicit[0] and not event.style)


def _check_in_brackets(text: str, start: int, end: int, *, plain: bool) -> None:
    if _TAG_WITH_COMMA.match(text, start, end + 1):
        raise DocumentError("a comma ends no tag between brackets", start, "put a space after the tag")
    mark = text.find("?", start, end) if plain else -1
    if mark >= 0:
        raise DocumentError("found '?' in a text without quotes between brackets", mark, "quote the value")
