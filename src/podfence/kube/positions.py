# SPDX-License-Identifier: Apache-2.0
"""Documents that know where their values stand, and find out only when they are asked."""

from __future__ import annotations

import bisect
from typing import TYPE_CHECKING, Final, NamedTuple

from podfence.kube.collection import uncollected
from podfence.kube.construct import has_non_specific_tags, scalar_key
from podfence.kube.events import library
from podfence.kube.findings import Position
from podfence.kube.scalars import MERGE, Special

if TYPE_CHECKING:
    from podfence.kube.events import Event
    from podfence.kube.source import Path

Children = dict[str | int, "Node"]


class Node(NamedTuple):
    """The place of one value: offsets of its key, its first character and its end; and the values in it."""

    key: int
    start: int
    end: int
    children: Children


class Duplicate(NamedTuple):
    """A key that one mapping has more than once: its text and the offsets of its places."""

    key: str
    places: tuple[int, ...]


class Index(NamedTuple):
    """All places of a document."""

    root: Node
    duplicates: tuple[Duplicate, ...]


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
            starts = [0]
            found = self.text.find("\n")
            while found >= 0:
                starts.append(found + 1)
                found = self.text.find("\n", found + 1)
            self._lines = starts
        return self._lines


class SourceDocument:
    """One document of an input (`podfence.kube.source.Document`)."""

    __slots__ = ("_end", "_index", "_is_json", "_start", "source", "value")

    def __init__(self, source: Source, start: int, end: int, value: object, *, is_json: bool = False) -> None:
        """Keep a value and the offsets of its text."""
        self.value = value
        self.source = source
        self._start = start
        self._end = end
        self._is_json = is_json
        self._index: Index | None = None

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
    def part(self) -> str:
        """The text of the document alone, without blanks and a marker (``---``) in front of it."""
        return self.source.text[self._start : self._end].strip().removeprefix("---").lstrip()

    def locate(self, path: Path) -> Position:
        """Return the position of the value at `path`, or of its nearest existing ancestor."""
        return self.source.position(self._start + self._find(path).start)

    def locate_key(self, path: Path) -> Position:
        """Return the position of the key that names `path` (the value itself for a list item)."""
        return self.source.position(self._start + self._find(path).key)

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
            (found.key, tuple(self.source.position(self._start + place) for place in found.places))
            for found in self._places().duplicates
        )

    def _find(self, path: Path) -> Node:
        node = self._places().root
        for step in path:
            below = node.children.get(step)
            if below is None:
                break
            node = below
        return node

    def _places(self) -> Index:
        if self._index is None:
            with uncollected():
                if self._is_json:
                    self._index = _index_json(self.source.text, self._start)
                else:
                    self._index = _index_yaml(self.source.text[self._start : self._end])
        return self._index


_NOWHERE: Final = -1


class _Frame:
    """A collection that is still open."""

    __slots__ = ("children", "end", "is_mapping", "key", "node_key", "own", "pending", "start")

    def __init__(self, start: int, *, is_mapping: bool) -> None:
        self.start = start
        self.end = start
        self.is_mapping = is_mapping
        self.children: Children = {}
        # The key that waits for its value, and where it stands.
        self.pending: str | Special | None = None
        self.key = _NOWHERE
        # The places of the mapping's own keys, as opposed to merged ones.
        self.own: dict[str, int | list[int]] = {}

    def add_key(self, key: str | Special, start: int) -> None:
        self.pending = key
        self.key = start
        if isinstance(key, str):
            before = self.own.setdefault(key, start)
            if isinstance(before, list):
                before.append(start)
            elif before != start:
                self.own[key] = [before, start]

    def add(self, start: int, end: int, children: Children) -> None:
        self.end = end
        if not self.is_mapping:
            self.children[len(self.children)] = Node(start, start, end, children)
        elif self.pending is MERGE:
            self._merge(children)
        elif isinstance(self.pending, str):
            self.children[self.pending] = Node(self.key, start, end, children)
        self.pending = None

    def _merge(self, children: Children) -> None:
        if 0 in children:
            for index in reversed(range(len(children))):
                self.children.update(children[index].children)
        else:
            self.children.update(children)

    def repeated(self) -> list[Duplicate]:
        return [Duplicate(key, tuple(places)) for key, places in self.own.items() if isinstance(places, list)]


_NO_CHILDREN: Final[Children] = {}


def _index_json(text: str, start: int) -> Index:
    from podfence.kube.jsontext import tokens  # noqa: PLC0415  only JSON needs it

    stack: list[_Frame] = []
    duplicates: list[Duplicate] = []
    root = Node(0, 0, 0, {})
    for token in tokens(text, start):
        begin, end = token.start - start, token.end - start
        if token.kind == "key":
            stack[-1].add_key(str(token.value), begin)
            continue
        if token.kind in "{[":
            stack.append(_Frame(begin, is_mapping=token.kind == "{"))
            continue
        children = _NO_CHILDREN
        if token.kind != "scalar":
            frame = stack.pop()
            duplicates += frame.repeated()
            begin, children = frame.start, frame.children
        if stack:
            stack[-1].add(begin, end, children)
        else:
            root = Node(begin, begin, end, children)
    return Index(root, tuple(sorted(duplicates, key=_first_place)))


def _first_place(duplicate: Duplicate) -> int:
    return duplicate.places[0]


class _Keys:
    """The JSON keys of one document's scalars, each text worked out once."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._non_specific = has_non_specific_tags(text)
        self._known: dict[str, str | Special] = {}

    def of(self, event: Event) -> str | Special:
        if self._non_specific or not event.implicit[0]:
            return scalar_key(self._text, event, non_specific=self._non_specific)
        key = self._known.get(event.value)
        if key is None:
            key = self._known[event.value] = scalar_key(self._text, event, non_specific=False)
        return key


def _index_yaml(text: str) -> Index:
    yaml = library()
    stack: list[_Frame] = []
    anchors: dict[str, tuple[Event, Children]] = {}
    keys = _Keys(text)
    duplicates: list[Duplicate] = []
    root = Node(0, 0, 0, {})
    for event in yaml.events(text):
        kind = event.__class__
        if kind is yaml.document_end:
            break
        if kind is yaml.mapping_start or kind is yaml.sequence_start:
            frame = _Frame(event.start_mark.index, is_mapping=kind is yaml.mapping_start)
            stack.append(frame)
            if event.anchor is not None:
                anchors[event.anchor] = (event, frame.children)
            continue
        if kind is yaml.scalar or kind is yaml.alias:
            start, end = event.start_mark.index, event.end_mark.index
            node, children = anchors[str(event.anchor)] if kind is yaml.alias else (event, _NO_CHILDREN)
            if kind is yaml.scalar and event.anchor is not None:
                anchors[event.anchor] = (event, _NO_CHILDREN)
            if stack and stack[-1].is_mapping and stack[-1].pending is None:
                key = keys.of(node)
                stack[-1].add_key(key.text if kind is yaml.alias and isinstance(key, Special) else key, start)
                continue
        elif kind is yaml.mapping_end or kind is yaml.sequence_end:
            frame = stack.pop()
            duplicates += frame.repeated()
            start, children = frame.start, frame.children
            # A block collection's last event stands at the next token; it ends with its last value.
            end = max(frame.end, event.end_mark.index if event.end_mark.index > event.start_mark.index else 0)
        else:
            continue
        if stack:
            stack[-1].add(start, end, children)
        else:
            root = Node(start, start, end, children)
    return Index(root, tuple(sorted(duplicates, key=_first_place)))
