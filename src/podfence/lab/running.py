# SPDX-License-Identifier: Apache-2.0
"""The pods that run: started, wired, their containers started again when they end, stopped."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from podfence.backoff import Backoff
from podfence.errors import PodfenceError
from podfence.lab.errors import LabError
from podfence.lab.network import dns
from podfence.lab.network.attachment import AttachError, Attachment
from podfence.lab.processes.catalog import answered_ports, choose
from podfence.lab.processes.holder import previous as previous_log
from podfence.lab.processes.launch import SYSTEM_PATH
from podfence.lab.processes.probing import Probe

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path

    from podfence.kube.objects import Key
    from podfence.lab.journal import Journal
    from podfence.lab.network.wiring import Network
    from podfence.lab.objects.containers import Container, PodSpec
    from podfence.lab.objects.statuses import ContainerReport
    from podfence.lab.processes.archive import Image
    from podfence.lab.processes.holder import Holder
    from podfence.lab.processes.program import Program
    from podfence.lab.processes.spawner import Spawner

FIRST_DELAY: Final = 0.5
"""Seconds after which a container is started again that ended; the time doubles each time."""

LAST_DELAY: Final = 30.0
"""The most seconds until that."""

_HOUR: Final = 3600.0

_AT_ONCE: Final = 8
"""How many pods are asked at the same time whether they answer."""


@dataclass(slots=True)
class Running:
    """A pod and what runs in it; `failure` says why nothing does.

    `is_lost` means that the process that holds it has been killed, so that it must be started anew; `past` is how often
    each container was started before that.
    """

    spec: PodSpec
    attachment: Attachment | None = None
    holder: Holder | None = None
    programs: dict[str, Program] = field(default_factory=dict)
    failure: str = ""
    is_lost: bool = False
    past: dict[str, int] = field(default_factory=dict)
    pauses: dict[str, Backoff] = field(default_factory=dict)

    def reports(self) -> dict[str, ContainerReport]:
        """Return what became of each container that was started; none if the pod could not be started."""
        states = self.holder.containers() if self.holder is not None and not self.failure else {}
        return {name: state._replace(starts=state.starts + self.past.get(name, 0)) for name, state in states.items()}

    def starts(self) -> dict[str, int]:
        """Return how often each container was started, the last time in vain if the pod is lost."""
        states = self.holder.containers() if self.holder is not None else {}
        return {name: state.starts - self.is_lost + self.past.get(name, 0) for name, state in states.items()}

    def pause(self, container: str) -> float:
        """Return after how many seconds a container is started again that has just ended."""
        # As with the kubelet, nothing is left to chance.
        return self.pauses.setdefault(container, Backoff(FIRST_DELAY, LAST_DELAY, max)).failed()


class Pods:
    """All pods of a lab. Changes come from one thread at a time; containers end when they like.

    `running` are those there are, `ended` those that were stopped and still exist: their output can be read. `ending`
    are those that run and are to end, each with the monotonic time at which it is stopped.

    `changed` is called, in a thread that must not be held up, with the key of a pod of which a container has ended or
    was started again.
    """

    def __init__(
        self,
        spawner: Spawner,
        network: Network,
        nodes: Mapping[str, Holder],
        journal: Journal,
        name_servers: Sequence[str],
        changed: Callable[[Key], None],
    ) -> None:
        """Run nothing yet; `name_servers` are asked by the cluster's own for names outside."""
        self._spawner = spawner
        self._network = network
        self._nodes = nodes
        self._numbers = {name: number for number, name in enumerate(nodes, 1)}
        self._journal = journal
        self._name_servers = tuple(name_servers)
        self._changed = changed
        self._lock = threading.Lock()
        self._fresh: list[Running] = []
        self.images: dict[str, Image] = {}
        self.running: dict[Key, Running] = {}
        self.ended: dict[Key, Running] = {}
        self.ending: dict[Key, float] = {}
        self._logs = spawner.store / "logs"
        self._logs.mkdir()
        self.names = spawner.store / "names"
        self.names.mkdir()

    def start(self, specs: Iterable[PodSpec], connected: Callable[[], None], *, awaited: bool = False) -> None:
        """Start pods: first all of them without containers, then their network, then what they run.

        `connected` is called when they have their network. A pod that cannot be started is one with a failure. Those
        that are `awaited` are for `await_servers`.
        """
        fresh = [self._hold(spec) for spec in specs]
        try:
            self._network.attach(item.attachment for item in fresh if item.attachment is not None)
        except AttachError as error:
            for item in fresh:
                if item.attachment in error.failed:
                    self._fail(item, error.failed[item.attachment])
        connected()
        for item in fresh:
            if not item.failure:
                for container in item.spec.containers:
                    self._start_container(item, container)
        if awaited:
            with self._lock:
                self._fresh += fresh

    def await_servers(self, deadline: float) -> None:
        """Return when the pods that were started to be awaited answer on their TCP ports, or at a monotonic time.

        They are asked from inside, where no policy is in between.
        """
        with self._lock:
            items, self._fresh = self._fresh, []
        with ThreadPoolExecutor(_AT_ONCE, "servers") as workers:
            list(workers.map(lambda item: self._await_servers(item, deadline), items))

    def _await_servers(self, item: Running, deadline: float) -> None:
        probes = [
            Probe("tcp", "", address, port)
            for address in item.spec.addresses
            for container in item.spec.containers
            for port in answered_ports(container, item.programs.get(container.name))
        ]
        while item.holder is not None and probes and self.running.get(item.spec.key) is item:
            try:
                outcomes = item.holder.probe(probes)
            except LabError:
                return
            probes = [probe for probe, outcome in zip(probes, outcomes, strict=True) if outcome != "open"]
            if probes and time.monotonic() > deadline:
                ports = ", ".join(str(probe.port) for probe in probes)
                self._say(item.spec, f"nothing answers on TCP {ports} yet")
                return

    def end(self, seconds: Mapping[Key, int]) -> list[Key]:
        """Ask the programs of pods to end in so many seconds each; return the pods that may be stopped.

        They are those in which nothing runs any more, and those whose time is up. A pod that is ending already may get
        less time. `changed` is called for each that has got another time.
        """
        return [key for key, left in seconds.items() if not self._goes_on(key, left)]

    def _goes_on(self, key: Key, seconds: int) -> bool:
        """Return whether a pod that is to end still does something; it is asked to end if it was not yet."""
        holder = item.holder if (item := self.running.get(key)) is not None else None
        known, now = self.ending.get(key), time.monotonic()
        deadline = now + seconds if known is None else min(known, now + seconds)
        if holder is None or deadline <= now or not holder.runs():
            return False
        self.ending[key] = deadline
        if known is None:
            try:
                holder.terminate()
            except LabError:
                return False
        if deadline != known:
            self._changed(key)
        return True

    def overdue(self) -> list[Key]:
        """Return the pods that have had the time to end that they had."""
        now = time.monotonic()
        return [key for key, deadline in self.ending.items() if deadline <= now]

    def patience(self) -> float | None:
        """Return the seconds until the next pod is overdue, or an hour if that is less; None if none is to end."""
        if not self.ending:
            return None
        return min(max(0.0, min(self.ending.values()) - time.monotonic()), _HOUR)

    def stop(self, keys: Iterable[Key]) -> None:
        """Stop pods, and return when nothing of them is left and their addresses are free."""
        gone = [item for key in keys if (item := self.running.pop(key, None)) is not None]
        for item in gone:
            self.ended[item.spec.key] = item
            self.ending.pop(item.spec.key, None)
            if item.holder is not None:
                item.holder.close()
        self._network.detach(item.attachment for item in gone if item.attachment is not None)

    def forget(self, keys: Iterable[Key]) -> None:
        """Forget pods that were stopped and do not exist any more, with their output."""
        for key in keys:
            self._remove_logs(self.ended.pop(key))

    def _remove_logs(self, item: Running) -> None:
        for container in item.spec.containers:
            log = self._log(item.spec.key, container.name)
            for file in (log, previous_log(log)):
                file.unlink(missing_ok=True)

    def log(self, key: Key, container: str | None, *, previous: bool = False) -> Path:
        """Return the file of a container's output, that of the first one if none is named.

        `previous` is for what it printed before it was started again. Raises LabError.
        """
        item = self.running.get(key) or self.ended.get(key)
        names = [container.name for container in item.spec.containers] if item else []
        if not names:
            raise LabError(f"pod {key.namespace}/{key.name} does not run")
        if container is not None and container not in names:
            raise LabError(f"pod {key.namespace}/{key.name} has no container {container}; it has {', '.join(names)}")
        log = self._log(key, container or names[0])
        if previous and not (log := previous_log(log)).exists():
            raise LabError(f"container {container or names[0]} of pod {key.namespace}/{key.name} was not started again")
        return log

    def _log(self, key: Key, container: str) -> Path:
        return self._logs / f"{key.namespace}_{key.name}_{container}"

    def _hold(self, spec: PodSpec) -> Running:
        before = self.ended.pop(spec.key, None)
        if before is not None and before.spec.uid != spec.uid:
            self._remove_logs(before)
        item = self.running[spec.key] = Running(spec)
        if before is not None and before.is_lost:
            item.past = before.starts()
        try:
            item.holder = self._spawner.pod(spec, join=self._nodes[spec.node] if spec.host_network else None)
        except PodfenceError as error:
            self._fail(item, str(error))
            return item
        if not spec.host_network:
            name = f"{spec.namespace}/{spec.name}"
            item.attachment = Attachment(item.holder.pid, self._numbers[spec.node], spec.addresses, name)
        return item

    def _fail(self, item: Running, text: str) -> None:
        item.failure = text
        self._say(item.spec, f"cannot be started: {text}")

    def _say(self, spec: PodSpec, text: str) -> None:
        self._journal.say(f"pod {spec.namespace}/{spec.name}", text)

    def _start_container(self, item: Running, container: Container) -> None:
        if item.holder is None:
            return
        names = dns.cluster_server(self._spawner.store_in_pods / self.names.name, self._name_servers)
        program = choose(container, self.images, f"{self._spawner.store / 'bin'}:{SYSTEM_PATH}", names)
        item.programs[container.name] = program
        log = self._log(item.spec.key, container.name)
        try:
            item.holder.start_container(
                container.name, program, log, lambda code: self._container_ended(item, container, code)
            )
        except LabError as error:
            item.is_lost = True
            self._fail(item, str(error))

    def _container_ended(self, item: Running, container: Container, code: int) -> None:
        """Start a container again after a while, if its pod is there and wants it."""
        spec = item.spec
        if self.running.get(spec.key) is not item:
            return
        if spec.restart == "Always" or (spec.restart == "OnFailure" and code != 0):
            timer = threading.Timer(item.pause(container.name), self._again, (item, container))
            timer.daemon = True
            timer.start()
        self._changed(spec.key)

    def _again(self, item: Running, container: Container) -> None:
        key = item.spec.key
        if self.running.get(key) is item and key not in self.ending:
            self._start_container(item, container)
            self._changed(key)
