# SPDX-License-Identifier: Apache-2.0
"""What a change opens and closes, as a comment on a pull request.

Its first line is a mark that no reader sees, by which a program finds the comment and replaces it. The summary fits a
screen, and the rest is folded. The same difference gives the same text.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from podfence.errors import counted
from podfence.report.difference import ORDER, because, by_cause, headline, row, told_gap, told_object
from podfence.report.markdown import code, escaped, folded, head
from podfence.report.style import PAGE

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from podfence.analysis.diff.answer import Difference, ObjectChange
    from podfence.report.difference import Change
    from podfence.report.remarks import Refusal
    from podfence.report.style import Page

MOST_SHOWN: Final = 8
"""How many connections the summary has."""

LIMIT: Final = 60_000
"""How many bytes a comment may have; GitHub takes 65,536 characters."""

_NAMES_SHOWN: Final = 4
_COLUMNS: Final = ("", "Source", "Destination", "Ports", "Cause")
_CUT: Final = "The comment would be too long: what follows is left out."


def lines(answer: Difference, page: Page = PAGE) -> Iterator[str]:
    """Yield the comment, cut after `LIMIT` bytes between two lines."""
    size = 0
    opened = 0
    for line in _lines(answer, page):
        size += len(line.encode()) + 1
        if size > LIMIT:
            yield from ("", _CUT, *["</details>"] * opened)
            return
        opened += line.startswith("<details>") - line.startswith("</details>")
        yield line


def refusal(answer: Refusal, page: Page = PAGE) -> Iterator[str]:
    """Yield the comment where there is no answer, with the first problems."""
    yield from _heading("no answer", page)
    yield escaped(answer.text)
    if answer.problems:
        yield ""
        yield from (f"- {escaped(str(problem))}" for problem in answer.problems[:MOST_SHOWN])
        if len(answer.problems) > MOST_SHOWN:
            yield f"- and {len(answer.problems) - MOST_SHOWN} more"


def mark(title: str) -> str:
    """Return the line by which the comment of that title is found again."""
    words = "".join(letter if letter.isalnum() or letter in " ._/" else "_" for letter in title)
    return f"<!-- podfence diff {words} -->" if words else "<!-- podfence diff -->"


def _heading(text: str, page: Page) -> Iterator[str]:
    yield mark(page.title)
    yield f"### podfence{f' {escaped(page.title)}' if page.title else ''}: {text}"
    yield ""


def _lines(answer: Difference, page: Page) -> Iterator[str]:
    yield from _heading(headline(answer), page)
    if answer.fails:
        yield f"**Failed** on {', '.join(answer.fails)}."
        yield ""
    changes = sorted(answer.changes, key=lambda item: ORDER.index(item.change))
    if changes:
        yield from _table(changes[:MOST_SHOWN])
        yield ""
        if len(changes) > MOST_SHOWN:
            yield f"and {len(changes) - MOST_SHOWN} more, below."
            yield ""
    yield from _unread(answer)
    for summary, content in (
        (f"{counted(len(changes), 'change')} by cause", [*_causes(answer)]),
        (counted(len(answer.objects), "changed object"), [*map(_object, answer.objects)]),
        ("Notes", [f"- {escaped(text)}" for text in answer.notes]),
    ):
        if content:
            yield from folded(summary, content)
            yield ""
    yield f"Compared: {code(answer.old.name)} with {code(answer.new.name)}."


def _table(changes: Iterable[Change]) -> Iterator[str]:
    yield from head(_COLUMNS)
    for item in changes:
        source, _, destination, ports, remark = row(item)
        more = f" (and {len(item.causes) - 1} more)" if len(item.causes) > 1 else ""
        cause = "; ".join(f"{one}{more}" for one in item.causes[:1])
        text = "; ".join(filter(None, (escaped(remark), escaped(cause))))
        yield f"| {item.change} | {_names(source)} | {_names(destination)} | {escaped(ports)} | {text} |"


def _names(text: str) -> str:
    """Return a set of ends, the first few of it."""
    names = text.split(", ")
    more = f" and {len(names) - _NAMES_SHOWN} more" if len(names) > _NAMES_SHOWN else ""
    return code(", ".join(names[:_NAMES_SHOWN])) + more


def _causes(answer: Difference) -> Iterator[str]:
    for causes, items in by_cause(answer):
        yield f"- {escaped(because(causes, items))}"
        for item in items:
            source, arrow, destination, ports, remark = row(item)
            text = f" ({escaped(remark)})" if remark else ""
            yield f"    - {item.change} {code(f'{source} {arrow} {destination}')} {escaped(ports)}{text}"


def _unread(answer: Difference) -> Iterator[str]:
    told = sorted(
        (told_gap(gap) for gap in answer.gaps if gap.change != "kept"), key=lambda item: item[0] == "complete"
    )
    for word, text in told:
        yield f"- {'**incomplete**' if word == 'incomplete' else word}: {escaped(text)}"
    if told:
        yield ""


def _object(item: ObjectChange) -> str:
    change, place, texts = told_object(item)
    where = f" ({code(str(place))})" if place else ""
    what = f": {escaped(', '.join(texts))}" if texts else ""
    return f"- {change} {code(str(item))}{where}{what}"
