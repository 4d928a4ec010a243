# SPDX-License-Identifier: Apache-2.0
"""A commit of a repository compared with the working tree, of which one policy differs."""

from __future__ import annotations

import re
import shutil
import subprocess
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
    "This is measured inside a process. The policies of each namespace are in a file of their own, and one file gets "
    "a rule more. podfence reads files that both sides have only once, so both sides must load in less than "
    f"{_SHARED} times the time of one.\n"
    "The diff of netpol-analyzer 1.4.4 makes the whole list of each side. It took 21.6 s for 1,000 pods and 250 "
    "policies, measured once by hand on two cores. `make bench` does not install that program and does not run it."
)
_AS_NOBODY: Final = ("-c", "user.name=bench", "-c", "user.email=bench@example.org", "-c", "commit.gpgSign=false")
_RULE: Final = "  - from: [{namespaceSelector: {}}]\n    ports: [{port: 9999}]\n"


def section(folder: Path, *, quick: bool) -> Section:
    """Return the measurements of loading both sides and of comparing them."""
    size = MEDIUM if quick else LARGE
    steps = Steps(["diff", repository(size, folder)], runs=1 if quick else _RUNS)
    one = steps.measured("one side")
    both = Goal(0.0 if one.failure else _SHARED * one.wall)
    rows = [
        Row(f"git:HEAD loaded, {size}", one),
        Row("git:HEAD and the working tree loaded", steps.measured("one side", "other side"), both),
        Row("both sides compared", steps.measured("difference"), Goal(0.5)),
    ]
    return measurements("Comparing", _TEXT, rows)


def repository(size: Size, folder: Path) -> Path:
    """Return a new folder below `folder`: a repository with a cluster, of which the working tree has one rule more."""
    target = folder / "repository"
    shutil.copytree(manifests(size, folder), target)
    written = target / "networkpolicy.yaml"
    by_namespace: dict[str, list[str]] = defaultdict(list)
    for text in re.split(r"^---\n", written.read_text(), flags=re.MULTILINE):
        if found := re.search(r"^  namespace: (\S+)$", text, re.MULTILINE):
            by_namespace[found[1]].append(text)
    written.unlink()
    for namespace, texts in by_namespace.items():
        (target / f"policies-{namespace}.yaml").write_text("---\n".join(texts))
    for command in ("init --initial-branch=main", "add .", "commit --message=all"):
        subprocess.run(["git", "-C", target, *_AS_NOBODY, *command.split()], check=True, capture_output=True)
    first = min(target.glob("policies-shop-*.yaml"))
    text = first.read_text()
    first.write_text(re.sub(r"^  ingress:\n", f"  ingress:\n{_RULE}", text, count=1, flags=re.MULTILINE))
    return target
