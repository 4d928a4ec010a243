# SPDX-License-Identifier: Apache-2.0
"""Commits of a repository, read from its object store by the git program.

Only commands are used that run nothing but git itself, whatever the configuration of the repository says: no filters,
no hooks, no pager, no monitor of the file system, and no download of what the clone does not have. What users write
never becomes an option.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
from typing import IO, TYPE_CHECKING, Final, NamedTuple

from podfence.errors import MissingProgramError, PodfenceError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

MERGE_BASE: Final = "merge-base"
"""The revision that stands for the newest commit that HEAD has in common with the branch it is to be merged into."""

FILE, PROGRAM, LINK, SUBMODULE = "100644", "100755", "120000", "160000"
"""The modes of entries; old repositories have other modes of files."""

_BEFORE: Final = (
    *("git", "--no-pager", "--no-replace-objects", "--literal-pathspecs"),
    *("-c", "core.fsmonitor=false", "-c", "core.quotePath=false"),
)
_ENVIRON: Final = {
    "LC_ALL": "C",  # messages are recognised
    "GIT_OPTIONAL_LOCKS": "0",
    # A clone may lack objects, and git would fetch them with programs that the repository names.
    "GIT_NO_LAZY_FETCH": "1",
    "GIT_ALLOW_PROTOCOL": "none",
    "GIT_TERMINAL_PROMPT": "0",
}
# Where CI systems say which branch a pull request is to be merged into.
_TARGETS: Final = (
    "GITHUB_BASE_REF",
    "CI_MERGE_REQUEST_TARGET_BRANCH_NAME",
    "BITBUCKET_PR_DESTINATION_BRANCH",
    "SYSTEM_PULLREQUEST_TARGETBRANCH",
)
_USUAL: Final = ("origin/HEAD", "origin/main", "origin/master", "main", "master")
_CHUNK: Final = 1024 * 1024
_SHALLOW: Final = "this clone is shallow; get the whole history: git fetch --unshallow, or fetch-depth: 0 in CI"
_REMEDY_BASE: Final = "name the branch with --base BRANCH"


class GitError(PodfenceError):
    """A revision cannot be read: no repository, no such revision, or a clone that does not have it."""


class Entry(NamedTuple):
    """A file of a commit: its path from the root of the repository, its mode, and its object."""

    path: str
    mode: str
    object: str


class Content(NamedTuple):
    """What a file of a commit holds: its size in bytes, and the bytes unless there are too many."""

    entry: Entry
    size: int
    data: bytes


class Repository:
    """The repository that the current folder is in."""

    def __init__(self) -> None:
        """Find the repository. Raises GitError if there is none, and MissingProgramError without git."""
        said = os.fsdecode(self._run("rev-parse", "--is-shallow-repository", "--show-prefix", what="git:REV"))
        shallow, _, prefix = said.partition("\n")
        self.is_shallow = shallow == "true"
        self._trees: dict[tuple[str, str], str] = {}
        self.prefix = prefix.rstrip("\n")
        """The path of the folder from the root of the repository, with a slash at its end; "" at the root."""

    def inside(self, path: str) -> str | None:
        """Return the path from the root of what a user names in the folder, None if it is not in the repository."""
        here = os.path.realpath(".")
        top = os.path.normpath(os.path.join(here, *[".."] * self.prefix.count("/")))
        folder, name = os.path.split(os.path.join(here, path))
        found = os.path.relpath(os.path.join(os.path.realpath(folder), name), top)
        return None if found.split("/", 1)[0] == ".." else found

    def tree(self, revision: str, base: str = "") -> str:
        """Return the name of the tree of a revision; that of `MERGE_BASE` is about the branch `base`.

        Raises GitError for a revision that does not exist.
        """
        if not revision or "\0" in revision:
            raise GitError(f"git:{revision}: a revision is missing; write git:REV or git:REV:PATH")
        found = self._trees.get((revision, base))
        if found is None:
            asked = self._merge_base(base) if revision == MERGE_BASE else revision
            found = self._trees[revision, base] = self._tree_of(asked, revision)
        return found

    def entries(self, tree: str, path: str = "") -> list[Entry]:
        """Return the files of a tree below a path, or the file at the path; none if there is nothing there."""
        command = ["ls-tree", "-r", "-z", "--full-tree", "--end-of-options", tree]
        listed = self._run(*command, *([path] if path else []), what=f"tree {tree}")
        return [_entry(line) for line in listed.split(b"\0") if line]

    def contents(self, entries: Iterable[Entry], most: int) -> Iterator[Content]:
        """Yield files as git keeps them, of those that have more than `most` bytes only the size.

        Raises GitError for what the clone does not have.
        """
        wanted = list(entries)
        with tempfile.TemporaryFile() as asked:
            asked.write(b"".join(f"{entry.object}\n".encode() for entry in wanted))
            asked.seek(0)
            command = [*_BEFORE, "cat-file", "--batch"]
            with subprocess.Popen(
                command, stdin=asked, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=os.environ | _ENVIRON
            ) as process:
                if process.stdout is None:  # never: it is a pipe
                    return
                try:
                    for entry in wanted:
                        head = process.stdout.readline().split()
                        if len(head) != 3:
                            raise GitError(f"{entry.path}: this clone does not have the file; fetch it with git first")
                        size = int(head[2])
                        data = process.stdout.read(size) if size <= most else b""
                        _skip(process.stdout, size + 1 - len(data))
                        yield Content(entry, size, data)
                finally:
                    process.kill()

    def file(self, tree: str, path: str, most: int) -> bytes | None:
        """Return the contents of a file of a tree, None if there is no such file; b"" for more than `most` bytes."""
        found = [item for item in self.entries(tree, path) if item.path == path and item.mode in {FILE, PROGRAM}]
        return next((content.data for content in self.contents(found, most)), None)

    def _tree_of(self, revision: str, shown: str) -> str:
        found = self._ask("rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{tree}}")
        if found is None:
            why = f" ({_SHALLOW})" if self.is_shallow else ""
            raise GitError(f"git:{shown}: there is no revision {shown} here{why}")
        return found

    def _merge_base(self, base: str) -> str:
        branch = self._target(base)
        found = self._ask("merge-base", "--end-of-options", branch, "HEAD")
        if found is None:
            why = _SHALLOW if self.is_shallow else _REMEDY_BASE
            raise GitError(f"git:{MERGE_BASE}: HEAD and {branch} have no commit in common ({why})")
        return found.split("\n", 1)[0]

    def _target(self, base: str) -> str:
        """Return the branch that HEAD is to be merged into: the one given, the one CI names, or the usual one."""
        named = base or next((os.environ[name] for name in _TARGETS if os.environ.get(name)), "")
        named = named.removeprefix("refs/heads/")
        tried = ((f"origin/{named}", named) if not base else (named, f"origin/{named}")) if named else _USUAL
        for branch in tried:
            if self._ask("rev-parse", "--verify", "--quiet", "--end-of-options", f"{branch}^{{commit}}") is not None:
                return branch
        why = _SHALLOW if self.is_shallow and not base else _REMEDY_BASE
        raise GitError(f"git:{MERGE_BASE}: there is no branch {' or '.join(tried)} here ({why})")

    # Running git

    def _run(self, *command: str, what: str) -> bytes:
        done = self._done(command)
        if done.returncode:
            raise GitError(_complaint(os.fsdecode(done.stderr), what))
        return done.stdout

    def _ask(self, *command: str) -> str | None:
        """Return what git says, None if it fails."""
        done = self._done(command)
        return None if done.returncode else os.fsdecode(done.stdout).rstrip("\n")

    def _done(self, command: tuple[str, ...]) -> subprocess.CompletedProcess[bytes]:
        try:
            return subprocess.run(
                [*_BEFORE, *command],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                check=False,
                env=os.environ | _ENVIRON,
            )
        except FileNotFoundError:
            raise MissingProgramError("revisions (git:REV) need git on PATH, and it is not there") from None


def _entry(line: bytes) -> Entry:
    about, _, path = line.partition(b"\t")
    mode, _kind, name = about.split()
    return Entry(os.fsdecode(path), mode.decode(), name.decode())


def _skip(stream: IO[bytes], size: int) -> None:
    while size > 0 and (read := len(stream.read(min(size, _CHUNK)))):
        size -= read


def _complaint(said: str, what: str) -> str:
    """Return git's reason as a message, with what to do where that is known."""
    text = said.strip().removeprefix("fatal: ")
    if "not a git repository" in text:
        return f"{what}: this folder is not in a git repository"
    if "dubious ownership" in text:
        remedy = next((line.strip() for line in text.splitlines() if "safe.directory" in line), "")
        return f"{what}: git refuses this repository, because it belongs to another user (allow it: {remedy})"
    return f"{what}: git says: {' '.join(text.split()) or 'nothing'}"
