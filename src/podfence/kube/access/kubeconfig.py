# SPDX-License-Identifier: Apache-2.0
"""Kubeconfigs: which files there are, each read as kubectl reads it, and several as one.

Every wrong type and every broken base64 is named with its place. What stands in a file is never quoted in a problem
about it, because it may be a secret in the wrong place. Files are merged as in client-go's tools/clientcmd/loader.go.
"""

from __future__ import annotations

import base64
import os
import re
from dataclasses import dataclass
from pathlib import Path as FilePath
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

import msgspec
from msgspec.structs import replace

from podfence.errors import AccessError, InputError, reason_of
from podfence.kube import yaml
from podfence.kube.access import wire
from podfence.kube.findings import Finding, Severity, unreadable
from podfence.kube.origin import Origin
from podfence.kube.validation.findings import Findings, go_quote
from podfence.kube.validation.shape import examine, found

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from podfence.kube.origin import Document, Path
    from podfence.kube.positions import SourceDocument

T = TypeVar("T")

VARIABLE: Final = "KUBECONFIG"
"""The variable that names the files, separated as in PATH."""

_DEFAULT: Final = (".kube", "config")
_KIND: Final = "Config"
_VERSION: Final = "v1"
_ONE_CHARACTER: Final = re.compile("'.'")
_QUOTED: Final = re.compile("""['"`].*['"`]""", re.DOTALL)
_FOUND: Final = ", found "
_LINE_BREAKS: Final = str.maketrans("", "", "\r\n")


@dataclass(frozen=True, slots=True)
class Entry(Generic[T]):
    """A named cluster, user or context; `origin` is the place of its value in a file."""

    name: str
    value: T
    origin: Origin

    @property
    def file(self) -> str:
        """The file the entry stands in, as it was named."""
        return self.origin.document.file

    def problem(self, message: str, *path: str, remedy: str = "") -> Finding:
        """Return an error about the field at `path` in the entry."""
        return problem(self.origin.document, self.origin.path + path, message, remedy)

    def resolve(self, path: str) -> str:
        """Return a path that the entry names as seen from the folder of its file; "" stays ""."""
        if not path:
            return path
        folder = os.path.dirname(os.path.abspath(self.file))  # noqa: PTH100, PTH120  links stay links
        return os.path.normpath(os.path.join(folder, path))  # noqa: PTH118  as Go's filepath.Join


@dataclass(frozen=True, slots=True)
class File:
    """What one kubeconfig file says; `document` is None for one without content."""

    name: str
    document: SourceDocument | None
    current: str
    clusters: tuple[Entry[wire.Cluster], ...]
    contexts: tuple[Entry[wire.Context], ...]
    users: tuple[Entry[wire.User], ...]


def read(name: str) -> File:
    """Return what the kubeconfig file called `name` says.

    Raises FileNotFoundError if there is none, and InputError with all that is wrong with it. Of several
    documents the first counts, as it does for kubectl.
    """
    try:
        data = FilePath(name).read_bytes()
    except FileNotFoundError:
        raise
    except OSError as error:
        raise InputError([unreadable(name, f"cannot be read: {reason_of(error)}")]) from None
    documents, problems = yaml.parse(data, name)
    errors = [_unquoted(problem) for problem in problems if problem.severity is Severity.ERROR]
    if errors:
        raise InputError(errors)
    if not documents:
        return File(name, None, "", (), (), ())
    document = documents[0]
    config = _decode(document)
    file = File(
        name,
        document,
        config.current_context or "",
        _entries(document, config.clusters, "clusters", wire.Cluster),
        _entries(document, config.contexts, "contexts", wire.Context),
        _entries(document, config.users, "users", wire.User),
    )
    errors = [*_check_names(file.clusters), *_check_names(file.contexts), *_check_names(file.users)]
    errors += _check_data(file)
    if errors:
        raise InputError(sorted(errors, key=lambda error: error.position))
    return file


def problem(document: Document, path: Path, message: str, remedy: str = "") -> Finding:
    """Return an error about the field at `path` of a document."""
    return Finding(position=document.locate(path), path=path, message=message, remedy=remedy)


def decode_data(text: str) -> bytes:
    """Return what base64 stands for; raises ValueError for what Go refuses too."""
    try:
        return base64.b64decode(text.translate(_LINE_BREAKS), validate=True)
    except ValueError:
        raise ValueError("this is not base64") from None


def contents(entry: Entry[T], field: str, path: str, problems: list[Finding]) -> bytes:
    """Return what is in a file that a field of an entry names; a file that cannot be read is added to `problems`."""
    resolved = entry.resolve(path)
    try:
        return FilePath(resolved).read_bytes()
    except OSError as error:
        problems.append(entry.problem(f"{resolved} cannot be read: {reason_of(error)}", field))
        return b""


def set_twice(entry: Entry[T], field: str) -> Finding:
    """Return the error of naming a file and giving its data too."""
    return entry.problem(f"{field} and {field}-data are both set", field, remedy="remove one of the two")


def _decode(document: SourceDocument) -> wire.Config:
    value = document.value
    if not isinstance(value, dict):
        message = f"expected a kubeconfig, found {_type_of(value)}"
        raise InputError([problem(document, (), message)])
    errors = []
    for field, wanted in (("kind", _KIND), ("apiVersion", _VERSION)):
        written = value.get(field)
        if isinstance(written, str) and written and written != wanted:
            message = f"expected {wanted}, found {go_quote(written)}"
            errors.append(problem(document, (field,), message, "this is no kubeconfig"))
    if errors:
        raise InputError(errors)
    try:
        return msgspec.convert(value, wire.Config)
    except msgspec.ValidationError:
        findings = Findings()
        examine(value, wire.Config, findings)
        raise InputError(
            [
                problem(
                    document,
                    finding.spot,
                    _without_value(finding.message, value, finding.spot),
                    "write it in brackets" if finding.remedy.startswith("write [") else finding.remedy,
                )
                for finding in findings
            ]
        ) from None


def _entries(document: SourceDocument, items: Iterable[Any] | None, field: str, empty: type[T]) -> tuple[Entry[T], ...]:
    """Return the entries of a list; the value of each is in a field with the name of the list, without its ``s``."""
    part = field.removesuffix("s")
    return tuple(
        Entry(item.name or "", getattr(item, part) or empty(), Origin(document, (field, index, part)))
        for index, item in enumerate(items or ())
        if item is not None
    )


def _check_names(entries: Iterable[Entry[T]]) -> Iterator[Finding]:
    seen: dict[str, Entry[T]] = {}
    for entry in entries:
        first = seen.setdefault(entry.name, entry)
        if first is not entry:
            path = (*entry.origin.path[:-1], "name")
            line = first.origin.document.locate((*first.origin.path[:-1], "name")).line
            message = f"duplicate name {go_quote(entry.name)}, already used on line {line}"
            yield problem(entry.origin.document, path, message, "names are unique inside of a file")


def _check_data(file: File) -> Iterator[Finding]:
    for cluster in file.clusters:
        yield from _check_base64(cluster, "certificate-authority-data", cluster.value.certificate_authority_data)
    for user in file.users:
        yield from _check_base64(user, "client-certificate-data", user.value.client_certificate_data)
        yield from _check_base64(user, "client-key-data", user.value.client_key_data)


def _check_base64(entry: Entry[T], field: str, text: str | None) -> Iterator[Finding]:
    try:
        decode_data(text or "")
    except ValueError as error:
        path = field.removesuffix("-data")
        yield entry.problem(str(error), field, remedy=f"name a file with {path}, or encode it with base64")


def _without_value(message: str, value: object, place: Path) -> str:
    """Return a message about a wrong type that tells the type of what was found, and not what it was."""
    for step in place:
        value = value[step]  # type: ignore[index]  # the place is one of the value
    return message.partition(_FOUND)[0] + _FOUND + _type_of(value)


def _type_of(value: object) -> str:
    match value:
        case bool():
            return "true or false"
        case str():
            return "a string"
        case int() | float():
            return "a number"
    return found(value)


def _unquoted(problem: Finding) -> Finding:
    """Return a problem of YAML without the text it quotes; single characters, as in ``expected ':'``, stay."""
    message = problem.message
    if _QUOTED.search(_ONE_CHARACTER.sub("", message)):
        message = _QUOTED.sub("a text", message)
    return replace(problem, message=message)


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

    The first wins for each name, and the first that sets a current context. An entry is taken whole: nothing is added
    to it from a later file's entry of the same name.

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
    return Kubeconfig(
        tuple(files),
        next((file.current for file in files if file.current), ""),
        {entry.name: entry for file in reversed(files) for entry in file.clusters},
        {entry.name: entry for file in reversed(files) for entry in file.contexts},
        {entry.name: entry for file in reversed(files) for entry in file.users},
    )
