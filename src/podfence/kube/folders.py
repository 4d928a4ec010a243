# SPDX-License-Identifier: Apache-2.0
"""The files that paths stand for, as kubectl takes them, and what of folders is not read and why.

A file that somebody names is read or refused. A folder holds what people have in folders: of that, manifests are
taken, and the rest is left out and counted.
"""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING, Final, NamedTuple

from podfence.errors import reason_of
from podfence.kube.findings import Code, Severity, unreadable
from podfence.kube.omissions import PACKED, Gap, LeftOut, Reason, file_may_hold_policy, template_may_hold_policy

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from podfence.kube.findings import Finding

EXTENSIONS: Final = (".json", ".yaml", ".yml")
"""What a file in a folder must end with to be read."""

SIZE_LIMIT: Final = 256 * 1024 * 1024
"""The largest input that is read, in bytes."""

STDIN: Final = "-"
WILDCARDS: Final = frozenset("*?[")
KUSTOMIZATIONS: Final = ("kustomization.yaml", "kustomization.yml", "Kustomization")
"""The names that kustomize looks for."""

_URL_STARTS: Final = ("http://", "https://")
# Pipes that the shell has opened for us, as in -f <(helm template .): reading them waits for no one new.
_OPENED_PIPES: Final = ("/dev/fd/", "/dev/stdin", "/proc/self/fd/")
_TOOLS: Final = frozenset({"node_modules"})
_CHART: Final = "Chart.yaml"
_TEMPLATES: Final = "templates"
_CHART_FOLDERS: Final = (_TEMPLATES, "charts")
CANDIDATES: Final = (*EXTENSIONS, ".tpl", PACKED)
"""What the name of a file ends with that may be looked at in a folder, also in charts that are not rendered."""

# Folders that are not read are only counted, and nobody needs the exact number of very many.
_MOST_COUNTED: Final = 100_000


class Exclusion(NamedTuple):
    """Patterns of what is left out of folders, as gitignore reads them in the folder `base`.

    "" as `base` is the folder that somebody named, each one for what is in it.
    """

    patterns: tuple[str, ...]
    base: str = ""


class Found(NamedTuple):
    """A file to read; `folder` is the folder that somebody named and it was found in, "" if it was named itself."""

    path: str
    folder: str = ""


class Folder(NamedTuple):
    """Subfolders of a folder that nobody asked to read, and how many manifests are in them."""

    path: str
    subfolders: int
    manifests: int


class Inputs:
    """The files that the paths of a command stand for, each once, and what was left out on the way."""

    def __init__(self, *, recursive: bool, forgiving: bool, exclude: Sequence[Exclusion] = ()) -> None:
        """Take no path yet; without `forgiving`, what cannot be read in a folder is an error as in kubectl."""
        self.files: list[Found] = []
        self.problems: list[Finding] = []
        self.left_out: list[LeftOut] = []
        self.gaps: list[Gap] = []
        self.unread: list[Folder] = []
        self._deeper: list[tuple[str, str]] = []
        self._leading_out: list[tuple[str, str]] = []
        self._recursive = recursive
        self._forgiving = forgiving
        self._exclude = [(item.base, _matcher(item.patterns)) for item in exclude if item.patterns]
        self._seen: set[tuple[int, int] | str] = set()

    def add(self, path: str) -> None:
        """Take what a path stands for: a file, a folder, a pattern, or ``-``."""
        if path == STDIN:
            self._once(STDIN, "", STDIN)
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
            self._refuse(path, f"cannot be read: {reason_of(error)}")
        else:
            if stat.S_ISDIR(status.st_mode):
                self._add_folder(path)
            else:
                self._add_file(path, status)

    def _add_missing(self, path: str) -> None:
        if os.path.islink(path):  # noqa: PTH114  as typed
            self._refuse(path, f"the link points to {shown(os.readlink(path))}, which does not exist")  # noqa: PTH115  as typed
        elif WILDCARDS.isdisjoint(path):
            self._refuse(path, "no such file or folder")
        else:
            import glob  # noqa: PLC0415  seldom needed

            matches = sorted(glob.glob(path))  # noqa: PTH207  as typed
            for match in matches:
                self._add_path(match)
            if not matches:
                self._refuse(path, "the pattern matches no file")

    def _add_file(self, path: str, status: os.stat_result) -> None:
        if stat.S_ISFIFO(status.st_mode) and path.startswith(_OPENED_PIPES):
            self._once(path, "", path)
        elif not stat.S_ISREG(status.st_mode):
            self._refuse(path, f"is {_kind(status.st_mode)}, not a file", "pipe it into -f -")
        elif status.st_size > SIZE_LIMIT:
            self._refuse(path, too_large(status.st_size), "split it into several files")
        else:
            self._once(path, "", _identity(status))

    # Folders

    def _add_folder(self, folder: str) -> None:
        before = len(self.problems), len(self.left_out)
        holds_any = False
        if self._forgiving and self._is_in_chart(folder):
            parent, name = os.path.split(folder.rstrip("/"))
            # As typed where that says which folder it is in.
            self._leave_chart((parent or ".") if name == _TEMPLATES else os.path.dirname(os.path.abspath(folder)))  # noqa: PTH100, PTH120  links stay links
            return
        for path in self._walk(folder):
            holds_any = True
            self._add_found(path, folder)
        if not self._recursive:
            self._count_unread(folder)
        if not holds_any and before == (len(self.problems), len(self.left_out)):
            deeper = bool(self.unread and self.unread[-1].path == folder)
            remedy = "its subfolders have some; add -R to read them" if deeper else ""
            self._refuse(folder, "no .json, .yaml or .yml file in this folder", remedy, Code.NO_OBJECT)

    def _walk(self, folder: str) -> Iterator[str]:
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
                self._seen.add(_identity(os.stat(path)))  # noqa: PTH116  as typed
            except OSError as error:
                self._refuse(path, f"cannot be read: {reason_of(error)}")
                continue
            names = {entry.name for entry in found}
            is_chart = self._forgiving and _CHART in names and not names.isdisjoint(_CHART_FOLDERS)
            if is_chart:
                self._leave_chart(path)
            for entry in found:
                name = os.path.join(path, entry.name)  # noqa: PTH118 - a text is quicker than a Path, and this is done for every file
                if entry.is_dir(follow_symlinks=False):
                    if is_chart and entry.name in _CHART_FOLDERS:
                        continue
                    if self._recursive and not self._skips(name, entry.name, folder):
                        waiting.append((name, True))
                elif entry.is_symlink() and os.path.isdir(name):  # noqa: PTH112 - a text is quicker than a Path, and this is done for every file
                    if self._recursive and not self._is_excluded(f"{name}/", folder):
                        self._leave_link(name, folder)
                elif entry.name.endswith(EXTENSIONS) or (self._forgiving and entry.name in KUSTOMIZATIONS):
                    waiting.append((name, False))

    def _skips(self, path: str, name: str, root: str) -> bool:
        """Return whether a subfolder is not entered, and count it if so."""
        if self._is_excluded(f"{path}/", root):
            return True
        if self._forgiving and (name.startswith(".") or name in _TOOLS):
            self._leave(Reason.TOOLS, path)
            return True
        return False

    def _add_found(self, path: str, root: str) -> None:
        """Take a file that was found in a folder, unless it is none."""
        if self._is_excluded(path, root):
            return
        try:
            status = os.stat(path)  # noqa: PTH116  as typed
        except OSError:
            if self._forgiving and os.path.islink(path):  # noqa: PTH114  as typed
                self._leave(Reason.LINK, path)
            else:
                self._add_path(path)
            return
        is_file = stat.S_ISREG(status.st_mode)
        if not self._forgiving:
            self._add_file(path, status)
        elif os.path.islink(path) and not _is_inside(path, root):  # noqa: PTH114  as typed
            self._leave(Reason.LINK, path)
            if is_file:
                self._leading_out.append((root, path))
        elif not is_file or status.st_size > SIZE_LIMIT:
            self._leave(Reason.SPECIAL, path)
            if is_file:
                self.gaps.append(Gap(f"{shown(path)} is too large to be read", "split it into several files"))
        else:
            self._once(path, root, _identity(status))

    def _is_excluded(self, path: str, root: str) -> bool:
        """Return whether somebody left a file or folder out, and count it if so."""
        if found := self._excludes(path, root):
            self._leave(Reason.EXCLUDED, path)
        return found

    def _excludes(self, path: str, root: str) -> bool:
        inside = path[len(root.rstrip("/")) + 1 :]
        names = ((_relative(path, base) if base else inside, matches) for base, matches in self._exclude)
        return any(name and matches(name) for name, matches in names)

    def _is_in_chart(self, folder: str) -> bool:
        """Return whether a folder is the templates of a chart."""
        path = os.path.abspath(folder)  # noqa: PTH100  links stay links
        return os.path.basename(path) == _TEMPLATES and os.path.isfile(os.path.join(os.path.dirname(path), _CHART))  # noqa: PTH113, PTH118, PTH119, PTH120 - a text is quicker than a Path, and this is done for every file

    def _leave_chart(self, chart: str) -> None:
        """Count a chart that is not rendered; its subcharts are part of it, also those that are packed."""
        self._leave(Reason.CHART, chart)
        parts = (os.path.join(chart, name) for name in _CHART_FOLDERS)  # noqa: PTH118 - a text is quicker than a Path, and this is done for every file
        if any(template_may_hold_policy(path) for part in parts for path in _files(part, CANDIDATES)):
            what = f"chart {shown(chart)} is not rendered and has policies"
            self.gaps.append(Gap(what, f"--helm {shown(chart)} renders it"))

    def _leave_link(self, path: str, root: str) -> None:
        if self._forgiving:
            self._leave(Reason.LINK, path)
            if not _is_inside(path, root):
                self._leading_out.append((root, path))
        else:
            message, remedy = "a link to a folder is not followed", "give the folder itself"
            self.problems.append(unreadable(shown(path), message, remedy, severity=Severity.WARNING))

    def _count_unread(self, folder: str) -> None:
        try:
            with os.scandir(folder) as entries:
                subfolders = [entry.path for entry in entries if entry.is_dir(follow_symlinks=False)]
        except OSError:
            return
        several = [
            [name for name, _ in zip(_files(path, EXTENSIONS), range(_MOST_COUNTED), strict=False)]
            for path in subfolders
            if not os.path.basename(path).startswith(".")  # noqa: PTH119 - a text is quicker than a Path, and this is done for every file
        ]
        if any(several):
            self.unread.append(Folder(folder, sum(map(bool, several)), sum(map(len, several))))
            self._deeper += ((folder, path) for paths in several for path in paths)

    def finish(self) -> None:
        """Tell where policies may lie that no path reads; to be called when all paths have been added."""
        if not self._forgiving:
            return
        for folder, path in self._deeper:
            if not (self._excludes(path, folder) or self._is_read(path)) and file_may_hold_policy(path, SIZE_LIMIT):
                self.gaps.append(Gap(f"subfolders of {shown(folder)} have policies and were not read", "-R reads them"))
                break
        for folder, path in self._leading_out:
            if not self._is_read(path):
                what = f"link {shown(path)} leads out of {shown(folder)} and was not followed"
                self.gaps.append(Gap(what, "give what it leads to, or leave it out with --exclude"))

    # Keeping count

    def _is_read(self, path: str) -> bool:
        try:
            return _identity(os.stat(path)) in self._seen  # noqa: PTH116  as typed
        except OSError:
            return False

    def _once(self, path: str, folder: str, identity: tuple[int, int] | str) -> None:
        if identity not in self._seen:
            self._seen.add(identity)
            self.files.append(Found(path, folder))

    def _leave(self, reason: Reason, path: str) -> None:
        self.left_out.append(LeftOut(reason, shown(path)))

    def _refuse(self, path: str, message: str, remedy: str = "", code: Code = Code.UNREADABLE) -> None:
        self.problems.append(unreadable(shown(path), message, remedy, code=code))


def is_called_kustomization(item: Found) -> bool:
    """Return whether a file of a folder has one of the names that kustomize looks for."""
    return bool(item.folder) and os.path.basename(item.path) in KUSTOMIZATIONS  # noqa: PTH119 - a text is quicker than a Path, and this is done for every file


def shown(path: str) -> str:
    """Return a path as it can be printed: bytes that are not UTF-8 become U+FFFD."""
    return path.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def too_large(size: int) -> str:
    """Return the message about an input of more than `SIZE_LIMIT` bytes."""
    return f"has {size // (1024 * 1024)} MB; inputs over {SIZE_LIMIT // (1024 * 1024)} MB are not read"


def _matcher(patterns: Sequence[str]) -> Callable[[str], bool]:
    from pathspec import GitIgnoreSpec  # noqa: PLC0415  seldom needed

    return GitIgnoreSpec.from_lines(patterns).match_file


def _relative(path: str, base: str) -> str:
    """Return a path as seen from a folder, "" if it is not inside; a slash at its end stays."""
    inside = os.path.relpath(path, base)
    return "" if inside.startswith("..") else inside + "/" * path.endswith("/")


def _identity(status: os.stat_result) -> tuple[int, int]:
    """Return what tells a file or folder from others, by whatever path it is met."""
    return status.st_dev, status.st_ino


def _is_inside(path: str, root: str) -> bool:
    """Return whether what a link leads to lies in a folder."""
    real, top = os.path.realpath(path), os.path.realpath(root)
    return os.path.commonpath((real, top)) == top


def _files(folder: str, extensions: tuple[str, ...]) -> Iterator[str]:
    for path, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith(".") and name not in _TOOLS)
        for name in sorted(names):
            if name.endswith(extensions):
                yield os.path.join(path, name)  # noqa: PTH118 - a text is quicker than a Path, and this is done for every file


def _kind(mode: int) -> str:
    if stat.S_ISFIFO(mode):
        return "a pipe"
    if stat.S_ISDIR(mode):
        return "a folder"
    return "a socket" if stat.S_ISSOCK(mode) else "a device"
