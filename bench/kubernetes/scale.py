# SPDX-License-Identifier: Apache-2.0
"""What an agent needs in a large cluster: memory, and processor time while nothing happens."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from bench.kubernetes.places import spent
from bench.kubernetes.town import pod
from bench.report import Section, table
from tests.kubernetes.harness import NAMESPACE, SCRIPTS

if TYPE_CHECKING:
    from bench.kubernetes.server import Json
    from bench.kubernetes.town import Town

MEMORY: Final = 150.0
IDLE: Final = 0.01
LOCAL: Final = 10
_NODES: Final = 100
_SPACES: Final = 100
_MEBI: Final = 1024
_QUIET: Final = 0.05
_CALM_WITHIN: Final = 180.0
_READY_WITHIN: Final = 120.0


class Need(NamedTuple):
    """What a process needs: memory now, its share of it, the most it ever had, in MiB; and the cores it keeps busy."""

    resident: float
    shared: float
    peak: float
    cores: float
    seconds: float

    @property
    def failures(self) -> int:
        """Return how many goals are missed."""
        return (self.resident >= MEMORY) + (self.cores >= IDLE)


def section(town: Town, *, pods: int, policies: int, seconds: float, keep: bool) -> Section:
    """Return what the agent of a node needs; `keep` leaves the cluster as large as it is made here."""
    script, name = str(SCRIPTS / "kwok-fill.py"), town.nodes[0].name
    environ = {**os.environ, "PODFENCE_BED": str(town.bed.work)}
    size = ("--nodes", str(_NODES), "--namespaces", str(_SPACES))
    subprocess.run([str(SCRIPTS / "kwok-up.sh")], env=environ, check=True, stdout=sys.stderr)
    rows: list[tuple[str, ...]] = []
    missed = 0
    try:
        _fill([sys.executable, script, *size, "--pods", str(pods), "--policies", str(policies)], environ)
        _some_local(town, name)
        for what, fresh in (("it was there while the cluster grew", False), ("it was started in that cluster", True)):
            if fresh and not _start_again(town, name):
                continue
            found = _need(town, seconds)
            missed += found.failures
            rows.append(_row(what, found))
    finally:
        if not keep:
            _fill([sys.executable, script, *size, "--delete"], environ)
    text = (
        f"{pods:,} pods and {policies:,} policies in {_SPACES} namespaces, on {_NODES} nodes that kwok plays, with "
        f"their heartbeats. The agent runs on a real node with {LOCAL} pods of these namespaces. "
        f"Memory is measured after {seconds:.0f} s in which nothing happened, and processor time is that of these "
        "seconds. Memory that the agent shares with other processes counts in full in the first column, and in part in "
        "the second. The most is the peak since its start."
    )
    goals = f"< {MEMORY:.0f} MiB, < {IDLE:.0%} of a core"
    heads = ("the agent", "memory", "its part", "the most", "processor", "goal", "met")
    return Section("A large cluster", text, table(heads, [(*row[:-1], goals, row[-1]) for row in rows]), missed)


def _fill(command: list[str], environ: dict[str, str]) -> None:
    subprocess.run(command, env=environ, check=True, stdout=sys.stderr)


def _some_local(town: Town, node: str) -> None:
    for number in range(LOCAL):
        path = f"/api/v1/namespaces/fake-{number}/pods"
        answer = town.server.request("POST", path, pod("local", node, {"app": f"a{number % 7}", "tier": "t0"}))
        if answer.status not in {201, 409}:
            message = f"{path}: {answer.status} {answer.content.get('message', '')}"
            raise RuntimeError(message)

        def runs(path: str = path) -> bool:
            return bool(town.server.do("GET", f"{path}/local").content["status"].get("podIP"))

        town.wait_for(runs)


def _start_again(town: Town, node: str) -> bool:
    """Let the agent of a node start again if it is a pod; return whether that was done."""
    path = f"/api/v1/namespaces/{NAMESPACE}/pods"
    query = f"?fieldSelector=spec.nodeName%3D{node}&labelSelector=app.kubernetes.io%2Fname%3Dpodfence"
    before = {item["metadata"]["name"] for item in town.server.do("GET", path + query).content["items"]}
    for name in before:
        town.server.do("DELETE", f"{path}/{name}")

    def ready() -> bool:
        return any(
            item["metadata"]["name"] not in before and _is_ready(item)
            for item in town.server.do("GET", path + query).content["items"]
        )

    if before:
        town.wait_for(ready, _READY_WITHIN)
    return bool(before)


def _is_ready(item: Json) -> bool:
    return any(one["type"] == "Ready" and one["status"] == "True" for one in item["status"].get("conditions", ()))


def _need(town: Town, seconds: float) -> Need:
    agent = town.nodes[0].agent()
    _calm(agent)
    used, start = spent(agent), time.monotonic()
    time.sleep(seconds)
    cores = (spent(agent) - used) / (time.monotonic() - start)
    status = _numbers(Path(f"/proc/{agent}/status"))
    return Need(status["VmRSS"], _numbers(Path(f"/proc/{agent}/smaps_rollup"))["Pss"], status["VmHWM"], cores, seconds)


def _calm(agent: int) -> None:
    """Wait until a process has done next to nothing for some seconds, or for as long as that may take."""
    end = time.monotonic() + _CALM_WITHIN
    calm = 0
    while calm < 3 and time.monotonic() < end:
        used = spent(agent)
        time.sleep(2)
        calm = calm + 1 if (spent(agent) - used) / 2 < _QUIET else 0


def _numbers(path: Path) -> dict[str, float]:
    """Return what a file of /proc says in KiB, in MiB."""
    lines = (line.split() for line in path.read_text(encoding="utf-8").splitlines())
    return {words[0].rstrip(":"): int(words[1]) / _MEBI for words in lines if words[-1:] == ["kB"]}


def _row(what: str, need: Need) -> tuple[str, ...]:
    sizes = (f"{size:,.0f} MiB" for size in (need.resident, need.shared, need.peak))
    return (what, *sizes, f"{need.cores:.2%} of a core", "**no**" if need.failures else "yes")
