# SPDX-License-Identifier: Apache-2.0
"""Changes that were received and concern this node, until the kernel has them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from podfence.agent.reports import Record
from podfence.cluster.state import EventType
from podfence.kube.objects import NetworkPolicy, Pod

if TYPE_CHECKING:
    from collections.abc import Set as AbstractSet

    from podfence.cluster.state import Event
    from podfence.kube.objects import Key

_MOST: Final = 4096


class Received:
    """Remembers when changes were received, and which pods are on the node."""

    def __init__(self, node: str) -> None:
        self.pods: set[Key] = set()
        self._node = node
        self._since: dict[Key, tuple[EventType, float]] = {}

    @property
    def namespaces(self) -> set[str]:
        """The namespaces of the node's pods."""
        return {key.namespace for key in self.pods}

    def note(self, event: Event, now: float) -> None:
        """Remember a change if it may concern this node; of several of one object, when the first came."""
        item = event.object
        if isinstance(item, Pod) and (item.template.node == self._node or item.key in self.pods):
            if event.type is EventType.DELETED or item.template.node != self._node:
                self.pods.discard(item.key)
            else:
                self.pods.add(item.key)
        elif not isinstance(item, NetworkPolicy):
            return
        if item.key in self._since or len(self._since) < _MOST:
            _, since = self._since.get(item.key, (None, now))
            self._since[item.key] = event.type, since

    def programmed(self, now: float, late: AbstractSet[Key]) -> tuple[Record, ...]:
        """Return what the kernel has now, and forget it: all but the policies that are `late`."""
        namespaces = self.namespaces
        found = tuple(
            Record(key.kind, key.namespace, key.name, event_type, now - since)
            for key, (event_type, since) in self._since.items()
            if key not in late and (key.kind == "Pod" or key.namespace in namespaces)
        )
        self._since = {key: self._since[key] for key in self._since.keys() & late}
        return found
