#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Rewrite the output of every console session in the documentation with what podfence prints now.

Run it from anywhere with the interpreter of `.venv`, then read the difference: a changed output is
either meant, or a bug. The sessions are those that `tests/test_docs.py` runs and compares.
"""

from __future__ import annotations

import sys
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import re

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from tests.lab.labs import Run, fresh_name  # noqa: E402  (the tests say what a session is)
from tests.test_docs import BLOCK, PAGES, Session, in_lab, printed, settled  # noqa: E402  (as above)


def refreshed(lab: str, block: re.Match[str]) -> str:
    """Return a console block with the present output of its commands; a marked one stays as it is.

    So does an output that differs only in what is another each time.
    """
    if block["mark"]:
        return block[0]
    indent = block["indent"]
    lines = [line.removeprefix(indent) for line in block["text"].splitlines()]
    starts = [index for index, line in enumerate(lines) if line.startswith("$ ")]
    result = lines[: starts[0]] if starts else lines
    for start, end in pairwise([*starts, len(lines)]):
        if lines[start].startswith("$ podfence"):
            before = "\n".join(lines[start + 1 : end]).rstrip("\n")
            session = Session("", lines[start].removeprefix("$ "), before)
            now = printed(session.command, lab if in_lab(session) else None)
            output = before if settled(now) == settled(before) else now
            result += [lines[start], *output.splitlines()]
            result += [""] if end < len(lines) else []
        else:
            result += lines[start:end]
    text = "".join(f"{indent}{line}".rstrip() + "\n" for line in result)
    return f"{indent}```console\n{text}{indent}```"


def main() -> None:
    """Refresh all pages and name those that changed."""
    for page in PAGES:
        before = page.read_text()
        lab = fresh_name()
        try:
            after = BLOCK.sub(partial(refreshed, lab), before)
        finally:
            Run(lab)("down", check=False)
        if after != before:
            page.write_text(after)
            sys.stdout.write(f"{page.relative_to(ROOT)}\n")


if __name__ == "__main__":
    main()
