# SPDX-License-Identifier: Apache-2.0
"""The specification, rule by rule, as `docs/reference/semantics.md` has it; an installed wheel carries the text."""

from __future__ import annotations

import re
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
    """One rule: its number, and its lines, the first without the number."""

    number: str
    lines: tuple[str, ...]


class Section(NamedTuple):
    """One section with its rules."""

    number: str
    title: str
    rules: tuple[Rule, ...]


def sections() -> tuple[Section, ...]:
    """Return the whole specification."""
    found: list[tuple[str, str, list[tuple[str, list[str]]]]] = []
    for line in _source().read_text(encoding="utf-8").splitlines():
        if heading := _HEADING.fullmatch(line):
            found.append((heading["number"], heading["title"], []))
        elif line.startswith("## "):
            break
        elif found:
            rules = found[-1][2]
            if rule := _RULE.fullmatch(line):
                rules.append((rule["number"], [_plain(rule["text"])]))
            elif row := _IN_TABLE.fullmatch(line):
                rules.append((row["number"], [_plain(line.strip("| ").partition("|")[2].strip())]))
            elif rules and line:
                rules[-1][1].append(_plain(line))
    return tuple(
        Section(number, title, tuple(Rule(name, tuple(lines)) for name, lines in rules))
        for number, title, rules in found
    )


def text(number: str, page: Page = PAGE) -> Iterator[str]:
    """Yield the rule of a number (``2.2``), or all of a section (``7``); raises PodfenceError if there is none."""
    wanted = number.strip().removeprefix("semantics").strip().rstrip(".")
    for section in sections():
        rules = [rule for rule in section.rules if wanted in (section.number, rule.number)]
        if rules or wanted == section.number:
            yield page.style.strong(f"{section.number} {section.title}")
            for rule in rules:
                yield ""
                yield from _written(rule, page)
            return
    known = sections()
    raise PodfenceError(
        f"there is no rule {number!r} of the semantics; sections run from {known[0].number} to {known[-1].number}, "
        "and `podfence semantics 7` prints the rules of one"
    )


def contents(page: Page = PAGE) -> Iterator[str]:
    """Yield the sections with the rules that each has."""
    rows = [
        (section.number, section.title, f"{section.rules[0].number} to {section.rules[-1].number}")
        for section in sections()
        if section.rules
    ]
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
