# SPDX-License-Identifier: Apache-2.0
"""A store together with what is known of its objects: typed, and by owner."""

from __future__ import annotations

from typing import TYPE_CHECKING

from podfence.kube.objects import Key, Workload
from podfence.lab.objects.owners import Dependents, Place
from podfence.lab.objects.view import View
from podfence.lab.store.errors import NotFoundError
from podfence.lab.store.resources import RESOURCES

if TYPE_CHECKING:
    from collections.abc import Callable

    from podfence.kube.objects import KubeObject
    from podfence.lab.store.history import Change
    from podfence.lab.store.metadata import Raw
    from podfence.lab.store.store import Store


class Inventory:
    """What controllers look at. `view` and `dependents` are as far as the changes that were taken in."""

    def __init__(self, store: Store, now: Callable[[], float], *, old: bool = False) -> None:
        """Look at a store that is empty; `now` returns the seconds since the epoch, `old` is that of `View`."""
        self.store = store
        self.now = now
        self.view = View(old=old)
        self.dependents = Dependents()

    def take_in(self, change: Change) -> None:
        """Follow a change."""
        self.dependents.take_in(change)
        self.view.take_in(change)

    def find(self, place: Place) -> Raw | None:
        """Return the object at a place, None if there is none."""
        try:
            return self.store.get(*place)
        except NotFoundError:
            return None

    def owned(self, owner: Raw, resource: str) -> list[Raw]:
        """Return the objects of a resource that name an owner as theirs, in order of creation."""
        places = self.dependents.of(owner["metadata"]["uid"], resource)
        return [found for place in places if (found := self.find(place)) is not None]

    def typed(self, place: Place) -> KubeObject | None:
        """Return the object at a place as the engine has it."""
        return self.view.objects.get(Key(RESOURCES[place.resource].kind, place.namespace, place.name))

    def workload(self, place: Place) -> Workload | None:
        """Return the workload at a place."""
        found = self.typed(place)
        return found if isinstance(found, Workload) else None


def is_going(obj: Raw) -> bool:
    """Return whether an object is being deleted."""
    return "deletionTimestamp" in obj["metadata"]
