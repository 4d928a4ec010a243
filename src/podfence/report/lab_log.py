# SPDX-License-Identifier: Apache-2.0
"""Lines of a lab's log, or of what a container printed, written while they come."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from podfence.lab.lines import stamp

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from podfence.lab.lines import Line

FORMATS: Final = ("text", "json")
"""How lines can be written; JSON has one object a line, with the time, the source and the text."""


def lines(found: Iterable[Line], form: str, *, timestamps: bool, sources: bool) -> Iterator[str]:
    """Yield lines in a format; as text with their times and their sources if that is wanted."""
    for line in found:
        if form == "json":
            yield msgspec.json.encode({"time": stamp(line.time), "source": line.source, "text": line.text}).decode()
        else:
            time = f"{stamp(line.time)} " if timestamps else ""
            yield f"{time}{line.source}: {line.text}" if sources else f"{time}{line.text}"
