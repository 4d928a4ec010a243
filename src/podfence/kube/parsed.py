# SPDX-License-Identifier: Apache-2.0
"""Documents by the contents of their files, so that what two inputs have in common is parsed and decoded once."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, NamedTuple

from msgspec.structs import replace

from podfence.kube import yaml
from podfence.kube.objects import Key, KubeObject
from podfence.kube.positions import Source

if TYPE_CHECKING:
    from collections.abc import Callable

    from podfence.kube.findings import Finding
    from podfence.kube.positions import SourceDocument

Parts = tuple[list["SourceDocument"], list["Finding"]]


class _Known(NamedTuple):
    """A value, the way in which it was decoded, and what it holds where nothing is to be said about it."""

    value: object
    way: tuple[object, ...]
    objects: list[KubeObject]
    unplaced: list[Key]


class Decoding:
    """Keeps the objects of values, and gives them up when a document with the very same value asks for them."""

    def __init__(self) -> None:
        """Keep nothing yet."""
        self._known: dict[int, _Known] = {}

    def take(self, value: object, way: tuple[object, ...]) -> _Known | None:
        """Return what a value that was decoded in the same way holds, None if that is not known."""
        found = self._known.pop(id(value), None)
        return found if found is not None and found.way == way else None

    def keep(self, value: object, way: tuple[object, ...], objects: list[KubeObject], unplaced: list[Key]) -> None:
        """Keep what a value holds; the value is kept with it, for another one may not have its identity."""
        self._known[id(value)] = _Known(value, way, objects, unplaced)


class Parsed:
    """Keeps what files parse to, and gives it up when a file with the same contents asks for it.

    `decoded` are the objects of documents, as `decode` keeps them.
    """

    def __init__(self) -> None:
        """Keep nothing yet."""
        self._kept: dict[bytes, Parts] = {}
        self.decoded = Decoding()

    def parse(self, data: bytes, name: str, advance: Callable[[float], None] | None = None) -> Parts:
        """Return what `yaml.parse` returns."""
        digest = hashlib.sha256(data).digest()
        found = self._kept.pop(digest, None)
        if found is not None:
            return _renamed(found, name)
        documents, problems = yaml.parse(data, name, advance)
        # Documents forget their values, once objects are made of them.
        self._kept[digest] = ([document.of(document.source) for document in documents], list(problems))
        return documents, problems


def _renamed(parts: Parts, name: str) -> Parts:
    """Return the same documents of a file of another name."""
    documents, problems = parts
    source = Source(name, documents[0].text if documents else "")
    return (
        [document.of(source) for document in documents],
        [replace(item, position=replace(item.position, file=name)) for item in problems],
    )
