# SPDX-License-Identifier: Apache-2.0
"""The documentation is true: its console sessions are run, its links lead somewhere.

A session is a fenced ``console`` block. Lines that start with ``$ podfence`` are run from the root
of the checkout, and what follows each, up to the next ``$``, is everything the command prints, standard
error after standard output. A block that cannot be run is preceded by ``<!-- not run: reason -->``.
"""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).resolve().parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("examples/**/*.md")])
BLOCK = re.compile(
    r"^(?P<mark><!-- not run: .+ -->\n\s*)?^(?P<indent> *)```console\n(?P<text>.*?)^(?P=indent)```$",
    re.MULTILINE | re.DOTALL,
)
LINK = re.compile(r"(?<!!)\[[^]]*\]\((?P<target>[^)\s]+)\)")
HEADING = re.compile(r"^#+ (?P<title>.+)$", re.MULTILINE)
FENCE = re.compile(r"^ *```.*?^ *```$", re.MULTILINE | re.DOTALL)


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


SESSIONS = [session for page in PAGES for session in sessions(str(page.relative_to(ROOT)), page.read_text())]


@pytest.mark.parametrize("session", [pytest.param(session, id=session.place) for session in SESSIONS])
def test_session_prints_what_the_page_shows(session: Session) -> None:
    program, *arguments = shlex.split(session.command)

    answer = subprocess.run(
        [Path(sys.executable).parent / program, *arguments],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )

    assert (answer.stdout + answer.stderr).rstrip("\n") == session.output.rstrip("\n")


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
