# SPDX-License-Identifier: Apache-2.0
"""Where an object came from: documents, and the way back from a field to its line.

Values are built without positions, because almost nobody asks for one; a document that is asked
keeps its text and is scanned a second time, once, for the position of every value in it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import msgspec

if TYPE_CHECKING:
    from podfence.kube.findings import Position

Path = tuple[str | int, ...]
"""The way to a value inside a document: mapping keys and list indexes."""


class Document(Protocol):
    """One YAML or JSON document of an input."""

    @property
    def file(self) -> str:
        """The input's name as shown to people: a path as typed, or ``<stdin>``."""

    @property
    def text(self) -> str:
        """The whole text of the input, of which this document may be a part."""

    @property
    def part(self) -> str:
        """The text of the document alone, without blanks and a marker (``---``) in front of it."""

    @property
    def value(self) -> object:
        """The document as JSON values (dict, list, str, int, float, bool, None), None once `load` has its objects."""

    def locate(self, path: Path, *, at_key: bool = False) -> Position:
        """Return the position of the value at `path`, or of its nearest existing ancestor.

        With `at_key` it is that of the key that names it, of the value itself for an item of a list.
        """

    def excerpt(self, path: Path) -> tuple[tuple[int, str], ...]:
        """Return the numbered lines that hold the value at `path`, key included."""


class Origin(msgspec.Struct, frozen=True, eq=False):
    """The place of one object: its document, and its path there (not empty for items of a List)."""

    document: Document
    path: Path = ()

    def written(self) -> object:
        """Return the object as JSON values, as it is written; its document must have its value still."""
        value: Any = self.document.value
        for step in self.path:
            value = value[step]
        return value

    def text(self) -> str:
        """Return the text of the object, "" where nobody keeps it."""
        if not self.path:
            return self.document.part
        return "\n".join(line for _, line in self.excerpt())

    def at(self, *path: str | int) -> Position:
        """Return the position of a field of the object, its nearest existing ancestor otherwise."""
        return self.document.locate(self.path + path)

    def excerpt(self, *path: str | int) -> tuple[tuple[int, str], ...]:
        """Return the numbered source lines of a field of the object."""
        return self.document.excerpt(self.path + path)
