# SPDX-License-Identifier: Apache-2.0
"""The objects of manifests on their way to a lab: each with its values as they are written, and its place in a file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec

from podfence.kube import yaml
from podfence.kube.objects import Key, KubeObject, Namespace, NetworkPolicy
from podfence.kube.origin import Origin, Path
from podfence.kube.positions import Source, SourceDocument
from podfence.lab.store.metadata import Raw
from podfence.lab.store.resources import READ, RESOURCES

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from podfence.lab.store.resources import Resource

_NAMED: Final = (NetworkPolicy, Namespace)
"""What reasons name with its file and line."""


class Place(NamedTuple):
    """Where an object is written: in which of several files, from where to where in its text, and where in there."""

    key: Key
    file: int
    start: int
    end: int
    is_json: bool
    path: Path

    def origin(self, files: Sequence[Source]) -> Origin:
        """Return the place as reasons name it, given the files."""
        return Origin(SourceDocument(files[self.file], self.start, self.end, None, is_json=self.is_json), self.path)


class Written(NamedTuple):
    """An object of a manifest: as the engine has it, where it is written, and its values there."""

    item: KubeObject
    document: SourceDocument
    origin: Origin
    value: Raw
    namespace: str

    @property
    def row(self) -> Resource:
        """The resource that holds such objects."""
        return RESOURCES[READ[self.item.key.kind].printed(plural=True)]

    @property
    def name(self) -> str:
        """Its name, "" without one."""
        return str(self.value["metadata"].get("name") or "")

    @property
    def file(self) -> str:
        """The file that it is in."""
        return self.document.file


def written(objects: Iterable[KubeObject], namespace: str) -> list[Written]:
    """Return what is written of objects that were read from manifests; those that name no namespace are in one.

    Nobody keeps the values of all manifests, so their documents are parsed once more here.
    """
    values: dict[int, Any] = {}
    found = []
    for item in objects:
        document = item.origin.document if item.origin is not None else None
        if item.origin is None or not isinstance(document, SourceDocument):
            continue
        if id(document) not in values:
            values[id(document)] = yaml.parse(document.part.encode(), document.file)[0][0].value
        value: Any = values[id(document)]
        for step in item.origin.path:
            value = value[step]
        where = (value["metadata"].get("namespace") or namespace) if READ[item.key.kind].namespaced else ""
        placed = msgspec.structs.replace(item, namespace=where) if where != item.key.namespace else item
        found.append(Written(placed, document, item.origin, value, where))
    return found


def files(batch: Iterable[Written]) -> dict[Source, int]:
    """Return the files that what reasons name is written in, each with its number among them."""
    named = (each.document.source for each in batch if isinstance(each.item, _NAMED))
    return {source: number for number, source in enumerate(dict.fromkeys(named))}


def place(each: Written, numbers: Mapping[Source, int]) -> Place | None:
    """Return where an object is written, given the numbers of the files; None if no reason names such objects."""
    if not isinstance(each.item, _NAMED):
        return None
    return Place(each.item.key, numbers[each.document.source], *each.document.span, each.origin.path)
