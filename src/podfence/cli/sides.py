# SPDX-License-Identifier: Apache-2.0
"""OLD and NEW of a comparison: what each stands for, what is read of it, and whose configuration counts."""

from __future__ import annotations

import os
import re
from functools import partial
from typing import TYPE_CHECKING, Final, NamedTuple

import click

from podfence.cli import errors, live, settings
from podfence.cli.inputs import RefusedError, load_manifests, note, pipe_hint, reading
from podfence.errors import InputError, PodfenceError
from podfence.kube.folders import WILDCARDS
from podfence.kube.parsed import Parsed

if TYPE_CHECKING:
    from collections.abc import Callable

    from podfence.api import Cluster
    from podfence.cli.inputs import Inputs
    from podfence.cli.settings import Settings
    from podfence.kube.git import Repository
    from podfence.policy.options import Options

LIVE: Final = "live"
LAB: Final = "lab"
STDIN: Final = "-"
GIT: Final = "git:"
HERE: Final = ""
"""The path inside of a side that is the side itself."""


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
        """Return the path of something inside of the side, or of all of it."""
        if inside == HERE:
            return self.root
        if self.is_revision:
            path = self.root.removeprefix(GIT).partition(":")[2]
            return f"{GIT}{self.revision}:{os.path.join(path, inside)}"
        return os.path.normpath(os.path.join(self.root, inside))

    def inside(self, path: str, prefix: str) -> str:
        """Return a path inside of a revision from its root; `prefix` is the working directory there."""
        from podfence.kube import revisions

        return revisions.parse(self.path(path)).from_root(prefix)

    def names(self, prefix: str, *, nested: bool) -> tuple[str, str]:
        """Return what the names of its files begin with, and its own name; `nested` if paths inside of it are read."""
        if not self.is_revision:
            root = os.path.normpath(self.root) if nested else self.root
            return ("" if root == "." and nested else os.path.join(root, ""), root)
        path = self.inside(HERE, prefix)
        start = f"{GIT}{self.revision}"
        return (f"{start}:{path}/", f"{start}:{path}") if path else (f"{start}:", start)


def sides(old: str, new: str) -> tuple[Side, Side]:
    """Return what two arguments stand for.

    A revision without a path has the path of the other side, or else the working directory. Raises UsageError.
    """
    if old == new == STDIN:
        raise click.UsageError("only one side can be standard input")
    return _side(old, new), _side(new, old)


def _side(text: str, other: str) -> Side:
    if text in {LIVE, LAB}:
        return Side(text)
    if not text.startswith(GIT) or ":" in text.removeprefix(GIT):
        return Side(text, text, is_named=True)
    if other in {LIVE, LAB, STDIN} or other.startswith(GIT):
        return Side(text, f"{text}:./")
    return Side(text, f"{text}:./{os.path.relpath(other)}", is_named=True)


class Reader:
    """Reads what one command line compares; `base` is the branch that ``git:merge-base`` is about."""

    def __init__(self, inputs: Inputs, old: Side, new: Side, base: str) -> None:
        """Read nothing yet."""
        self._inputs = inputs
        self._old = old
        self._new = new
        self._base = base
        self._folder = ""
        self._parsed = Parsed()
        self._found: Repository | None = None

    @property
    def _repository(self) -> Repository:
        """The repository of the working directory. Raises GitError if there is none."""
        from podfence.kube.git import Repository

        if self._found is None:
            self._found = Repository()
        return self._found

    def configured(self, *, asked: str | None, wanted: bool) -> Inputs:
        """Return what the command line says with the configuration that counts.

        It is that of OLD: a change cannot weaken its own review. Raises ConfigError and GitError.
        """
        old, inputs = self._old, self._inputs
        if wanted and old.is_revision:
            found = self._configuration(asked)
            self._folder = found.folder
        else:
            start = old.root if old.is_named and os.path.isdir(old.root) else "."
            found = settings.find(asked, os.environ, wanted=wanted, start=start)
            self._folder = os.path.relpath(found.folder, start) if found.folder else ""
        inputs = inputs._replace(config=found, settings=(*found.options, *inputs.settings))
        is_named = old.is_named or self._new.is_named or inputs.are_manifests
        if found.filename and not is_named:
            inputs = inputs._replace(files=found.filename, recursive=inputs.recursive or found.recursive)
        self._inputs = inputs
        return inputs

    def _configuration(self, asked: str | None) -> Settings:
        """Return the configuration of OLD, which is a revision."""
        named = os.environ.get(settings.VARIABLE) if asked is None else asked
        inside = self._repository.inside(named) if named else None
        if named is not None and inside is None:
            return settings.read(named) if named else settings.Settings()
        revision = self._old.revision
        found = settings.find_in(self._look, f"{GIT}{revision}:", self._repository.prefix, asked=inside)
        if named and not found.file:
            errors.complain(f"note: {named} is not in {GIT}{revision}, so it does not count")
        return found

    def _look(self, path: str) -> bytes | None:
        tree = self._repository.tree(self._old.revision, self._base)
        return self._repository.file(tree, path, settings.SIZE_LIMIT)

    def file(self, path: str) -> tuple[bytes | None, str]:
        """Return the contents of a file that decides about a change, and its name: of OLD, where OLD is a revision.

        None if OLD does not have it. Raises ConfigError and GitError.
        """
        inside = self._repository.inside(path) if self._old.is_revision else None
        if inside is None:
            return settings.contents(path), path
        return self._look(inside), f"{GIT}{self._old.revision}:{inside}"

    def read(self, options: Options) -> tuple[Cluster, Cluster]:
        """Return the clusters of both sides.

        A change may add the first manifests of a repository, or remove the last. So a side may be empty if the other
        is not, and one of them is a revision. Raises RefusedError, with every problem of both sides printed.
        """
        import podfence

        old, new = self._old, self._new
        found = [self._side(old, new, options)]
        if old.is_running and isinstance(found[0], podfence.Cluster) and not self._inputs.own_namespace:
            # As for kubectl, objects that name no namespace go into that of the context.
            self._inputs = self._inputs._replace(config=self._inputs.config._replace(namespace=found[0].namespace))
        found.append(self._side(new, old, options))
        refused = [error for error in found if isinstance(error, RefusedError)]
        if len(refused) > 1:
            problems = tuple(problem for error in refused for problem in error.problems)
            raise RefusedError("errors in OLD and in NEW; nothing was compared", problems)
        if refused:
            raise refused[0]
        if not any(found):
            raise PodfenceError(f"neither {old.text} nor {new.text} has an object, so there is nothing to compare")
        clusters = []
        for side, cluster in zip((old, new), found, strict=True):
            if cluster is None:
                note(self._inputs, f"{side.text} has no object here: everything is new, or removed")
            empty = podfence.Cluster.from_objects((), options)
            clusters.append(cluster if isinstance(cluster, podfence.Cluster) else empty)
        if old.root and new.root:
            # What is unread on both sides has one name.
            one, other = (new, old) if new.is_revision and not old.is_revision else (old, new)
            nested = self._inputs.are_manifests
            before, after = (side.names(self._prefix(side), nested=nested) for side in (one, other))
            rename = partial(_renamed, before, after)
            clusters[one is new].name_gaps(rename)
        return clusters[0], clusters[1]

    def _prefix(self, side: Side) -> str:
        return self._repository.prefix if side.is_revision else ""

    def _side(self, side: Side, other: Side, options: Options) -> Cluster | RefusedError | None:
        """Return the cluster of a side, why it is refused, or None if it has no object."""
        may_be_empty = (side.is_revision or other.is_revision) and not side.is_running
        inputs = self._inputs
        if not inputs.are_manifests:
            inputs = inputs._replace(files=(HERE,))
        if may_be_empty and not other.is_running:
            inputs = self._present(inputs, side, other)
            if not inputs.are_manifests:
                return None
        try:
            with reading(quiet=inputs.quiet, outcome="nothing was compared", inputs=inputs) as progress:
                if side.text == LIVE:
                    return live.load(inputs.live, options, progress, hint=pipe_hint())
                if side.text == LAB:
                    return _lab(options, live.lab_name(inputs.live))
                try:
                    return self._files(inputs, side, options, progress)
                except InputError as error:
                    if may_be_empty and error.found_nothing:
                        return None
                    raise
        except RefusedError as error:
            return error

    def _present(self, inputs: Inputs, side: Side, other: Side) -> Inputs:
        """Return what is to be read without the paths that only the other side has."""

        def here(paths: tuple[str, ...]) -> tuple[str, ...]:
            return tuple(path for path in paths if self._has(side, path) or not self._has(other, path))

        return inputs._replace(files=here(inputs.files), kustomize=here(inputs.kustomize), helm=here(inputs.helm))

    def _files(
        self, inputs: Inputs, side: Side, options: Options, progress: Callable[[float, int], None] | None
    ) -> Cluster:
        folder = side.path(self._folder) if self._folder and side.root != STDIN else ""
        return load_manifests(
            inputs, options, progress, folder=folder, at=side.path, base=self._base, parsed=self._parsed
        )

    def _has(self, side: Side, path: str) -> bool:
        """Return whether a side has anything at a path. Raises GitError for a revision that does not exist."""
        place = side.path(path)
        if place == STDIN or not WILDCARDS.isdisjoint(path):
            return True
        if not side.is_revision:
            return os.path.lexists(place)
        inside = side.inside(path, self._repository.prefix)
        return bool(self._repository.entries(self._repository.tree(side.revision, self._base), inside))


def _lab(options: Options, name: str) -> Cluster:
    import podfence
    from podfence.policy.options import KINDS

    state = podfence.load_lab(name).state
    return podfence.Cluster(state, options, closed=KINDS)


def _renamed(before: tuple[str, str], after: tuple[str, str], text: str) -> str:
    """Return a text about files of one side with the names that they have on the other."""
    for one, other in zip(before, after, strict=True):
        end = "" if one.endswith(("/", ":")) else r"(?![\w./:-])"
        text = re.sub(rf"(?<![\w./:-]){re.escape(one)}{end}", other.replace("\\", r"\\"), text) if one else text
    return text
