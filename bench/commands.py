# SPDX-License-Identifier: Apache-2.0
"""The commands as people run them, held against their goals."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from bench.measure import Measured, module, once, several
from bench.report import Goal, Row, duration, measurements, table
from bench.size import LARGE, MEDIUM, SMALL, Size

if TYPE_CHECKING:
    from bench.report import Section

PODFENCE = Path(sys.executable).parent / "podfence"
LOADING = "import sys, podfence; podfence.load(sys.argv[1])"
_QUESTION = ("shop-0000-prod/app=web", "kube-system/kube-dns", "53/udp")
_MARGIN = 0.1
_SHORT, _LONG = 5, 3

_TWO_PODS = """\
apiVersion: v1
kind: Pod
metadata: {name: web, namespace: shop, labels: {app: web}}
spec: {containers: [{name: web, image: web, ports: [{name: http, containerPort: 8080}]}]}
---
apiVersion: v1
kind: Pod
metadata: {name: db, namespace: shop, labels: {app: db}}
spec: {containers: [{name: db, image: db, ports: [{name: postgres, containerPort: 5432}]}]}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: db, namespace: shop}
spec:
  podSelector: {matchLabels: {app: db}}
  ingress:
  - from: [{podSelector: {matchLabels: {app: web}}}]
    ports: [{port: 5432}]
"""


_FOREIGN = 6800
_OTHERS = (
    "image: {repository: nginx, tag: v1}\nresources: {limits: {cpu: 1, memory: 128Mi}}\nenv: [a, b]\n",
    "apiVersion: example.com/v1\nkind: Thing\nmetadata: {name: x}\nspec: {size: 3}\n",
    "{{- if .Values.on }}\napiVersion: v1\nkind: Service\nmetadata: {name: {{ .Release.Name }}}\n{{- end }}\n",
    "on: push\njobs: {build: {steps: [{run: make}]}}\n",
)
_PARSING = """
import contextlib, pathlib, sys, yaml
given = pathlib.Path(sys.argv[1])
for path in [given] if given.is_file() else given.rglob("*.yaml"):
    with contextlib.suppress(yaml.YAMLError):
        list(yaml.load_all(path.read_bytes(), yaml.CSafeLoader))
"""

_PLAIN = "A plain load is PyYAML with libyaml, in a process of its own: it builds no objects and answers nothing."
_PLAIN_HEADS = ("against a plain load of the same YAML", "processor", "plain load", "ratio")


def manifests(size: Size, folder: Path) -> Path:
    """Return a new folder below `folder` with the manifests of a cluster."""
    target = folder / "-".join(size.arguments())
    if not target.exists():
        run = once(module("bench.manifests", target, *size.arguments()), limit=300)
        assert run.code == 0, run.complaint
    return target


def foreign(folder: Path) -> Path:
    """Return a new folder below `folder` with two pods among thousands of files of other programs."""
    target = folder / "foreign"
    for number in range(_FOREIGN):
        place = target / f"part-{number % 200}"
        place.mkdir(parents=True, exist_ok=True)
        (place / f"file-{number}.yaml").write_text(_OTHERS[number % len(_OTHERS)])
    (target / "two-pods.yaml").write_text(_TWO_PODS)
    return target


def section(folder: Path, *, quick: bool) -> Section:
    """Return the measurements of the commands."""
    short, long = (3, 1) if quick else (_SHORT, _LONG)
    two = folder / "two-pods.yaml"
    two.write_text(_TWO_PODS)
    ratios: list[tuple[str, Measured, Measured]] = []
    rows = [
        Row("`python -c pass`, for comparison", several([sys.executable, "-c", "pass"], runs=short)),
        Row("`podfence --help`", several([PODFENCE, "--help"], runs=short, says="check"), Goal(0.1)),
        Row(
            "`check`, a file with two pods",
            several([PODFENCE, "check", "shop/web", "shop/db", "5432", "-f", two], runs=short, says="allowed"),
            Goal(0.15),
        ),
    ]
    ratios.append((rows[-1].name, rows[-1].measured, _parsed(two, short)))
    others = foreign(folder)
    rows += [
        Row(
            f"`list -R`, two pods among {_FOREIGN:,} files of other programs",
            several([PODFENCE, "list", "-R", "-f", others], runs=long, says=" -> "),
            Goal(5.0),
        ),
    ]
    ratios.append((rows[-1].name, rows[-1].measured, _parsed(others, 1)))
    for size, goal in ((SMALL, Goal(0.6)), (MEDIUM, Goal(1.5))):
        rows.append(Row(f"`list`, {size}", _listed(manifests(size, folder), short), goal))
    files = manifests(LARGE, folder)
    loading = several([sys.executable, "-c", LOADING, files], runs=long, warm=not quick)
    rows += [
        Row(f"`list`, {LARGE}", _listed(files, long, warm=not quick), Goal(6.0, 500)),
        Row("the same files only loaded", loading),
    ]
    ratios.append((rows[-2].name, rows[-2].measured, _parsed(files, 1)))
    for command in ("check", "explain"):
        measured = several(
            [PODFENCE, command, *_QUESTION, "-f", files], runs=long, codes=(0, 1, 3), says="kube-dns", warm=not quick
        )
        rows.append(Row(f"`{command}` on the same files", measured, Goal(loading.wall + _MARGIN)))
    found = measurements("Commands", _PLAIN, rows)
    return replace(found, lines=(*found.lines, "", *table(_PLAIN_HEADS, map(_ratio, ratios))))


def _parsed(path: Path, runs: int) -> Measured:
    """Return what a plain load of YAML takes, which builds no objects and answers nothing."""
    return several([sys.executable, "-c", _PARSING, path], runs=runs, warm=False)


def _ratio(row: tuple[str, Measured, Measured]) -> tuple[str, ...]:
    name, measured, plain = row
    if measured.failure or not plain.cpu:
        return name, measured.failure, plain.failure, ""
    return name, duration(measured.cpu), duration(plain.cpu), f"{measured.cpu / plain.cpu:.2f}"


def _listed(files: Path, runs: int, *, warm: bool = True) -> Measured:
    return several([PODFENCE, "list", "-f", files], runs=runs, says=" -> ", warm=warm)
