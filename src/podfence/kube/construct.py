# SPDX-License-Identifier: Apache-2.0
"""From libyaml's events to JSON values, as go-yaml v2 decodes them: no positions, no recursion."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, NamedTuple

from podfence.kube import scalars
from podfence.kube.complaints import DocumentError
from podfence.kube.events import (
    ALIAS,
    DOCUMENT_END,
    MAPPING_END,
    MAPPING_START,
    SCALAR,
    SEQUENCE_END,
    SEQUENCE_START,
    events,
)
from podfence.kube.scalars import DEPTH_LIMIT, MERGE, PlainScalars, Resolved, Scalar, ScalarError, Special

if TYPE_CHECKING:
    from podfence.kube.events import Event
    from podfence.kube.positions import Places

_NON_SPECIFIC_TAG: Final = re.compile(r"!\s")

# go-yaml's limits on aliases: what part of a document's values may come from them, by their number.
_ALIASES_FREE: Final = 100
_VALUES_FREE: Final = 1000
_RATIO_FALLS_FROM: Final = 400_000
_RATIO_FALLS_TO: Final = 4_000_000

_MERGE_NEEDS_MAPPINGS: Final = "map merge requires map or sequence of maps as the value"


class Constructed(NamedTuple):
    """A document's value; `duplicates` if some mapping had one key twice; the offset where the document ends."""

    value: object
    duplicates: bool
    end: int


class _Anchor:
    """An anchored node: its value once complete, and what go-yaml counts when an alias repeats it."""

    __slots__ = ("complete", "node", "size", "value")

    def __init__(self, node: Event, size: int) -> None:
        self.node = node
        self.size = size
        self.complete = False
        self.value: object = None


def _is_non_specific(text: str, event: Event) -> bool:
    """Return whether a scalar has the tag ``!``, which libyaml's events do not tell from no tag."""
    start = event.start_mark.index
    head = text[start : event.end_mark.index].lstrip()
    while head.startswith("&"):
        head = head.split(None, 1)[1] if len(head.split(None, 1)) > 1 else ""
    return head == "!" or _NON_SPECIFIC_TAG.match(head) is not None


def _span(event: Event) -> tuple[int, int]:
    return event.start_mark.index, event.end_mark.index


class _Build:
    """The state of one document's construction apart from the hot loop."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.anchors: dict[str, _Anchor] = {}
        self.non_specific = _NON_SPECIFIC_TAG.search(text) is not None
        self.duplicates = False
        self.end = len(text)
        # Values that aliases repeat: go-yaml counts each as if it were written out.
        self.repeated = 0

    def key(self, event: Event) -> str | Special:
        """Return the JSON key of a scalar in key position, MERGE for ``<<``."""
        if event.value == "<<" and (event.implicit[0] or event.tag == "tag:yaml.org,2002:merge"):
            return MERGE
        try:
            return scalars.json_key(self._resolved(event))
        except ScalarError as error:
            raise DocumentError(str(error), event.start_mark.index, "put the key in quotes") from None

    def value(self, event: Event) -> Scalar:
        """Return the value of a scalar that the fast path does not cover."""
        try:
            return scalars.json_value(self._resolved(event))
        except ScalarError as error:
            remedy = "quote the value" if str(error).startswith("unsupported value") else ""
            raise DocumentError(str(error), event.start_mark.index, remedy) from None

    def _resolved(self, event: Event) -> Resolved:
        text = event.value
        if event.implicit[0]:
            is_text = self.non_specific and _is_non_specific(self.text, event)
            return text if is_text else scalars.resolve(text)
        return text if event.tag is None else scalars.resolve_tagged(event.tag, text)

    def remember(self, event: Event) -> None:
        """Register an anchored scalar."""
        anchor = self.anchors[str(event.anchor)] = _Anchor(event, 1)
        anchor.complete = True

    def alias(self, event: Event, counted: int, *, key: bool, merged: bool) -> object:
        """Return what an alias stands for; `counted` is the number of values so far."""
        offset = event.start_mark.index
        anchor = self.anchors.get(str(event.anchor))
        if anchor is None:
            raise DocumentError(f"unknown anchor '{event.anchor}' referenced", offset)
        if not anchor.complete:
            raise DocumentError(f"anchor '{event.anchor}' value contains itself", offset)
        self.check_aliasing(counted + self.repeated, offset)
        self.repeated += anchor.size
        self.check_aliasing(counted + self.repeated, offset)
        if merged and not isinstance(anchor.value, dict):
            raise DocumentError(_MERGE_NEEDS_MAPPINGS, offset)
        if anchor.node.__class__ is not SCALAR:
            return anchor.value
        if not key:
            return self.value(anchor.node)
        found = self.key(anchor.node)
        # An alias is never a merge key.
        return found.text if isinstance(found, Special) else found

    def check_aliasing(self, counted: int, offset: int) -> None:
        """Refuse a document as go-yaml does when too many of its values come from aliases."""
        # Between two aliases the share falls and the bound falls at most linearly, so these points suffice.
        points = (counted, _RATIO_FALLS_TO) if counted > _RATIO_FALLS_TO > counted - self.repeated else (counted,)
        for count in points:
            if self.repeated <= _ALIASES_FREE or count <= _VALUES_FREE:
                continue
            fallen = min(max(count - _RATIO_FALLS_FROM, 0) / (_RATIO_FALLS_TO - _RATIO_FALLS_FROM), 1.0)
            if self.repeated / count > 0.99 - 0.89 * fallen:
                raise DocumentError("document contains excessive aliasing", offset)

    def mapping(self, items: list[object], opened: Event | None) -> dict[str, object]:
        """Return a mapping of alternating keys and values that has duplicates, merges or unfit keys."""
        offset = opened.start_mark.index if opened else 0
        result: dict[str, object] = {}
        own: set[str] = set()
        for key, value in zip(items[::2], items[1::2], strict=True):
            if key is MERGE:
                self._merge(result, value, offset)
            elif isinstance(key, str):
                self.duplicates = self.duplicates or key in own
                own.add(key)
                result[key] = value
            else:
                message = f"a mapping key must be a scalar, not a {'list' if isinstance(key, list) else 'mapping'}"
                raise DocumentError(message, offset, "put the key in quotes")
        return result

    def _merge(self, result: dict[str, object], value: object, offset: int) -> None:
        # What is merged overrides keys that stand before it; of several, the first counts.
        for mapping in reversed(value) if isinstance(value, list) else (value,):
            if not isinstance(mapping, dict):
                raise DocumentError(_MERGE_NEEDS_MAPPINGS, offset)
            result.update(mapping)


def construct(text: str, plain: PlainScalars, places: Places | None = None) -> Constructed:
    """Return the value of the first YAML document in `text`, None if there is none; with `places`, its place.

    Raises DocumentError, and PyYAML's own errors for text that is not YAML.
    """
    build = _Build(text)
    # One flat loop with local names: this is where reading YAML spends its time.
    scalar, mapping_start, mapping_end = SCALAR, MAPPING_START, MAPPING_END
    careful = build.non_specific
    anchored = "&" in text
    items: list[object] = []
    append = items.append
    in_mapping = False
    anchor: _Anchor | None = None
    opened: Event | None = None
    stack: list[tuple[list[object], bool, _Anchor | None, Event | None]] = []
    value: object
    ends = 0
    for number, event in enumerate(events(text)):
        kind = event.__class__
        if kind is scalar:
            if event.implicit[0]:
                value = plain[event.value]
                if careful and value is not MERGE and _is_non_specific(text, event):
                    value = event.value
            elif event.implicit[1]:
                value = event.value
            else:
                value = None
                if not in_mapping or len(items) & 1:
                    value = build.value(event)
            if value.__class__ is not str:
                if in_mapping and not len(items) & 1:
                    value = build.key(event)
                elif value.__class__ is Special:
                    value = build.value(event)
            if anchored and event.anchor is not None:
                build.remember(event)
            if places is not None:
                value = places.scalar(value, *_span(event), is_key=in_mapping and not len(items) & 1)
            append(value)
        elif kind is mapping_start or kind is SEQUENCE_START:
            if len(stack) >= DEPTH_LIMIT:
                raise DocumentError(f"nested deeper than {DEPTH_LIMIT} levels", event.start_mark.index)
            stack.append((items, in_mapping, anchor, opened))
            opened = event
            items = []
            append = items.append
            in_mapping = kind is mapping_start
            anchor = None
            if anchored and event.anchor is not None:
                # The size is the count before the node until the node is complete.
                anchor = build.anchors[event.anchor] = _Anchor(event, number - ends + build.repeated)
        elif kind is mapping_end or kind is SEQUENCE_END:
            value = items
            if places is not None:
                start, end = _span(event)
                began = opened.start_mark.index if opened else start
                value = places.collection(items, began, end if end > start else 0, is_mapping=in_mapping)
            elif kind is mapping_end:
                pairs = iter(items)
                try:
                    value = mapping = dict(zip(pairs, pairs, strict=False))
                    if len(mapping) * 2 != len(items) or MERGE in mapping:
                        value = build.mapping(items, opened)
                except TypeError:
                    value = build.mapping(items, opened)
            if anchor is not None:
                anchor.value = value
                anchor.complete = True
                anchor.size = number - ends + build.repeated - anchor.size
            ends += 1
            items, in_mapping, anchor, opened = stack.pop()
            append = items.append
            append(value)
        elif kind is ALIAS:
            as_key = in_mapping and not len(items) & 1
            merged = in_mapping and not as_key and items[-1] is MERGE
            value = build.alias(event, number - ends, key=as_key, merged=merged)
            append(value if places is None else places.scalar(value, *_span(event), is_key=as_key))
        elif kind is DOCUMENT_END:
            if build.repeated:
                build.check_aliasing(number - ends + build.repeated, event.start_mark.index)
            build.end = event.end_mark.index
            break
    return Constructed(items[0] if items else None, build.duplicates, build.end)
