# SPDX-License-Identifier: Apache-2.0
"""From paths to checked objects, in one call."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, BinaryIO

import msgspec

from podfence.errors import InputError
from podfence.kube import files
from podfence.kube.decode import decode
from podfence.kube.findings import Finding, Position, Severity
from podfence.kube.objects import KubeObject

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from podfence.kube.objects import Key
    from podfence.kube.source import Document

__all__ = ["Loaded", "decode", "load"]


class Loaded(msgspec.Struct, frozen=True, eq=False):
    """What was read: objects in input order, warnings in file order, counts of kinds that were ignored."""

    objects: tuple[KubeObject, ...]
    warnings: tuple[Finding, ...]
    ignored: dict[str, int]


def load(
    paths: Sequence[str],
    *,
    recursive: bool = False,
    stdin: BinaryIO | None = None,
    kustomize: str | None = None,
    lax: bool = False,
    legacy: str = "auto",
    progress: Callable[[float, int], None] | None = None,
) -> Loaded:
    """Read files, directories, ``-`` or a kustomization and return their objects.

    Of two objects with one key the later wins, as with ``kubectl apply``; a warning names both places.
    Raises InputError with all errors and warnings if there is any error. The arguments are those of
    `files.read` and of `decode`.
    """
    documents, read_problems = files.read(
        paths, recursive=recursive, stdin=stdin, kustomize=kustomize, progress=progress
    )
    found, decode_problems, ignored = decode(documents, lax=lax, legacy=legacy)
    if not (found or ignored or read_problems or decode_problems):
        read_problems = [_nothing_in([*paths, *([kustomize] if kustomize else [])])]
    objects, replaced = _last_of_each(found)
    problems = _in_file_order([*read_problems, *decode_problems, *replaced], documents, paths)
    if any(problem.severity is Severity.ERROR for problem in problems):
        raise InputError(problems)
    return Loaded(objects, tuple(problems), dict(ignored))


def _nothing_in(inputs: Sequence[str]) -> Finding:
    """Return the error for input without any object: an answer about nothing would look like an answer."""
    names = ", ".join("<stdin>" if name == "-" else name for name in inputs)
    return Finding(
        severity=Severity.ERROR,
        position=Position(names),
        message="holds no object, so there is nothing to answer about",
    )


def _last_of_each(found: Iterable[KubeObject]) -> tuple[tuple[KubeObject, ...], list[Finding]]:
    kept: dict[Key, KubeObject] = {}
    problems: list[Finding] = []
    for item in found:
        earlier = kept.pop(item.key, None)
        if earlier is not None and earlier.origin is not None and item.origin is not None:
            key = item.key
            name = f"{key.namespace}/{key.name}" if key.namespace else key.name
            problems.append(
                Finding(
                    severity=Severity.WARNING,
                    position=item.origin.at("metadata", "name"),
                    message=f"{key.kind} {name} replaces the one at {earlier.origin.at('metadata', 'name')}",
                    remedy="give one of them another name or namespace",
                )
            )
        kept[item.key] = item
    return tuple(kept.values()), problems


def _in_file_order(problems: Sequence[Finding], documents: Iterable[Document], paths: Sequence[str]) -> list[Finding]:
    """Sort by input, line and column.

    The order of inputs is that of their documents; one without any takes the place its name has among
    those of the same argument.
    """
    read = list(dict.fromkeys(document.file for document in documents))
    order = {file: (place, "") for place, file in enumerate(read)}
    for file in {problem.position.file for problem in problems} - order.keys():
        rank = _rank(file, paths)
        after = (place for place, other in enumerate(read) if _rank(other, paths) > rank)
        order[file] = (next(after, len(read)) - 1, file)
    return sorted(
        problems, key=lambda problem: (*order[problem.position.file], problem.position.line, problem.position.column)
    )


def _rank(file: str, paths: Sequence[str]) -> tuple[int, str]:
    for index, path in enumerate(paths):
        if file.startswith(f"{path.rstrip('/')}/") or file == path or (file, path) == ("<stdin>", "-"):
            return index, file
        if fnmatchcase(file, path):
            return index, file
    return len(paths), file
