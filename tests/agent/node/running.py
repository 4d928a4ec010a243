# SPDX-License-Identifier: Apache-2.0
"""An agent of a node with everything that it serves, in threads of this process, for a kernel in a network namespace."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
import urllib.error
import urllib.request
from typing import TYPE_CHECKING, Self, TypeVar

from podfence.agent.loop import Agent
from podfence.agent.node.answer import PodLinks
from podfence.agent.node.inbox import QueueSource
from podfence.agent.node.metrics import Metrics
from podfence.agent.node.serving import Serving
from podfence.agent.node.settling import Settling
from podfence.agent.node.view import Latest, ObjectSource, View
from podfence.dataplane.settings import Settings
from podfence.policy.options import Options

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from pathlib import Path

    from podfence.agent.node.answer import SourceName
    from podfence.agent.node.findings import NodeFinding
    from podfence.agent.reports import Report
    from podfence.agent.source import Notice
    from podfence.kube.live.reflector import Health
    from podfence.nft.runner import Runner

PATIENCE = 120.0
_Answer = TypeVar("_Answer")


class Running:
    """The loop in a thread, the servers in another; what is seen of it may be set at any time."""

    def __init__(self, runner: Runner, directory: Path) -> None:
        self.findings: tuple[NodeFinding, ...] = ()
        self.health: tuple[Health, ...] = ()
        self.source_name: SourceName = "live"
        self.revisions: dict[str, str] = {}
        self.reports: list[Report] = []
        self.source = QueueSource()
        self.metrics = Metrics("1.2.3")
        self.agent = Agent(self.source, "n1", runner, Options(), Settings(), self._note)
        latest = Latest(lambda: 1_800_000_060.0)
        self.view = View(
            node="n1",
            started=1_800_000_000.0,
            agent=self.agent,
            binding="enforce",
            latest=latest,
            wake=self.source.wake,
            beat=lambda: self.source.beat,
            findings=lambda: self.findings,
            links=PodLinks,
            source=lambda: ObjectSource(self.source_name, 1_800_000_001.0, self.health),
            settling=Settling(latest, lambda: self.revisions, lambda: None, self.source.put),
        )
        self.serving = Serving(self.view, self.metrics, "1.2.3", runner=runner)
        self.socket = directory / "run" / "agent.sock"
        self._news = threading.Condition()
        self._events = asyncio.new_event_loop()
        self._threads = [threading.Thread(target=self.agent.run), threading.Thread(target=self._events.run_forever)]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        try:
            self.do(self.serving.start("127.0.0.1:0", self.socket))
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.do(self.serving.stop())
        self.agent.stop()
        self.source.close()
        self._events.call_soon_threadsafe(self._events.stop)
        for thread in self._threads:
            thread.join(PATIENCE)
        self._events.close()

    def do(self, work: Coroutine[object, object, _Answer]) -> _Answer:
        return asyncio.run_coroutine_threadsafe(work, self._events).result(PATIENCE)

    def _note(self, report: Report) -> None:
        self.view.latest.note(report)
        self.metrics.note(report)
        with self._news:
            self.reports.append(report)
            self._news.notify_all()

    def send(self, *notices: Notice) -> None:
        self.source.put(notices)

    def until(self, met: Callable[[Report], object]) -> Report:
        """Return the first report that meets a condition."""
        with self._news:
            assert self._news.wait_for(lambda: any(map(met, self.reports)), PATIENCE), self.reports
            return next(filter(met, self.reports))

    def enforced(self, revision: int) -> Report:
        return self.until(lambda report: report.enforcing and report.revision == revision)

    def get(self, path: str) -> tuple[int, str]:
        """Return status and text of what is served on TCP."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.serving.port}{path}", timeout=PATIENCE) as response:
                return response.status, response.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()

    def get_here(self, path: str) -> tuple[int, str]:
        """Return status and text of what is served on the Unix socket."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as asked:
            asked.settimeout(PATIENCE)
            asked.connect(str(self.socket))
            asked.sendall(f"GET {path} HTTP/1.0\r\n\r\n".encode())
            head, _, body = b"".join(iter(lambda: asked.recv(1 << 16), b"")).decode().partition("\r\n\r\n")
        return int(head.split()[1]), body

    def metric(self, name: str) -> float:
        """Return the value of one metric, labels in its name."""
        _, text = self.get("/metrics")
        found = [line for line in text.splitlines() if line.startswith(f"{name} ")]
        assert len(found) == 1, text
        return float(found[0].split()[1])

    def metric_of_at_least(self, name: str, least: float) -> float:
        """Return the value of a metric when it has risen so far."""
        deadline = time.monotonic() + PATIENCE
        while (found := self.metric(name)) < least:
            assert time.monotonic() < deadline, f"{name} is {found}"
        return found
