# SPDX-License-Identifier: Apache-2.0
"""Remarks as workflow commands, which GitHub shows as annotations at the lines of a pull request."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final

from podfence.report import remarks

if TYPE_CHECKING:
    from collections.abc import Iterator

    from podfence.report.style import Page

MOST: Final = 10
"""How many annotations of one kind GitHub takes from a step; it drops the rest without a word."""

_COMMANDS: Final = {"error": "error", "warning": "warning", "note": "notice"}


def commands(answer: object, page: Page) -> Iterator[str]:
    """Yield one command a remark, and the remarks beyond what GitHub takes as lines of the log."""
    given: Counter[str] = Counter()
    for item in remarks.of(answer, page):
        command = _COMMANDS[item.level]
        given[command] += 1
        if given[command] > MOST:
            where = f"{item.file}:{item.line}: " if item.file else ""
            # No line of the log may be taken for a command.
            yield f"also: {command}: {where}{' '.join(item.message.split()).replace('##[', '## [')}"
            continue
        place = {"file": item.file, "line": item.line, "col": item.column} if item.file else {}
        fields = {**place, "title": f"podfence: {item.rule}"}
        properties = ",".join(f"{name}={_property(str(value))}" for name, value in fields.items())
        yield f"::{command} {properties}::{_data(item.message)}"


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
