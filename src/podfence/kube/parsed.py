# SPDX-License-Identifier: Apache-2.0
"""Documents by the contents of their files, so that what two inputs have in common is parsed once."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import msgspec

from podfence.kube import yaml
from podfence.kube.positions import Source

if TYPE_CHECKING:
    from collections.abc import Callable

    from podfence.kube.findings import Finding
    from podfence.kube.positions import SourceDocument

Parts = tuple[list["SourceDocument"], list["Finding"]]


class Parsed:
    """Keeps what files parse to, and gives it up when a file with the same contents asks for it."""

    def __init__(self) -> None:
        """Keep nothing yet."""
        self._kept: dict[bytes, Parts] = {}

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
    sources: dict[int, Source] = {}
    for document in documents:
        sources.setdefault(id(document.source), Source(name, document.text))
    return (
        [document.of(sources[id(document.source)]) for document in documents],
        [msgspec.structs.replace(item, position=item.position._replace(file=name)) for item in problems],
    )
