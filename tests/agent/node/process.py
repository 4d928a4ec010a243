# SPDX-License-Identifier: Apache-2.0
"""The agent of a node as a process of its own, in the network namespace of the test's thread."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.agent.node.cluster import FakeCluster

PATIENCE = 120.0
PORT = 9474


class Running:
    """An agent's process in the network namespace of the test's thread."""

    def __init__(self, cluster: FakeCluster, directory: Path, *more: str) -> None:
        self.log = directory / "log"
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "c", "cluster": {"server": f"http://127.0.0.1:{cluster.port}"}}],
            "users": [{"name": "u", "user": {}}],
            "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
            "current-context": "x",
        }
        (directory / "config").write_text(json.dumps(config))
        words = ["--node-name", "n1", "--kubeconfig", str(directory / "config"), "--listen", f"127.0.0.1:{PORT}"]
        words += ["--state-dir", str(directory / "state"), "--run-dir", str(directory / "run"), *more]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen([sys.executable, "-m", "podfence", "agent", *words], stderr=log)

    def end(self, number: int = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.process.wait(PATIENCE)

    @property
    def text(self) -> str:
        return self.log.read_text()


@contextmanager
def running(cluster: FakeCluster, directory: Path, *more: str) -> Iterator[Running]:
    agent = Running(cluster, directory, *more)
    try:
        yield agent
    finally:
        if agent.process.poll() is None:
            agent.end(signal.SIGKILL)


def until(true: Callable[[], object], what: str, agent: Running) -> None:
    deadline = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < deadline, f"{what} did not happen:\n{agent.text}"
        assert agent.process.poll() is None, f"the agent ended:\n{agent.text}"
        time.sleep(0.02)


def answer(path: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{PORT}{path}", timeout=PATIENCE) as reply:
            return reply.status, reply.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()
    except OSError:
        return 0, ""
