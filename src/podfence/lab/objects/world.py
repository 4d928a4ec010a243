# SPDX-License-Identifier: Apache-2.0
"""The objects of a lab, as an API server and its controllers keep them; nothing here runs anything."""

from __future__ import annotations

import time
from importlib import resources
from typing import TYPE_CHECKING, Final, NamedTuple, cast

from podfence.errors import InputError
from podfence.kube import yaml
from podfence.kube.objects import Key
from podfence.kube.registry import KINDS
from podfence.lab.apiserver.admission import complete
from podfence.lab.objects import machines
from podfence.lab.objects.containers import PodSpec
from podfence.lab.objects.controllers import daemon_sets, replica_sets, stateful_sets
from podfence.lab.objects.controllers.deployments import Deployments
from podfence.lab.objects.controllers.endpoint_slices import EndpointSlices
from podfence.lab.objects.controllers.events import Events
from podfence.lab.objects.controllers.garbage import Garbage
from podfence.lab.objects.controllers.jobs import Jobs
from podfence.lab.objects.controllers.making import PodMaker, Workloads
from podfence.lab.objects.controllers.manager import Manager
from podfence.lab.objects.controllers.namespaces import Namespaces
from podfence.lab.objects.controllers.nodes import Nodes
from podfence.lab.objects.inventory import Inventory
from podfence.lab.objects.owners import Place
from podfence.lab.objects.placement import Placement
from podfence.lab.objects.service_addresses import ServiceAddresses
from podfence.lab.objects.view import readable
from podfence.lab.store.errors import ConflictError, NotFoundError
from podfence.lab.store.store import Store

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from podfence.cluster.state import ClusterState
    from podfence.kube.origin import Origin
    from podfence.lab.addresses import Plan
    from podfence.lab.objects.statuses import ContainerReport
    from podfence.lab.store.metadata import Raw

_SYSTEM: Final = "system.yaml"


class Steps(NamedTuple):
    """What is to be done: stop pods first, then start others; `changed` says that objects have changed."""

    start: list[PodSpec]
    stop: list[Key]
    changed: bool


class World:
    """The store of a lab, its controllers, and the pods that must run because of them.

    Not thread-safe, but others may write to the `store` at any time: `follow` takes in what they did. `state` holds
    everything as the engine has it, with origins.
    """

    def __init__(
        self,
        plan: Plan,
        nodes: int,
        *,
        old: bool = False,
        authority: str = "",
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Start with nodes, system namespaces and DNS. With `old`, policies are those of a cluster from before 1.7.

        `authority` is the certificate by which clients know the API server, and `clock` gives the seconds since the
        epoch.
        """
        self.plan = plan
        self.store = Store(clock=clock)
        self._inventory = inventory = Inventory(self.store, clock, old=old)
        self._placement = Placement(self.state.nodes, plan, nodes)
        self._nodes = Nodes(inventory, self._placement, plan)
        self._services = ServiceAddresses(plan)
        self.store.subscribe(self._services.take_in)
        maker, jobs = PodMaker(inventory, self._placement), Jobs()
        self._manager = Manager(
            inventory,
            (
                Namespaces(inventory, authority),
                Workloads(maker, "deployments.apps", Deployments(inventory).tend, makes="replicasets.apps"),
                Workloads(maker, "replicasets.apps", replica_sets.tend, replica_sets.also),
                Workloads(maker, "replicationcontrollers", replica_sets.tend, replica_sets.also),
                Workloads(maker, "statefulsets.apps", stateful_sets.tend, stateful_sets.also),
                Workloads(maker, "daemonsets.apps", daemon_sets.tend, daemon_sets.also),
                Workloads(maker, "jobs.batch", jobs.tend, jobs.also),
                self._nodes,
                EndpointSlices(inventory),
                Garbage(inventory),
                Events(inventory),
            ),
        )
        for number in range(1, nodes + 1):
            made = machines.node(plan, number, clock())
            self.store.create("nodes", made)
            self.store.update("nodes", made, status=True)
        complete(self.store, old=old)
        for row in KINDS.values():
            self.store.admit(row.printed(plural=True), readable)
        self.store.admit("nodes", machines.admit)
        self.store.admit("services", self._services.admit)
        for obj in _system():
            self.store.create(KINDS[obj["kind"]].printed(plural=True), obj)
            self.follow()

    @property
    def state(self) -> ClusterState:
        """The objects as the engine has them, not to be kept: they change."""
        return self._inventory.view.state

    @property
    def waiting(self) -> tuple[Key, ...]:
        """The pods that wait for a free address."""
        return tuple(Key("Pod", place.namespace, place.name) for place in sorted(self._nodes.waiting))

    def follow(self) -> None:
        """Let controllers do what is to be done by what the store holds now."""
        self._manager.run()
        while due := self._nodes.due():
            self._manager.wake(self._nodes, due)
            self._manager.run()

    def take(self) -> Steps:
        """Return what is to be done since the last call."""
        self.follow()
        start, stop = self._nodes.take()
        changed, self._inventory.view.changed = self._inventory.view.changed, False
        return Steps(start, stop, changed)

    def came_from(self, key: Key, origin: Origin) -> None:
        """Note where an object stands that was just written to the store: reasons name that place."""
        stored = self._inventory.find(Place(KINDS[key.kind].printed(plural=True), key.namespace, key.name))
        if stored is not None:
            self._inventory.view.came_from(key, origin, stored)

    # What happens to pods

    def seconds_to_end(self, key: Key) -> int:
        """Return how long the programs of a pod that is to stop have to end by themselves."""
        return self._nodes.seconds_to_end(key)

    def pod_stopped(self, *keys: Key) -> None:
        """Take in that nothing is left of pods that were to stop; their addresses and names are free again."""
        self._nodes.stopped(keys)

    def pod_reported(self, key: Key, containers: Mapping[str, ContainerReport], failure: str = "") -> None:
        """Take in what became of the containers of a pod; `failure` says why none of them could be started.

        A pod whose containers have all ended for good has finished, and what is left of it is to be stopped.
        """
        while True:
            try:
                self._nodes.reported(key, containers, failure)
            except ConflictError:
                continue
            except NotFoundError:
                pass
            break


def _system() -> list[Raw]:
    """Return what every lab holds, from the package's own manifest."""
    data = resources.files("podfence.lab.objects").joinpath("manifests", _SYSTEM).read_bytes()
    documents, problems = yaml.parse(data, f"podfence/lab/objects/manifests/{_SYSTEM}")
    if problems:  # pragma: no cover - our own file
        raise InputError(problems)
    return [cast("Raw", document.value) for document in documents]
