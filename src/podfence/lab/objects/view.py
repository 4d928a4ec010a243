# SPDX-License-Identifier: Apache-2.0
"""The objects of a store as the engine has them."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import msgspec

from podfence.cluster.state import ClusterState, Event, EventType
from podfence.kube.convert import Identity
from podfence.kube.live.fields import WRITTEN
from podfence.kube.live.origin import LIVE
from podfence.kube.objects import Key, NetworkPolicy
from podfence.kube.origin import Origin
from podfence.kube.registry import KINDS, LEGACY_POLICY, Need
from podfence.lab.apiserver.status import invalid_fields
from podfence.lab.store.resources import RESOURCES

if TYPE_CHECKING:
    from podfence.kube.objects import KubeObject
    from podfence.lab.store.history import Change
    from podfence.lab.store.metadata import Raw


class _Source(NamedTuple):
    """Where an object was applied from, and the generation that was."""

    origin: Origin
    generation: int


class View:
    """What a store holds, decoded: `objects` by key, and the `state` that they amount to.

    What reasons name, policies and namespaces, has its place in the manifest that it was applied from. `changed` says
    that what is done on nodes may have changed, until it is reset.
    """

    def __init__(self, *, old: bool = False) -> None:
        """Start empty. With `old`, policies have the meaning that they had before Kubernetes 1.7."""
        self._old = old
        self.state = ClusterState()
        self.objects: dict[Key, KubeObject] = {}
        self.changed = False
        self._sources: dict[Key, _Source] = {}

    def take_in(self, change: Change) -> None:
        """Follow a change. What differs only in what nobody here looks at is no change."""
        kind = RESOURCES[change.resource].kind
        if kind not in KINDS:
            return
        known = change.object["metadata"]
        key = Key(kind, known.get("namespace", ""), known["name"])
        before = self.objects.get(key)
        if change.type == "DELETED":
            self._sources.pop(key, None)
            if before is not None:
                del self.objects[key]
                self._put(EventType.DELETED, before)
            return
        is_old = self._old and kind == NetworkPolicy.__name__
        obj = {**change.object, "apiVersion": LEGACY_POLICY} if is_old else change.object
        item = _decoded(obj, key, self._origin(change.object, key))
        if before is None or _facts(item) != _facts(before):
            self.objects[key] = item
            self._put(EventType.ADDED if before is None else EventType.MODIFIED, item)

    def came_from(self, key: Key, origin: Origin, stored: Raw) -> None:
        """Note where an object was applied from that is stored now."""
        self._sources[key] = _Source(origin, stored["metadata"].get("generation", 0))
        before = self.objects.get(key)
        if before is not None:
            item = self.objects[key] = msgspec.structs.replace(before, origin=origin)
            self.state.apply(Event(EventType.MODIFIED, item))

    def _put(self, kind: EventType, item: KubeObject) -> None:
        self.state.apply(Event(kind, item))
        self.changed |= Need.LAB in KINDS[item.key.kind].needs

    def _origin(self, obj: Raw, key: Key) -> Origin:
        source = self._sources.get(key)
        # A policy that somebody has changed since does not stand in its manifest any more.
        is_as_applied = source is not None and obj["metadata"].get("generation", 0) == source.generation
        return source.origin if source is not None and is_as_applied else LIVE


def readable(wanted: Raw | None, _before: Raw | None) -> Raw | None:
    """Refuse, as an admission, an object that a view could not read; return it with a `spec` if it may have one.

    Raises InvalidError. An API server has found that and said more about it before.
    """
    if wanted is None:
        return None
    row, known = KINDS[wanted["kind"]], wanted["metadata"]
    key = Key(row.name, known.get("namespace", ""), known.get("name", ""))
    try:
        _decoded(wanted, key, LIVE)
    except (msgspec.ValidationError, ValueError) as error:
        group = RESOURCES[row.printed(plural=True)].group
        raise invalid_fields(group, row.name, key.name, [("", str(error))]) from error
    lacks = wanted.get("spec") is None and any(field.name == "spec" for field in msgspec.structs.fields(row.written))
    return {**wanted, "spec": {}} if lacks else wanted


def _decoded(obj: Raw, key: Key, origin: Origin) -> KubeObject:
    row = KINDS[key.kind]
    shape = WRITTEN.get(key.kind, row.written)
    written = msgspec.convert(obj, shape)
    return row.build(written, Identity(key.kind, obj["apiVersion"], key.namespace, key.name, origin))


def _facts(item: KubeObject) -> tuple[object, ...]:
    """Return everything but the place that an object comes from."""
    return tuple(value for name, value in msgspec.structs.asdict(item).items() if name != "origin")
