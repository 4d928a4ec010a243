# SPDX-License-Identifier: Apache-2.0
"""The objects of a lab, as an API server and its controllers keep them; nothing here runs anything."""

from __future__ import annotations

import time
from importlib import resources
from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec

from podfence.cluster.ownership import top_of
from podfence.errors import InputError
from podfence.kube import yaml
from podfence.kube.findings import Finding
from podfence.kube.objects import Key, Node, Pod, Workload
from podfence.kube.registry import KINDS, LEGACY_POLICY
from podfence.lab.apiserver.admission import complete
from podfence.lab.apiserver.rules import changes
from podfence.lab.objects import applying, machines
from podfence.lab.objects.containers import PodSpec
from podfence.lab.objects.controllers.daemon_sets import DaemonSets
from podfence.lab.objects.controllers.deployments import Deployments
from podfence.lab.objects.controllers.endpoint_slices import EndpointSlices
from podfence.lab.objects.controllers.events import Events
from podfence.lab.objects.controllers.garbage import Garbage
from podfence.lab.objects.controllers.jobs import Jobs
from podfence.lab.objects.controllers.making import PodMaker
from podfence.lab.objects.controllers.manager import Manager
from podfence.lab.objects.controllers.namespaces import Namespaces
from podfence.lab.objects.controllers.nodes import Nodes
from podfence.lab.objects.controllers.replica_sets import ReplicaSets
from podfence.lab.objects.controllers.stateful_sets import StatefulSets
from podfence.lab.objects.inventory import Inventory, is_going
from podfence.lab.objects.owners import Place
from podfence.lab.objects.placement import Placement
from podfence.lab.objects.reading import Batch, Written, read
from podfence.lab.objects.resources import Outcome, outcome, refused
from podfence.lab.objects.service_addresses import ServiceAddresses
from podfence.lab.objects.view import readable
from podfence.lab.objects.workloads import template_at
from podfence.lab.store.errors import ConflictError, InvalidError, NotFoundError, StoreError
from podfence.lab.store.resources import RESOURCES
from podfence.lab.store.resources import resource_of as resource_row
from podfence.lab.store.store import Store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from podfence.cluster.state import ClusterState
    from podfence.kube.objects import KubeObject
    from podfence.kube.source import Document
    from podfence.lab.addresses import Plan
    from podfence.lab.objects.resources import Verb
    from podfence.lab.objects.statuses import ContainerReport
    from podfence.lab.store.metadata import Raw

_SYSTEM: Final = "system.yaml"
_NO_CLOCK: Final = "the lab keeps no time: a CronJob starts no Jobs"
_TOO_NEW: Final = (
    "a lab with legacy=v1beta1 is a cluster from before 1.7, which has no policies of networking.k8s.io/v1; "
    "write extensions/v1beta1, or start the lab without that option"
)
_NEW_MEANING: Final = (
    "it is stored as networking.k8s.io/v1 and means what it means there; "
    "`podfence lab up --set legacy=v1beta1` starts a lab where policies have their old meaning"
)
_IMMUTABLE: Final = "field is immutable"
_NO_BALANCER: Final = "the lab has no load balancer; from outside, use the node port"
_OLD_SELECTOR: Final = ("Deployment", "ReplicaSet", "DaemonSet", "StatefulSet")


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
        lax: bool = False,
        legacy: str = "auto",
        authority: str = "",
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Start with nodes, system namespaces and DNS; `lax` and `legacy` as in `podfence.kube.decode.decode`.

        `authority` is the certificate by which clients know the API server, and `clock` gives the seconds since the
        epoch.
        """
        self.plan = plan
        self.store = Store(clock=clock)
        self._lax = lax
        self._legacy = legacy
        self._inventory = inventory = Inventory(self.store, clock, old=legacy == "v1beta1")
        self._placement = Placement(self.state.nodes, plan, nodes)
        self._nodes = Nodes(inventory, self._placement, plan)
        self._services = ServiceAddresses(plan)
        self.store.subscribe(self._services.take_in)
        maker = PodMaker(inventory, self._placement)
        self._manager = Manager(
            inventory,
            (
                Namespaces(inventory, authority),
                Deployments(inventory),
                ReplicaSets(maker, "replicasets.apps", "ReplicaSet"),
                ReplicaSets(maker, "replicationcontrollers", "ReplicationController"),
                StatefulSets(maker),
                DaemonSets(maker),
                Jobs(maker),
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
        complete(self.store, old=legacy == "v1beta1")
        for row in KINDS.values():
            self.store.admit(row.printed(plural=True), readable)
        self.store.admit("nodes", machines.admit)
        self.store.admit("services", self._services.admit)
        self.apply(_system(), noted=False)

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

    # Requests

    def apply(self, documents: Iterable[Document], namespace: str = "default", *, noted: bool = True) -> list[Outcome]:
        """Create or change objects as `kubectl apply` does; those without a namespace go to `namespace`.

        If anything is wrong with any document, all errors are returned and nothing is done. What is new is `noted` in
        an annotation, by which the next apply knows what was in a manifest and is not any more.
        """
        batch = self._read(documents, namespace)
        if batch.errors:
            return _refusals(batch)
        found = [Outcome(warnings=tuple(map(str, batch.warnings)))] if batch.warnings else []
        workloads = {**self.state.workloads}
        workloads.update({item.item.key: item.item for item in batch.objects if isinstance(item.item, Workload)})
        # Namespaces first, wherever they stand: the others are in them.
        results: dict[int, Outcome] = {}
        order = sorted(range(len(batch.objects)), key=lambda index: batch.objects[index].item.key.kind != "Namespace")
        for index in order:
            written = batch.objects[index]
            made_up = self._make_up(written.item.key.namespace)
            maker = _maker(written.item, workloads)
            result = outcome(written.item.key, "ignored", [maker]) if maker else self._put(written, noted=noted)
            self.follow()
            notes = (*made_up, *(written.run.notes if written.run else ()), *result.notes)
            results[index] = msgspec.structs.replace(result, notes=notes)
        return [*found, *(results[index] for index in range(len(batch.objects)))]

    # What happens to pods

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

    # Creating and changing

    def _read(self, documents: Iterable[Document], namespace: str) -> Batch:
        return read(documents, namespace=namespace, lax=self._lax, legacy=self._legacy)

    def _make_up(self, name: str) -> list[str]:
        """Create a namespace that is only mentioned."""
        if not name or self._inventory.find(Place("namespaces", "", name)) is not None:
            return []
        self.store.create("namespaces", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
        return [f"namespace {name} does not exist; the lab creates it with the label that every namespace has"]

    def _put(self, written: Written, *, noted: bool) -> Outcome:
        item, key = written.item, written.item.key
        if isinstance(item, Node):
            return outcome(key, "ignored", ["the nodes of the lab are its own"])
        if key.kind == "NetworkPolicy" and self._legacy == "v1beta1" and written.value["apiVersion"] != LEGACY_POLICY:
            row = RESOURCES[_place(key).resource]
            return refused(key, _placed(InvalidError.of(row, key.name, ("apiVersion",), _TOO_NEW), item))
        new = applying.wanted(written.value, key)
        new, notes = self._adapted(new, written)
        place = _place(key)
        with self.store.lock:
            live = self._inventory.find(place)
            try:
                if live is None:
                    stored = self.store.create(place.resource, applying.first(new) if noted else new)
                else:
                    stored = self.store.update(place.resource, applying.merged(new, live), check=_may_change)
            except InvalidError as error:
                return refused(key, _placed(error, item))
            except StoreError as error:
                return refused(key, f"Error from server ({error.reason}): {error}")
        if item.origin is not None:
            self._inventory.view.came_from(key, item.origin, stored)
        if live is not None and is_going(live):
            notes.append("it is being deleted, so what is applied goes with it")
        verb: Verb = "created" if live is None else "unchanged" if applying.same(stored, live) else "configured"
        return outcome(key, verb, notes)

    def _adapted(self, new: Raw, written: Written) -> tuple[Raw, list[str]]:
        """Return an object as the lab can have it, and notes on what had to change."""
        notes: list[str] = []
        kind = new["kind"]
        # Of kinds of which the lab reads no spec nobody has looked at its type.
        spec = spec if isinstance(spec := new.get("spec"), dict) else {}
        if written.run is not None:
            notes += self._placement.notes(written.run)
        if kind == "Pod" and spec.get("nodeName") not in self.state.nodes:
            new = {**new, "spec": {key: value for key, value in spec.items() if key != "nodeName"}}
        elif kind == "Service":
            new, notes = self._services.without_foreign(new)
            if spec.get("type") == "LoadBalancer":
                notes.append(_NO_BALANCER)
        elif kind == "CronJob":
            notes.append(_NO_CLOCK)
        elif written.value["apiVersion"] == LEGACY_POLICY and kind == "NetworkPolicy" and self._legacy == "auto":
            notes.append(_NEW_MEANING)
        elif (
            kind in ("ReplicationController", *_OLD_SELECTOR)
            and not spec.get("selector")
            and (labels := (template_at(new).get("metadata") or {}).get("labels"))
        ):
            # Old versions of the API had the labels of the template as the default.
            selector = labels if kind == "ReplicationController" else {"matchLabels": labels}
            new = {**new, "spec": {**spec, "selector": selector}}
        return new, notes


def _system() -> list[Document]:
    """Return what every lab holds, from the package's own manifest."""
    data = resources.files("podfence.lab.objects").joinpath("manifests", _SYSTEM).read_bytes()
    documents, problems = yaml.parse(data, f"podfence/lab/objects/manifests/{_SYSTEM}")
    if problems:  # pragma: no cover - our own file
        raise InputError(problems)
    return list(documents)


def _refusals(batch: Batch) -> list[Outcome]:
    return [Outcome(error=str(problem)) for problem in batch.errors]


def _place(key: Key) -> Place:
    return Place(KINDS[key.kind].printed(plural=True), key.namespace, key.name)


def _placed(error: InvalidError, item: KubeObject) -> str:
    """Return what a manifest may not say, with its line."""
    if item.origin is None:  # pragma: no cover - what was read has one
        return str(error)
    position = item.origin.at(*error.field)
    return str(InputError([Finding(position=position, path=error.field, message=error.problem)]))


def _maker(item: KubeObject, workloads: Mapping[Key, Workload]) -> str:
    """Return what makes an object that need not be applied, as of a dump; "" if nothing does."""
    if not isinstance(item, Pod | Workload) or item.owner is None:
        return ""
    top = top_of(item.owner, item.namespace, workloads, item.template.labels)
    return f"created by {KINDS[top.kind].printed()}/{top.name}" if top in workloads and top != item.key else ""


def _may_change(after: Raw, before: Raw | None) -> None:
    """Refuse, as an API server does, a change of what cannot change. Raises InvalidError."""
    row = resource_row(after["kind"])
    if before is not None and row is not None and (found := changes(row, after, before)):
        # The value is all of a template, and stands in the manifest.
        message = _IMMUTABLE if found[0].message.endswith(_IMMUTABLE) else found[0].message
        why = f"{message} (delete it first, or use podfence lab delete -f and apply again)"
        raise InvalidError.of(row, after["metadata"]["name"], found[0].path, why)
