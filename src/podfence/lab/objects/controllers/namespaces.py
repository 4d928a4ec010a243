# SPDX-License-Identifier: Apache-2.0
"""Namespaces: what each holds from the start, and the end of those that are deleted."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Final

from podfence.lab.objects.inventory import is_going
from podfence.lab.objects.owners import Place, place_of
from podfence.lab.store.errors import AlreadyExistsError
from podfence.lab.store.resources import RESOURCES

if TYPE_CHECKING:
    from collections.abc import Iterable

    from podfence.lab.objects.inventory import Inventory
    from podfence.lab.store.history import Change

_NAMESPACES: Final = "namespaces"
_INSIDE: Final = tuple(key for key, row in RESOURCES.items() if row.namespaced and not row.stored_as)


class Namespaces:
    """The controller of namespaces."""

    def __init__(self, inventory: Inventory, authority: str) -> None:
        """Look after the namespaces of a store; `authority` is the certificate by which clients know the server."""
        self._inventory = inventory
        self._store = inventory.store
        self._authority = authority

    def woken_by(self, change: Change) -> Iterable[Place]:
        """Return the namespace that a change is of, or in which something was deleted."""
        if change.resource == _NAMESPACES:
            return [place_of(_NAMESPACES, change.object)]
        namespace = change.object["metadata"].get("namespace", "")
        return [Place(_NAMESPACES, "", namespace)] if change.type == "DELETED" and namespace else []

    def tend(self, place: Place) -> None:
        """Give a namespace what every one has; empty one that is going, and let it go when it is empty."""
        obj = self._inventory.find(place)
        if obj is None:
            return
        if is_going(obj):
            self._empty(place.name)
            return
        for resource, kind, name, more in (
            ("serviceaccounts", "ServiceAccount", "default", {}),
            ("configmaps", "ConfigMap", "kube-root-ca.crt", {"data": {"ca.crt": self._authority}}),
        ):
            metadata = {"name": name, "namespace": place.name}
            with suppress(AlreadyExistsError):
                self._store.create(resource, {"apiVersion": "v1", "kind": kind, "metadata": metadata, **more})

    def _empty(self, namespace: str) -> None:
        left = [(resource, item) for resource in _INSIDE for item in self._store.list(resource, namespace)[0]]
        for resource, item in left:
            if not is_going(item):
                self._store.delete(*place_of(resource, item))
        if not left:
            self._store.finalize(namespace)
