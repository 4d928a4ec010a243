# SPDX-License-Identifier: Apache-2.0
"""The objects of a lab, as an API server and its controllers keep them; nothing here runs anything."""

from __future__ import annotations

from importlib import resources
from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec

from podfence.cluster.ownership import top_of
from podfence.cluster.state import NAME_LABEL, ClusterState, Event, EventType
from podfence.errors import InputError
from podfence.kube import yaml
from podfence.kube.objects import Key, Namespace, Node, Pod, Service, Workload
from podfence.kube.registry import KINDS, Kind, Need
from podfence.kube.validation.names import label_key, label_value
from podfence.lab.objects.containers import PodSpec
from podfence.lab.objects.placement import Placement
from podfence.lab.objects.pods import Pods
from podfence.lab.objects.reading import Batch, Written, read
from podfence.lab.objects.resources import Outcome, not_found, outcome, refused, resource_of
from podfence.lab.objects.service_addresses import ServiceAddresses

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from podfence.kube.objects import KubeObject, Labels
    from podfence.kube.source import Document
    from podfence.lab.addresses import Plan

DNS_SERVICE: Final = Key("Service", "kube-system", "kube-dns")
"""The Service that has the DNS address, whatever is written in it."""

_SYSTEM: Final = "system.yaml"
_IMMORTAL: Final = ("default", "kube-system", "kube-public")
_POD_FROZEN: Final = (
    "spec: Forbidden: pod updates may not change fields other than `spec.containers[*].image` "
    "(delete the pod first, or use podfence lab delete -f and apply again)"
)
_NO_CLOCK: Final = "the lab keeps no time: a CronJob starts no Jobs"
_JOB_FROZEN: Final = "spec.template: Invalid value: field is immutable (delete the Job first)"


class Steps(NamedTuple):
    """What is to be done: stop pods first, then start others; the events go to the agents in this order."""

    start: list[PodSpec]
    stop: list[Key]
    events: list[Event]


class World:
    """The objects of a lab, the pods that must run because of them, and the events that tell of both.

    Not thread-safe. `state` holds everything, with origins; `revision` counts the events for agents.
    """

    def __init__(self, plan: Plan, nodes: int, *, lax: bool = False, legacy: str = "auto") -> None:
        """Start with nodes, system namespaces and DNS; `lax` and `legacy` as in `podfence.kube.decode.decode`."""
        self.plan = plan
        self.state = ClusterState()
        self.revision = 0
        self._lax = lax
        self._legacy = legacy
        self._events: list[Event] = []
        self._written: dict[Key, Written] = {}
        self._placement = Placement(plan, nodes)
        self._services = ServiceAddresses(plan)
        self._pods = Pods(plan, self._placement, self._emit)
        for node in self._placement.nodes.values():
            self._emit(EventType.ADDED, node)
        self.apply(_system())

    @property
    def waiting(self) -> tuple[Key, ...]:
        """The objects whose pods wait: for the end of another of the same name, or for a free address."""
        return tuple(sorted(self._pods.waiting))

    def take(self) -> Steps:
        """Return what is to be done since the last call."""
        start, stop = self._pods.take()
        events, self._events = self._events, []
        return Steps(start, stop, events)

    # Requests

    def apply(self, documents: Iterable[Document], namespace: str = "default") -> list[Outcome]:
        """Create or change objects as `kubectl apply` does; those without a namespace go to `namespace`.

        If anything is wrong with any document, all errors are returned and nothing is done.
        """
        batch = self._read(documents, namespace)
        if batch.errors:
            return _refusals(batch)
        found = [Outcome(warnings=tuple(map(str, batch.warnings)))] if batch.warnings else []
        coming = {written.item.key for written in batch.objects}
        workloads = {**self.state.workloads}
        workloads.update({item.item.key: item.item for item in batch.objects if isinstance(item.item, Workload)})
        for written in batch.objects:
            made_up = self._made_up(written.item.key, coming)
            maker = _maker(written.item, workloads)
            result = outcome(written.item.key, "ignored", [maker]) if maker else self._put(written)
            notes = (*(written.run.notes if written.run else ()), *result.notes)
            found.append(msgspec.structs.replace(result, notes=(*made_up, *notes) if not result.error else notes))
        found += [
            Outcome(resource=kind, verb="ignored", notes=(f"{count} not read: the lab does not use this kind",))
            for kind, count in batch.ignored.items()
        ]
        self._retry()
        return found

    def delete(self, documents: Iterable[Document], namespace: str = "default") -> list[Outcome]:
        """Delete the objects that documents name, as `kubectl delete -f` does.

        If anything is wrong with any document, all errors are returned and nothing is done.
        """
        batch = self._read(documents, namespace)
        if batch.errors:
            return _refusals(batch)
        files = [item.item.origin.document.file if item.item.origin else "" for item in batch.objects]
        found = [self._delete(item.item.key, file) for item, file in zip(batch.objects, files, strict=True)]
        self._retry()
        return found

    def delete_named(self, kind: str, names: Iterable[str], namespace: str = "default") -> list[Outcome]:
        """Delete objects by kind, in any of kubectl's words for it, and name.

        Raises UnknownResourceError for a word that is no kind.
        """
        resource = resource_of(kind)
        found = [self._delete(_key(resource, namespace, name)) for name in names]
        self._retry()
        return found

    def set_labels(self, kind: str, namespace: str, name: str, changes: Mapping[str, str | None]) -> Outcome:
        """Change labels of a pod or namespace as `kubectl label --overwrite` does; None takes one away.

        Raises UnknownResourceError for a word that is no kind.
        """
        key = _key(resource_of(kind), namespace, name)
        for label, value in changes.items():
            wrong = (*label_key(label), *label_value(value or ""))
            if wrong:
                return refused(key, f"error: invalid label {label}={value or ''}: {'; '.join(wrong)}")
        if key.kind == "Pod" and key in self._pods.live:
            before = self._pods.live[key].pod.template.labels
        elif key.kind == "Namespace" and name in self.state.namespaces:
            before = self.state.namespaces[name].labels
        elif key.kind in ("Pod", "Namespace"):
            return not_found(key)
        else:
            return refused(key, "error: only pods and namespaces can be labeled in the lab")
        after = {label: value for label, value in {**before, **changes}.items() if value is not None}
        if after == before:
            return outcome(key, "not labeled")
        if key.kind == "Pod":
            self._relabel_pod(key, after)
        else:
            self._relabel_namespace(key, {**after, NAME_LABEL: name})
        self._retry()
        return outcome(key, "unlabeled" if all(value is None for value in changes.values()) else "labeled")

    # What happens to pods

    def pod_stopped(self, *keys: Key) -> None:
        """Take in that pods are gone; their addresses and names are free again.

        One that nobody asked to stop is replaced.
        """
        for key in keys:
            self._reconcile(self._pods.stopped(key))
        self._retry()

    def pod_finished(self, key: Key, *, succeeded: bool) -> None:
        """Take in that all containers of a pod have ended for good; what is left of it is to be stopped."""
        self._reconcile(self._pods.finish(key, succeeded=succeeded))
        self._retry()

    # Creating and changing

    def _read(self, documents: Iterable[Document], namespace: str) -> Batch:
        return read(documents, namespace=namespace, lax=self._lax, legacy=self._legacy)

    def _made_up(self, key: Key, coming: set[Key]) -> list[str]:
        name = key.namespace
        if not name or name in self.state.namespaces or Key("Namespace", "", name) in coming:
            return []
        return [f"namespace {name} does not exist; the lab creates it with the label that every namespace has"]

    def _put(self, written: Written) -> Outcome:
        item = written.item
        key = item.key
        if isinstance(item, Node):
            return outcome(key, "ignored", ["the nodes of the lab are its own"])
        before = self._written.get(key)
        live = self._pods.live.get(key)
        if before is None and live is not None:
            return refused(key, f'Error from server (AlreadyExists): pods "{key.name}" already exists')
        if before is not None and (message := _frozen(written, before)):
            return refused(key, f'The {key.kind} "{key.name}" is invalid: {message}')
        labels_before = live.pod.template.labels if live else _labels(before.item) if before else {}
        written, labels = _merged(written, before, labels_before)
        notes = self._placement.notes(written.run) if written.run else []
        if key.kind == "CronJob":
            notes = [_NO_CLOCK]
        same = before is not None and before.value == written.value and labels == labels_before
        if isinstance(written.item, Service):
            known = before.item if before is not None else None
            try:
                service, notes = self._services.assign(
                    self._with_dns_address(written.item), known if isinstance(known, Service) else None
                )
            except InputError as error:
                return refused(key, str(error))
            written = written._replace(item=service)
        self._written[key] = written
        if same:
            self._renew(written.item)
            return outcome(key, "unchanged")
        if isinstance(item, Pod):
            if live is not None and live.revision == written.revision and labels != live.pod.template.labels:
                self._pods.relabel(key, labels, None)
        else:
            self._emit(EventType.MODIFIED if before else EventType.ADDED, written.item)
        self._pods.reconcile(written)
        return outcome(key, "configured" if before else "created", notes)

    def _with_dns_address(self, service: Service) -> Service:
        if service.key != DNS_SERVICE or service.headless or service.type == "ExternalName":
            return service
        return msgspec.structs.replace(service, addresses=(self.plan.dns_address(),))

    def _renew(self, item: KubeObject) -> None:
        """Let the state hold an object that says the same in another place: reasons name its line."""
        if not isinstance(item, Pod | Workload):
            self.state.apply(Event(EventType.MODIFIED, item))

    def _relabel_pod(self, key: Key, labels: Labels) -> None:
        owner = self._pods.live[key].owner
        self._pods.relabel(key, labels, self._written.get(owner))
        if owner != key:
            self._reconcile(owner)
        elif key in self._written:
            bare = self._written[key].item
            if isinstance(bare, Pod):
                template = msgspec.structs.replace(bare.template, labels=labels)
                bare = msgspec.structs.replace(bare, template=template)
                self._written[key] = self._written[key]._replace(item=bare)

    def _relabel_namespace(self, key: Key, labels: Labels) -> None:
        """Give a namespace other labels; one that was only implied exists from now on."""
        item = msgspec.structs.replace(self.state.namespaces[key.name], labels=labels)
        known = self._written.get(key)
        nothing: dict[str, object] = {"metadata": {"name": key.name}}
        self._written[key] = known._replace(item=item) if known else Written(item, nothing)
        self._emit(EventType.MODIFIED if known else EventType.ADDED, item)

    def _reconcile(self, owner: Key | None) -> None:
        if owner is not None and owner in self._written:
            self._pods.reconcile(self._written[owner])

    def _retry(self) -> None:
        """Start what waited for a name or an address that may be free now."""
        for owner in sorted(self._pods.waiting):
            self._reconcile(owner)

    # Deleting

    def _delete(self, key: Key, file: str = "") -> Outcome:
        if key.kind == "Namespace":
            return self._delete_namespace(key, file)
        if key.kind == "Node" and key.name in self.state.nodes:
            return refused(key, f'error: node "{key.name}" is the lab\'s own and stays')
        live = self._pods.live.get(key)
        written = self._written.pop(key, None)
        if written is None:
            if live is None:
                return not_found(key, file)
            self._pods.remove(key)
            self._reconcile(live.owner)
            return outcome(key, "deleted")
        self._pods.forget(key)
        item = written.item
        if isinstance(item, Service):
            self._services.release(item)
        if not isinstance(item, Pod):
            self._emit(EventType.DELETED, item)
        return outcome(key, "deleted")

    def _delete_namespace(self, key: Key, file: str) -> Outcome:
        name = key.name
        if name not in self.state.namespaces:
            return not_found(key, file)
        if name in _IMMORTAL:
            message = f'namespaces "{name}" is forbidden: this namespace may not be deleted'
            return refused(key, f"Error from server (Forbidden): {message}")
        for inside in [other for other in self._written if other.namespace == name]:
            self._delete(inside)
        for pod in [other for other in self._pods.live if other.namespace == name]:
            self._pods.remove(pod)
        if self._written.pop(key, None) is not None:
            self._emit(EventType.DELETED, self.state.namespaces[name])
        return outcome(key, "deleted")

    def _emit(self, kind: EventType, item: KubeObject) -> None:
        event = Event(kind, item)
        self.state.apply(event)
        if KINDS[item.key.kind].needs & Need.LAB:
            self._events.append(event)
            self.revision += 1


def _system() -> list[Document]:
    """Return what every lab holds, from the package's own manifest."""
    data = resources.files("podfence.lab.objects").joinpath("manifests", _SYSTEM).read_bytes()
    documents, problems = yaml.parse(data, f"podfence/lab/objects/manifests/{_SYSTEM}")
    if problems:  # pragma: no cover - our own file
        raise InputError(problems)
    return list(documents)


def _refusals(batch: Batch) -> list[Outcome]:
    return [Outcome(error=str(problem)) for problem in batch.errors]


def _key(resource: Kind, namespace: str, name: str) -> Key:
    return Key(resource.name, namespace if resource.namespaced else "", name)


def _maker(item: KubeObject, workloads: Mapping[Key, Workload]) -> str:
    """Return what makes an object that need not be applied, as of a dump; "" if nothing does."""
    if not isinstance(item, Pod | Workload) or item.owner is None:
        return ""
    top = top_of(item.owner, item.namespace, workloads, item.template.labels)
    return f"created by {KINDS[top.kind].printed()}/{top.name}" if top in workloads and top != item.key else ""


def _frozen(written: Written, before: Written) -> str:
    """Return what an API server says of a change it does not allow, "" if it allows it."""
    if written.item.key.kind == "Job" and written.revision != before.revision:
        return _JOB_FROZEN
    if not isinstance(written.item, Pod) or written.revision == before.revision:
        return ""
    return "" if _without_images(written.spec) == _without_images(before.spec) else _POD_FROZEN


def _without_images(spec: object) -> object:
    if not isinstance(spec, dict):
        return spec
    changed = dict(spec)
    for field in ("containers", "initContainers"):
        changed[field] = [{**item, "image": ""} for item in spec.get(field) or () if item]
    return changed


def _labels(item: KubeObject) -> Labels:
    if isinstance(item, Pod):
        return item.template.labels
    return item.labels if isinstance(item, Namespace) else {}


def _merged(written: Written, before: Written | None, live: Labels) -> tuple[Written, Labels]:
    """Return the object with the labels that apply leaves on it: others keep what they put on.

    A label goes when it was written before and is not any more, as with `kubectl apply`.
    """
    item = written.item
    if before is None or not isinstance(item, Pod | Namespace):
        return written, _labels(item)
    kept = {key: value for key, value in live.items() if key not in before.labels}
    labels = {**kept, **_labels(item)}
    if isinstance(item, Namespace):
        return written._replace(item=msgspec.structs.replace(item, labels=labels)), labels
    template = msgspec.structs.replace(item.template, labels=labels)
    return written._replace(item=msgspec.structs.replace(item, template=template)), labels
