# SPDX-License-Identifier: Apache-2.0
"""What an API server adds to every object that is written, whoever writes it: requests, manifests and controllers."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from podfence.lab.apiserver import defaults
from podfence.lab.apiserver.fields import kind_type
from podfence.lab.apiserver.reading import Reader, WrongTypeError
from podfence.lab.apiserver.status import invalid_fields
from podfence.lab.store.resources import RESOURCES

if TYPE_CHECKING:
    from podfence.lab.store.metadata import Raw
    from podfence.lab.store.resources import Resource
    from podfence.lab.store.store import Store


def complete(store: Store, *, old: bool = False) -> None:
    """Let a store fill in from now on what objects leave out (semantics 9.11), and drop what their kind has not.

    With `old`, policies are those of a cluster from before 1.7, which had no field that it could fill in.
    """
    for key, row in RESOURCES.items():
        if not row.stored_as and not (old and row.kind == "NetworkPolicy"):
            store.admit(key, partial(_filled, row))


def _filled(row: Resource, wanted: Raw | None, before: Raw | None) -> Raw | None:
    """Return an object with the defaults of its kind. Raises InvalidError for a value of a wrong type."""
    if wanted is None:
        return wanted
    if before is not None and _only_status(wanted, before):
        return defaults.keep_status(row.kind, wanted, before)
    of = kind_type(row.group, row.kind)
    try:
        obj = Reader().read(wanted, of)
    except WrongTypeError as error:
        raise invalid_fields(row.group, row.kind, wanted["metadata"].get("name", ""), [("", str(error))]) from error
    defaults.fill(of, obj)
    return obj if before is not None else defaults.fresh(row.kind, obj)


def _only_status(wanted: Raw, before: Raw) -> bool:
    """Return whether nothing but metadata and status is to change: the rest is complete already."""
    rest = wanted.keys() | before.keys()
    return all(wanted.get(key) is before.get(key) for key in rest - {"metadata", "status", "apiVersion", "kind"})
