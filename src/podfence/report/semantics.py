# SPDX-License-Identifier: Apache-2.0
"""The specification, rule by rule, as `docs/reference/semantics.md` has it; an installed wheel carries the text."""

from __future__ import annotations

import re
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from podfence.errors import PodfenceError
from podfence.report import columns
from podfence.report.style import PAGE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from podfence.report.style import Page

_HEADING = re.compile(r"## (?P<number>\d+) (?P<title>.*)")
_RULE = re.compile(r"\*\*(?P<number>\d+\.\d+)\*\* (?P<text>.*)")
_IN_TABLE = re.compile(r"\| \*\*(?P<number>\d+\.\d+)\*\* \|.*")
_LINK = re.compile(r"\[([^\]]*)\]\([^)]*\)")
_VERBATIM = ("|", "(")


class Rule(NamedTuple):
    """One rule: number and title of its section, its own number, and its lines, the first without the number."""

    section: str
    title: str
    number: str
    lines: tuple[str, ...]


def rules() -> tuple[Rule, ...]:
    """Return the whole specification."""
    found: list[Rule] = []
    section: tuple[str, ...] = ()
    for line in _source().read_text(encoding="utf-8").splitlines():
        if heading := _HEADING.fullmatch(line):
            section = heading.groups()
        elif line.startswith("## "):
            break
        elif section and (rule := _RULE.fullmatch(line)):
            found.append(Rule(section[0], section[1], rule["number"], (_plain(rule["text"]),)))
        elif section and (row := _IN_TABLE.fullmatch(line)):
            text = line.strip("| ").partition("|")[2].strip()
            found.append(Rule(section[0], section[1], row["number"], (_plain(text),)))
        elif line and found and found[-1].section == section[0]:
            found[-1] = found[-1]._replace(lines=(*found[-1].lines, _plain(line)))
    return tuple(found)


def text(number: str, page: Page = PAGE) -> Iterator[str]:
    """Yield the rule of a number (``2.2``), or all of a section (``7``); raises PodfenceError if there is none."""
    wanted = number.strip().removeprefix("semantics").strip().rstrip(".")
    known = rules()
    found = [rule for rule in known if wanted in (rule.section, rule.number)]
    if not found:
        raise PodfenceError(
            f"there is no rule {number!r} of the semantics; sections run from {known[0].section} to "
            f"{known[-1].section}, and `podfence semantics 7` prints the rules of one"
        )
    yield page.style.strong(f"{found[0].section} {found[0].title}")
    for rule in found:
        yield ""
        yield from _written(rule, page)


def contents(page: Page = PAGE) -> Iterator[str]:
    """Yield the sections with the rules that each has."""
    rows = []
    for (section, title), found in groupby(rules(), key=lambda rule: (rule.section, rule.title)):
        numbers = [rule.number for rule in found]
        rows.append((section, title, f"{numbers[0]} to {numbers[-1]}"))
    return columns.lines(rows, header=("SECTION", "TITLE", "RULES"), width=page.width, style=page.style)


def _written(rule: Rule, page: Page) -> Iterator[str]:
    first, *rest = rule.lines
    yield columns.paragraph(f"{rule.number}  {first}", page.width)
    for line in rest:
        yield line if line.startswith(_VERBATIM) else columns.paragraph(line, page.width)


def _plain(text: str) -> str:
    return _LINK.sub(r"\1", text).replace("**", "")


def _source() -> Path:
    """Return the file of an installed package, or of the checkout that this is a part of."""
    here = Path(__file__).resolve().parent
    shipped = here / "semantics.md"
    return shipped if shipped.exists() else here.parents[2] / "docs" / "reference" / "semantics.md"
