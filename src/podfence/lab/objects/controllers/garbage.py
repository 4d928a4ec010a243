# SPDX-License-Identifier: Apache-2.0
"""Garbage collection: what becomes of objects when their owners go."""

from __future__ import annotations

from typing import TYPE_CHECKING

from podfence.lab.objects.inventory import is_going
from podfence.lab.objects.owners import place_of, references, without_owner
from podfence.lab.store.metadata import FOREGROUND, ORPHAN

if TYPE_CHECKING:
    from collections.abc import Iterator

    from podfence.lab.objects.inventory import Inventory
    from podfence.lab.objects.owners import Place
    from podfence.lab.store.history import Change
    from podfence.lab.store.metadata import Raw


class Garbage:
    """The garbage collector. An owner that never was does no harm: the objects of a dump may name some."""

    def __init__(self, inventory: Inventory) -> None:
        """Look after all objects of a store."""
        self._inventory = inventory
        self._store = inventory.store
        self._gone: dict[Place, set[str]] = {}
        self._places: dict[str, Place] = {}

    def woken_by(self, change: Change) -> Iterator[Place]:
        """Yield what lost an owner, what is going with its dependents, and the owners of what is gone."""
        place = place_of(change.resource, change.object)
        uid = change.object["metadata"]["uid"]
        if change.type != "DELETED":
            if change.object["metadata"].get("finalizers") and is_going(change.object):
                self._places[uid] = place
                yield place
            return
        self._places.pop(uid, None)
        self._gone.pop(place, None)
        for dependent in self._inventory.dependents.of(uid):
            self._gone.setdefault(dependent, set()).add(uid)
            yield dependent
        for reference in references(change.object):
            if reference.get("uid") in self._places:
                yield self._places[reference["uid"]]

    def tend(self, place: Place) -> None:
        """Delete an object without owners, and let go one whose dependents are as they are to be."""
        obj = self._inventory.find(place)
        if obj is None:
            return
        for uid in sorted(self._gone.get(place, ())):
            if any(item.get("uid") == uid for item in references(obj)):
                obj = without_owner(obj, uid)
                if not references(obj):
                    self._store.delete(*place)
                    obj = None
                    break
                obj = self._store.update(place.resource, obj)
        self._gone.pop(place, None)
        if obj is not None and is_going(obj):
            self._finish(place, obj)

    def _finish(self, place: Place, obj: Raw) -> None:
        """Do what the finalizers of an object stand for."""
        known = obj["metadata"]
        uid, held = known["uid"], known.get("finalizers") or ()
        mark = next((name for name in (ORPHAN, FOREGROUND) if name in held), "")
        dependents = self._inventory.dependents.of(uid) if mark else []
        for dependent in dependents:
            found = self._inventory.find(dependent)
            if found is not None and mark == ORPHAN:
                self._store.update(dependent.resource, without_owner(found, uid))
            elif found is not None and not is_going(found):
                self._store.delete(*dependent, propagation="Foreground")
        if mark == ORPHAN or (mark and not dependents):
            left = [name for name in held if name != mark]
            self._store.update(place.resource, {**obj, "metadata": {**known, "finalizers": left or None}})
