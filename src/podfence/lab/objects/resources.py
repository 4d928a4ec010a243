# SPDX-License-Identifier: Apache-2.0
"""Objects and what happened to them in kubectl's words."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import msgspec

from podfence.kube.registry import KINDS

if TYPE_CHECKING:
    from collections.abc import Iterable

    from podfence.kube.objects import Key

Verb = Literal["created", "configured", "unchanged", "ignored", ""]


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one object.

    `resource` and `name` are as kubectl prints them; `error` is a complete text for a person if it was
    refused, `warnings` and `notes` say what else to know.
    """

    resource: str = ""
    name: str = ""
    verb: Verb = ""
    error: str = ""
    warnings: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def remarks(self) -> tuple[str, ...]:
        """Warnings and notes as complete sentences: a note with the name of its object."""
        named = f"{self.resource}/{self.name}" if self.name else self.resource
        return (*self.warnings, *(f"{named}: {note}" for note in self.notes))

    def __str__(self) -> str:
        """Return the line kubectl would print."""
        if self.error:
            return self.error
        return f"{self.resource}/{self.name} {self.verb}" if self.name else f"{self.resource} {self.verb}"


def outcome(key: Key, verb: Verb, notes: Iterable[str] = ()) -> Outcome:
    """Return what became of a named object."""
    return Outcome(resource=KINDS[key.kind].printed(), name=key.name, verb=verb, notes=tuple(notes))


def refused(key: Key, error: str) -> Outcome:
    """Return the error for an object that is not taken."""
    return Outcome(resource=KINDS[key.kind].printed(), name=key.name, error=error)
