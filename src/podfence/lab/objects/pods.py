# SPDX-License-Identifier: Apache-2.0
"""The pods of a lab: started and stopped until they are those that the objects want."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import msgspec

from podfence.cluster.selection import matches
from podfence.cluster.state import EventType
from podfence.kube.objects import Key, Pod, Workload
from podfence.kube.registry import KINDS
from podfence.kube.source import Origin
from podfence.lab.objects.containers import PodSpec
from podfence.lab.objects.workloads import (
    Finished,
    Slot,
    controller,
    pod_labels,
    selector,
    slots,
    suffix,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from podfence.kube.objects import KubeObject, Labels
    from podfence.lab.addresses import Plan
    from podfence.lab.objects.placement import Place, Placement
    from podfence.lab.objects.reading import Written
    from podfence.lab.objects.templates import Template

_DOMAIN: Final = "cluster.local"
_LONGEST_HOSTNAME: Final = 63
_LONGEST_PREFIX: Final = 58


@dataclass(slots=True)
class Live:
    """A pod that exists: its object, where it is, and the slot of its owner that it fills (None for none)."""

    pod: Pod
    place: Place
    owner: Key
    slot: str | None
    revision: str
    finished: bool = False


class Pods:
    """All pods, those that are being stopped, and what is to be started and stopped.

    A pod's name and addresses are given to another only when it has stopped: an owner whose pod must wait
    for that, or for a free address, is in `waiting`.
    """

    def __init__(self, plan: Plan, placement: Placement, emit: Callable[[EventType, KubeObject], None]) -> None:
        """Start without pods; `emit` is told of every change of a Pod object."""
        self._plan = plan
        self._placement = placement
        self._emit = emit
        self._slots: dict[Key, dict[str, Key]] = {}
        self._stopping: dict[Key, Place] = {}
        self._starts: dict[Key, PodSpec] = {}
        self._stops: list[Key] = []
        self._made: dict[Key, int] = {}
        self._finished: dict[Key, Finished] = {}
        self.live: dict[Key, Live] = {}
        self.waiting: set[Key] = set()

    def take(self) -> tuple[list[PodSpec], list[Key]]:
        """Return what is to be started and what to be stopped since the last call."""
        taken = list(self._starts.values()), self._stops
        self._starts, self._stops = {}, []
        return taken

    def owned(self, owner: Key) -> list[Key]:
        """Return the pods of an owner, finished ones included; a bare pod owns itself."""
        return [key for key, live in self.live.items() if live.owner == owner]

    # Towards what is wanted

    def reconcile(self, written: Written) -> None:
        """Stop the pods that an object does not want, or not so any more, and start those it lacks."""
        owner, run = written.item.key, written.run
        self.waiting.discard(owner)
        if run is None:
            return
        wanted = self._wanted(written, run)
        have = self._slots.setdefault(owner, {})
        names = {slot.id for slot in wanted}
        for name, key in reversed(list(have.items())):
            if name not in names or self.live[key].revision != written.revision:
                self.remove(key)
        for slot in wanted:
            if slot.id not in have and not self._start(written, run, slot):
                self.waiting.add(owner)
                if not slot.name and not slot.node:
                    break

    def forget(self, owner: Key) -> None:
        """Remove all pods of an owner that is gone."""
        for key in self.owned(owner):
            self.remove(key)
        self._slots.pop(owner, None)
        self._finished.pop(owner, None)
        self.waiting.discard(owner)

    def remove(self, key: Key) -> None:
        """Remove one pod; it is stopped if it runs."""
        live = self.live.pop(key)
        self._vacate(live)
        self._emit(EventType.DELETED, live.pod)
        if not live.finished:
            self._stop(key, live.place)

    def _wanted(self, written: Written, run: Template) -> list[Slot]:
        item = written.item
        if isinstance(item, Workload):
            nodes = self._placement.eligible(run)
            return slots(item, written.spec, nodes, self._finished.get(item.key, Finished()))
        return [Slot("", item.name)]

    def _start(self, written: Written, run: Template, slot: Slot) -> bool:
        """Start a pod; return False if it must wait."""
        item = written.item
        name = slot.name or self._made_up_name(written)
        key = Key("Pod", item.key.namespace, name)
        if key in self.live or key in self._stopping or not isinstance(item, Pod | Workload):
            return False
        host = item.template.host_network
        place = self._placement.place(run, host=host, node=slot.node)
        if place is None:
            return False
        labels = item.template.labels if isinstance(item, Pod) else pod_labels(item, written.revision, slot.id)
        pod = Pod(
            namespace=key.namespace,
            name=name,
            template=msgspec.structs.replace(item.template, labels=labels, node=place.node),
            owner=item.owner if isinstance(item, Pod) else controller(item, written.revision),
            addresses=place.addresses,
            node_addresses=self._placement.nodes[place.node].addresses,
            phase="Running",
            origin=_template_origin(item),
        )
        self.live[key] = Live(pod, place, item.key, slot.id, written.revision)
        self._slots[item.key][slot.id] = key
        self._starts[key] = self._spec(pod, run)
        self._emit(EventType.ADDED, pod)
        return True

    def _made_up_name(self, written: Written) -> str:
        owner = written.item.key
        name = f"{owner.name}-{written.revision}" if owner.kind == "Deployment" else owner.name
        while True:
            number = self._made[owner] = self._made.get(owner, 0) + 1
            made = f"{name}-"[:_LONGEST_PREFIX] + suffix("/".join((*owner, str(number))))
            key = Key("Pod", owner.namespace, made)
            if key not in self.live and key not in self._stopping:
                return made

    def _spec(self, pod: Pod, run: Template) -> PodSpec:
        host = pod.template.host_network
        search, server, options = _resolver(self._plan, run, pod.namespace, host=host)
        return PodSpec(
            namespace=pod.namespace,
            name=pod.name,
            hostname=pod.template.node if host else (run.hostname or pod.name)[:_LONGEST_HOSTNAME].rstrip("-."),
            node=pod.template.node,
            addresses=pod.addresses,
            host_network=host,
            containers=run.containers,
            restart=run.restart,
            dns_search=search,
            dns_server=server,
            dns_options=options,
        )

    # What happens to pods

    def finish(self, key: Key, *, succeeded: bool) -> Key | None:
        """Take in that all containers of a pod have ended for good; return its owner if that may want another."""
        live = self.live.get(key)
        if live is None or live.finished:
            return None
        if live.owner != key:
            self._vacate(live)
            done = self._finished.get(live.owner, Finished())
            self._finished[live.owner] = Finished(done.succeeded + succeeded, done.failed + (not succeeded))
        live.finished = True
        phase = "Succeeded" if succeeded else "Failed"
        self._change(live, msgspec.structs.replace(live.pod, phase=phase, addresses=()))
        self._stop(key, live.place)
        return live.owner

    def stopped(self, key: Key) -> Key | None:
        """Take in that a pod is gone; return the owner of one that went unasked, which may want another."""
        place = self._stopping.pop(key, None)
        if place is not None:
            self._placement.release(place)
            return None
        live = self.live.get(key)
        if live is None or live.finished:
            return None
        del self.live[key]
        self._vacate(live)
        self._emit(EventType.DELETED, live.pod)
        self._starts.pop(key, None)
        self._placement.release(live.place)
        return live.owner

    def relabel(self, key: Key, labels: Labels, written: Written | None) -> None:
        """Give a pod other labels; one that its owner `written` does not select any more is nobody's then."""
        live = self.live[key]
        template = msgspec.structs.replace(live.pod.template, labels=labels)
        pod = msgspec.structs.replace(live.pod, template=template)
        item = written.item if written is not None else None
        if written is not None and isinstance(item, Workload):
            means = selector(item, written.spec, live.revision)
            if not matches(means, labels):
                self._vacate(live)
                live.owner = key
                pod = msgspec.structs.replace(pod, owner=None)
        self._change(live, pod)

    def _change(self, live: Live, pod: Pod) -> None:
        live.pod = pod
        self._emit(EventType.MODIFIED, pod)

    def _vacate(self, live: Live) -> None:
        if live.slot is not None:
            self._slots[live.owner].pop(live.slot, None)
            live.slot = None

    def _stop(self, key: Key, place: Place) -> None:
        if self._starts.pop(key, None) is not None:
            # Nobody has started it yet, so nobody will tell that it has stopped.
            self._placement.release(place)
        else:
            self._stopping[key] = place
            self._stops.append(key)


def _template_origin(item: Pod | Workload) -> Origin | None:
    """Return the place that says of a pod what its own object would: a template is written like a Pod."""
    if item.origin is None:
        return None
    return Origin(item.origin.document, (*item.origin.path, *(KINDS[item.key.kind].template or ())))


def _resolver(plan: Plan, run: Template, namespace: str, *, host: bool) -> tuple[tuple[str, ...], str, tuple[str, ...]]:
    """Return search domains, server and options of a pod's resolv.conf, as kubelet writes them."""
    resolver = run.resolver
    policy = resolver.policy
    if policy == "ClusterFirst" and host:
        policy = "Default"
    search: tuple[str, ...] = ()
    options: tuple[str, ...] = ()
    server = ""
    if policy in ("ClusterFirst", "ClusterFirstWithHostNet"):
        search = (f"{namespace}.svc.{_DOMAIN}", f"svc.{_DOMAIN}", _DOMAIN)
        server = plan.dns_address()
        options = ("ndots:5",)
    elif policy == "Default":
        server = plan.gateway(plan.families[0])
    own = {option.partition(":")[0] for option in resolver.options}
    return (
        tuple(dict.fromkeys((*search, *resolver.searches))),
        server or next(iter(resolver.servers), ""),
        (*(option for option in options if option.partition(":")[0] not in own), *resolver.options),
    )
