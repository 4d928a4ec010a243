# SPDX-License-Identifier: Apache-2.0
"""The inputs of ``-f`` and ``-k``: files, folders, patterns, standard input and kustomize, as kubectl takes them."""

from __future__ import annotations

import os
import stat
import sys
from typing import TYPE_CHECKING, Final

from podfence.errors import MissingProgramError
from podfence.kube import yaml
from podfence.kube.findings import Finding, Position, Severity

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from typing import BinaryIO

    from podfence.kube.positions import SourceDocument

EXTENSIONS: Final = (".json", ".yaml", ".yml")
"""What a file in a folder must end with to be read."""

SIZE_LIMIT: Final = 256 * 1024 * 1024
"""The largest input that is read, in bytes."""

KUSTOMIZE_TIMEOUT: Final = 60
"""How long kustomize may take, in seconds."""

_STDIN: Final = "-"
_STDIN_NAME: Final = "<stdin>"
_URL_STARTS: Final = ("http://", "https://")
_WILDCARDS: Final = frozenset("*?[")
# Pipes that the shell has opened for us, as in -f <(helm template .): reading them waits for no one new.
_OPENED_PIPES: Final = ("/dev/fd/", "/dev/stdin", "/proc/self/fd/")


def read(
    paths: Sequence[str],
    *,
    recursive: bool = False,
    stdin: BinaryIO | None = None,
    kustomize: str | None = None,
    progress: Callable[[float, int], None] | None = None,
) -> tuple[list[SourceDocument], list[Finding]]:
    """Return the documents of all inputs in the order given, and what is wrong with them.

    A path is a file (of any name), a folder (its .json, .yaml and .yml files in order of name, with
    `recursive` also those of its subfolders), a pattern with wildcards, or ``-`` for `stdin` (the process's
    own if None). `kustomize` is a folder to build with kustomize. A file met twice is read once.
    `progress` is told how many inputs are read, parts of one included, and how many there are.

    Never raises for bad input; raises MissingProgramError if kustomize is needed and absent.
    """
    inputs = _Inputs(recursive=recursive)
    for path in paths:
        inputs.add(path)
    total = len(inputs.names) + (kustomize is not None)
    documents: list[SourceDocument] = []
    problems = inputs.problems

    def parse(data: bytes, name: str, before: int) -> None:
        advance = (lambda part: progress(before + part, total)) if progress else None
        found, wrong = yaml.parse(data, name, advance)
        documents.extend(found)
        problems.extend(wrong)
        if progress:
            progress(before + 1, total)

    for before, path in enumerate(inputs.names):
        name = shown(path)
        data = _stdin(stdin, problems) if path == _STDIN else _contents(path, problems)
        if data is not None:
            parse(data, _STDIN_NAME if path == _STDIN else name, before)
    if kustomize is not None:
        name = f"{shown(kustomize)} (kustomize)"
        data = _build(kustomize, name, problems)
        if data is not None:
            parse(data, name, total - 1)
    return documents, problems


def shown(path: str) -> str:
    """Return a path as it can be printed: bytes that are not UTF-8 become U+FFFD."""
    return path.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def _error(name: str, message: str, remedy: str = "") -> Finding:
    return Finding(severity=Severity.ERROR, position=Position(name), message=message, remedy=remedy)


def _reason(error: OSError) -> str:
    """Return the system's word for an error, as a sentence's part."""
    text = error.strerror or str(error)
    return text[:1].lower() + text[1:]


class _Inputs:
    """The files that the paths of a command stand for, each once."""

    def __init__(self, *, recursive: bool) -> None:
        self.names: list[str] = []
        self.problems: list[Finding] = []
        self._recursive = recursive
        self._seen: set[tuple[int, int] | str] = set()

    def add(self, path: str) -> None:
        if path == _STDIN:
            self._once(_STDIN, _STDIN)
        elif not path or "\0" in path:
            self._refuse(path.replace("\0", "\\0") or '""', "this is no path")
        elif path.lower().startswith(_URL_STARTS):
            self._refuse(path, "addresses are not read", "download it and give the file, or pipe it into -f -")
        else:
            self._add_path(path)

    def _add_path(self, path: str) -> None:
        try:
            status = os.stat(path)  # noqa: PTH116  names are shown as typed, which Path would tidy up
        except FileNotFoundError:
            self._add_missing(path)
        except OSError as error:
            self._refuse(path, f"cannot be read: {_reason(error)}")
        else:
            if stat.S_ISDIR(status.st_mode):
                self._add_folder(path)
            else:
                self._add_file(path, status)

    def _add_missing(self, path: str) -> None:
        if os.path.islink(path):  # noqa: PTH114  as typed
            self._refuse(path, f"the link points to {shown(os.readlink(path))}, which does not exist")  # noqa: PTH115  as typed
        elif _WILDCARDS.isdisjoint(path):
            self._refuse(path, "no such file or folder")
        else:
            import glob  # noqa: PLC0415  seldom needed

            matches = sorted(glob.glob(path))  # noqa: PTH207  as typed
            for match in matches:
                self._add_path(match)
            if not matches:
                self._refuse(path, "the pattern matches no file")

    def _add_folder(self, path: str) -> None:
        problems = len(self.problems)
        count = 0
        for entry in self._walk(path, recursive=self._recursive):
            count += 1
            try:
                status = os.stat(entry)  # noqa: PTH116  as typed
            except FileNotFoundError:
                self._add_missing(entry)
            except OSError as error:
                self._refuse(entry, f"cannot be read: {_reason(error)}")
            else:
                self._add_file(entry, status)
        if count == 0 and len(self.problems) == problems:
            deeper = not self._recursive and next(_Inputs(recursive=True)._walk(path, recursive=True), None)  # noqa: SLF001  its own class
            self._refuse(
                path,
                "no .json, .yaml or .yml file in this folder",
                "its subfolders have some; add -R to read them" if deeper else "",
            )

    def _walk(self, folder: str, *, recursive: bool) -> Iterator[str]:
        """Yield the files of a folder in the order of kubectl: by name, subfolders in their place."""
        waiting = [(folder, True)]
        while waiting:
            path, is_folder = waiting.pop()
            if not is_folder:
                yield path
                continue
            try:
                with os.scandir(path) as entries:
                    found = sorted(entries, key=lambda entry: entry.name, reverse=True)
            except OSError as error:
                self._refuse(path, f"cannot be read: {_reason(error)}")
                continue
            for entry in found:
                name = os.path.join(path, entry.name)  # noqa: PTH118
                if entry.is_dir(follow_symlinks=False):
                    if recursive:
                        waiting.append((name, True))
                elif entry.is_symlink() and os.path.isdir(name):  # noqa: PTH112
                    if recursive:
                        self._warn(name, "a link to a folder is not followed", "give the folder itself")
                elif entry.name.endswith(EXTENSIONS):
                    waiting.append((name, False))

    def _add_file(self, path: str, status: os.stat_result) -> None:
        if stat.S_ISDIR(status.st_mode):
            self._refuse(path, "is a folder")
        elif stat.S_ISFIFO(status.st_mode) and path.startswith(_OPENED_PIPES):
            self._once(path, path)
        elif not stat.S_ISREG(status.st_mode):
            self._refuse(path, f"is {_kind(status.st_mode)}, not a file", "pipe it into -f -")
        elif status.st_size > SIZE_LIMIT:
            self._refuse(path, _too_large(status.st_size), "split it into several files")
        else:
            self._once(path, (status.st_dev, status.st_ino))

    def _once(self, path: str, identity: tuple[int, int] | str) -> None:
        if identity not in self._seen:
            self._seen.add(identity)
            self.names.append(path)

    def _refuse(self, path: str, message: str, remedy: str = "") -> None:
        self.problems.append(_error(shown(path), message, remedy))

    def _warn(self, path: str, message: str, remedy: str) -> None:
        self.problems.append(
            Finding(severity=Severity.WARNING, position=Position(shown(path)), message=message, remedy=remedy)
        )


def _kind(mode: int) -> str:
    if stat.S_ISFIFO(mode):
        return "a pipe"
    return "a socket" if stat.S_ISSOCK(mode) else "a device"


def _too_large(size: int) -> str:
    return f"has {size // (1024 * 1024)} MB; inputs over {SIZE_LIMIT // (1024 * 1024)} MB are not read"


def _contents(path: str, problems: list[Finding]) -> bytes | None:
    try:
        with open(path, "rb") as file:  # noqa: PTH123
            data = file.read(SIZE_LIMIT + 1)
    except OSError as error:
        problems.append(_error(shown(path), f"cannot be read: {_reason(error)}"))
        return None
    return _limited(data, shown(path), problems)


def _stdin(stdin: BinaryIO | None, problems: list[Finding]) -> bytes | None:
    try:
        data = (stdin or sys.stdin.buffer).read(SIZE_LIMIT + 1)
    except OSError as error:
        problems.append(_error(_STDIN_NAME, f"cannot be read: {_reason(error)}"))
        return None
    return _limited(data, _STDIN_NAME, problems)


def _limited(data: bytes, name: str, problems: list[Finding]) -> bytes | None:
    if len(data) > SIZE_LIMIT:
        problems.append(_error(name, _too_large(len(data)), "split it into several files"))
        return None
    return data


def _build(folder: str, name: str, problems: list[Finding]) -> bytes | None:
    """Return what kustomize makes of a folder; None and a problem if it fails."""
    import shutil  # noqa: PLC0415  slow to import, seldom needed
    import subprocess  # noqa: PLC0415

    found = shutil.which("kustomize") or shutil.which("kubectl")
    if not found:
        message = "-k needs kustomize or kubectl on PATH, and neither is there"
        raise MissingProgramError(message)
    task = "build" if os.path.basename(found) == "kustomize" else "kustomize"  # noqa: PTH119
    command = f"{os.path.basename(found)} {task}"  # noqa: PTH119
    try:
        done = subprocess.run(
            [found, task, "--", folder],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=KUSTOMIZE_TIMEOUT,
            check=False,
        )
    except subprocess.TimeoutExpired:
        problems.append(_error(name, f"{command} did not end within {KUSTOMIZE_TIMEOUT} seconds"))
        return None
    except OSError as error:
        problems.append(_error(name, f"{command} cannot be run: {_reason(error)}"))
        return None
    if done.returncode:
        said = done.stderr.decode("utf-8", "replace").strip().removeprefix("error: ").removeprefix("Error: ")
        problems.append(_error(name, f"{command} failed: {said or f'exit code {done.returncode}'}"))
        return None
    return _limited(done.stdout, name, problems)
