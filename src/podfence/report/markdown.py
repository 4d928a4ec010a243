# SPDX-License-Identifier: Apache-2.0
"""Connectivity as a Markdown table, with the definitions of its sets as a list below."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from podfence.report.style import PAGE
from podfence.report.table import definition_lines

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from podfence.analysis.answers import PodConnection
    from podfence.analysis.overview import Overview
    from podfence.report.style import Page

_SPECIAL = re.compile(r"([\\|*_<>`\[\]])")


def overview(answer: Overview, _page: Page = PAGE) -> Iterator[str]:
    """Yield the lines of `answer`, the column Depends only if a line depends on something."""
    depends = any(line.depends for line in answer.lines)
    columns = ("Source", "Destination", "Ports", "Depends")[: 4 if depends else 3]
    yield from _head(columns)
    for line in answer.lines:
        yield _line((str(line.sources), str(line.destinations), str(line.ports), line.depends)[: len(columns)])
    definitions = definition_lines(answer)
    if definitions:
        yield ""
        yield from (f"- {_escaped(text)}" for text in definitions)


def pods(connections: Iterable[PodConnection], _page: Page = PAGE) -> Iterator[str]:
    """Yield connections between single pods as they come; whether one depends is not known before the end."""
    yield from _head(("Source", "Destination", "Ports", "Depends"))
    for item in connections:
        yield _line((item.source, item.destination, str(item.ports), item.depends))


def _head(columns: tuple[str, ...]) -> Iterator[str]:
    yield _line(columns)
    yield _line(("---",) * len(columns))


def _line(cells: tuple[str, ...]) -> str:
    return "| " + " | ".join(map(_escaped, cells)) + " |"


def _escaped(text: str) -> str:
    return _SPECIAL.sub(r"\\\1", " ".join(text.split()))
