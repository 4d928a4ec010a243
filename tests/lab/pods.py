# SPDX-License-Identifier: Apache-2.0
"""What tests of pods share: specifications, and commands in pods with what they print."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from typing import TYPE_CHECKING, NamedTuple

import pytest

from podfence.lab.lines import LogReader
from podfence.lab.network.namespaces import inside
from podfence.lab.objects.containers import PodSpec

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from podfence.lab.processes.holder import Holder

ADDRESS = "10.9.0.1"
ADDRESS_6 = "fd00:9::1"

needs_pods = pytest.mark.skipif(
    os.geteuid() != 0 or not all(map(shutil.which, ("busybox", "ip", "nft"))),
    reason="needs root (or a user namespace), busybox, iproute2 and nft",
)


class Completed(NamedTuple):
    """What a command did that ran to its end."""

    code: int
    stdout: bytes
    stderr: bytes


def spec(name: str, *, host_network: bool = False) -> PodSpec:
    """Return the specification of a pod; nothing listens at its DNS server's address."""
    return PodSpec("shop", name, name, "node-1", (ADDRESS,), host_network, (), "Always", ("shop.svc.cluster.local", "svc.cluster.local"), "10.96.0.10", ("ndots:5",))  # fmt: skip


def printed(log: Path) -> str:
    """Return what a container printed, as its log has it."""
    reader = LogReader(log)
    try:
        return b"".join(entry.printed() for entry in reader.entries()).decode()
    finally:
        reader.close()


def in_network(pod: Holder, *command: str) -> None:
    """Run a program of the machine in a pod's network; it must succeed."""
    with inside(pod.pid):
        subprocess.run(command, check=True)


def in_pod(pod: Holder, command: str | Sequence[str], *, stdin: bytes = b"", container: str | None = None) -> Completed:
    """Run a command as `lab exec` does, a text by a shell; return what it printed."""
    argv = ["sh", "-c", command] if isinstance(command, str) else command
    with tempfile.TemporaryFile() as given, tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as complaints:
        given.write(stdin)
        given.seek(0)
        with pod.execute(argv, (given.fileno(), out.fileno(), complaints.fileno()), container=container) as execution:
            code = execution.wait()
        texts = []
        for file in (out, complaints):
            file.seek(0)
            texts.append(file.read())
    return Completed(code, *texts)
