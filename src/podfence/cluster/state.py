# SPDX-License-Identifier: Apache-2.0
"""The cluster state at one instant: objects by name, the members they amount to, and what an event changes."""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, TypeVar

from msgspec import Struct, field

from podfence.cluster.controllers import PER_POD, numbers
from podfence.cluster.members import FINISHED_PHASES, Member, member_of_pod, members_of_template
from podfence.cluster.namespaces import discard
from podfence.cluster.ownership import top_workload, workload_of
from podfence.cluster.selection import keys_of
from podfence.kube.objects import (
    Endpoints,
    EndpointSlice,
    Key,
    KubeObject,
    Namespace,
    NetworkPolicy,
    Node,
    Pod,
    Service,
    Workload,
)
from podfence.kube.registry import WORKLOADS

if TYPE_CHECKING:
    from collections.abc import Iterable

    from podfence.kube.objects import Owner

NAME_LABEL = "kubernetes.io/metadata.name"

_K = TypeVar("_K")
_V = TypeVar("_V")
_Placed = TypeVar("_Placed", NetworkPolicy, Workload, Service, EndpointSlice, Endpoints)


class EventType(enum.StrEnum):
    """What happened to an object, in the API's words."""

    ADDED = "added"
    MODIFIED = "modified"
    DELETED = "deleted"


class Event(Struct, frozen=True):
    """A change of the world: an object as it is now (as it last was, when deleted)."""

    type: EventType
    object: KubeObject


class Delta(Struct):
    """What one event, or several that are taken for one, changed in the state.

    `namespaces` are those whose labels changed, came or went; `policies` the namespaces whose policies
    or namespace annotation changed.
    """

    removed: list[Member] = field(default_factory=list)
    added: list[Member] = field(default_factory=list)
    namespaces: set[str] = field(default_factory=set)
    policies: set[str] = field(default_factory=set)

    def remove(self, member: Member) -> None:
        """Note a member that went; one that came in the same event leaves no trace."""
        if member in self.added:
            self.added.remove(member)
        else:
            self.removed.append(member)

    def follow(self, later: Delta) -> None:
        """Note what a later event changed, as if both were one."""
        for member in later.removed:
            self.remove(member)
        self.added += later.added
        self.namespaces |= later.namespaces
        self.policies |= later.policies


class ClusterState:
    """All objects of a cluster; `members` are the pods to judge, finished ones left out (semantics 8.4)."""

    def __init__(self, objects: Iterable[KubeObject] = ()) -> None:
        """Load objects; the order does not matter, of two with one name the later counts."""
        self.namespaces: dict[str, Namespace] = {}
        self.implied: set[str] = set()
        self.pods: dict[Key, Pod] = {}
        self.members: dict[Key, Member] = {}
        self.workloads: dict[Key, Workload] = {}
        self.services: dict[Key, Service] = {}
        self.slices: dict[Key, EndpointSlice] = {}
        self.endpoints: dict[Key, Endpoints] = {}
        self.nodes: dict[str, Node] = {}
        self.policies: dict[str, dict[str, NetworkPolicy]] = {}
        self._pods_of_owner: dict[Key, set[Key]] = {}
        self._pods_of_workload: dict[Key, set[Key]] = {}
        self._workloads_of_owner: dict[Key, set[Key]] = {}
        self._workloads_of_top: dict[Key, set[Key]] = {}
        self._tops: dict[Key, Key] = {}
        self._in_use: dict[str, int] = {}
        self._stand_ins: dict[Key, list[Key]] = {}
        self._asking: set[Key] = set()
        # Workloads first, so that each pod finds its workload at once; namespaces before what is in them.
        rank: dict[type, int] = {Namespace: 0, Node: 0, Workload: 1}
        for item in sorted(objects, key=lambda item: rank.get(type(item), 2)):
            self.apply(Event(EventType.ADDED, item))

    def labels_of_namespace(self, name: str) -> dict[str, str]:
        """Return a namespace's labels; one that does not exist has the label every namespace has (semantics 3.7)."""
        namespace = self.namespaces.get(name)
        return namespace.labels if namespace else {NAME_LABEL: name}

    def apply(self, event: Event) -> Delta:
        """Take one event in; the resulting state is that of a fresh load of the resulting objects."""
        delta = Delta()
        present = event.type is not EventType.DELETED
        match event.object:
            case Namespace() as namespace:
                self._namespace(namespace, delta, present=present)
            case NetworkPolicy() as policy:
                self._policy(policy, delta, present=present)
            case Pod() as pod:
                self._drop_pod(pod.key, delta)
                if present:
                    self._put_pod(pod, delta)
            case Workload() as workload:
                self._workload(workload, delta, present=present)
            case Node() as node:
                _put(self.nodes, node.name, node if present else None)
            case Service() as service:
                self._place(self.services, service.key, service, delta, present=present)
                self._ask(service.key, service.selector or (), delta, present=present)
            case EndpointSlice() as piece:
                self._place(self.slices, piece.key, piece, delta, present=present)
            case Endpoints() as recorded:
                self._place(self.endpoints, recorded.key, recorded, delta, present=present)
        return delta

    # Namespaces

    def _namespace(self, namespace: Namespace, delta: Delta, *, present: bool) -> None:
        name = namespace.name
        if present:
            self.namespaces[name] = namespace
            self.implied.discard(name)
        elif self._in_use.get(name):
            self._imply(name)
        else:
            self.namespaces.pop(name, None)
        delta.namespaces.add(name)
        delta.policies.add(name)

    def _imply(self, name: str) -> None:
        self.namespaces[name] = Namespace(name=name, labels={NAME_LABEL: name})
        self.implied.add(name)

    def _use(self, name: str, delta: Delta, by: int) -> None:
        """Count the objects that are in a namespace; one that is only mentioned is made up."""
        count = self._in_use.get(name, 0) + by
        self._in_use[name] = count
        if count and name not in self.namespaces:
            self._imply(name)
            delta.namespaces.add(name)
        elif not count:
            del self._in_use[name]
            if name in self.implied:
                self.implied.discard(name)
                del self.namespaces[name]
                delta.namespaces.add(name)

    def _place(self, table: dict[_K, _Placed], key: _K, item: _Placed, delta: Delta, *, present: bool) -> None:
        known = key in table
        _put(table, key, item if present else None)
        self._use(item.namespace, delta, int(present) - int(known))

    def _policy(self, policy: NetworkPolicy, delta: Delta, *, present: bool) -> None:
        table = self.policies.setdefault(policy.namespace, {})
        self._place(table, policy.name, policy, delta, present=present)
        if not table:
            del self.policies[policy.namespace]
        delta.policies.add(policy.namespace)
        self._ask(policy.key, keys_of(policy) if present else (), delta, present=present)

    def _ask(self, key: Key, labels: Iterable[str], delta: Delta, *, present: bool) -> None:
        """Follow which selectors ask for a label that differs from pod to pod of a workload.

        While there is one, every pod that a workload numbers has a member of its own.
        """
        before = bool(self._asking)
        if present and not PER_POD.isdisjoint(labels):
            self._asking.add(key)
        else:
            self._asking.discard(key)
        if before != bool(self._asking):
            for workload in self.workloads.values():
                if len(numbers(workload)) > 1:
                    self._sync_template(workload.key, delta, replace=True)

    # Pods and workloads

    def _put_pod(self, pod: Pod, delta: Delta) -> None:
        self._use(pod.namespace, delta, 1)
        self.pods[pod.key] = pod
        workload = workload_of(pod, self.workloads)
        if pod.owner is not None:
            self._pods_of_owner.setdefault(_owner_key(pod.owner, pod.namespace), set()).add(pod.key)
        if workload is not None:
            self._pods_of_workload.setdefault(workload, set()).add(pod.key)
            self._sync_templates(workload, delta)
        if pod.phase not in FINISHED_PHASES:
            member = member_of_pod(pod, workload)
            # A pod of somebody else may have the name of one that a workload would number.
            if standing := self.members.get(pod.key):
                delta.remove(standing)
            self.members[pod.key] = member
            delta.added.append(member)

    def _drop_pod(self, key: Key, delta: Delta) -> None:
        pod = self.pods.pop(key, None)
        if pod is None:
            return
        member = self.members.pop(key, None)
        if member is not None:
            delta.remove(member)
        if pod.owner is not None:
            discard(self._pods_of_owner, _owner_key(pod.owner, pod.namespace), key)
        workload = workload_of(pod, self.workloads)
        if workload is not None:
            discard(self._pods_of_workload, workload, key)
            self._sync_templates(workload, delta)
        self._restore_numbered(key, delta)
        self._use(pod.namespace, delta, -1)

    def _workload(self, workload: Workload, delta: Delta, *, present: bool) -> None:
        key = workload.key
        before = self.workloads.get(key)
        # A link of the chain of owners changes: everything below may belong to another workload now.
        links = self._below(key)
        below = set().union(*(self._pods_of_owner.get(link, ()) for link in links))
        pods = [self.pods[pod] for pod in sorted(below)]
        for pod in pods:
            self._drop_pod(pod.key, delta)
        if before is not None and before.owner is not None:
            discard(self._workloads_of_owner, _owner_key(before.owner, key.namespace), key)
        if present and workload.owner is not None:
            self._workloads_of_owner.setdefault(_owner_key(workload.owner, key.namespace), set()).add(key)
        self._place(self.workloads, key, workload, delta, present=present)
        for link in links:
            self._find_top(link)
        for pod in pods:
            self._put_pod(pod, delta)
        self._sync_template(key, delta, replace=True)
        for link in links:
            self._sync_template(link, delta)
        self._sync_templates(key, delta)
        for version in (before, workload):
            if version is not None and version.owner is not None:
                self._sync_template(_owner_key(version.owner, key.namespace), delta)

    def _below(self, key: Key) -> list[Key]:
        """Return a workload and all workloads that it owns, directly or not, by the owners that objects name."""
        found = [key]
        for link in found:
            found += [owned for owned in self._workloads_of_owner.get(link, ()) if owned not in found]
        return found

    def _find_top(self, key: Key) -> None:
        """Note which workload is the topmost above one, also where only the name of a missing link tells it."""
        if key in self._tops:
            discard(self._workloads_of_top, self._tops.pop(key), key)
        if key in self.workloads:
            top = self._tops[key] = top_workload(self.workloads[key], self.workloads)
            self._workloads_of_top.setdefault(top, set()).add(key)

    def _sync_templates(self, top: Key, delta: Delta) -> None:
        """Follow a topmost workload that came or went, or its first or last pod.

        While it has no pods and is not loaded, the workloads below stand for themselves.
        """
        for key in self._workloads_of_top.get(top, ()):
            self._sync_template(key, delta)

    def _sync_template(self, key: Key, delta: Delta, *, replace: bool = False) -> None:
        """Let a member stand for a workload exactly while it is topmost and has no pods."""
        workload = self.workloads.get(key)
        wanted = workload is not None and self._stands_for_itself(workload)
        present = key in self._stand_ins
        if present and (replace or not wanted):
            for name in self._stand_ins.pop(key):
                member = self.members.get(name)
                if member is not None and member.pod is None:
                    del self.members[name]
                    delta.remove(member)
            present = False
        if wanted and not present and workload is not None:
            stand_ins = members_of_template(workload, apart=bool(self._asking))
            self._stand_ins[key] = [member.key for member in stand_ins]
            for member in stand_ins:
                if member.key not in self.members:
                    self.members[member.key] = member
                    delta.added.append(member)

    def _restore_numbered(self, key: Key, delta: Delta) -> None:
        """Let a workload stand again for the pod of a name that somebody else's pod had."""
        for owner, names in self._stand_ins.items():
            if key in names:
                self._sync_template(owner, delta, replace=True)
                return

    def _stands_for_itself(self, workload: Workload) -> bool:
        """Return whether nothing else is what the pods of a workload are: they themselves, or another workload."""
        key, top = workload.key, self._tops[workload.key]
        if self._pods_of_workload.get(top) or (top != key and top in self.workloads):
            return False
        # A workload of another project's kind may run its pods by means of others.
        return key.kind in WORKLOADS or not self._workloads_of_owner.get(key)

    def workload_pods(self, key: Key) -> list[Member]:
        """Return the members of a workload: its live pods, or the one that stands for them.

        Those of a workload that has neither are those of the workloads that it owns.
        """
        if key in self._stand_ins:
            return self._standing_for([key])
        pods = self._pods_of_workload.get(key, set())
        if not pods:
            links = self._below(key)
            if stand_ins := self._standing_for(links):
                return sorted(stand_ins, key=lambda member: member.key)
            pods = set().union(*(self._pods_of_workload.get(link, set()) for link in links))
        return [self.members[pod] for pod in sorted(pods) if pod in self.members]

    def _standing_for(self, keys: list[Key]) -> list[Member]:
        """Return what stands for the pods of workloads, without pods of somebody else that have the name of one."""
        found = [self.members[name] for key in keys for name in self._stand_ins.get(key, ())]
        return [member for member in found if member.pod is None]

    def known_workload(self, key: Key) -> bool:
        """Return whether a workload is loaded, or known as the owner of pods."""
        return key in self.workloads or key in self._pods_of_workload


def _owner_key(owner: Owner, namespace: str) -> Key:
    return Key(owner.kind, namespace, owner.name)


def _put(table: dict[_K, _V], key: _K, value: _V | None) -> None:
    if value is None:
        table.pop(key, None)
    else:
        table[key] = value
