# SPDX-License-Identifier: Apache-2.0
"""What happens to the objects of a store, one change for each revision."""

from __future__ import annotations

from typing import Literal, NamedTuple

from podfence.lab.store.metadata import Raw


class Change(NamedTuple):
    """What happened to one object; `object` is the new one, or the last of one that is gone."""

    type: Literal["ADDED", "MODIFIED", "DELETED"]
    resource: str
    object: Raw
    previous: Raw | None
    revision: int

    def is_in(self, resource: str, namespace: str) -> bool:
        """Return whether the object is of a resource and in a namespace, or in any for ""."""
        return self.resource == resource and namespace in ("", self.object["metadata"].get("namespace"))
