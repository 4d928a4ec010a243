# SPDX-License-Identifier: Apache-2.0
"""What checks find in one object, collected in the API server's words and order."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from podfence.kube.findings import Code, Finding, Severity

if TYPE_CHECKING:
    from podfence.kube.origin import Path

# ${NAME}, $(NAME), {{ .Name }}, <name>, %NAME%, @name@, __NAME__, $NAME, or a lone underscore.
_PLACEHOLDER = r"\$[({A-Z]|\{\{|^_+$|^<.+>$|^%.+%$|^@.+@$|^__.+__$"


def is_placeholder(text: str) -> bool:
    """Return whether a text stands for what a template is to put in its place."""
    return re.search(_PLACEHOLDER, text) is not None


class Findings(list[Finding]):
    """Findings in the order an API server lists them."""

    def invalid(
        self,
        field: Path,
        value: object,
        *messages: str,
        place: Path | None = None,
        at_key: bool = False,
        remedy: str = "",
        needs: tuple[Path, ...] = (),
        code: Code = Code.INVALID,
    ) -> None:
        """Add ``Invalid value`` with each of the messages."""
        for text in messages:
            message = f"Invalid value: {go_value(value)}: {text}"
            if not remedy and isinstance(value, str) and is_placeholder(value):
                remedy = "this looks like a template: render it first"
            self.append(
                Finding(code=code, path=field, message=message, place=place, at_key=at_key, remedy=remedy, needs=needs)
            )

    def required(self, field: Path, detail: str = "", *, remedy: str = "") -> None:
        """Add ``Required value``."""
        message = f"Required value: {detail}" if detail else "Required value"
        self.append(Finding(code=Code.REQUIRED, path=field, message=message, remedy=remedy))

    def forbidden(self, field: Path, detail: str, *, remedy: str = "") -> None:
        """Add ``Forbidden``."""
        self.append(Finding(code=Code.FORBIDDEN, path=field, message=f"Forbidden: {detail}", remedy=remedy))

    def check_word(self, where: Path, field: str | int, value: str | None, supported: tuple[str, ...]) -> None:
        """Add ``Unsupported value`` if a field of `where` has one, saying which was meant if that is plain."""
        if value is None or value in supported:
            return
        meant = next((text for text in supported if text.lower() == value.strip().lower()), "")
        message = f"Unsupported value: {go_quote(value)}: supported values: {', '.join(map(go_quote, supported))}"
        remedy = f"write {meant}" if meant else ""
        self.append(Finding(code=Code.UNSUPPORTED, path=(*where, field), message=message, remedy=remedy))

    def duplicate(self, field: Path, value: object) -> None:
        """Add ``Duplicate value``."""
        self.append(Finding(code=Code.DUPLICATE, path=field, message=f"Duplicate value: {go_value(value)}"))

    def warn(self, field: Path, message: str, remedy: str = "", code: Code = Code.ODD) -> None:
        """Add a warning."""
        self.append(Finding(code=code, severity=Severity.WARNING, path=field, message=message, remedy=remedy))


def without_consequences(findings: Findings, unread: Findings) -> list[Finding]:
    """Return the findings that do not merely follow from a field that was not read."""
    return [finding for finding in findings if not any(_follows(finding, cause) for cause in unread)]


def _follows(finding: Finding, cause: Finding) -> bool:
    places = (finding.spot, *finding.needs)
    if cause.code is Code.UNKNOWN_FIELD:
        parent = cause.path[:-1]
        return any(place in (parent, (*parent, cause.meant)) for place in places)
    return any(place[: len(cause.path)] == cause.path[: len(place)] for place in places)


_ESCAPES = {character: f"\\{letter}" for character, letter in zip('\a\b\f\n\r\t\v\\"', 'abfnrtv\\"', strict=True)}


def go_quote(text: str) -> str:
    """Return `text` in double quotes, escaped as Go's ``%q`` does."""
    return '"' + "".join(_escaped(character) for character in text) + '"'


def _escaped(character: str) -> str:
    if character in _ESCAPES:
        return _ESCAPES[character]
    if character.isprintable():
        return character
    code = ord(character)
    if code < 0x80:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def go_value(value: object) -> str:
    """Return a value as the API server prints it in ``Invalid value: ...``."""
    if isinstance(value, str):
        return go_quote(value)
    import json  # noqa: PLC0415  what is right is not quoted

    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), sort_keys=True)
