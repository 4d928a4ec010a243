# SPDX-License-Identifier: Apache-2.0
"""From what the watches of an API server deliver to the notices of the agent's loop.

Watches of different kinds are not in step with each other. What is in a namespace that is not known yet waits for
it, because a selector that asks for the absence of a label would match a namespace without labels. All of this
happens in the thread that delivers; what comes out is a list of notices for the loop's thread.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec

from podfence.agent.node.kept import Held
from podfence.agent.node.remembered import remembered_pod, remembered_policy
from podfence.agent.source import Notice, Synced, Unreadable
from podfence.cluster.members import FINISHED_PHASES
from podfence.cluster.state import Event, EventType
from podfence.kube.live.reflector import Listed, Malformed, Removed, Stored
from podfence.kube.objects import Key, KubeObject, NetworkPolicy, Node, Pod
from podfence.kube.registry import Need, needed

if TYPE_CHECKING:
    from collections.abc import Iterable

    from podfence.kube.live.reflector import Notification
    from podfence.policy.budget import Budget

KINDS: Final = needed(Need.NODE)
"""What an agent watches."""

Change = tuple[EventType, KubeObject, str]
"""What happened to an object, and the revision of it: as it is kept on the disk."""


class Taken(NamedTuple):
    """What came of a delivery: notices for the loop, and changes to keep."""

    notices: tuple[Notice, ...] = ()
    changes: tuple[Change, ...] = ()


class Intake:
    """What is known of the cluster; used by one thread."""

    def __init__(self, budget: Budget | None = None) -> None:
        """Know nothing yet; of policies beyond a `budget`, the rules are not remembered."""
        self._budget = budget
        self.held: dict[Key, Held] = {}
        self.is_restored = False
        self.is_synced = False
        self.is_live = False
        self._listed: set[str] = set()
        self._waiting: dict[str, set[Key]] = {}
        self._by_node: defaultdict[str, set[Key]] = defaultdict(set)

    def restore(self, held: dict[Key, Held]) -> list[Notice]:
        """Take what was kept on the disk, before anything is delivered; the loop does nothing with it until told."""
        by_node: defaultdict[str, set[Key]] = defaultdict(set)
        for item in held.values():
            _place(by_node, None, item.object)
        # This may be another thread than that which asks for the pods of a node.
        self.held = dict(held)
        self._by_node = by_node
        self.is_restored = bool(held)
        return [Event(EventType.ADDED, item.object) for item in held.values() if not self._waits(item.object)]

    def known(self, kind: str) -> dict[Key, str]:
        """Return the revisions of the objects of a kind."""
        return {key: held.revision for key, held in self.held.items() if key.kind == kind}

    def go_on_with_kept(self) -> list[Notice]:
        """Return what makes the loop enforce the state that was kept, if there is one and nothing better yet."""
        if self.is_synced or not self.is_restored:
            return []
        self.is_synced = True
        return [Synced()]

    def take(self, delivered: Iterable[Notification]) -> Taken:
        """Return what a delivery means; what is known already, or differs in nothing of interest, means nothing."""
        notices: list[Notice] = []
        changes: list[Change] = []
        for item in delivered:
            match item:
                case Stored(stored, revision):
                    self._store(stored, revision, notices, changes)
                case Removed(key, _):
                    self._remove(key, notices, changes)
                case Malformed():
                    self._malformed(item, notices, changes)
                case Listed(kind):
                    self._listed.add(kind)
        if not self.is_live and self._listed >= set(KINDS):
            self.is_live = True
            if not self.is_synced:
                self.is_synced = True
                notices.append(Synced())
        return Taken(tuple(notices), tuple(changes))

    def pods_on(self, node: str) -> dict[str, tuple[str, ...]]:
        """Return the pods of a node that have a network of their own, finished ones left out, with their addresses."""
        # Looked up, not searched for: this is asked whenever pods change, and there may be ten thousand elsewhere.
        pods = (self.held[key].object for key in self._by_node.get(node, ()))
        return {
            f"{item.namespace}/{item.name}": item.addresses
            for item in pods
            if isinstance(item, Pod) and not item.template.host_network and item.phase not in FINISHED_PHASES
        }

    def node(self, name: str) -> Node | None:
        """Return a Node, None if there is none of that name."""
        held = self.held.get(Key("Node", "", name))
        return held.object if held is not None and isinstance(held.object, Node) else None

    def _store(self, item: KubeObject, revision: str, notices: list[Notice], changes: list[Change]) -> None:
        if isinstance(item, Pod):
            item, why = remembered_pod(item)
            if why:
                notices.append(Unreadable(why))
        elif isinstance(item, NetworkPolicy) and self._budget is not None:
            item = remembered_policy(item, self._budget)
        before = self.held.get(item.key)
        self.held[item.key] = Held(item, revision)
        _place(self._by_node, before.object if before else None, item)
        if before is not None and _same(before.object, item):
            return
        changes.append((EventType.MODIFIED if before else EventType.ADDED, item, revision))
        if before is None and self._waits(item):
            return
        if not self._is_waiting(item.key):
            notices.append(Event(EventType.MODIFIED if before else EventType.ADDED, item))
        if item.key.kind == "Namespace" and before is None:
            self._release(item.key.name, notices)

    def _remove(self, key: Key, notices: list[Notice], changes: list[Change]) -> None:
        before = self.held.pop(key, None)
        if before is None:
            return
        _place(self._by_node, before.object, None)
        changes.append((EventType.DELETED, before.object, before.revision))
        if self._is_waiting(key):
            self._waiting[key.namespace].discard(key)
            if not self._waiting[key.namespace]:
                del self._waiting[key.namespace]
        else:
            notices.append(Event(EventType.DELETED, before.object))

    def _malformed(self, item: Malformed, notices: list[Notice], changes: list[Change]) -> None:
        if item.closed is not None:
            notices.append(
                Unreadable(f"{item.key} cannot be read and admits nothing until it is corrected: {item.reason}")
            )
            self._store(item.closed, item.revision, notices, changes)
            return
        meanwhile = (
            "so its last version stays in force"
            if item.key in self.held
            else "so it is not used, and a pod stays closed"
        )
        notices.append(Unreadable(f"{item.key} cannot be read, {meanwhile}: {item.reason}"))

    def _waits(self, item: KubeObject) -> bool:
        """Let a pod wait if its namespace is not known; return whether it does."""
        if not isinstance(item, Pod) or Key("Namespace", "", item.namespace) in self.held:
            return False
        self._waiting.setdefault(item.namespace, set()).add(item.key)
        return True

    def _is_waiting(self, key: Key) -> bool:
        return key in self._waiting.get(key.namespace, ())

    def _release(self, namespace: str, notices: list[Notice]) -> None:
        released = sorted(self._waiting.pop(namespace, ()))
        notices.extend(Event(EventType.ADDED, self.held[key].object) for key in released)


def _place(by_node: defaultdict[str, set[Key]], before: KubeObject | None, item: KubeObject | None) -> None:
    """Keep in mind on which node a pod is, and no longer on which it was."""
    if isinstance(before, Pod) and before.template.node:
        pods = by_node[before.template.node]
        pods.discard(before.key)
        if not pods:
            del by_node[before.template.node]
    if isinstance(item, Pod) and item.template.node:
        by_node[item.template.node].add(item.key)


def _same(one: KubeObject, other: KubeObject) -> bool:
    """Return whether two objects with one key say the same; they compare by identity themselves."""
    return msgspec.structs.astuple(one) == msgspec.structs.astuple(other)
