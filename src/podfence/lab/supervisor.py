# SPDX-License-Identifier: Apache-2.0
"""Everything that runs in a lab, brought in step with its objects: nodes, pods, Services, names and agents."""

from __future__ import annotations

import threading
import time
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Final

from podfence.kube.objects import Key
from podfence.kube.registry import Need, needed
from podfence.lab.agents import RESULTS, NodeAgent, Order, lifted
from podfence.lab.apiserver import certificates
from podfence.lab.door import open_door
from podfence.lab.errors import LabError
from podfence.lab.network import dns
from podfence.lab.network.outside import ANY_PORT
from podfence.lab.network.proxy import Proxy
from podfence.lab.network.wiring import Network
from podfence.lab.nursery import Nursery
from podfence.lab.objects.world import World
from podfence.lab.processes import archive
from podfence.lab.processes.program import Program, StandIn
from podfence.lab.processes.spawner import Spawner
from podfence.lab.running import FIRST_DELAY, Pods
from podfence.lab.store.resources import RESOURCES
from podfence.lab.targets import OUTSIDE

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Iterable
    from contextlib import AbstractContextManager

    from podfence.cluster.state import ClusterState
    from podfence.dataplane.settings import Binding
    from podfence.lab.access import Access
    from podfence.lab.addresses import Plan
    from podfence.lab.journal import Journal
    from podfence.lab.processes.holder import Holder
    from podfence.lab.running import Running
    from podfence.lab.store.history import Change
    from podfence.lab.targets import Place
    from podfence.policy.options import Options

_SERVERS_PATIENCE: Final = 3.0
"""Seconds to wait until what pods run answers on its ports."""

_PATIENCE: Final = 30.0
"""Seconds to wait for kernels before it is said that they are behind."""

_SOON: Final = 2.0
"""Seconds after which it is said that pods take time to end."""

_ENDS_PATIENCE: Final = 60.0
"""Seconds to wait until one more of the pods that are to end has ended."""

_PODS_PATIENCE: Final = 2.0
"""Seconds that containers wait until the kernels know their pods."""


class Supervisor:
    """A lab that is up. Its methods may be called by several threads; changes happen one after the other.

    `last_breath` is a file that becomes readable when the last process of the lab has ended. `access` is how kubectl
    gets in. Whoever holds `lock` sees no change.
    """

    def __init__(
        self,
        name: str,
        plan: Plan,
        nodes: int,
        options: Options,
        binding: Binding,
        journal: Journal,
        api: socket.socket,
    ) -> None:
        """Start nodes, the world outside, and what every cluster has. Raises PodfenceError.

        The API server listens on `api`.
        """
        self.name = name
        self.options = options
        self.journal = journal
        self.plan = plan
        self.world = World(plan, nodes, old=options.legacy == "v1beta1")
        self.last_breath = -1
        self.lock = threading.RLock()
        self._pod_ended = threading.Condition(self.lock)
        # How many commands wait until everything is as they say.
        self._asked = 0
        self._is_up = False
        self._names = ""
        self._latest = dict.fromkeys(needed(Need.NODE), 0)
        self._wake = threading.Event()
        self._changed: deque[Key] = deque()
        self._nursery = Nursery()
        with ThreadPoolExecutor(1) as workers:
            prepared = workers.submit(certificates.make)
            self._spawner = Spawner.start()
        self.outside = self._spawner.holder("outside")
        self.nodes = {node: self._spawner.holder(node) for node in self.world.state.nodes}
        pids = {node: holder.pid for node, holder in self.nodes.items()}
        kept = [self._nursery.folder / node / RESULTS for node in self.nodes]
        for folder in kept:
            folder.mkdir(parents=True)
        self.network = Network(plan, list(pids.values()), self.outside.pid, kept=kept)
        self.network.start()
        self._proxy = Proxy(plan, list(pids.items()))
        upstream = [plan.gateway(family) for family in plan.families]
        self.pods = Pods(self._spawner, self.network, self.nodes, journal, upstream, self._pod_changed)
        self._start_outside()
        self.access = open_door(self, api, prepared.result())
        self.agents = {node: self._agent(node, holder, self.access, binding) for node, holder in self.nodes.items()}
        for agent in self.agents.values():
            agent.start()
        self.world.store.subscribe(self._note)
        threading.Thread(target=self._follow, name="objects", daemon=True).start()

    @property
    def state(self) -> ClusterState:
        """The objects of the lab, not to be kept: they change."""
        return self.world.state

    # Changes

    def change(self, work: Callable[[World], None], tell: Callable[[str], None]) -> None:
        """Let `work` take in objects that are written meanwhile, and return when everything is as they say.

        `tell` is told what takes a while. Kernels that do not follow are told of in the journal.
        """
        with self.lock:
            work(self.world)
            self._asked += 1
            try:
                self._reconcile(tell)
                self._await_ends(tell)
            finally:
                self._asked -= 1
        self.settle()
        self._is_up = True
        self.pods.await_servers(time.monotonic() + _SERVERS_PATIENCE)

    def _reconcile(self, tell: Callable[[str], None] | None = None) -> None:
        """Bring everything in step with the objects, until nothing is to be done; `tell` is told if somebody waits."""
        touched = False
        while any(steps := self.world.take()):
            touched = True
            self._end(steps.stop)
            self.pods.forget(self.pods.ended.keys() - self.state.pods.keys())
            if steps.start:
                if tell is not None:
                    tell(f"starting {len(steps.start)} pods" if len(steps.start) > 1 else "starting a pod")
                self.pods.start(steps.start, self._await_agents, awaited=self._asked > 0)
                for spec in steps.start:
                    self._report(spec.key)
        if touched:
            self._write_names()
            self._proxy.update(self.state)

    def _end(self, keys: Iterable[Key]) -> None:
        """Let pods end, and stop those in which nothing runs any more, or whose time is up."""
        gone = self.pods.end({key: self.world.seconds_to_end(key) for key in keys})
        if gone:
            self.pods.stop(gone)
            self.world.pod_stopped(*gone)
            self._pod_ended.notify_all()

    def _await_ends(self, tell: Callable[[str], None]) -> None:
        """Return when pods that are to end have ended, and what takes their places has been started."""
        if self._pod_ended.wait_for(lambda: not self.pods.ending, _SOON):
            return
        count = len(self.pods.ending)
        tell(f"waiting for {count} pods to end" if count > 1 else "waiting for a pod to end")
        while self.pods.ending and self._pod_ended.wait(_ENDS_PATIENCE):
            pass

    def _note(self, change: Change) -> None:
        kind = RESOURCES[change.resource].kind
        if kind in self._latest:
            self._latest[kind] = change.revision
        known = change.object["metadata"]
        if (key := Key(kind, known.get("namespace", ""), known["name"])) in self.pods.ending:
            # It may have less time now.
            self._changed.append(key)
        self._wake.set()

    def _write_names(self) -> None:
        text = dns.records(self.state, self.plan)
        if text != self._names:
            self._names = text
            dns.publish(self.pods.names, text)

    def _pod_changed(self, key: Key) -> None:
        self._changed.append(key)
        self._wake.set()

    def _report(self, key: Key) -> None:
        item = self.pods.running.get(key)
        if item is not None:
            self.world.pod_reported(key, item.reports(), item.failure)

    def _look_at(self, key: Key) -> None:
        """Report on a pod of which a container has ended or was started again; one that is lost is started anew."""
        item = self.pods.running.get(key)
        if item is not None and item.is_lost and key not in self.pods.ending:
            self._restart(item)
        else:
            self._report(key)

    def _restart(self, item: Running) -> None:
        self.pods.stop([item.spec.key])
        self.pods.start([item.spec], self._await_agents)
        self._report(item.spec.key)

    def _follow(self) -> None:
        """Do what follows from what containers and writers to the store do by themselves."""
        patience: float | None = None
        while True:
            self._wake.wait(patience)
            self._wake.clear()
            patience = None
            try:
                with self.lock:
                    keys = dict.fromkeys(self._changed.popleft() for _ in range(len(self._changed)))
                    self._end([*(key for key in keys if key in self.pods.ending), *self.pods.overdue()])
                    for key in keys:
                        self._look_at(key)
                    self._reconcile()
                    patience = self.pods.patience()
            except Exception as error:  # noqa: BLE001 - nothing would follow the store any more
                self.journal.say("lab", f"what the objects say could not be done: {type(error).__name__}: {error}")

    def load_images(self, file: int, name: str) -> list[str]:
        """Unpack an image archive that is open as `file`, and run its images wherever they are asked for.

        Returns their names. Raises ArchiveError, with `name` for the file.
        """
        with open(file, "rb", closefd=False) as content:
            images = archive.load(content, name, self._spawner.store)
        with self.lock:
            for image in images:
                self.pods.images.update(dict.fromkeys(image.names, image))
            names = {text for image in images for text in image.names}
            for key, item in list(self.pods.running.items()):
                wanted = {archive.reference(container.image) for container in item.spec.containers}
                if wanted & names and key not in self.pods.ending:
                    self._restart(item)
        return sorted(names)

    # Places

    def holder(self, place: Place) -> Holder:
        """Return what holds a place; raise LabError if that is a pod which does not run."""
        if place == OUTSIDE:
            return self.outside
        if place.kind == "Node":
            return self.nodes[place.name]
        item = self.pods.running.get(place)
        if item is None or item.holder is None:
            why = f": {item.failure}" if item else ""
            raise LabError(f"pod {place.namespace}/{place.name} does not run{why}")
        return item.holder

    # Agents

    def _agent(self, node: str, holder: Holder, access: Access, binding: Binding) -> NodeAgent:
        folder = self._nursery.folder / node
        order = Order(node, str(folder), access, self.options, binding)
        return NodeAgent(node, folder, partial(self._nursery.start, holder, order), self.journal)

    def _settled(self, patience: float) -> list[str]:
        """Return the nodes whose kernels do not have everything in so many seconds."""
        revisions, deadline = dict(self._latest), time.monotonic() + patience
        return [node for node, agent in self.agents.items() if not agent.settled(revisions, deadline)]

    def settle(self) -> None:
        """Return when all kernels have what the store holds; those that do not follow are told of in the journal."""
        for node in self._settled(_PATIENCE):
            self.journal.say(
                "lab", f"the kernel of {node} does not have the latest changes yet; the log of its agent says why"
            )

    def _await_agents(self) -> None:
        """Let pods find a network in which they are known; the first ones find that before anybody uses them."""
        if self._is_up:
            self._settled(_PODS_PATIENCE)

    def lifted(self) -> AbstractContextManager[None]:
        """Have no policy in force while what is returned lasts."""
        return lifted(self.agents.values(), self.nodes.values())

    def _start_outside(self) -> None:
        answers = StandIn("echo", tcp=(ANY_PORT,), udp=(ANY_PORT,), every_port=True)
        self._run_outside("responders", Program("stand-in", stand_in=answers))
        self._run_outside("dns", Program("dnsmasq", argv=dns.outside_server(self.plan)))

    def _run_outside(self, name: str, program: Program) -> None:
        """Start a server outside, and again when it ends."""

        def ended(_code: int) -> None:
            timer = threading.Timer(FIRST_DELAY, self._run_outside, (name, program))
            timer.daemon = True
            timer.start()

        # Where all of outside has ended, every command that needs it says so.
        with suppress(LabError):
            self.outside.start_container(name, program, self._spawner.store / f"outside-{name}.log", ended)
