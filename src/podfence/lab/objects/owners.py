# SPDX-License-Identifier: Apache-2.0
"""Which objects belong to which: by the references to owners that they carry."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from podfence.lab.store.resources import RESOURCES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from podfence.lab.store.history import Change
    from podfence.lab.store.metadata import Raw


class Place(NamedTuple):
    """Where a store has an object."""

    resource: str
    namespace: str
    name: str


def place_of(resource: str, obj: Raw) -> Place:
    """Return the place of an object of a resource."""
    known = obj["metadata"]
    return Place(resource, known.get("namespace", ""), known["name"])


def references(obj: Raw) -> list[Raw]:
    """Return the references to the owners of an object."""
    return [item for item in obj["metadata"].get("ownerReferences") or () if item]


def controller_of(obj: Raw) -> Raw | None:
    """Return the reference to the owner that made an object and looks after it, None if it has none."""
    return next((item for item in references(obj) if item.get("controller")), None)


def makers(change: Change, resource: str) -> Iterator[Place]:
    """Yield the objects of a resource that look after what a change is of, or did before it."""
    for version in (change.object, change.previous):
        maker = controller_of(version) if version is not None else None
        if maker is not None and maker["kind"] == RESOURCES[resource].kind:
            yield Place(resource, change.object["metadata"]["namespace"], maker["name"])


def reference_to(owner: Raw) -> Raw:
    """Return the reference that an object carries which `owner` makes."""
    known = owner["metadata"]
    return {
        "apiVersion": owner["apiVersion"],
        "kind": owner["kind"],
        "name": known["name"],
        "uid": known["uid"],
        "controller": True,
        "blockOwnerDeletion": True,
    }


def without_owner(obj: Raw, uid: str) -> Raw:
    """Return an object without its references to an owner."""
    kept = [item for item in references(obj) if item.get("uid") != uid]
    return {**obj, "metadata": {**obj["metadata"], "ownerReferences": kept or None}}


class Dependents:
    """The places of the objects that each owner has, by its uid, in order of creation; and of those without one."""

    def __init__(self) -> None:
        """Know of none yet."""
        self._places: dict[str, dict[Place, None]] = {}
        self._alone: dict[tuple[str, str], dict[Place, None]] = {}

    def take_in(self, change: Change) -> None:
        """Follow a change."""
        place = place_of(change.resource, change.object)
        now = set() if change.type == "DELETED" else {item.get("uid", "") for item in references(change.object)}
        before = {item.get("uid", "") for item in references(change.previous)} if change.previous else set()
        for uid in before - now:
            self._places.get(uid, {}).pop(place, None)
            if not self._places.get(uid):
                self._places.pop(uid, None)
        for uid in now - before:
            self._places.setdefault(uid, {})[place] = None
        alone = self._alone.setdefault(place[:2], {})
        if change.type == "DELETED" or controller_of(change.object) is not None:
            alone.pop(place, None)
        else:
            alone[place] = None
        if not alone:
            del self._alone[place[:2]]

    def alone(self, resource: str, namespace: str) -> list[Place]:
        """Return the places of the objects of a resource and namespace that no owner looks after."""
        return list(self._alone.get((resource, namespace), ()))

    def of(self, uid: str, resource: str = "") -> list[Place]:
        """Return the places of what an owner has, of one resource or of all."""
        return [place for place in self._places.get(uid, ()) if not resource or place.resource == resource]
