# SPDX-License-Identifier: Apache-2.0
"""The documentation is true: its console sessions are run, its links lead somewhere.

A session is a fenced ``console`` block. Lines that start with ``$ podfence`` are run from the root
of the checkout, and what follows each, up to the next ``$``, is everything the command prints, standard
error after standard output. A block that cannot be run is preceded by ``<!-- not run: reason -->``.
One that is part of a session in a cluster is preceded by ``<!-- needs: ... -->``, and tests/lab/test_recipes.py runs it.

The ``podfence lab`` sessions of a page are run in order in one lab; what they show is what a terminal would.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from contextlib import chdir
from itertools import groupby
from pathlib import Path
from typing import Final, NamedTuple

import pytest
from click.testing import CliRunner

from podfence.cli.main import commands
from tests.lab.labs import Run, fresh_name, needs_lab

ROOT = Path(__file__).resolve().parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("examples/**/*.md")])
BLOCK = re.compile(
    r"^(?P<mark><!-- (?:not run|needs): .+ -->\n\s*)?^(?P<indent> *)```console\n(?P<text>.*?)^(?P=indent)```$",
    re.MULTILINE | re.DOTALL,
)
LINK = re.compile(r"(?<!!)\[[^]]*\]\((?P<target>[^)\s]+)\)")
HEADING = re.compile(r"^#+ (?P<title>.+)$", re.MULTILINE)
FENCE = re.compile(r"^ *```.*?^ *```$", re.MULTILINE | re.DOTALL)
CODE = ROOT / "src" / "podfence"
ROOMS: Final = "|".join(sorted(path.name for path in CODE.iterdir() if path.is_dir() and path.name.isidentifier()))
MODULE = re.compile(rf"(?:`(?P<name>[\w.]+)` in )?`(?:src/podfence/)?(?P<path>(?:{ROOMS})/[\w/]+(?:\.py)?)`")

VARYING: Final = (
    (re.compile(r"after \d+ ms"), "after some ms"),
    (re.compile(r"cut \d+ established flows?"), "cut some established flows"),
    # Counted are packets, and a resolver may ask once more.
    (re.compile(r"^(shop +\w+ +\S+ +)\d+ +\d+ +(?=after)", re.MULTILINE), r"\1some some "),
    (re.compile(r"real: nginx of this machine|stand-in: answers on TCP 80$", re.MULTILINE), "nginx"),
)
"""What the output of a lab has that is another each time or on another machine, and what is compared in its place."""


class Session(NamedTuple):
    """One command of the documentation and what it is said to print."""

    place: str
    command: str
    output: str


def sessions(page: str, text: str) -> list[Session]:
    """Return the commands of a page that are to be run, in order."""
    found = []
    for block in BLOCK.finditer(text):
        if block["mark"]:
            continue
        line_number = text.count("\n", 0, block.start("text")) + 1
        lines = [line.removeprefix(block["indent"]) for line in block["text"].splitlines()]
        starts = [index for index, line in enumerate(lines) if line.startswith("$ ")]
        for start, end in zip(starts, [*starts[1:], len(lines)], strict=True):
            if lines[start].startswith("$ podfence"):
                output = "".join(f"{line}\n" for line in lines[start + 1 : end])
                found.append(Session(f"{page}:{line_number + start}", lines[start].removeprefix("$ "), output))
    return found


def in_lab(session: Session) -> bool:
    """Return whether a session is one of a lab."""
    return session.command.startswith("podfence lab ")


def printed(command: str, lab: str | None = None) -> str:
    """Return what a command prints, standard error after standard output; in a lab, as a terminal would show it."""
    program, *arguments = shlex.split(command)
    if lab is None:
        with chdir(ROOT):
            found = CliRunner().invoke(commands, arguments)
        return (found.stdout + found.stderr).rstrip("\n")
    answer = subprocess.run(
        [Path(sys.executable).parent / program, *arguments],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        env=os.environ | {"PODFENCE_LAB": lab, "PYTHONUNBUFFERED": "1"},
    )
    return answer.stdout.rstrip("\n")


def settled(output: str) -> str:
    """Return what a lab printed without what varies."""
    for pattern, instead in VARYING:
        output = pattern.sub(instead, output)
    return output.rstrip("\n")


_ALL = [session for page in PAGES for session in sessions(str(page.relative_to(ROOT)), page.read_text())]
SESSIONS = [session for session in _ALL if not in_lab(session)]
LABS = {page: list(found) for page, found in groupby(filter(in_lab, _ALL), key=lambda item: item.place.split(":")[0])}


@pytest.mark.parametrize("session", [pytest.param(session, id=session.place) for session in SESSIONS])
def test_session_prints_what_the_page_shows(session: Session) -> None:
    assert printed(session.command) == session.output.rstrip("\n")


@needs_lab
@pytest.mark.parametrize("page", LABS)
def test_sessions_in_a_lab_print_what_the_page_shows(page: str) -> None:
    lab = fresh_name()
    try:
        for session in LABS[page]:
            assert settled(printed(session.command, lab)) == settled(session.output), session.place
    finally:
        Run(lab)("down", check=False)


def test_sessions_are_found_and_marked_ones_left_out() -> None:
    page = """\
```console
$ podfence version
1

$ ls
a
$ podfence options
```
<!-- not run: needs a cluster -->
```console
$ podfence list
```
"""

    assert sessions("page.md", page) == [
        Session("page.md:2", "podfence version", "1\n\n"),
        Session("page.md:7", "podfence options", ""),
    ]


def anchor(title: str) -> str:
    """Return the fragment that names a heading."""
    return re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")


@pytest.mark.parametrize("page", [pytest.param(page, id=str(page.relative_to(ROOT))) for page in PAGES])
def test_links_lead_somewhere(page: Path) -> None:
    broken = []
    for link in LINK.finditer(FENCE.sub("", page.read_text())):
        path, _, fragment = link["target"].partition("#")
        if ":" in path:
            continue
        target = (page.parent / path).resolve() if path else page
        anchors = (
            {anchor(title) for title in HEADING.findall(target.read_text())}
            if target.suffix == ".md" and target.exists()
            else set()
        )
        if not target.exists() or (fragment and fragment not in anchors):
            broken.append(link["target"])

    assert broken == []


@pytest.mark.parametrize("page", ["docs/explanation/architecture.md", "CONTRIBUTING.md"])
def test_modules_and_functions_that_a_page_names_exist(page: str) -> None:
    named = list(MODULE.finditer((ROOT / page).read_text()))
    absent = []
    for item in named:
        place = next((place for place in (CODE / item["path"], ROOT / "tests" / item["path"]) if place.exists()), None)
        word = (item["name"] or "").rpartition(".")[2]
        if place is None or (word and not re.search(rf"^ *(def |class )?{word}\b", place.read_text(), re.MULTILINE)):
            absent.append(item[0])

    assert named
    assert absent == []
