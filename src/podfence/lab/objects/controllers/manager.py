# SPDX-License-Identifier: Apache-2.0
"""Runs controllers until none has anything to do."""

from __future__ import annotations

import threading
from collections import deque
from typing import TYPE_CHECKING, Protocol

from podfence.lab.store.errors import ConflictError, StoreError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from podfence.lab.objects.inventory import Inventory
    from podfence.lab.objects.owners import Place
    from podfence.lab.store.history import Change


class Controller(Protocol):
    """Sees to it that some objects are as others say."""

    def woken_by(self, change: Change) -> Iterable[Place]:
        """Return the places of the objects to tend because of a change."""

    def tend(self, place: Place) -> None:
        """Do what is to be done for the object at a place, if it is still there.

        May raise StoreError: what it did not know then is a change that wakes it again.
        """


class Manager:
    """The controllers of a lab; for one thread at a time, while others may write to the store."""

    def __init__(self, inventory: Inventory, controllers: Sequence[Controller]) -> None:
        """Follow the store of an inventory from now on."""
        self._inventory = inventory
        self._controllers = controllers
        self._news: deque[tuple[int, Change]] = deque()
        self._due: dict[tuple[Controller, Place], None] = {}
        self._later: dict[tuple[Controller, Place], None] = {}
        inventory.store.subscribe(lambda change: self._news.append((threading.get_ident(), change)))

    def run(self) -> None:
        """Take in what has changed, and let controllers work until nothing is left to do because of it.

        What other threads change meanwhile is for the next run, so that this one ends.
        """
        self._due |= self._later
        self._later = {}
        mine = self._take_in(self._due)
        while self._due or mine:
            if self._due:
                self._tend(next(iter(self._due)))
            mine = self._take_in(self._later)

    def wake(self, controller: Controller, places: Iterable[Place]) -> None:
        """Let a controller tend objects on the next run."""
        self._due.update(dict.fromkeys((controller, place) for place in places))

    def _tend(self, item: tuple[Controller, Place]) -> None:
        del self._due[item]
        controller, place = item
        try:
            controller.tend(place)
        except ConflictError:
            self._due[item] = None
        except StoreError:
            # A change that wakes it again will say what it did not know.
            return

    def _take_in(self, of_others: dict[tuple[Controller, Place], None]) -> bool:
        """Take in what has changed up to now; return whether controllers have changed some of it.

        Controllers that this wakes are due, or put into `of_others` where another thread has changed something.
        """
        mine = False
        for _ in range(len(self._news)):
            thread, change = self._news.popleft()
            own = thread == threading.get_ident()
            mine |= own
            self._inventory.take_in(change)
            due = self._due if own else of_others
            for controller in self._controllers:
                due.update(dict.fromkeys((controller, place) for place in controller.woken_by(change)))
        return mine
