# SPDX-License-Identifier: Apache-2.0
"""``python -m bench.kubernetes``: measure podfence on a real Kubernetes; exit code 1 if a goal is missed."""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from contextlib import ExitStack
from datetime import UTC, datetime
from http.client import HTTPException
from importlib import metadata
from pathlib import Path
from subprocess import SubprocessError
from typing import TYPE_CHECKING, Final

from bench.kubernetes import pods, policies, rival, scale
from bench.kubernetes.town import Town
from bench.machine import OtherWork, description
from bench.report import Section
from tests.kubernetes.harness import Bed

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_LOOK: Final = 3.0
_FAILURES: Final = (OSError, RuntimeError, LookupError, HTTPException, SubprocessError)
_HEAD: Final = """\
# Benchmarks on Kubernetes

`make bench-kubernetes` measures everything on this page, and writes it.
Measured on {date} on {machine}: Kubernetes {kubernetes} with {nodes} nodes on this one machine, \
podfence {podfence}.{quick}{disturbed}

"""


def main() -> int:
    """Measure what the arguments ask for; return 0 if every goal is met."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.kubernetes",
        description="Measure podfence on the bed in PODFENCE_BED; it is started, and ended, if it does not run.",
    )
    parser.add_argument("--quick", action="store_true", help="fewer runs, a smaller cluster: a look, not a record")
    parser.add_argument("--only", action="append", choices=_SECTIONS, metavar="NAME", help=", ".join(_SECTIONS))
    parser.add_argument("-o", "--output", type=Path, metavar="FILE", help="write the report to a file too")
    arguments = parser.parse_args()
    if os.geteuid() != 0:
        parser.error("it enters network namespaces: run it as root")
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    bed = Bed(Path(os.environ.get("PODFENCE_BED") or cache / "podfence-bed"))
    other = OtherWork()
    time.sleep(_LOOK)
    cores = other.cores()
    with ExitStack() as stack:
        own = not bed.runs
        if own:
            stack.callback(bed.stop)
            bed.start()
        if not bed.enforces:
            if not own:
                stack.callback(bed.remove_podfence)
            bed.install_podfence()
        sections = measure(bed, arguments.only or tuple(_SECTIONS), quick=arguments.quick, keep=own)
        text = page(bed, sections, cores, quick=arguments.quick)
    print(text, end="")
    if arguments.output:
        arguments.output.parent.mkdir(parents=True, exist_ok=True)
        arguments.output.write_text(text, encoding="utf-8")
    return int(any(section.missed for section in sections))


def measure(bed: Bed, names: Sequence[str], *, quick: bool, keep: bool) -> list[Section]:
    """Return the sections that are asked for; `keep` leaves the cluster as large as they make it."""
    found = []
    with Town(bed) as town:
        for name in names:
            start = time.monotonic()
            try:
                found.append(_SECTIONS[name](town, quick, keep))
            except _FAILURES as error:
                found.append(Section(f"Not measured: {name}", f"{type(error).__name__}: {error}", (), 1))
            print(f"{name}: {time.monotonic() - start:.0f} s", file=sys.stderr)
    return found


def page(bed: Bed, sections: Sequence[Section], others: float, *, quick: bool) -> str:
    """Return the whole page; `others` are the cores that were busy before anything was measured."""
    version = json.loads(bed.kubectl("get", "--raw", "/version").stdout)["gitVersion"]
    head = _HEAD.format(
        date=datetime.now(UTC).date(),
        machine=description(),
        kubernetes=version,
        nodes=len(bed.nodes),
        quick="\nThis was a quick look with few runs, and is no record." if quick else "",
        podfence=metadata.version("podfence"),
        disturbed=f"\nOther work took {others:.1f} cores before it began, so times may be too long."
        if others > 0.1
        else "",
    )
    parts = [f"## {item.title}\n\n{item.text}\n\n" + "\n".join(item.lines) + "\n" for item in sections]
    return head + "\n".join(parts)


def _enforced(town: Town, quick: bool, _: bool) -> Section:  # noqa: FBT001  (as all of these)
    return policies.enforced(town, times=20 if quick else 100)


def _cut(town: Town, quick: bool, _: bool) -> Section:  # noqa: FBT001
    return policies.cut(town, times=10 if quick else 50)


def _pods(town: Town, quick: bool, _: bool) -> Section:  # noqa: FBT001
    return pods.programmed(town, single=5 if quick else 25, rounds=1 if quick else 5, at_once=20)


def _rival(town: Town, quick: bool, _: bool) -> Section:  # noqa: FBT001
    sizes = (1, 100) if quick else rival.SIZES
    return rival.compared(town, sizes=sizes, times=5 if quick else 25, seconds=1.0 if quick else 5.0)


def _scale(town: Town, quick: bool, keep: bool) -> Section:  # noqa: FBT001
    size = 1_000 if quick else 10_000
    return scale.section(town, pods=size, policies=size, seconds=20 if quick else 60, keep=keep)


_SECTIONS: Final[dict[str, Callable[[Town, bool, bool], Section]]] = {
    "pods": _pods,
    "policies": _enforced,
    "cut": _cut,
    "rival": _rival,
    "scale": _scale,
}


if __name__ == "__main__":
    sys.exit(main())
