# SPDX-License-Identifier: Apache-2.0
"""When output is coloured."""

from __future__ import annotations

import io

import pytest

from podfence.report.style import Style, When, choose


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("when", "terminal", "environ", "coloured"),
    [
        ("auto", True, {}, True),
        ("auto", False, {}, False),
        ("auto", True, {"NO_COLOR": "1"}, False),
        ("auto", True, {"NO_COLOR": ""}, True),
        ("auto", True, {"TERM": "dumb"}, False),
        ("always", False, {"NO_COLOR": "1"}, True),
        ("never", True, {}, False),
    ],
)
def test_colour_is_for_terminals_unless_somebody_says_otherwise(
    when: When, terminal: bool, environ: dict[str, str], coloured: bool
) -> None:
    stream = Terminal() if terminal else io.StringIO()

    assert choose(when, stream, environ) == Style(coloured)


def test_without_colour_text_stays_as_it_is() -> None:
    style = Style(colour=False)

    assert (style.decision("denied", "x"), style.strong("x"), style.faint("x")) == ("x", "x", "x")
