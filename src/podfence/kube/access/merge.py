# SPDX-License-Identifier: Apache-2.0
"""Which kubeconfig files there are, and several of them as one (client-go's tools/clientcmd/loader.go)."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeVar

from podfence.errors import AccessError, InputError
from podfence.kube.access.config import Entry, read

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from podfence.kube.access import wire
    from podfence.kube.access.config import File
    from podfence.kube.findings import Finding

T = TypeVar("T")

VARIABLE: Final = "KUBECONFIG"
"""The variable that names the files, separated as in PATH."""

_DEFAULT: Final = (".kube", "config")


@dataclass(frozen=True, slots=True)
class Places:
    """Where kubeconfigs are looked for: paths in their order, and in words who named them."""

    paths: tuple[str, ...]
    named_by: str
    explicit: bool = False


@dataclass(frozen=True, slots=True)
class Kubeconfig:
    """Several files as one: of every name the entry of the first file that has it."""

    files: tuple[File, ...]
    current: str
    clusters: Mapping[str, Entry[wire.Cluster]]
    contexts: Mapping[str, Entry[wire.Context]]
    users: Mapping[str, Entry[wire.User]]

    @property
    def names(self) -> str:
        """The names of the files, for messages."""
        return ", ".join(file.name for file in self.files)


def places(kubeconfig: str, environ: Mapping[str, str]) -> Places:
    """Return where to look: `kubeconfig` if given, else what KUBECONFIG names, else ``~/.kube/config``.

    Empty names and repetitions in KUBECONFIG are left out. Without HOME there is no default.
    """
    if kubeconfig:
        return Places((kubeconfig,), "--kubeconfig", explicit=True)
    variable = environ.get(VARIABLE, "")
    if variable:
        return Places(tuple(dict.fromkeys(path for path in variable.split(os.pathsep) if path)), VARIABLE)
    home = environ.get("HOME", "")
    return Places((os.path.join(home, *_DEFAULT),) if home else (), "the default")  # noqa: PTH118  as shown


def load(where: Places) -> Kubeconfig:
    """Return the files of `where` as one; those that do not exist are skipped.

    Raises AccessError if a file that was given explicitly does not exist, and InputError with what is
    wrong with all the files together.
    """
    files: list[File] = []
    problems: list[Finding] = []
    for path in where.paths:
        try:
            files.append(read(path))
        except FileNotFoundError:
            if where.explicit:
                raise AccessError(f"{path}: no such file (named by {where.named_by})") from None
        except InputError as error:
            problems += error.problems
    if problems:
        raise InputError(problems)
    return merge(files)


def merge(files: Sequence[File]) -> Kubeconfig:
    """Return files as one: the first wins for each name, and the first that sets a current context.

    An entry is taken whole: nothing is added to it from a later file's entry of the same name.
    """
    return Kubeconfig(
        tuple(files),
        next((file.current for file in files if file.current), ""),
        _first(entry for file in files for entry in file.clusters),
        _first(entry for file in files for entry in file.contexts),
        _first(entry for file in files for entry in file.users),
    )


def _first(entries: Iterable[Entry[T]]) -> dict[str, Entry[T]]:
    found: dict[str, Entry[T]] = {}
    for entry in entries:
        found.setdefault(entry.name, entry)
    return found
