# SPDX-License-Identifier: Apache-2.0
"""Documents that know where their values stand, and find out only when they are asked."""

from __future__ import annotations

import bisect
import re
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from podfence.kube.collection import uncollected
from podfence.kube.findings import Position
from podfence.kube.scalars import MERGE, PlainScalars

if TYPE_CHECKING:
    from podfence.kube.origin import Path

Children = dict[str | int, "Node"]


class Node(NamedTuple):
    """The place of one value: offsets of its key, its first character and its end; and the values in it."""

    key: int
    start: int
    end: int
    children: Children


_NO_CHILDREN: Final[Children] = {}
_NOTHING: Final = Node(0, 0, 0, _NO_CHILDREN)


class Places:
    """The places of one document, made by whatever walks over it: it gives this each value, and goes on with a place.

    A value becomes a node, and the key of a mapping itself with the offset where it stands. `root` is the place of the
    whole, and `duplicates` are keys that one mapping has more than once, with the offsets of each.
    """

    def __init__(self) -> None:
        self.root = _NOTHING
        self.duplicates: list[tuple[list[int], str]] = []

    def scalar(self, value: object, start: int, end: int, *, is_key: bool) -> Node | tuple[object, int]:
        """Return the place of a scalar, or of an alias; `value` may be the node that this stands for."""
        if is_key:
            return value, start
        return Node(start, start, end, value.children if isinstance(value, Node) else _NO_CHILDREN)

    def collection(self, items: list[Any], start: int, end: int, *, is_mapping: bool) -> Node:
        """Return the place of a mapping, given as keys and values in turn, or of a sequence."""
        # A block collection's last event stands at the next token; it ends with its last value.
        end = max(items[-1].end, end) if items else max(start, end)
        children: Children = dict(enumerate(items)) if not is_mapping else {}
        if is_mapping:
            own: dict[str, list[int]] = {}
            for (key, place), node in zip(items[::2], items[1::2], strict=True):
                if key is MERGE:
                    _merge(children, node.children)
                else:
                    own.setdefault(key, []).append(place)
                    children[key] = Node(place, node.start, node.end, node.children)
            self.duplicates += [(places, key) for key, places in own.items() if len(places) > 1]
        return Node(start, start, end, children)


def _merge(children: Children, merged: Children) -> None:
    """Add what a merge key brings: a mapping, or a sequence of some, of which the first counts."""
    for part in [merged[index].children for index in reversed(range(len(merged)))] if 0 in merged else [merged]:
        children.update(part)


class Source:
    """The text of one input, shared by its documents: offsets to lines and columns."""

    __slots__ = ("_lines", "name", "text")

    def __init__(self, name: str, text: str) -> None:
        """Keep the whole text of the input that is shown as `name`."""
        self.name = name
        self.text = text
        self._lines: list[int] | None = None

    def position(self, offset: int) -> Position:
        """Return line and column, both from 1, of a character offset."""
        starts = self._line_starts()
        line = bisect.bisect_right(starts, offset)
        return Position(self.name, line, offset - starts[line - 1] + 1)

    def line(self, offset: int) -> int:
        """Return the line, from 1, of a character offset."""
        return bisect.bisect_right(self._line_starts(), offset)

    def line_text(self, line: int) -> str:
        """Return a line without its end."""
        starts = self._line_starts()
        end = starts[line] if line < len(starts) else len(self.text)
        return self.text[starts[line - 1] : end].rstrip("\r\n")

    def _line_starts(self) -> list[int]:
        if self._lines is None:
            self._lines = [0, *(found.end() for found in re.finditer("\n", self.text))]
        return self._lines


class SourceDocument:
    """One document of an input (`podfence.kube.origin.Document`)."""

    __slots__ = ("_end", "_index", "_is_json", "_start", "source", "value")

    def __init__(self, source: Source, start: int, end: int, value: object, *, is_json: bool = False) -> None:
        self.value = value
        self.source = source
        self._start = start
        self._end = end
        self._is_json = is_json
        self._index: Places | None = None

    def of(self, source: Source) -> SourceDocument:
        """Return the same document in the same text of an input of another name, and with its value."""
        return SourceDocument(source, self._start, self._end, self.value, is_json=self._is_json)

    def forget(self) -> None:
        """Give up the value, once objects are made of it: it is larger than they are, and nobody asks for it again."""
        self.value = None

    def rename(self, name: str) -> None:
        """Show the input under another name from now on."""
        self.source.name = name

    @property
    def file(self) -> str:
        """The input's name as shown to people: a path as typed, or ``<stdin>``."""
        return self.source.name

    @property
    def text(self) -> str:
        """The whole text of the input, of which this document may be a part."""
        return self.source.text

    @property
    def span(self) -> tuple[int, int, bool]:
        """Where the document is in that text, as offsets of its first character and its end, and whether it is JSON."""
        return self._start, self._end, self._is_json

    @property
    def part(self) -> str:
        """The text of the document alone, without blanks and a marker (``---``) in front of it."""
        return self.source.text[self._start : self._end].strip().removeprefix("---").lstrip()

    def locate(self, path: Path, *, at_key: bool = False) -> Position:
        """Return the position of the value at `path`, or of its nearest existing ancestor; `at_key` that of its key."""
        found = self._find(path)
        return self.source.position(self._start + (found.key if at_key else found.start))

    def excerpt(self, path: Path) -> tuple[tuple[int, str], ...]:
        """Return the numbered lines that hold the value at `path`, key included, blank ends left out."""
        node = self._find(path)
        first = self.source.line(self._start + node.key)
        last = self.source.line(max(self._start + node.end - 1, self._start + node.key))
        lines = [(line, self.source.line_text(line)) for line in range(first, last + 1)]
        while len(lines) > 1 and not lines[-1][1].strip():
            lines.pop()
        return tuple(lines)

    def duplicates(self) -> tuple[tuple[str, tuple[Position, ...]], ...]:
        """Return the keys that one mapping has more than once, with the positions of each, in order."""
        return tuple(
            (key, tuple(self.source.position(self._start + place) for place in places))
            for places, key in sorted(self._places().duplicates)
        )

    def _find(self, path: Path) -> Node:
        node = self._places().root
        for step in path:
            below = node.children.get(step)
            if below is None:
                break
            node = below
        return node

    def _places(self) -> Places:
        if self._index is None:
            places = Places()
            with uncollected():
                if self._is_json:
                    from podfence.kube.jsontext import walk  # noqa: PLC0415  only JSON needs it

                    root, *_ = walk(self.source.text, self._start, places)
                else:
                    from podfence.kube.construct import construct  # noqa: PLC0415  only YAML needs it

                    root = construct(self.source.text[self._start : self._end], PlainScalars(), places).value
                if isinstance(root, Node):
                    places.root = root
                self._index = places
        return self._index
