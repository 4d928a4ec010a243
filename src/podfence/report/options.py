# SPDX-License-Identifier: Apache-2.0
"""The engine's options as a table."""

from __future__ import annotations

from typing import TYPE_CHECKING

from podfence.report import columns
from podfence.report.style import PAGE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from podfence.policy.options import Choice
    from podfence.report.style import Page

_HEADER = ("OPTION", "DEFAULT", "VALUES", "RULE", "MEANING")


def table(choices: dict[str, Choice], page: Page = PAGE) -> Iterator[str]:
    """Yield one line per option, named as `--set` takes it, wrapped to the page."""
    rows = [
        (name.replace("_", "-"), choice.values[0], ", ".join(choice.written()), choice.rule, choice.meaning)
        for name, choice in choices.items()
    ]
    return columns.lines(rows, header=_HEADER, width=page.width, style=page.style)
