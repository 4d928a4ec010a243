# SPDX-License-Identifier: Apache-2.0
"""Git repositories that tests make: with nothing of the user's configuration, and the same commits on every run."""

from __future__ import annotations

import os
import shutil
import subprocess
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pathlib import Path

ENVIRON: Final = {
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_AUTHOR_NAME": "Ann",
    "GIT_AUTHOR_EMAIL": "ann@example.org",
    "GIT_AUTHOR_DATE": "2027-01-01T00:00:00Z",
    "GIT_COMMITTER_NAME": "Ann",
    "GIT_COMMITTER_EMAIL": "ann@example.org",
    "GIT_COMMITTER_DATE": "2027-01-01T00:00:00Z",
}


class Checkout:
    """A repository with a working tree."""

    def __init__(self, folder: Path) -> None:
        """Make it, with the branch main and no commit."""
        self.folder = folder
        folder.mkdir(exist_ok=True)
        self.git("init", "-q", "-b", "main")

    def copied(self, folder: Path) -> Checkout:
        """Return a copy in another folder."""
        shutil.copytree(self.folder, folder, symlinks=True)
        copy = object.__new__(Checkout)
        copy.folder = folder
        return copy

    def git(self, *arguments: str, stdin: bytes = b"") -> str:
        """Return what git prints."""
        done = subprocess.run(
            ["git", "-c", "protocol.file.allow=always", "-C", self.folder, *arguments],
            input=stdin,
            capture_output=True,
            check=False,
            env=os.environ | ENVIRON,
        )
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout.decode().strip()

    def write(self, files: dict[str, str]) -> None:
        """Write files of the working tree."""
        for name, text in files.items():
            path = self.folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)

    def commit(self, files: dict[str, str] | None = None, message: str = "change") -> str:
        """Commit everything that is in the working tree, with some files written before, and return the commit."""
        self.write(files or {})
        self.git("add", "-A", "-f")
        self.git("commit", "-q", "--allow-empty", "-m", message)
        return self.git("rev-parse", "HEAD")
