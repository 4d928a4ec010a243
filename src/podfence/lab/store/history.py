# SPDX-License-Identifier: Apache-2.0
"""The latest changes of a store, one for each revision."""

from __future__ import annotations

from collections import deque
from itertools import islice
from typing import Final, Literal, NamedTuple

from podfence.lab.store.errors import ExpiredError
from podfence.lab.store.metadata import Raw

MOST: Final = 1000
"""How many changes a store remembers. Who follows and is further behind lists anew."""


class Change(NamedTuple):
    """What happened to one object; `object` is the new one, or the last of one that is gone."""

    type: Literal["ADDED", "MODIFIED", "DELETED"]
    resource: str
    object: Raw
    previous: Raw | None
    revision: int


class History:
    """The latest changes, in order."""

    def __init__(self, most: int = MOST) -> None:
        """Remember nothing yet, and never more than so many."""
        self._changes: deque[Change] = deque(maxlen=most)

    def add(self, change: Change) -> None:
        """Remember a change, whose revision is the one after the last."""
        self._changes.append(change)

    def since(self, revision: int) -> list[Change]:
        """Return the changes after a revision; raise ExpiredError if some of them are not remembered."""
        oldest = self._changes[0].revision if self._changes else revision + 1
        if revision < oldest - 1:
            raise ExpiredError(f"too old resource version: {revision} ({oldest - 1})")
        return list(islice(self._changes, revision + 1 - oldest, None))
