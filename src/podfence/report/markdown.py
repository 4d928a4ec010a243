# SPDX-License-Identifier: Apache-2.0
"""Markdown: connectivity as a table with the definitions of its sets, and text that is only text."""

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

_SPECIAL = re.compile(r"([\\|*_<>`\[\]&#~])")


def overview(answer: Overview, _page: Page = PAGE) -> Iterator[str]:
    """Yield the lines of `answer`, the column Depends only if a line depends on something."""
    depends = any(line.depends for line in answer.lines)
    columns = ("Source", "Destination", "Ports", "Depends")[: 4 if depends else 3]
    yield from head(columns)
    for line in answer.lines:
        yield table_line((str(line.sources), str(line.destinations), str(line.ports), line.depends)[: len(columns)])
    definitions = definition_lines(answer)
    if definitions:
        yield ""
        yield from (f"- {escaped(text)}" for text in definitions)


def pods(connections: Iterable[PodConnection], _page: Page = PAGE) -> Iterator[str]:
    """Yield connections between single pods as they come; whether one depends is not known before the end."""
    yield from head(("Source", "Destination", "Ports", "Depends"))
    for item in connections:
        yield table_line((item.source, item.destination, item.ports_text, item.depends))


def head(columns: tuple[str, ...]) -> Iterator[str]:
    """Yield the first lines of a table."""
    yield table_line(columns)
    yield table_line(("---",) * len(columns))


def table_line(cells: tuple[str, ...]) -> str:
    """Return a line of a table."""
    return "| " + " | ".join(map(escaped, cells)) + " |"


def folded(summary: str, content: Iterable[str]) -> Iterator[str]:
    """Yield lines that are shown only to who opens their summary."""
    yield f"<details><summary>{summary}</summary>"
    yield ""
    yield from content
    yield ""
    yield "</details>"


def escaped(text: str) -> str:
    """Return a text as one line that is shown as it is, and calls nobody by name."""
    return _SPECIAL.sub(r"\\\1", " ".join(text.split())).replace("@", "@&#8203;")


def code(text: str) -> str:
    """Return a text as code, in a table too."""
    plain = " ".join(text.split()).replace("`", "'").replace("|", r"\|")
    return f"`{plain}`"
