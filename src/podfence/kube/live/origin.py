# SPDX-License-Identifier: Apache-2.0
"""Where live objects came from, in the place of a file and its lines.

Reasons name the object before its place, so the place of a live object need not: ``NetworkPolicy shop/db
(live) rule 1 (spec.ingress[0])``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from podfence.kube.findings import Position, field_text
from podfence.kube.origin import Origin

if TYPE_CHECKING:
    from podfence.kube.origin import Path

NAME: Final = "live"
"""What stands where the name of a file would."""


class _Live:
    """The document that all live objects share: nothing is kept of what the server sent."""

    file: Final = NAME
    text: Final = ""
    part: Final = ""
    value: Final = None

    def locate(self, path: Path, *, at_key: bool = False) -> Position:  # noqa: ARG002  a Document's
        """Return the field's path as its position, `NAME` for the object itself."""
        return Position(field_text(path) or NAME)

    def excerpt(self, path: Path) -> tuple[tuple[int, str], ...]:  # noqa: ARG002  a Document's
        """Return no lines."""
        return ()


LIVE: Final = Origin(_Live())
"""The origin of every object of a running cluster."""
