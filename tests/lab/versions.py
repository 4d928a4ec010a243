# SPDX-License-Identifier: Apache-2.0
"""Tries what kubectl can do in labs with every kubectl that is given, and writes docs/reference/kubectl.md anew.

    python -m tests.lab.versions 1.34.2 /usr/bin/kubectl

A version is built from its Go module. Exit code 1: with one of them, a test fails.
"""

from __future__ import annotations

import datetime as dt
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final
from xml.etree import ElementTree as ET

from tests.lab.typed import PAGE, rows

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

ROOT: Final = Path(__file__).parents[2]
SUITES: Final = {
    "the recipes": ("tests/lab/test_recipes.py",),
    "recorded commands": ("tests/lab/apiserver/test_recorded_commands.py",),
    "other commands": ("tests/lab/apiserver/test_more_commands.py",),
    "streams, whole labs": (
        "tests/lab/apiserver/test_streams.py",
        "tests/lab/test_kubectl.py",
        "tests/lab/test_without_kubectl.py",
    ),
}
"""What is tried with each kubectl."""


def main(given: Sequence[str]) -> int:
    """Try each of these kubectls, and return the exit code."""
    tried: list[tuple[str, list[str]]] = []
    _write(tried)
    for path in map(_path, given):
        tried.append((_version(path), _try(path)))
        _write(tried)
    return any(cell != "passed" for _, cells in tried for cell in cells)


def tables(tried: Sequence[tuple[str, Sequence[str]]]) -> dict[str, list[str]]:
    """Return the lines of the tables by name: what is typed, and what came of it with which kubectl."""
    today = f"{dt.datetime.now(tz=dt.UTC):%-d %B %Y}"
    found = {"commands": _table(("command", "recorded", "flags that work", "refused"), rows())}
    if tried:
        header = ("kubectl", *SUITES, "on")
        found["versions"] = _table(header, [(version, *cells, today) for version, cells in tried])
    return found


def replaced(text: str, found: dict[str, list[str]]) -> str:
    """Return the text of the page with these tables between their marks."""
    for name, lines in found.items():
        start, end = f"<!-- {name} -->\n", f"<!-- end of {name} -->"
        before, _, rest = text.partition(start)
        text = f"{before}{start}\n" + "\n".join(lines) + f"\n\n{end}{rest.partition(end)[2]}"
    return text


def _write(tried: Sequence[tuple[str, Sequence[str]]]) -> None:
    PAGE.write_text(replaced(PAGE.read_text(encoding="utf-8"), tables(tried)), encoding="utf-8")


def _table(header: Sequence[str], lines: Iterable[Sequence[str]]) -> list[str]:
    return [_row(header), "|" + "---|" * len(header), *map(_row, lines)]


def _row(cells: Sequence[str]) -> str:
    return "".join(f"| {cell} " if cell else "| " for cell in cells) + "|"


def _path(given: str) -> Path:
    if "/" in given:
        return Path(given).resolve()
    built = subprocess.run(("sh", "scripts/kubectl", given), cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True)
    return Path(built.stdout.strip())


def _version(path: Path) -> str:
    printed = subprocess.run((path, "version", "--client", "-o", "json"), capture_output=True, check=True).stdout
    version: str = json.loads(printed)["clientVersion"]["gitVersion"]
    return version.removeprefix("v").partition("-")[0]


def _try(path: Path) -> list[str]:
    """Return what came of each suite."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "kubectl").symlink_to(path)
        environ = os.environ | {"PATH": f"{folder}:{os.environ.get('PATH', os.defpath)}"}
        return [_tried(files, environ, Path(folder, "report.xml")) for files in SUITES.values()]


def _tried(files: Sequence[str], environ: dict[str, str], report: Path) -> str:
    command = (sys.executable, "-m", "pytest", "-q", "--no-header", f"--junitxml={report}", *files)
    subprocess.run(command, cwd=ROOT, env=environ, check=False)
    suite = ET.parse(report).getroot()[0].attrib  # noqa: S314 - pytest has just written it
    wrong, skipped = int(suite["failures"]) + int(suite["errors"]), int(suite["skipped"])
    passed = int(suite["tests"]) - wrong - skipped
    return f"{wrong} of {passed + wrong} failed" if wrong else "passed"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
