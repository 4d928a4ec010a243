# SPDX-License-Identifier: Apache-2.0
"""The process of a real node's agent: the loop in the main thread, everything that waits for others in an event loop.

The two share a queue of notices and nothing else that changes; what people and monitoring ask is answered from the
event loop, and never keeps the kernel waiting.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from typing import TYPE_CHECKING, Final

from podfence.agent.kernel import NodeKernel, settling
from podfence.agent.loop import Agent
from podfence.agent.node.attaching import Attaching
from podfence.agent.node.boot import Boot
from podfence.agent.node.events import NodeEvents, PolicyEvents
from podfence.agent.node.feed import Feed
from podfence.agent.node.findings import uncut
from podfence.agent.node.inbox import Beat, QueueSource
from podfence.agent.node.inspection import Inspection
from podfence.agent.node.intake import Intake
from podfence.agent.node.kept import Kept
from podfence.agent.node.logs import Log
from podfence.agent.node.metrics import Metrics
from podfence.agent.node.presence import SOCKET, claimed
from podfence.agent.node.serving import Serving
from podfence.agent.node.settling import Settling
from podfence.agent.node.view import Latest, ObjectSource, View
from podfence.agent.wire import schema
from podfence.dataplane.settings import Settings
from podfence.errors import PodfenceError
from podfence.kube.access.credentials import Credentials
from podfence.kube.access.load import load
from podfence.kube.live.resources import RESOURCES
from podfence.kube.live.session import Session
from podfence.policy.budget import BUDGETS

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from podfence.agent.node.answer import SourceName
    from podfence.agent.node.boot import Wanted
    from podfence.agent.node.findings import NodeFinding
    from podfence.agent.node.logs import Form, Level
    from podfence.agent.node.matching import Granted
    from podfence.agent.reports import Report
    from podfence.dataplane.settings import Binding
    from podfence.kube.access.access import Access, Choice
    from podfence.kube.live.resources import Resource
    from podfence.policy.options import Options

LOG_GROUP: Final = 9474
"""The group of NFLOG that denied packets are told to."""

REQUEST_TIMEOUT: Final = 30.0
"""Seconds that a request, other than a watch, may take."""

_ENDING: Final = 5.0
_EVERY: Final = 1.0

_SOURCES: Final[dict[SourceName, tuple[int, str]]] = {
    "waiting": (logging.INFO, "waiting for the first complete lists"),
    "live": (logging.INFO, "following the API server"),
    "kept": (logging.WARNING, "enforcing the last state on the disk until the API server can be reached"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """What the command line says: see the options of ``podfence agent``.

    `policies` is the version in which policies are followed.
    """

    node: str
    choice: Choice
    version: str
    listen: str
    state: Path
    run: Path
    sysctls: Path
    results: Path
    binding: Binding
    granted: Granted
    options: Options
    reject: bool
    boot: Wanted | None
    log_form: Form
    log_level: Level
    policies: Resource = RESOURCES["NetworkPolicy"]


def run(setup: Setup, access: Access | None = None) -> None:
    """Enforce until SIGTERM or SIGINT comes; must be called in the main thread.

    Without an `access`, the one that the `setup` chooses is taken.

    Raises PodfenceError for what a person has to put right before an agent can run at all: no way to a cluster,
    another agent on the node, an address in use, an option that cannot be enforced.
    """
    access = access or load(setup.choice, os.environ)
    with claimed(setup.run), Log(setup.log_form, setup.log_level) as log:
        NodeAgent(setup, access, log).run()


class NodeAgent:
    """A running agent; `view` is what others see of it."""

    def __init__(self, setup: Setup, access: Access, log: Log) -> None:
        """Open the kernel and make everything; nothing is changed, and nobody is asked, before `run`.

        Raises OptionError if an option's value cannot be enforced.
        """
        self._node = setup.node
        self._latest = Latest()
        self._setup = setup
        self._access = access
        self._log = log
        settings = Settings(reject=setup.reject, log_group=LOG_GROUP, binding=setup.binding)
        self._metrics = Metrics(setup.version)
        self._policy_events = PolicyEvents(setup.node)
        # This tells already what the kernel lacks.
        self._kernel = NodeKernel(setup.node, settings, self._tell)
        self._source = QueueSource(self._kernel.watch)
        self._agent = Agent(
            self._source,
            setup.node,
            self._kernel.runner,
            setup.options,
            settings,
            settling(self._tell),
            conntrack=self._kernel.conntrack,
            watch=self._kernel.watch,
        )
        self._intake = intake = Intake(BUDGETS[setup.options.budget])
        self._inspection = Inspection(setup.node, intake, settings, setup.state, setup.sysctls)
        self._boot = Boot(setup.state, setup.boot)
        self._attaching = Attaching(
            lambda: intake.pods_on(setup.node), self._source.put, setup.binding, setup.results, setup.granted
        )
        kept = Kept(setup.state, _identity(access, setup.node), f"{setup.version} {schema()} {setup.options.budget}")
        self._feed = Feed(
            intake,
            self._source,
            kept,
            log.logger.warning,
            self._attaching.follow,
            self._inspection.soon,
            {**RESOURCES, "NetworkPolicy": setup.policies},
        )
        beat = Beat(self._source, self._transactions)
        self.view = View(
            node=setup.node,
            started=time.time(),
            agent=self._agent,
            binding=setup.binding,
            latest=self._latest,
            wake=self._source.wake,
            beat=lambda: beat.latest,
            findings=self._findings,
            links=lambda: self._attaching.bound,
            source=lambda: ObjectSource(self._feed.state, self._feed.since, self._feed.health),
            settling=Settling(self._latest, lambda: self._feed.revisions, self._attaching.look, self._source.put),
        )
        self._failure: BaseException | None = None

    def run(self) -> None:
        """Enforce until a signal comes, or until the event loop fails. Raises PodfenceError."""
        loop = asyncio.new_event_loop()
        main = loop.create_task(self._live())
        thread = threading.Thread(target=self._serve, args=(loop, main), name="cluster", daemon=True)

        def stop(_number: int, _where: object) -> None:
            self._agent.stop()
            self._source.wake()

        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, stop)
        self._log.logger.info(
            "starting",
            node=self._node,
            version=self._setup.version,
            server=self._access.server.url,
            binding=self._setup.binding,
        )
        thread.start()
        self._kernel.listen(self._agent, self._log.denied)
        self._agent.run()
        with suppress(RuntimeError):
            loop.call_soon_threadsafe(main.cancel)
        thread.join(_ENDING)
        self._feed.close()
        if self._failure is not None:
            raise self._failure
        self._log.logger.info("stopped; the kernel continues to enforce its rules", node=self._node)

    def _transactions(self) -> int:
        enforcer = self._agent.enforcer
        return 0 if enforcer is None else enforcer.transactions

    def _findings(self) -> Sequence[NodeFinding]:
        """Return what is wrong with the node at present."""
        enforcer = self._agent.enforcer
        flows = () if enforcer is None else uncut(enforcer.uncut)
        return (*self._attaching.findings, *self._inspection.findings, *self._boot.findings, *flows)

    # The event loop

    def _serve(self, loop: asyncio.AbstractEventLoop, main: asyncio.Task[None]) -> None:
        try:
            loop.run_until_complete(main)
        except asyncio.CancelledError:
            pass
        except BaseException as error:  # noqa: BLE001 - the main thread raises it
            self._failure = error
            # Groups of tasks are in one another; what failed first is what a person has to know.
            while isinstance(self._failure, BaseExceptionGroup):
                self._failure = self._failure.exceptions[0]
        finally:
            # Without what fills it, the loop would wait for ever.
            self._source.close()
            loop.close()

    async def _live(self) -> None:
        """Do everything that waits for others, until cancelled."""
        serving = Serving(self.view, self._metrics, self._setup.version)
        await serving.start(self._setup.listen, self._setup.run / SOCKET)
        try:
            await asyncio.to_thread(self._feed.restore)
            credentials = Credentials(self._access, os.environ)
            async with Session(self._access, credentials, timeout=REQUEST_TIMEOUT) as session:
                events = NodeEvents(session, self._node)
                async with asyncio.TaskGroup() as group:
                    group.create_task(self._feed.run(session))
                    group.create_task(self._attaching.run())
                    group.create_task(self._inspection.run(self._log.logger.warning))
                    group.create_task(self._boot.run(self._pod_cidrs, self._is_judging, self._log.logger.info))
                    group.create_task(self._follow(session, events))
        finally:
            await serving.stop()

    def _pod_cidrs(self) -> tuple[str, ...] | None:
        node = self._intake.node(self._node)
        return None if node is None else node.pod_cidrs

    def _is_judging(self) -> bool:
        """Return whether all packets of pods are judged: also those that bridges have to be told to show."""
        return self._inspection.has_looked and not self.view.obstacles()

    async def _follow(self, session: Session, events: NodeEvents) -> None:
        """Write into the log and tell the cluster what is found, and how the watches are."""
        told: SourceName | None = None
        while True:
            if told != self._feed.state:
                told = self._feed.state
                self._log.logger.log(*_SOURCES[told], node=self._node)
            self._log.health(self._feed.health)
            self._log.findings(self._findings())
            # What the server refuses of policies keeps nothing about the node from being told.
            for tell in (partial(events.tell, self._findings()), partial(self._policy_events.tell, session)):
                try:
                    await tell()
                except PodfenceError as error:
                    self._log.logger.debug("could not create an Event", error=str(error))
            await asyncio.sleep(_EVERY)

    def _tell(self, report: Report) -> None:
        self._latest.note(report)
        self._metrics.note(report)
        self._log.report(report)
        self._policy_events.note(report.refused)


def _identity(access: Access, node: str) -> str:
    """Return what tells this node of this cluster from others."""
    return f"{access.server.url} {sha256(access.ca).hexdigest()} {node}"
