# SPDX-License-Identifier: Apache-2.0
"""``python -m bench``: measure podfence and print the report; exit code 1 if a goal is missed."""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

from bench import commands, engine, growth, kernel, lab, rival, server, tenants
from bench.machine import OtherWork
from bench.report import page

_SECTIONS = {
    "commands": commands.section,
    "engine": engine.section,
    "growth": growth.section,
    "rival": rival.section,
    "kernel": kernel.section,
    "tenants": tenants.section,
    "lab": lab.section,
    "server": server.section,
}


def main() -> int:
    """Measure what the arguments ask for; return 0 if every goal is met."""
    parser = argparse.ArgumentParser(prog="python -m bench", description="Measure podfence on generated clusters.")
    parser.add_argument("--quick", action="store_true", help="fewer runs and sizes: a look, not a record")
    parser.add_argument("--only", action="append", choices=_SECTIONS, metavar="NAME", help=", ".join(_SECTIONS))
    parser.add_argument("-o", "--output", type=Path, metavar="FILE", help="write the report to a file too")
    arguments = parser.parse_args()
    sections = []
    other_work = OtherWork()
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        for title in arguments.only or _SECTIONS:
            start = time.perf_counter()
            sections.append(_SECTIONS[title](Path(name), quick=arguments.quick))
            print(f"{title}: {time.perf_counter() - start:.0f} s", file=sys.stderr)
    text = page(sections, other_work)
    print(text, end="")
    if arguments.output:
        arguments.output.parent.mkdir(parents=True, exist_ok=True)
        arguments.output.write_text(text)
    return int(any(section.missed for section in sections))


if __name__ == "__main__":
    sys.exit(main())
