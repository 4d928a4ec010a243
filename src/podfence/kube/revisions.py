# SPDX-License-Identifier: Apache-2.0
"""Inputs in commits of a repository: ``git:REV`` and ``git:REV:PATH``.

The files are exported to a private temporary folder, read there as any other folder is, and shown as
``git:REV:path:line``. So one reader decides what of a folder is read, and kustomize and helm, which read files only,
can render what a commit has. The folder is removed in any case.
"""

from __future__ import annotations

import errno
import os
import tempfile
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from msgspec.structs import replace

from podfence.errors import InputError, reason_of
from podfence.kube import load as files
from podfence.kube.folders import CANDIDATES, KUSTOMIZATIONS, SIZE_LIMIT, WILDCARDS
from podfence.kube.git import LINK, SUBMODULE, GitError, Repository
from podfence.kube.omissions import Gap
from podfence.kube.positions import SourceDocument

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from podfence.kube.findings import Finding
    from podfence.kube.folders import Exclusion
    from podfence.kube.git import Entry
    from podfence.kube.load import Loaded
    from podfence.kube.rendering import Chart

PREFIX: Final = "git:"
"""What a path begins with that is in a commit."""

_POINTER: Final = b"version https://git-lfs.github.com/spec/"
_LONGEST_LINK: Final = 4095
_OUTSIDE: Final = "outside"


class Named(NamedTuple):
    """What ``git:REV:PATH`` names; `path` is None where only a revision is given."""

    revision: str
    path: str | None

    def from_root(self, prefix: str) -> str:
        """Return the path from the root of the repository, "" being the root, for a user in the folder `prefix`.

        As for git, ``./PATH`` starts in that folder and ``PATH`` at the root. Without a path it is the folder itself.
        Raises GitError for a path that leads out of the repository.
        """
        text = "./" if self.path is None else self.path
        relative = text in {".", ".."} or text.startswith(("./", "../"))
        path = os.path.normpath(f"{prefix}{text}" if relative else text or ".")
        if os.path.isabs(path) or path.split("/", 1)[0] == "..":
            raise GitError(
                f"{PREFIX}{self.revision}:{text}: not a path in the repository; "
                "PATH starts at the root of the repository, and ./PATH in this folder"
            )
        return "" if path == "." else path


def is_revision(text: str) -> bool:
    """Return whether a path is in a commit."""
    return text.startswith(PREFIX)


def parse(text: str) -> Named:
    """Return the parts of ``git:REV`` or ``git:REV:PATH``."""
    revision, colon, path = text.removeprefix(PREFIX).partition(":")
    return Named(revision, path if colon else None)


def load(
    paths: Sequence[str],
    *,
    base: str = "",
    recursive: bool = False,
    kustomize: Sequence[str] = (),
    charts: Sequence[Chart] = (),
    exclude: Sequence[Exclusion] = (),
    **others: Any,  # noqa: ANN401 - those of `kube.load.load`
) -> Loaded:
    """Do what `kube.load.load` does for inputs of which some are in commits; `base` is what `Repository.tree` takes.

    Raises GitError besides.
    """
    with tempfile.TemporaryDirectory(prefix="podfence-", ignore_cleanup_errors=True) as folder:
        whole = bool(kustomize or charts)
        export = _Export(os.path.realpath(folder), base, whole=whole, recursive=recursive)
        try:
            loaded = files.load(
                [export.path(path) for path in paths],
                recursive=recursive,
                kustomize=[export.path(path) for path in kustomize],
                charts=[export.chart(chart) for chart in charts],
                exclude=[export.exclusion(item) for item in exclude],
                **others,
            )
        except InputError as error:
            raise InputError(tuple(map(export.problem, error.problems))) from None
        return export.named(loaded)


class _Export:
    """Commits in a temporary folder, and the paths of inputs there."""

    def __init__(self, folder: str, base: str, *, whole: bool, recursive: bool) -> None:
        """Write to a folder; `whole` commits are written if other programs read them, else only what podfence reads."""
        self._folder = folder
        self._base = base
        self._whole = whole
        self._recursive = recursive
        self._repository: Repository | None = None
        self._trees: dict[str, _Tree] = {}
        self.gaps: list[Gap] = []

    def path(self, text: str) -> str:
        """Return where an input is: in the folder if it is in a commit, which is written first, else where it was.

        Raises GitError.
        """
        if not is_revision(text):
            return text
        named = parse(text)
        if self._repository is None:
            self._repository = Repository()
        path = named.from_root(self._repository.prefix)
        tree = self._trees.get(named.revision)
        if tree is None:
            name = self._repository.tree(named.revision, self._base)
            tree = _Tree(self._repository, name, os.path.join(self._folder, str(len(self._trees))))
            self._trees[named.revision] = tree
        try:
            self._write(tree, named.revision, "" if self._whole else _fixed(path), path)
        except OSError as error:
            raise GitError(f"{text}: cannot be written to a temporary folder: {reason_of(error)}") from None
        return os.path.join(tree.folder, path) if path else tree.folder

    def _write(self, tree: _Tree, revision: str, path: str, asked: str) -> None:
        for entry in tree.add(path, whole=self._whole, outside=os.path.join(self._folder, _OUTSIDE)):
            name = f"{PREFIX}{revision}:{entry.path}"
            inside = not asked or entry.path == asked or entry.path.startswith(f"{asked}/")
            if entry.mode != SUBMODULE:
                self.gaps.append(Gap(f"{name} is kept in Git LFS and was not read", "compare folders with its files"))
            elif inside and (self._recursive or self._whole or entry.path == asked):
                self.gaps.append(Gap(f"submodule {name} was not read", "compare folders with its files"))

    def shown(self, text: str) -> str:
        """Return a text in which files have the names that users know them by."""
        for revision, tree in self._trees.items():
            text = text.replace(f"{tree.folder}/", f"{PREFIX}{revision}:").replace(tree.folder, f"{PREFIX}{revision}")
        return text

    def named(self, loaded: Loaded) -> Loaded:
        """Return what was read from the folder, as read from the commits."""
        found = {id(item.origin.document): item.origin.document for item in loaded.objects if item.origin is not None}
        for document in found.values():
            if isinstance(document, SourceDocument):
                document.rename(self.shown(document.file))
        return replace(
            loaded,
            warnings=tuple(map(self.problem, loaded.warnings)),
            notes=tuple(map(self.shown, loaded.notes)),
            details=tuple(map(self.shown, loaded.details)),
            gaps=(
                *(gap._replace(what=self.shown(gap.what), remedy=self.shown(gap.remedy)) for gap in loaded.gaps),
                *self.gaps,
            ),
        )

    def problem(self, problem: Finding) -> Finding:
        """Return a problem with the names that users know."""
        return replace(
            problem,
            position=replace(problem.position, file=self.shown(problem.position.file)),
            message=self.shown(problem.message),
            remedy=self.shown(problem.remedy),
        )

    def chart(self, chart: Chart) -> Chart:
        """Return a chart with the paths of the folder."""
        return chart._replace(path=self.path(chart.path), values=tuple(map(self.path, chart.values)))

    def exclusion(self, exclusion: Exclusion) -> Exclusion:
        """Return patterns for the folder that they are about."""
        return exclusion._replace(base=self.path(exclusion.base)) if is_revision(exclusion.base) else exclusion


class _Tree:
    """A commit, and the folder that parts of it are written to."""

    def __init__(self, repository: Repository, name: str, folder: str) -> None:
        self.folder = folder
        self._repository = repository
        self._name = name
        self._written: set[str] = set()
        os.mkdir(folder)

    def add(self, path: str, *, whole: bool, outside: str) -> Iterator[Entry]:
        """Write what is below a path, and yield what the commit does not hold: submodules and files of Git LFS.

        If not `whole`, only files are written that podfence looks at. Links that lead out of the commit lead to the
        file `outside`, so that they are seen, and nothing else is read through them.
        """
        if path in self._written:
            return
        self._written.add(path)
        found = [entry for entry in self._repository.entries(self._name, path) if _is_proper(entry.path)]
        links, files = [], []
        for entry in found:
            if entry.mode == SUBMODULE:
                os.makedirs(self._at(entry.path), exist_ok=True)
                yield entry
            elif entry.mode == LINK:
                links.append(entry)
            elif whole or entry.path == path or _is_candidate(entry.path):
                files.append(entry)
            else:
                os.makedirs(os.path.dirname(self._at(entry.path)), exist_ok=True)
        for entry, size, data in self._repository.contents(files, SIZE_LIMIT):
            self._create(entry.path, data)
            # What is too large is not read, and only has its size.
            os.truncate(self._at(entry.path), size)
            if data.startswith(_POINTER):
                yield entry
        self._link(links, outside)

    def _link(self, links: Sequence[Entry], outside: str) -> None:
        made = []
        for entry, _, target in self._repository.contents(links, _LONGEST_LINK):
            place = self._at(entry.path)
            os.makedirs(os.path.dirname(place), exist_ok=True)
            if not os.path.lexists(place) and target and b"\0" not in target:
                os.symlink(target, os.fsencode(place))
                made.append(place)
                self._stand_in(os.path.normpath(os.path.join(os.path.dirname(entry.path), os.fsdecode(target))))
        # A link may lead through others, so this is asked when all are there.
        leading_out = [place for place in made if not f"{os.path.realpath(place)}/".startswith(f"{self.folder}/")]
        for place in leading_out:
            os.unlink(place)
            os.symlink(outside, place)
        if leading_out:
            with open(outside, "ab"):
                pass

    def _stand_in(self, path: str) -> None:
        """Have something empty where a link leads to that is in the commit, but not among what is read."""
        if not _is_proper(path) or os.path.lexists(self._at(path)):
            return
        found = self._repository.entries(self._name, path)
        if any(entry.path == path for entry in found):
            self._create(path)
        elif found:
            os.makedirs(self._at(path), exist_ok=True)

    def _create(self, path: str, data: bytes = b"") -> None:
        place = self._at(path)
        folder = os.path.dirname(place)
        os.makedirs(folder, exist_ok=True)
        if os.path.realpath(folder) != folder:
            raise OSError(errno.ELOOP, f"{path} lies behind a link")  # of a commit that somebody has forged
        with open(place, "wb") as file:
            file.write(data)

    def _at(self, path: str) -> str:
        return os.path.join(self.folder, path)


def _is_proper(path: str) -> bool:
    """Return whether a path stays in its folder: a commit that somebody has forged may have others."""
    return not {"", ".", ".."} & set(path.split("/"))


def _is_candidate(path: str) -> bool:
    """Return whether podfence looks at files of this name in a folder."""
    return path.endswith(CANDIDATES) or os.path.basename(path) in KUSTOMIZATIONS


def _fixed(path: str) -> str:
    """Return the part of a path before its first folder or file with wildcards."""
    parts = path.split("/")
    until = next((number for number, part in enumerate(parts) if not WILDCARDS.isdisjoint(part)), len(parts))
    return "/".join(parts[:until])
