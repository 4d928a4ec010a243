# SPDX-License-Identifier: Apache-2.0
"""OLD and NEW of a comparison: what each stands for, what is read of it, and whose configuration counts."""

from __future__ import annotations

import os
import re
import sys
from functools import partial
from typing import TYPE_CHECKING, Final, NamedTuple

import click

from podfence.cli import errors, live, settings
from podfence.cli.inputs import RefusedError, charts_of, note, pipe_hint, reading
from podfence.errors import InputError, PodfenceError
from podfence.kube.parsed import Parsed

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from podfence.api import Cluster
    from podfence.cli.inputs import Inputs
    from podfence.cli.settings import Settings
    from podfence.kube.folders import Exclusion
    from podfence.policy.options import Options

LIVE: Final = "live"
LAB: Final = "lab"
STDIN: Final = "-"
GIT: Final = "git:"


class Side(NamedTuple):
    """One side: its text as given, and `root`, a path or ``git:REV:PATH`` where its files are.

    `root` is "" for a cluster that runs. `is_named` tells whether somebody has given the path of the files.
    """

    text: str
    root: str = ""
    is_named: bool = False

    @property
    def is_running(self) -> bool:
        """Whether it is a cluster that runs: a live one, or a lab."""
        return self.text in {LIVE, LAB}

    @property
    def is_revision(self) -> bool:
        """Whether its files are in a commit."""
        return self.root.startswith(GIT)

    @property
    def revision(self) -> str:
        """The revision, "" if its files are in none."""
        return self.root.removeprefix(GIT).partition(":")[0] if self.is_revision else ""

    def path(self, inside: str) -> str:
        """Return the path of something inside of the side."""
        if self.is_revision:
            path = self.root.removeprefix(GIT).partition(":")[2]
            return f"{GIT}{self.revision}:{os.path.join(path, inside)}"
        return os.path.normpath(os.path.join(self.root, inside))

    def names(self, *, nested: bool) -> tuple[str, str]:
        """Return what the names of its files begin with, and its own name; `nested` if paths inside of it are read."""
        if not self.is_revision:
            root = os.path.normpath(self.root) if nested else self.root
            return ("" if root == "." and nested else os.path.join(root, ""), root)
        from podfence.kube import revisions
        from podfence.kube.git import Repository

        path = revisions.parse(self.root).from_root(Repository().prefix)
        start = f"{GIT}{self.revision}"
        return (f"{start}:{path}/", f"{start}:{path}") if path else (f"{start}:", start)


def sides(old: str, new: str) -> tuple[Side, Side]:
    """Return what two arguments stand for.

    A revision without a path has the path of the other side, or else the working directory. Raises UsageError.
    """
    if old == new == STDIN:
        raise click.UsageError("only one side can be standard input", click.get_current_context())
    return _side(old, new), _side(new, old)


def _side(text: str, other: str) -> Side:
    if text in {LIVE, LAB}:
        return Side(text)
    if text == STDIN:
        return Side(text, STDIN, is_named=True)
    if not text.startswith(GIT):
        return Side(text, text, is_named=True)
    if ":" in text.removeprefix(GIT):
        return Side(text, text, is_named=True)
    if other in {LIVE, LAB, STDIN} or other.startswith(GIT):
        return Side(text, f"{text}:./")
    return Side(text, f"{text}:./{os.path.relpath(other)}", is_named=True)


def configured(
    inputs: Inputs, old: Side, new: Side, *, asked: str | None, wanted: bool, base: str
) -> tuple[Inputs, str]:
    """Return what a command line says with the configuration that counts, and the folder of that inside of a side.

    It is that of OLD: a change cannot weaken its own review. Raises ConfigError and GitError.
    """
    if not wanted or not old.is_revision:
        start = old.root if old.is_named and os.path.isdir(old.root) else "."
        found = settings.find(asked, os.environ, wanted=wanted, start=start)
        folder = os.path.relpath(found.folder, start) if found.folder else ""
    else:
        found, folder = _configuration_in(old, asked, base)
    inputs = inputs._replace(config=found, settings=(*found.options, *inputs.settings))
    is_named = old.is_named or new.is_named or inputs.files or inputs.kustomize or inputs.helm
    if found.filename and not is_named:
        return inputs._replace(files=found.filename, recursive=inputs.recursive or found.recursive), folder
    return inputs, folder


def _configuration_in(old: Side, asked: str | None, base: str) -> tuple[Settings, str]:
    from podfence.kube.git import Repository

    revision = old.revision
    repository = Repository()
    named = os.environ.get(settings.VARIABLE) if asked is None else asked
    inside = repository.inside(named) if named else None
    if named is not None and inside is None:
        return (settings.read(named) if named else settings.Settings()), ""
    tree = repository.tree(revision, base)
    found = settings.find_in(
        lambda path: repository.file(tree, path, settings.SIZE_LIMIT),
        f"{GIT}{revision}:",
        repository.prefix,
        asked=inside,
    )
    if named and not found.file:
        errors.complain(f"note: {named} is not in {GIT}{revision}, so it does not count")
    return found, found.folder


def from_old(old: Side, path: str, base: str) -> tuple[bytes | None, str]:
    """Return the contents of a file that decides about a change, and its name: of OLD, where OLD is a revision.

    None if OLD does not have it. Raises ConfigError and GitError.
    """
    if old.is_revision:
        from podfence.kube.git import Repository

        repository = Repository()
        inside = repository.inside(path)
        if inside is not None:
            found = repository.file(repository.tree(old.revision, base), inside, settings.SIZE_LIMIT)
            return found, f"{GIT}{old.revision}:{inside}"
    return settings.contents(path), path


class Reader:
    """Reads the sides of one command line."""

    def __init__(self, inputs: Inputs, options: Options, *, base: str, folder: str) -> None:
        """Take what the options say; `folder` is that of the configuration, inside of a side."""
        self._inputs = inputs
        self._options = options
        self._base = base
        self._folder = folder
        self._parsed = Parsed()

    def read(self, old: Side, new: Side) -> tuple[Cluster, Cluster]:
        """Return the clusters of both sides.

        A change may add the first manifests of a repository, or remove the last. So a side may be empty if the other
        is not, and one of them is a revision. Raises RefusedError, with every problem of both sides printed.
        """
        import podfence

        may_be_empty = old.is_revision or new.is_revision
        found = [self._side(side, may_be_empty=may_be_empty) for side in (old, new)]
        refused = [error for error in found if isinstance(error, RefusedError)]
        if refused:
            problems = tuple(problem for error in refused for problem in error.problems)
            raise RefusedError("; ".join(map(str, refused)), problems)
        if not any(found):
            raise PodfenceError(f"neither {old.text} nor {new.text} has an object, so there is nothing to compare")
        clusters = []
        for side, cluster in zip((old, new), found, strict=True):
            if cluster is None:
                note(self._inputs, f"{side.text} has no object here: everything is new, or removed")
            empty = podfence.Cluster.from_objects((), self._options)
            clusters.append(cluster if isinstance(cluster, podfence.Cluster) else empty)
        if old.root and new.root:
            # What is unread on both sides has one name.
            one, other = (new, old) if new.is_revision and not old.is_revision else (old, new)
            nested = bool(self._inputs.files or self._inputs.kustomize or self._inputs.helm)
            rename = partial(_renamed, one.names(nested=nested), other.names(nested=nested))
            clusters[one is new].name_gaps(rename)
        return clusters[0], clusters[1]

    def _side(self, side: Side, *, may_be_empty: bool) -> Cluster | RefusedError | None:
        """Return the cluster of a side, why it is refused, or None if it has no object."""
        inputs = self._inputs
        if may_be_empty and not exists(side, self._base):
            return None
        try:
            with reading(quiet=inputs.quiet, outcome="nothing was compared", inputs=inputs) as progress:
                if side.text == LIVE:
                    return live.load(inputs.live, self._options, progress, hint=pipe_hint())
                if side.text == LAB:
                    return self._lab()
                try:
                    return self._files(side, progress)
                except InputError as error:
                    if may_be_empty and error.found_nothing:
                        return None
                    raise
        except RefusedError as error:
            return error

    def _lab(self) -> Cluster:
        import podfence
        from podfence.cluster.state import ClusterState
        from podfence.lab.client import Client
        from podfence.policy.options import KINDS

        objects = Client(os.environ.get("PODFENCE_LAB") or "lab").objects()
        return podfence.Cluster(ClusterState(objects), self._options, closed=KINDS)

    def _files(self, side: Side, progress: Callable[[float, int], None] | None) -> Cluster:
        import podfence

        inputs = self._inputs
        paths = [*map(side.path, inputs.files)]
        if not (inputs.files or inputs.kustomize or inputs.helm):
            paths.append(side.root)
        return podfence.load(
            *paths,
            recursive=inputs.recursive,
            kustomize=[*map(side.path, inputs.kustomize)],
            charts=[
                chart._replace(path=side.path(chart.path), values=tuple(map(side.path, chart.values)))
                for chart in charts_of(inputs)
            ],
            exclude=self._exclusions(side),
            keep_going=inputs.keep_going,
            namespace=inputs.own_namespace or "",
            stdin=sys.stdin.buffer if side.root == STDIN else None,
            base=self._base,
            parsed=self._parsed,
            options=self._options,
            progress=progress,
        )

    def _exclusions(self, side: Side) -> Sequence[Exclusion]:
        from podfence.kube.folders import Exclusion

        base = side.path(self._folder) if self._folder and side.root != STDIN else ""
        return [Exclusion(self._inputs.exclude), Exclusion(self._inputs.config.exclude, base)]


def _renamed(before: tuple[str, str], after: tuple[str, str], text: str) -> str:
    """Return a text about files of one side with the names that they have on the other."""
    for one, other in zip(before, after, strict=True):
        end = "" if one.endswith(("/", ":")) else r"(?![\w./:-])"
        text = re.sub(rf"(?<![\w./:-]){re.escape(one)}{end}", other.replace("\\", r"\\"), text) if one else text
    return text


def exists(side: Side, base: str) -> bool:
    """Return whether there is anything at the path of a side. Raises GitError for a revision that does not exist."""
    if side.is_running or side.root == STDIN:
        return True
    if side.is_revision:
        from podfence.kube import revisions

        return revisions.exists(side.root, base)
    return os.path.lexists(side.root)
