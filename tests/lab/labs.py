# SPDX-License-Identifier: Apache-2.0
"""Labs for tests: started for them, ended after them, whatever happens."""

from __future__ import annotations

import os
import select
import shutil
import subprocess
import sys
import time
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from podfence.errors import PodfenceError
from podfence.lab import sandbox
from podfence.lab.client import Client

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from podfence.lab.client import Message

PROGRAM = Path(sys.executable).with_name("podfence")
EXAMPLES = Path(__file__).parents[2] / "examples"
SOURCES = Path(__file__).parents[2] / "src"

PATIENCE = 120.0
"""Seconds after which what must come is said not to."""
_NUMBERS = count()


def impossible() -> str:
    """Return why there can be no lab here, "" if there can."""
    try:
        sandbox.require_programs()
        sandbox.isolation()
    except PodfenceError as error:
        return str(error)
    return ""


needs_lab = pytest.mark.skipif(bool(impossible()), reason=impossible())
"""Marks tests that start labs."""


def within(what: Callable[[], object]) -> bool:
    """Return whether something becomes true in time, on a busy machine too."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        if what():
            return True
        select.select([], [], [], 0.02)
    return False


class Run:
    """The commands of one lab, as a person types them."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.client = Client(name)

    def __call__(self, *words: str, stdin: str = "", check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run ``podfence lab ...``; unless `check` is off, it must succeed."""
        done = subprocess.run(
            (PROGRAM, "lab", *words),
            input=stdin,
            capture_output=True,
            text=True,
            check=False,
            timeout=5 * PATIENCE,
            env=os.environ | {"PODFENCE_LAB": self.name},
        )
        assert not check or done.returncode == 0, f"{words}: {done.returncode}\n{done.stdout[-3000:]}\n{done.stderr}"
        return done

    def status(self) -> Message:
        """Return what `lab status` tells."""
        return self.client.request("status")

    def is_running(self) -> bool:
        """Return whether there is such a lab."""
        return self("status", check=False).returncode == 0


def fresh_name() -> str:
    """Return the name of a lab that no other test has."""
    return f"test-{os.getpid()}-{next(_NUMBERS)}"


@contextmanager
def running(*words: str, stdin: str = "") -> Iterator[Run]:
    """Start a lab with these words after ``lab up``; it ends with this."""
    run = Run(fresh_name())
    try:
        run("up", *words, stdin=stdin)
        yield run
    finally:
        run("down", check=False)


def processes(name: str) -> list[int]:
    """Return all processes of a lab, the oldest first, which is the one on the outside."""
    found = []
    for folder in Path("/proc").iterdir():
        try:
            environ = (folder / "environ").read_bytes() if folder.name.isdigit() else b""
            if f"PODFENCE_LAB={name}\0".encode() in environ and int(folder.name) != os.getpid():
                found.append((started(folder), int(folder.name)))
        except OSError:
            continue
    return [pid for _, pid in sorted(found)]


def started(folder: Path) -> int:
    """Return when a process was started, in the kernel's ticks; its number says nothing once numbers begin anew."""
    return int((folder / "stat").read_text().rpartition(")")[2].split()[19])


def has(program: str) -> bool:
    """Return whether the machine has a program."""
    return shutil.which(program, path=sandbox.search_path()) is not None


def python_for_nobody() -> str | None:
    """Return an interpreter of this version that every user may run, None without one or without root."""
    if os.geteuid():
        return None
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    for name in (sys.executable, f"/usr/bin/python{version}", f"/usr/local/bin/python{version}"):
        command = (
            "setpriv",
            "--reuid=65534",
            "--regid=65534",
            "--clear-groups",
            "env",
            name,
            "-c",
            "import podfence, msgspec",
        )
        try:
            done = subprocess.run(command, capture_output=True, check=False, env=os.environ | packages(), cwd="/")
        except OSError:
            return None
        if done.returncode == 0:
            return name
    return None


def packages() -> dict[str, str]:
    """Return the environment by which another interpreter finds what this one has installed."""
    return {"PYTHONPATH": os.pathsep.join(path for path in (str(SOURCES), *sys.path) if path)}
