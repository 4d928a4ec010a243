# SPDX-License-Identifier: Apache-2.0
"""All inputs of a command as documents: files, folders, patterns, standard input, kustomizations and charts."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from msgspec import Struct, field

from podfence.errors import reason_of
from podfence.kube import foreign, yaml
from podfence.kube.findings import Finding, Severity, unreadable
from podfence.kube.folders import (
    SIZE_LIMIT,
    STDIN,
    Folder,
    Inputs,
    is_called_kustomization,
    shown,
    too_large,
)
from podfence.kube.foreign import Kustomization
from podfence.kube.omissions import Gap, LeftOut, Reason, may_hold_policy
from podfence.kube.positions import SourceDocument

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import BinaryIO

    from podfence.kube.folders import Exclusion, Found
    from podfence.kube.parsed import Parsed  # noqa: TC004  msgspec needs the types only of what it reads or writes
    from podfence.kube.rendering import Chart

_STDIN_NAME: Final = "<stdin>"


class Read(Struct):
    """What was read.

    `documents` come in the order of the inputs, with `problems` about what cannot be one; `folders` are the names of
    the inputs that were found in a folder, in which documents of other programs are expected.
    """

    documents: list[SourceDocument] = field(default_factory=list)
    problems: list[Finding] = field(default_factory=list)
    folders: set[str] = field(default_factory=set)
    left_out: list[LeftOut] = field(default_factory=list)
    gaps: list[Gap] = field(default_factory=list)
    unread: list[Folder] = field(default_factory=list)
    kustomizations: list[Kustomization] = field(default_factory=list)


def read(
    paths: Sequence[str],
    *,
    recursive: bool = False,
    stdin: BinaryIO | None = None,
    kustomize: Sequence[str] = (),
    charts: Sequence[Chart] = (),
    exclude: Sequence[Exclusion] = (),
    forgiving: bool = True,
    keep_going: bool = False,
    parsed: Parsed | None = None,
    progress: Callable[[float, int], None] | None = None,
) -> Read:
    """Return the documents of all inputs in the order given, and what is wrong with them.

    A path is a file (of any name), a folder (its .json, .yaml and .yml files in order of name, with
    `recursive` also those of its subfolders), a pattern with wildcards, or ``-`` for `stdin` (the process's
    own if None). `kustomize` are folders to build with kustomize, `charts` to render with helm. A file met twice is
    read once. `progress` is told how many inputs are read, parts of one included, and how many there are.

    `forgiving` leaves out what folders hold besides manifests, and `exclude` more of it; without it, everything that
    is no object is an error, as for kubectl. `keep_going` leaves out files that cannot be read too, and says so. Files
    that are equal to files of an earlier input are not parsed again if both are read with the same `parsed`.

    Never raises for bad input; raises MissingProgramError if kustomize or helm is needed and absent.
    """
    inputs = Inputs(recursive=recursive, forgiving=forgiving, exclude=exclude)
    for path in paths:
        inputs.add(path)
    inputs.finish()
    found = Read(problems=inputs.problems, left_out=inputs.left_out, gaps=inputs.gaps, unread=inputs.unread)
    total = len(inputs.files) + len(kustomize) + len(charts)
    reader = _Reader(found, keep_going, parsed, progress, total)
    # What a kustomization names may have been found before it.
    kustomized = {item for item in inputs.files if is_called_kustomization(item) and reader.take_kustomization(item)}
    for item in inputs.files:
        if item in kustomized:
            reader.end()
        elif item.folder:
            reader.take_found(item)
        else:
            reader.take(_contents(item.path, found.problems, stdin), _name(item.path))
    if kustomize or charts:
        from podfence.kube import rendering  # noqa: PLC0415  most read files only
    for folder in kustomize:
        reader.take(rendering.kustomize(folder, found.problems), f"{shown(folder)} (kustomize)")
    for chart in charts:
        reader.take_all(rendering.helm(chart, found.problems))
    return found


class _Reader(Struct):
    """The arguments of `read`, what was read so far, and what kustomizations have said of files."""

    _found: Read
    _keep_going: bool
    _parsed: Parsed | None
    _progress: Callable[[float, int], None] | None
    _total: int
    _done: int = 0
    _patches: dict[str, str] = {}
    _resources: set[str] = set()
    _kustomized: dict[str, str] = {}

    def take_kustomization(self, item: Found) -> bool:
        """Look at a kustomization for what it says of the files beside it; return False if it is none but in name."""
        data = _contents(item.path, self._found.problems) or b""
        documents, problems = yaml.parse(data, shown(item.path))
        if not all(foreign.is_kustomization(document.value) for document in documents):
            return False
        said = foreign.kustomization(item.path, documents)
        self._found.kustomizations.append(said)
        self._patches.update(dict.fromkeys(said.patches, said.folder))
        self._resources |= said.resources
        self._kustomized[os.path.realpath(said.folder)] = said.folder
        if any(problem.severity is Severity.ERROR for problem in problems):
            self._take_manifest(data, shown(item.path))
        elif said.patches_policies:
            what = f"kustomization {shown(said.folder)} changes policies and is not applied"
            self._found.gaps.append(Gap(what, f"-k {shown(said.folder)} applies it"))
        return True

    def take(self, data: bytes | None, name: str) -> None:
        """Read an input that somebody named."""
        if data is not None:
            self._add(*self._parse(data, name))
        self.end()

    def take_all(self, parts: Mapping[str, bytes]) -> None:
        """Read the parts of one input."""
        for name, data in parts.items():
            self._add(*yaml.parse(data, name))
        self.end()

    def take_found(self, item: Found) -> None:
        """Read a file that a folder holds."""
        name = shown(item.path)
        data = _contents(item.path, self._found.problems)
        if data is not None:
            if os.path.realpath(item.path) in self._patches:
                self._leave_patch(name, self._patches[os.path.realpath(item.path)], data)
            elif foreign.is_loose_patch(item.path, self._kustomized, self._resources):
                self._leave_patch(name, "", data)
            elif not foreign.may_hold_object(data):
                self._leave(Reason.NO_OBJECT, name)
            else:
                self._take_manifest(data, name)
        self.end()

    def _take_manifest(self, data: bytes, name: str) -> None:
        documents, problems = self._parse(data, name)
        errors = [problem for problem in problems if problem.severity is Severity.ERROR]
        text = data.decode("utf-8", "replace") if errors else ""
        if errors and foreign.is_template(text):
            self._leave(Reason.TEMPLATE, name)
            if may_hold_policy(text):
                self._found.gaps.append(Gap(f"{name} is a template with policies and is not rendered"))
            return
        if errors and self._keep_going:
            self._leave(Reason.BROKEN, name)
            self._found.gaps.append(Gap(f"{name} cannot be read"))
            problems = [*(item for item in problems if item not in errors), errors[0].left_out()]
        self._found.folders.add(name)
        self._add(documents, problems)

    def _add(self, documents: list[SourceDocument], problems: list[Finding]) -> None:
        self._found.documents += documents
        self._found.problems += problems

    def _leave_patch(self, name: str, folder: str, data: bytes) -> None:
        self._leave(Reason.PATCH, name)
        if may_hold_policy(data.decode("utf-8", "replace")):
            what = f"{name} is a patch of a policy and is not applied"
            self._found.gaps.append(Gap(what, f"-k {shown(folder)} applies it" if folder else ""))

    def _leave(self, reason: Reason, name: str) -> None:
        self._found.left_out.append(LeftOut(reason, name))

    def _parse(self, data: bytes, name: str) -> tuple[list[SourceDocument], list[Finding]]:
        progress, done, total = self._progress, self._done, self._total
        advance = (lambda part: progress(done + part, total)) if progress else None
        return (self._parsed or yaml).parse(data, name, advance)

    def end(self) -> None:
        """Count an input that was read."""
        self._done += 1
        if self._progress:
            self._progress(self._done, self._total)


def _contents(path: str, problems: list[Finding], stdin: BinaryIO | None = None) -> bytes | None:
    try:
        if path == STDIN:
            data = (stdin or sys.stdin.buffer).read(SIZE_LIMIT + 1)
        else:
            with open(path, "rb") as file:  # noqa: PTH123 - a text is quicker than a Path, and this is done for every file
                data = file.read(SIZE_LIMIT + 1)
    except OSError as error:
        problems.append(unreadable(_name(path), f"cannot be read: {reason_of(error)}"))
        return None
    if len(data) > SIZE_LIMIT:
        problems.append(unreadable(_name(path), too_large(len(data)), "split it into several files"))
        return None
    return data


def _name(path: str) -> str:
    return _STDIN_NAME if path == STDIN else shown(path)
