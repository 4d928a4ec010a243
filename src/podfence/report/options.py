# SPDX-License-Identifier: Apache-2.0
"""The engine's options as a table."""

from __future__ import annotations

from typing import TYPE_CHECKING

from podfence.report import columns
from podfence.report.style import PLAIN, Style

if TYPE_CHECKING:
    from collections.abc import Iterator

    from podfence.policy.options import Choice

_HEADER = ("OPTION", "DEFAULT", "VALUES", "RULE", "MEANING")


def table(choices: dict[str, Choice], *, width: int | None = None, style: Style = PLAIN) -> Iterator[str]:
    """Yield one line per option, named as `--set` takes it, wrapped if `width` is given."""
    rows = [
        (name.replace("_", "-"), choice.values[0], ", ".join(choice.values), choice.rule, choice.meaning)
        for name, choice in choices.items()
    ]
    return columns.lines(rows, header=_HEADER, width=width, style=style)
