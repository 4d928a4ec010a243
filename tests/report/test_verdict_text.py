# SPDX-License-Identifier: Apache-2.0
"""A verdict in one line, and as the chain of its decision."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import pytest

from podfence.policy.verdict import Line
from podfence.report import verdict_text
from podfence.report.style import Page, Style
from tests.report import samples

if TYPE_CHECKING:
    from podfence.policy.verdict import Verdict

GOLDEN = Path(__file__).parent / "golden"


def test_the_brief_form_is_one_line_when_it_does_not_depend() -> None:
    assert list(verdict_text.brief(samples.DENIED)) == [str(samples.DENIED)]


def test_the_brief_form_lists_the_parts_indented_when_it_depends() -> None:
    assert list(verdict_text.brief(samples.DEPENDS)) == [
        str(samples.DEPENDS),
        f"  {samples.ALLOWED}",
        f"  {samples.DENIED}",
    ]


@pytest.mark.parametrize(
    ("name", "answer"), [("allowed", samples.ALLOWED), ("denied", samples.DENIED), ("depends", samples.DEPENDS)]
)
def test_the_long_form_is_as_recorded(name: str, answer: Verdict) -> None:
    recorded = (GOLDEN / f"explain-{name}.txt").read_text(encoding="utf-8")

    assert "\n".join(verdict_text.chain(answer)) + "\n" == recorded


@pytest.mark.parametrize(
    ("answer", "colour"), [(samples.ALLOWED, "32"), (samples.DENIED, "31"), (samples.DEPENDS, "33")]
)
def test_the_decision_has_its_colour_and_colour_adds_nothing_else(answer: Verdict, colour: str) -> None:
    for form in (verdict_text.brief, verdict_text.chain):
        coloured = "\n".join(form(answer, Page(style=Style(colour=True))))

        assert coloured.startswith(f"\x1b[{colour}m{answer.decision}\x1b[0m  ")
        assert re.sub(r"\x1b\[\d+m", "", coloured) == "\n".join(form(answer))


def test_of_a_long_rule_the_beginning_is_shown_and_what_admits() -> None:
    lines = tuple(Line(number, f"line {number}") for number in range(1, 801))
    rule = msgspec.structs.replace(samples.DB_RULE, excerpt=lines, item=(lines[699],))
    ingress = msgspec.structs.replace(samples.ALLOWED.ingress, rule=rule)
    shown = list(verdict_text.chain(msgspec.structs.replace(samples.ALLOWED, ingress=ingress)))

    assert sum(" | line " in text for text in shown) == 9
    assert any(text.endswith("700 | line 700") for text in shown)
    assert [text.strip() for text in shown if "…" in text] == ["… 691 lines", "… 100 lines"]
