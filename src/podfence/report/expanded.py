# SPDX-License-Identifier: Apache-2.0
"""Sets written out in full, for formats whose lines must stand alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

if TYPE_CHECKING:
    from collections.abc import Iterator

    from podfence.analysis.answers import Connectivity, Endpoints


class Members:
    """The members of the sets of one answer, without groups and "open pods"."""

    def __init__(self, answer: Connectivity) -> None:
        """Take the definitions of `answer`."""
        self._groups = {group.name: group.members for group in answer.groups}
        self._open = {True: answer.open_sources, False: answer.open_destinations}

    def of(self, ends: Endpoints, *, source: bool) -> tuple[str, ...]:
        """Return the members of `ends`, each once, none with a space.

        A block of addresses is followed by what is taken out of it: ``10.0.0.0/8!10.1.0.0/16``.
        `source` tells which of the two meanings of "open pods" applies.
        """
        names: dict[str, None] = {}
        pending = [ends]
        seen: set[str] = set()
        for item in pending:
            if item.open_pods and item is not self._open[source]:
                pending.append(self._open[source])
            fresh = [name for name in item.groups if name in self._groups and name not in seen]
            seen.update(fresh)
            pending.extend(self._groups[name] for name in fresh)
            names.update(dict.fromkeys(_words(item)))
        return tuple(names)


def _words(ends: Endpoints) -> Iterator[str]:
    named = replace(ends, open_pods=False, groups=(), addresses=())
    yield from (text.replace(" ", "-") for text in named.items())
    yield from ("!".join((block.cidr, *block.excepts)) for block in ends.addresses)
