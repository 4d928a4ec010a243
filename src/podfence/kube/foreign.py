# SPDX-License-Identifier: Apache-2.0
"""Files of a folder that are not meant for an API server: what tells them, and what they may hide.

A text in which the word ``apiVersion`` does not occur holds no object, whatever else it is; most of a repository is
such text, and is not even parsed.
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from podfence.kube import custom
from podfence.kube.omissions import may_hold_policy

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Iterator

    from podfence.kube.positions import SourceDocument

# What begins a tag of Go's templates, of Jinja's and of ERB's.
_TAGS: Final = ("{{", "{%", "<%")
# A letter that is written as a number, so that a word can be there without being found.
_HIDDEN_LETTER: Final = re.compile(rb"\\(?:x|u00|U000000)[4-7][0-9A-Fa-f]")
_WIDE_MARKS: Final = (b"\xff\xfe", b"\xfe\xff")

_PATCH_LISTS: Final = ("patches", "patchesStrategicMerge", "patchesJson6902", "replacements")
_OTHER_PARTS: Final = ("configurations", "crds", "generators", "transformers", "validators", "components")
_RESOURCES: Final = ("resources", "bases")
# What kustomize fetches: an address, or a repository of git in one of its spellings.
_ELSEWHERE: Final = r"://|[?&]ref=|^github\.com[/:]|^git@"
_CALLED_PATCH: Final = r"(?i)(?<![a-z])patch(?:es)?(?![a-z])"
_CHANGES: Final = (
    *_PATCH_LISTS,
    *("commonLabels", "labels", "namePrefix", "nameSuffix", "namespace", "images", "replicas", "transformers", "vars"),
)


class Labels(NamedTuple):
    """The labels that a kustomization adds to objects themselves, to templates, and to selectors."""

    own: dict[str, str]
    templates: dict[str, str]
    selectors: dict[str, str]


class Kustomization(NamedTuple):
    """What a kustomization says of the files beside it.

    `patches` are the real paths of files that are no objects, `resources` those of files that are, and `elsewhere`
    the resources that are to be had from the network. `changes` tells whether it makes anything other than the sum of
    its files, `patches_policies` whether the word that policies hold occurs in it. `namespace` is where it puts its
    objects, "" if it leaves them where they are, and `labels` are what it adds to them.
    """

    folder: str
    patches: frozenset[str]
    resources: frozenset[str]
    elsewhere: frozenset[str]
    changes: bool
    patches_policies: bool
    namespace: str
    labels: Labels


def may_hold_object(data: bytes) -> bool:
    """Return whether bytes can be read as an object of Kubernetes, or are meant as a policy."""
    return (
        b"apiVersion" in data
        or b"NetworkPolicy" in data
        or data.startswith(_WIDE_MARKS)
        or _HIDDEN_LETTER.search(data) is not None
    )


def is_template(text: str) -> bool:
    """Return whether a text that cannot be parsed is a template of something that can."""
    return any(tag in text for tag in _TAGS)


def is_kustomization(value: object) -> bool:
    """Return whether a document of a file called like one is a kustomization; its kind may be left out."""
    if not isinstance(value, dict):
        return True
    kind, version = value.get("kind"), value.get("apiVersion")
    return not kind or custom.is_kustomization(str(kind), str(version))


def kustomization(path: str, documents: Iterable[SourceDocument]) -> Kustomization:
    """Return what the kustomization at a path says; what is odd in it is for kustomize to say."""
    folder = os.path.dirname(path)  # noqa: PTH120  as typed
    found = [document for document in documents if isinstance(document.value, dict)]
    values: list[Any] = [document.value for document in found]
    labels = Labels({}, {}, {})
    for value in values:
        for pairs, in_templates, in_selectors in _labels(value):
            labels.own.update(pairs)
            labels.templates.update(pairs if in_templates else {})
            labels.selectors.update(pairs if in_selectors else {})
    patches = [name for value in values for name in _named(value, (*_PATCH_LISTS, *_OTHER_PARTS))]
    resources = [name for value in values for name in _named(value, _RESOURCES)]
    namespaces = [value["namespace"] for value in values if value.get("namespace")]
    return Kustomization(
        folder=folder or ".",
        patches=frozenset(_real(folder, name) for name in patches),
        resources=frozenset(_real(folder, name) for name in resources),
        elsewhere=frozenset(name for name in resources if re.search(_ELSEWHERE, name)),
        changes=any(value.get(key) for value in values for key in _CHANGES),
        patches_policies=any(may_hold_policy(document.text) for document in found),
        namespace=str(namespaces[-1]) if namespaces else "",
        labels=labels,
    )


def is_loose_patch(path: str, folders: Container[str], resources: Container[str]) -> bool:
    """Return whether a file is called a patch, lies among kustomizations, and is a resource of none.

    Many are kept beside a kustomization that does not name them, or not any more. Read as an object, such a piece of
    one would replace the whole.
    """
    real = os.path.realpath(path)
    folder, name = os.path.split(real)
    above, folder_name = os.path.split(folder)
    called = re.search(_CALLED_PATCH, name) or re.search(_CALLED_PATCH, folder_name)
    return called is not None and (folder in folders or above in folders) and real not in resources


def _real(folder: str, name: str) -> str:
    return os.path.realpath(os.path.join(folder, name))  # noqa: PTH118 - a text is quicker than a Path, and this is done for every file


def _labels(value: dict[str, Any]) -> Iterator[tuple[dict[str, str], bool, bool]]:
    """Yield labels in the order in which they are added, with whether templates and selectors get them too."""
    for item in _items(value, "labels"):
        if isinstance(item, dict):
            selectors = bool(item.get("includeSelectors"))
            yield _pairs(item.get("pairs")), selectors or bool(item.get("includeTemplates")), selectors
    yield _pairs(value.get("commonLabels")), True, True


def _pairs(labels: object) -> dict[str, str]:
    return {str(key): str(value) for key, value in labels.items()} if isinstance(labels, dict) else {}


def _items(value: dict[str, Any], key: str) -> list[Any]:
    items = value.get(key)
    return items if isinstance(items, list) else []


def _named(value: dict[str, Any], keys: Iterable[str]) -> Iterator[str]:
    """Yield the files that lists of a kustomization name."""
    for key in keys:
        for item in _items(value, key):
            named = item.get("path") if isinstance(item, dict) else item
            if isinstance(named, str) and named and "\n" not in named and "\0" not in named:
                yield named
