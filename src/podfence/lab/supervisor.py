# SPDX-License-Identifier: Apache-2.0
"""Everything that runs in a lab, brought in step with its objects: nodes, pods, Services, names and agents."""

from __future__ import annotations

import threading
import time
from collections import deque
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Final

from podfence.agent.source import Attached, Bookmark
from podfence.cluster.state import Event, EventType
from podfence.dataplane.settings import Settings
from podfence.lab.errors import LabError
from podfence.lab.links import AgentLink
from podfence.lab.network import dns
from podfence.lab.network.outside import DNS_PORT, Responders
from podfence.lab.network.proxy import Proxy
from podfence.lab.network.wiring import Network
from podfence.lab.objects.world import World
from podfence.lab.processes import archive
from podfence.lab.processes.image_names import reference
from podfence.lab.processes.program import Program, StandIn
from podfence.lab.processes.spawner import Spawner
from podfence.lab.running import Pods
from podfence.lab.targets import OUTSIDE

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Iterator, Sequence

    from podfence.agent.source import Notice
    from podfence.cluster.state import ClusterState
    from podfence.dataplane.links import Links
    from podfence.dataplane.settings import Binding
    from podfence.kube.objects import Key, KubeObject
    from podfence.lab.access import Access
    from podfence.lab.addresses import Plan
    from podfence.lab.journal import Journal
    from podfence.lab.objects.containers import PodSpec
    from podfence.lab.objects.resources import Outcome
    from podfence.lab.processes.holder import Holder
    from podfence.lab.running import Running
    from podfence.lab.targets import Target
    from podfence.policy.options import Options

_ANSWERS: Final = Responders(tcp=9, udp=9, dns=DNS_PORT)
LOG_GROUP: Final = 1
"""The group of the kernel's log that denied packets go to, on each node for itself."""

_SERVERS_PATIENCE: Final = 3.0
"""Seconds to wait until what pods run answers on its ports."""

_PATIENCE: Final = 30.0
"""Seconds to wait for kernels before it is said that they are behind."""


class Supervisor:
    """A lab that is up. Its methods may be called by several threads; changes happen one after the other.

    `last_breath` is a file that becomes readable when the last process of the lab has ended. `access` is how kubectl
    gets in; without, `without_access` says why it cannot.
    """

    def __init__(self, name: str, plan: Plan, nodes: int, options: Options, binding: Binding, journal: Journal) -> None:
        """Start nodes, the world outside, and what every cluster has. Raises PodfenceError."""
        self.name = name
        self.options = options
        self._settings = Settings(log_group=LOG_GROUP, binding=binding)
        self.journal = journal
        self.plan = plan
        self.world = World(plan, nodes, lax=options.validation == "lax", legacy=options.legacy)
        self.last_breath = -1
        self.access: Access | None = None
        self.without_access = ""
        self._lock = threading.RLock()
        self._mark = 0
        self._lifted = False
        self._names = ""
        self._attached: dict[str, Links] = {}
        self._wake = threading.Event()
        self._changed: deque[Key] = deque()
        self._spawner = Spawner.start()
        self.outside = self._spawner.holder(OUTSIDE)
        self.nodes = {node: self._spawner.holder(node) for node in self.world.state.nodes}
        pids = {node: holder.pid for node, holder in self.nodes.items()}
        self._network = Network(plan, list(pids.values()), self.outside.pid, _ANSWERS)
        self._network.start()
        self._proxy = Proxy(plan, list(pids.items()))
        upstream = [plan.gateway(family) for family in plan.families]
        self.pods = Pods(self._spawner, self._network, self.nodes, journal, upstream, self._pod_changed)
        self._start_outside()
        self.links = {
            node: AgentLink(node, self._agent(holder), journal, self._lock, partial(self._snapshot, node))
            for node, holder in self.nodes.items()
        }
        for link in self.links.values():
            link.start()
        self.world.store.subscribe(lambda _: self._wake.set())
        threading.Thread(target=self._follow, name="objects", daemon=True).start()

    @property
    def state(self) -> ClusterState:
        """The objects of the lab, not to be kept: they change."""
        return self.world.state

    # Changes

    def change(self, work: Callable[[World], list[Outcome]], tell: Callable[[str], None]) -> list[Outcome]:
        """Let `work` change the objects, and return its outcome when everything is as they say.

        `tell` is told what takes a while. Kernels that do not follow are told of in the journal.
        """
        with self._lock:
            outcomes = work(self.world)
            self._reconcile(tell)
            mark = self._mark
        self._settle(mark)
        self.pods.await_servers(time.monotonic() + _SERVERS_PATIENCE)
        return outcomes

    def _reconcile(self, tell: Callable[[str], None] | None = None) -> None:
        """Bring everything in step with the objects, until nothing is to be done; `tell` is told if somebody waits."""
        touched = False
        while any(steps := self.world.take()):
            touched = True
            self._attach(steps.start)
            self._feed(steps.events)
            if steps.stop:
                self.pods.stop(steps.stop)
                self.world.pod_stopped(*steps.stop)
            for event in steps.events:
                if event.type is EventType.DELETED and event.object.key.kind == "Pod":
                    self.pods.forget(event.object.key)
            if steps.start:
                if tell is not None:
                    tell(f"starting {len(steps.start)} pods" if len(steps.start) > 1 else "starting a pod")
                self.pods.start(steps.start, awaited=tell is not None)
                for spec in steps.start:
                    self._report(spec.key)
        if touched:
            self._proxy.update(self.state)
            self._write_names()
            self._attach()
            self._mark += 1
            self._feed([], mark=self._mark)

    def _attach(self, coming: Sequence[PodSpec] = ()) -> None:
        """Tell the agents by which links pods come, before they hear of those that are coming."""
        for node, links in self.pods.links(coming).items():
            if links != self._attached.get(node):
                self._attached[node] = links
                self.links[node].send([Attached(links)])

    def _feed(self, events: list[Event], *, mark: int | None = None) -> None:
        notices = [event for event in events if not (self._lifted and event.object.key.kind == "NetworkPolicy")]
        for link in self.links.values():
            link.send(notices if mark is None else [*notices, Bookmark(mark)])

    def _settle(self, mark: int) -> None:
        deadline = time.monotonic() + _PATIENCE
        for link in self.links.values():
            if not link.wait(mark, deadline):
                self.journal.say(
                    "lab",
                    f"the kernel of {link.node} does not have the latest changes yet; the log of its agent says why",
                )

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
        if item is not None and item.is_lost:
            self._restart(item)
        else:
            self._report(key)

    def _restart(self, item: Running) -> None:
        self.pods.stop([item.spec.key])
        self.pods.start([item.spec])
        self._report(item.spec.key)

    def _follow(self) -> None:
        """Do what follows from what containers and writers to the store do by themselves."""
        while self._wake.wait():
            self._wake.clear()
            try:
                with self._lock:
                    while self._changed:
                        self._look_at(self._changed.popleft())
                    self._reconcile()
            except Exception as error:  # noqa: BLE001 - nothing would follow the store any more
                self.journal.say("lab", f"what the objects say could not be done: {type(error).__name__}: {error}")

    def load_images(self, file: int, name: str) -> list[str]:
        """Unpack an image archive that is open as `file`, and run its images wherever they are asked for.

        Returns their names. Raises ArchiveError, with `name` for the file.
        """
        with open(file, "rb", closefd=False) as content:
            images = archive.load(content, name, self._spawner.store)
        with self._lock:
            for image in images:
                self.pods.images.update(dict.fromkeys(image.names, image))
            names = {text for image in images for text in image.names}
            for item in list(self.pods.running.values()):
                if any(reference(container.image) in names for container in item.spec.containers):
                    self._restart(item)
        return sorted(names)

    # Places

    def place(self, target: Target) -> Holder:
        """Return what holds a place; raise LabError if the pod there could not be started."""
        if target.node is not None:
            return self.nodes[target.node]
        if target.pod is None:
            return self.outside
        return self.holder(target.pod)

    def holder(self, pod: Key) -> Holder:
        """Return what holds a pod; raise LabError if it does not run."""
        item = self.pods.running.get(pod)
        if item is None or item.holder is None:
            why = f": {item.failure}" if item else ""
            raise LabError(f"pod {pod.namespace}/{pod.name} does not run{why}")
        return item.holder

    def still(self) -> threading.RLock:
        """Return what to hold while nothing may change."""
        return self._lock

    def require_room_for_all_pairs(self) -> None:
        """Raise NetworkError if the kernel has no room for what pods find when each speaks to every other."""
        self._network.require_room_for_all_pairs()

    # Agents

    def _agent(self, holder: Holder) -> Callable[[socket.socket], int]:
        return lambda connection: self._spawner.agent(holder, holder.name, connection, self.options, self._settings)

    def _snapshot(self, node: str) -> tuple[list[Notice], int]:
        """Return a node's links and all objects that agents look at, and the mark that is reached with them."""
        state = self.state
        found: list[KubeObject] = [item for name, item in state.namespaces.items() if name not in state.implied]
        found += [*state.nodes.values(), *state.pods.values()]
        if not self._lifted:
            found += [policy for policies in state.policies.values() for policy in policies.values()]
        self._attached[node] = self.pods.links(())[node]
        return [Attached(self._attached[node]), *(Event(EventType.ADDED, item) for item in found)], self._mark

    @contextmanager
    def lifted(self) -> Iterator[None]:
        """Have no policy in force while this lasts; nothing else changes meanwhile."""
        with self._lock:
            policies = [policy for found in self.state.policies.values() for policy in found.values()]
            self._switch([Event(EventType.DELETED, item) for item in policies], lifted=True)
            try:
                yield
            finally:
                self._switch([Event(EventType.ADDED, item) for item in policies], lifted=False)

    def _switch(self, events: list[Event], *, lifted: bool) -> None:
        self._lifted = False
        self._mark += 1
        self._feed(events, mark=self._mark)
        self._lifted = lifted
        self._settle(self._mark)

    def _start_outside(self) -> None:
        log = self._spawner.store / "outside.log"
        answers = StandIn("echo", tcp=(_ANSWERS.tcp,), udp=(_ANSWERS.udp,), every_port=True)
        self.outside.start_container("responders", Program("stand-in", stand_in=answers), log)
        self.outside.start_container("dns", Program("dnsmasq", argv=dns.outside_server(self.plan, _ANSWERS.dns)), log)
