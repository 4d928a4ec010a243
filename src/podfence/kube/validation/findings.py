# SPDX-License-Identifier: Apache-2.0
"""What validation found: a field, the API server's message, and where to point at."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import msgspec

from podfence.kube.problems import Severity
from podfence.kube.source import Path

if TYPE_CHECKING:
    from collections.abc import Iterable


class MapKey(str):
    """A key of a mapping with free keys, such as a label's; written ``[key]`` in a field's text."""

    __slots__ = ()


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One finding; `field` is what the message is about and `place` where it is in the text.

    `at_key` points at the key instead of the value. `unknown` marks a field that does not exist, and
    `meant` is what was probably meant by it, "" if nobody knows.
    `needs` are other fields the finding was derived from: if they could not be read it says nothing.
    """

    field: Path
    message: str
    place: Path
    at_key: bool = False
    remedy: str = ""
    severity: Severity = Severity.ERROR
    unknown: bool = False
    meant: str = ""
    needs: tuple[Path, ...] = ()


class Findings(list[Finding]):
    """Findings in the order an API server lists them."""

    def invalid(
        self,
        field: Path,
        value: object,
        message: str,
        *,
        place: Path | None = None,
        at_key: bool = False,
        remedy: str = "",
        needs: tuple[Path, ...] = (),
    ) -> None:
        """Add ``Invalid value``."""
        self.append(
            Finding(
                field=field,
                message=f"Invalid value: {go_value(value)}: {message}",
                place=field if place is None else place,
                at_key=at_key,
                remedy=remedy,
                needs=needs,
            )
        )

    def required(self, field: Path, detail: str = "", *, remedy: str = "") -> None:
        """Add ``Required value``."""
        message = f"Required value: {detail}" if detail else "Required value"
        self.append(Finding(field=field, message=message, place=field, remedy=remedy))

    def forbidden(self, field: Path, detail: str, *, remedy: str = "") -> None:
        """Add ``Forbidden``."""
        self.append(Finding(field=field, message=f"Forbidden: {detail}", place=field, remedy=remedy))

    def unsupported(self, field: Path, value: str, supported: Iterable[str]) -> None:
        """Add ``Unsupported value``, saying which supported value was meant if that is plain."""
        texts = tuple(supported)
        meant = next((text for text in texts if text.lower() == value.strip().lower()), "")
        message = f"Unsupported value: {go_quote(value)}: supported values: {', '.join(map(go_quote, texts))}"
        self.append(Finding(field=field, message=message, place=field, remedy=f"write {meant}" if meant else ""))

    def duplicate(self, field: Path, value: object) -> None:
        """Add ``Duplicate value``."""
        self.append(Finding(field=field, message=f"Duplicate value: {go_value(value)}", place=field))

    def warn(self, field: Path, message: str, remedy: str = "") -> None:
        """Add a warning."""
        self.append(Finding(field=field, message=message, place=field, remedy=remedy, severity=Severity.WARNING))


def without_consequences(findings: Findings, unread: Findings) -> list[Finding]:
    """Return the findings that do not merely follow from a field that was not read."""
    return [finding for finding in findings if not any(_follows(finding, cause) for cause in unread)]


def _follows(finding: Finding, cause: Finding) -> bool:
    if cause.unknown:
        parent = cause.field[:-1]
        return any(place in (parent, (*parent, cause.meant)) for place in (finding.place, *finding.needs))
    return any(place[: len(cause.field)] == cause.field[: len(place)] for place in (finding.place, *finding.needs))


def field_text(path: Path) -> str:
    """Return a path as the API server writes it: ``spec.ingress[0].ports``."""
    parts: list[str] = []
    for step in path:
        if isinstance(step, int | MapKey):
            parts.append(f"[{step}]")
        else:
            parts.append(f".{step}" if parts else step)
    return "".join(parts)


_ESCAPES = {
    "\a": "\\a",
    "\b": "\\b",
    "\f": "\\f",
    "\n": "\\n",
    "\r": "\\r",
    "\t": "\\t",
    "\v": "\\v",
    "\\": "\\\\",
    '"': '\\"',
}


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
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), sort_keys=True)
