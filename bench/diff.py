# SPDX-License-Identifier: Apache-2.0
"""Two versions of a repository compared, of which one policy differs."""

from __future__ import annotations

import re
import shutil
from collections import defaultdict
from typing import TYPE_CHECKING, Final

from bench.commands import manifests
from bench.engine import Steps
from bench.report import Goal, Row, measurements
from bench.size import LARGE, MEDIUM

if TYPE_CHECKING:
    from pathlib import Path

    from bench.report import Section
    from bench.size import Size

_RUNS: Final = 3
_SHARED: Final = 1.3
_TEXT: Final = (
    "Measured inside a process. The policies of each namespace are in a file of their own, and in one of them a rule "
    f"is added. Files that both sides have are parsed once, so both sides must load in less than {_SHARED} times the "
    "time of one.\n"
    "The diff of netpol-analyzer 1.4.4 makes the whole list of each side. It took 21.6 s for 1,000 pods and 250 "
    "policies, measured once by hand on two cores: this does not install that program, so it does not run it."
)
_RULE: Final = "  - from: [{namespaceSelector: {}}]\n    ports: [{port: 9999}]\n"


def section(folder: Path, *, quick: bool) -> Section:
    """Return the measurements of loading both sides and of comparing them."""
    size = MEDIUM if quick else LARGE
    steps = Steps(["diff", *versions(size, folder)], runs=1 if quick else _RUNS)
    one = steps.measured("one side")
    both = Goal(0.0 if one.failure else _SHARED * one.wall)
    rows = [
        Row(f"one side loaded, {size}", one),
        Row("both sides loaded", steps.measured("one side", "other side"), both),
        Row("both sides compared", steps.measured("difference"), Goal(0.5)),
    ]
    return measurements("Comparing", _TEXT, rows)


def versions(size: Size, folder: Path) -> tuple[Path, Path]:
    """Write a cluster as a repository in two versions, and return the folders of OLD and NEW."""
    old, new = folder / "old", folder / "new"
    shutil.copytree(manifests(size, folder), old)
    written = old / "networkpolicy.yaml"
    by_namespace: dict[str, list[str]] = defaultdict(list)
    for text in re.split(r"^---\n", written.read_text(), flags=re.MULTILINE):
        if found := re.search(r"^  namespace: (\S+)$", text, re.MULTILINE):
            by_namespace[found[1]].append(text)
    written.unlink()
    for namespace, texts in by_namespace.items():
        (old / f"policies-{namespace}.yaml").write_text("---\n".join(texts))
    shutil.copytree(old, new)
    first = min(new.glob("policies-shop-*.yaml"))
    text = first.read_text()
    first.write_text(re.sub(r"^  ingress:\n", f"  ingress:\n{_RULE}", text, count=1, flags=re.MULTILINE))
    return old, new
