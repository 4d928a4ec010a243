# SPDX-License-Identifier: Apache-2.0
"""Programs of the bed that tests end and start again: each as it was started before, in its namespaces and log."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tests.kubernetes.harness import SCRIPTS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tests.kubernetes.harness import Bed

_END: Final = 20.0
_STARTED: Final[list[subprocess.Popen[bytes]]] = []
"""What was started here outlives the tests that did it."""


class Program:
    """A running program, found by what it is, that can be ended and started again."""

    def __init__(self, bed: Bed, pid: int, node: int | None, file: str = "") -> None:
        """Take the process `pid` on a node (None: of the control plane); `file` keeps its number in the bed."""
        self._bed = bed
        self._node = node
        self._file = bed.work / "run" / f"{file}.pid" if file else None
        self.pid = pid
        self.ended = 0
        # A container's mounts are not the node's; the kubelet starts it again.
        self.in_container = node is not None and _mounts(pid) != _mounts(_holder(bed, node))
        self._words = [word.decode() for word in _proc(pid, "cmdline").split(b"\0")[:-1]]
        self._log = Path(f"/proc/{pid}/fd/1").readlink()

    def end(self, number: signal.Signals = signal.SIGTERM) -> None:
        """Send a signal and wait until the process is gone."""
        os.kill(self.pid, number)
        end = time.monotonic() + _END
        while Path(f"/proc/{self.pid}").exists() and not _is_dead(self.pid):
            assert time.monotonic() < end, f"process {self.pid} does not end: {self._words[:2]}"
            time.sleep(0.02)
        self.ended = self.pid

    def start(self) -> None:
        """Start it again, with the same words."""
        environment = {**os.environ, "PODFENCE_BED": str(self._bed.work)}
        if self._node is None:
            enter = ["nsenter", f"--net=/proc/{self._control_plane()}/ns/net"]
        else:
            enter = [str(SCRIPTS / "node-exec.sh"), str(self._node)]
        with self._log.open("ab") as log:
            process = subprocess.Popen(
                [*enter, *self._words],
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        _STARTED.append(process)
        self.pid = process.pid if self._node is None else _child(process.pid)
        if self._file is not None:
            self._file.write_text(f"{self.pid}\n")

    def _control_plane(self) -> int:
        return int((self._bed.work / "run/etcd.pid").read_text())


def of_bed(bed: Bed, name: str, node: int | None = None) -> Program:
    """Return a program of the bed by name, of a node (kubelet, containerd) or of the control plane (kube-apiserver)."""
    if node is None:
        return Program(bed, int((bed.work / "run" / f"{name}.pid").read_text()), None, name)
    (pid,) = pids_on(bed, node, lambda words: words[0].rpartition("/")[2] == name)
    return Program(bed, pid, node, f"n{node}-{name}")


def agent(bed: Bed, node: int) -> Program | None:
    """Return the agent of a node, None if there is none."""
    pids = pids_on(bed, node, lambda words: "podfence" in words[:2][-1] and words[2:3] == ["agent"])
    return Program(bed, pids[0], node) if pids else None


def pids_on(bed: Bed, node: int, is_it: Callable[[list[str]], bool]) -> list[int]:
    """Return the processes of a node, containers and all, whose command line is the one that is meant."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            words = [word.decode(errors="replace") for word in _proc(int(entry.name), "cmdline").split(b"\0")[:-1]]
            if words and is_it(words) and _on_node(bed, int(entry.name), node):
                found.append(int(entry.name))
    return sorted(found)


def _on_node(bed: Bed, pid: int, node: int) -> bool:
    settings = dict(word.split("=", 1) for word in (bed.work / "conf/settings").read_text().split())
    return f"/testbed-{settings['PODFENCE_BED_NAME']}-n{node}".encode() in _proc(pid, "cgroup")


def _mounts(pid: int) -> Path:
    return Path(f"/proc/{pid}/ns/mnt").readlink()


def _holder(bed: Bed, node: int) -> int:
    return int((bed.work / "run" / f"n{node}.holder").read_text())


def _proc(pid: int, name: str) -> bytes:
    try:
        return Path(f"/proc/{pid}/{name}").read_bytes()
    except OSError:
        return b""


def _is_dead(pid: int) -> bool:
    return b"\nState:\tZ" in _proc(pid, "status")


def _child(pid: int) -> int:
    """Return the process that nsenter started, which enters the node's pid namespace by forking."""
    end = time.monotonic() + _END
    while time.monotonic() < end:
        children = _proc(pid, f"task/{pid}/children").split()
        if children:
            return int(children[0])
        time.sleep(0.02)
    raise AssertionError("a program of the node did not start: " + " ".join(map(str, _words(pid))))


def _words(pid: int) -> Sequence[str]:
    return [word.decode() for word in _proc(pid, "cmdline").split(b"\0")[:-1]]


def run(*command: str, environment: dict[str, str]) -> None:
    """Run a script of the bed. Raises CalledProcessError."""
    subprocess.run(command, check=True, env=environment, capture_output=True, text=True, timeout=180)
