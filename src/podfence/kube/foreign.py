# SPDX-License-Identifier: Apache-2.0
"""Files of a folder that are not meant for an API server: what tells them, and what they may hide.

A text in which the word ``apiVersion`` does not occur holds no object, whatever else it is; most of a repository is
such text, and is not even parsed.
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from podfence.kube.findings import Severity
from podfence.kube.omissions import may_hold_policy

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from podfence.kube.findings import Finding
    from podfence.kube.positions import SourceDocument

# What begins a tag of Go's templates, of Jinja's and of ERB's.
_TAGS: Final = ("{{", "{%", "<%")
# A letter that is written as a number, so that a word can be there without being found.
_HIDDEN_LETTER: Final = re.compile(rb"\\(?:x|u00|U000000)[4-7][0-9A-Fa-f]")
_WIDE_MARKS: Final = (b"\xff\xfe", b"\xfe\xff")

_PATCH_LISTS: Final = ("patches", "patchesStrategicMerge", "patchesJson6902", "replacements")
_OTHER_PARTS: Final = ("configurations", "crds", "generators", "transformers", "validators", "components")
_CHANGES: Final = (
    *_PATCH_LISTS,
    *("commonLabels", "labels", "namePrefix", "nameSuffix", "namespace", "images", "replicas", "transformers", "vars"),
)


class Kustomization(NamedTuple):
    """What a kustomization says of the files beside it.

    `patches` are the real paths of files that are no objects. `changes` tells whether it makes anything other than
    the sum of its files. `patches_policies` tells whether the word that policies hold occurs in it.
    """

    folder: str
    patches: frozenset[str]
    changes: bool
    patches_policies: bool


def may_hold_object(data: bytes) -> bool:
    """Return whether bytes can be read as an object of Kubernetes, or are meant as a policy."""
    return (
        b"apiVersion" in data
        or b"NetworkPolicy" in data
        or data.startswith(_WIDE_MARKS)
        or _HIDDEN_LETTER.search(data) is not None
    )


def is_template(text: str, problems: Iterable[Finding]) -> bool:
    """Return whether a text that cannot be parsed is a template of something that can."""
    return any(problem.severity is Severity.ERROR for problem in problems) and any(tag in text for tag in _TAGS)


def kustomization(path: str, documents: Iterable[SourceDocument]) -> Kustomization:
    """Return what the kustomization at a path says; what is odd in it is for kustomize to say."""
    folder = os.path.dirname(path)  # noqa: PTH120  as typed
    patches: set[str] = set()
    changes = patches_policies = False
    for document in documents:
        value = document.value
        if not isinstance(value, dict):
            continue
        changes = changes or any(value.get(key) for key in _CHANGES)
        patches_policies = patches_policies or may_hold_policy(document.text)
        patches.update(os.path.realpath(os.path.join(folder, name)) for name in _named(value))  # noqa: PTH118
    return Kustomization(folder or ".", frozenset(patches), changes, patches_policies)


def _named(value: dict[str, Any]) -> Iterator[str]:
    """Yield the files that a kustomization names as something other than resources."""
    for key in (*_PATCH_LISTS, *_OTHER_PARTS):
        items = value.get(key)
        for item in items if isinstance(items, list) else ():
            named = item.get("path") if isinstance(item, dict) else item
            if isinstance(named, str) and named and "\n" not in named and "\0" not in named:
                yield named
    openapi = value.get("openapi")
    if isinstance(openapi, dict) and isinstance(openapi.get("path"), str):
        yield openapi["path"]
