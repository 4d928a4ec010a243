# SPDX-License-Identifier: Apache-2.0
"""Whether to colour, and with what: green for allowed, red for denied, yellow for depends."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import TextIO

    from podfence.kube.findings import Finding  # noqa: TC004 - nobody evaluates the annotation

When = Literal["auto", "always", "never"]

_DECISIONS = {"allowed": "32", "denied": "31", "depends": "33"}


class Style(NamedTuple):
    """How text is emphasised; without `colour` every method returns its text unchanged."""

    colour: bool = False

    def decision(self, decision: str, text: str) -> str:
        """Return `text` in the colour of `decision` (``allowed``, ``denied`` or ``depends``)."""
        return self._wrap(_DECISIONS[decision], text)

    def strong(self, text: str) -> str:
        """Return `text` as a heading."""
        return self._wrap("1", text)

    def faint(self, text: str) -> str:
        """Return `text` as something that may be skipped."""
        return self._wrap("2", text)

    def _wrap(self, code: str, text: str) -> str:
        return f"\x1b[{code}m{text}\x1b[0m" if self.colour and text else text


PLAIN = Style()


class Page(NamedTuple):
    """What text is written on: `width` is that of a terminal, None where there is none.

    `gaps` say where a policy may lie that could turn the answer, and that nobody has read, `assumes` what the answer
    takes for granted of what was not read, one sentence each. `findings` are problems of the input. `root` is the path
    of the working directory from the root of its repository, and `title` what the answer is called among others.
    """

    width: int | None = None
    style: Style = PLAIN
    gaps: tuple[str, ...] = ()
    assumes: tuple[str, ...] = ()
    findings: tuple[Finding, ...] = ()
    root: str = ""
    title: str = ""


PAGE = Page()


def choose(when: When, stream: TextIO, environ: Mapping[str, str]) -> Style:
    """Return the style for `stream`: an explicit `when` wins, then NO_COLOR, then whether it is a terminal."""
    if when != "auto":
        return Style(when == "always")
    refused = bool(environ.get("NO_COLOR")) or environ.get("TERM") == "dumb"
    return Style(stream.isatty() and not refused)
