# SPDX-License-Identifier: Apache-2.0
"""What podfence says of itself: its version, the engine's options, and the configuration that is in force."""

from __future__ import annotations

from typing import TYPE_CHECKING

from podfence.documents import Value
from podfence.report import columns

if TYPE_CHECKING:
    from collections.abc import Iterator

    from podfence.policy.options import Choice
    from podfence.report.style import Page

_HEADER = ("OPTION", "DEFAULT", "VALUES", "RULE", "MEANING")
_DEFAULT = "default"


class Version(Value, frozen=True, kw_only=True):
    """The answer of `version`."""

    version: str
    python: str


class Option(Value, frozen=True, kw_only=True):
    """An engine option; the first of `values` is the default, `semantics` numbers the rule it stands for."""

    name: str
    default: str
    values: tuple[str, ...]
    semantics: str
    meaning: str


class Options(Value, frozen=True, kw_only=True):
    """The answer of `options`."""

    items: tuple[Option, ...]


class Config(Value, frozen=True, kw_only=True):
    """The answer of `config`: what is in force where no flag says otherwise; `file` is "" where there is none.

    Without `filename` it is the live cluster that is read. `given` are the settings that the file names.
    """

    file: str
    filename: tuple[str, ...]
    recursive: bool
    exclude: tuple[str, ...]
    namespace: str
    options: dict[str, str]
    given: tuple[str, ...]


def options(choices: dict[str, Choice]) -> Options:
    """Return the engine's options, named as `--set` takes them."""
    items = (
        Option(
            name=name.replace("_", "-"),
            default=choice.values[0],
            values=choice.written(),
            semantics=choice.rule,
            meaning=choice.meaning,
        )
        for name, choice in choices.items()
    )
    return Options(items=tuple(items))


def options_table(answer: Options, page: Page) -> Iterator[str]:
    """Yield one line per option, wrapped to the page."""
    rows = [(one.name, one.default, ", ".join(one.values), one.semantics, one.meaning) for one in answer.items]
    return columns.lines(rows, header=_HEADER, width=page.width, style=page.style)


def config_table(answer: Config, _page: Page) -> Iterator[str]:
    """Yield one line per setting: its name, its value, and the file that it is from."""
    rows = [
        ("filename", ", ".join(answer.filename) or "the live cluster"),
        ("recursive", str(answer.recursive).lower()),
        ("exclude", ", ".join(answer.exclude) or "nothing"),
        ("namespace", answer.namespace),
        *((f"options.{name}", value) for name, value in answer.options.items()),
    ]
    key_width = max(len(key) for key, _ in rows)
    value_width = max(len(value) for _, value in rows)
    for key, value in rows:
        yield f"{key:{key_width}}  {value:{value_width}}  {answer.file if key in answer.given else _DEFAULT}"
