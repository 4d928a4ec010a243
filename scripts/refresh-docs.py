#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Rewrite the output of every console session in the documentation with what podfence prints now.

Run it from anywhere with the interpreter of `.venv`, then read the difference: a changed output is
either meant, or a bug. The sessions are those that `tests/test_docs.py` runs and compares.
"""

from __future__ import annotations

import shlex
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import re

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from tests.test_docs import BLOCK, PAGES  # noqa: E402  (the tests say what a session is)


def printed(command: str) -> list[str]:
    """Return the lines a command prints, standard error after standard output, as the tests join them."""
    program, *arguments = shlex.split(command)
    answer = subprocess.run(
        [Path(sys.executable).parent / program, *arguments],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    return (answer.stdout + answer.stderr).rstrip("\n").splitlines()


def refreshed(block: re.Match[str]) -> str:
    """Return a console block with the present output of its commands; a marked one stays as it is."""
    if block["mark"]:
        return block[0]
    indent = block["indent"]
    lines = [line.removeprefix(indent) for line in block["text"].splitlines()]
    starts = [index for index, line in enumerate(lines) if line.startswith("$ ")]
    result = lines[: starts[0]] if starts else lines
    for start, end in pairwise([*starts, len(lines)]):
        if lines[start].startswith("$ podfence"):
            result += [lines[start], *printed(lines[start].removeprefix("$ "))]
            result += [""] if end < len(lines) else []
        else:
            result += lines[start:end]
    text = "".join(f"{indent}{line}".rstrip() + "\n" for line in result)
    return f"{indent}```console\n{text}{indent}```"


def main() -> None:
    """Refresh all pages and name those that changed."""
    for page in PAGES:
        before = page.read_text()
        after = BLOCK.sub(refreshed, before)
        if after != before:
            page.write_text(after)
            sys.stdout.write(f"{page.relative_to(ROOT)}\n")


if __name__ == "__main__":
    main()
