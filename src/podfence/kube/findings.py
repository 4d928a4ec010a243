# SPDX-License-Identifier: Apache-2.0
"""What is wrong, with what, and where: the one value that the reader, validation and the loader speak in."""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING

import msgspec
from msgspec.structs import replace

from podfence.documents import Value
from podfence.kube.objects import Key
from podfence.kube.origin import Path

if TYPE_CHECKING:
    from podfence.kube.origin import Origin


class Position(Value, frozen=True, order=True):
    """A place in an input; `line` and `column` count from 1 over the whole file, 0 means the file as such."""

    file: str
    line: int = 0
    column: int = 0

    def __str__(self) -> str:
        """Return ``file:line``, the form used in reasons."""
        return f"{self.file}:{self.line}" if self.line else self.file


_LEFT_OUT = "left out: "

NOWHERE = Position("")
"""The position of a finding inside of an object that nobody has looked up yet."""


class Severity(enum.StrEnum):
    """How bad a finding is: an error refuses the input, a warning does not."""

    ERROR = "error"
    WARNING = "warning"


class Code(enum.StrEnum):
    """What kind of thing is wrong: a word that stays the same from version to version.

    The first seven are the API server's kinds of errors, and what decoding refuses before it looks at values.
    """

    INVALID = "invalid"
    REQUIRED = "required"
    FORBIDDEN = "forbidden"
    UNSUPPORTED = "unsupported"
    DUPLICATE = "duplicate"
    WRONG_TYPE = "wrong-type"
    UNKNOWN_FIELD = "unknown-field"
    MISMATCH = "mismatch"
    ODD = "odd"
    NO_OBJECT = "no-object"
    UNKNOWN_KIND = "unknown-kind"
    OLD_VERSION = "old-version"
    SYNTAX = "syntax"
    UNREADABLE = "unreadable"
    REPLACED = "replaced"
    PROGRAM = "program"


class MapKey(str):
    """A key of a mapping with free keys, such as a label's; written ``[key]`` in a field's text."""

    __slots__ = ()


def field_text(path: Path) -> str:
    """Return a path as the API server writes it: ``spec.ingress[0].ports``."""
    parts: list[str] = []
    for step in path:
        if isinstance(step, int | MapKey):
            parts.append(f"[{step}]")
        else:
            parts.append(f".{step}" if parts else step)
    return "".join(parts)


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that is wrong.

    `path` is the field that the message is about, empty when the whole document or file is meant; `message` is in
    the API server's words where it has any; `remedy` says what to do when the message alone does not. `object` is
    whose field it is, if that is known, and `position` where it stands.

    A check knows paths only: `place` is the path to point at if it is not `path` itself, and `at_key` points at the
    key in place of the value; `at` makes a position of them. `needs` are other fields the finding was derived from:
    if they could not be read it says nothing. `meant` is what an unknown field was probably meant to be.
    """

    code: Code = Code.INVALID
    severity: Severity = Severity.ERROR
    object: Key | None = None
    position: Position = NOWHERE
    path: Path = ()
    message: str
    remedy: str = ""
    place: Path | None = None
    at_key: bool = False
    needs: tuple[Path, ...] = ()
    meant: str = ""

    @property
    def field(self) -> str:
        """The field as the API server writes it; "" for an unknown one, which the message names."""
        return "" if self.code is Code.UNKNOWN_FIELD else field_text(self.path)

    @property
    def spot(self) -> Path:
        """The path of what is pointed at."""
        return self.path if self.place is None else self.place

    def at(self, origin: Origin, key: Key | None = None) -> Finding:
        """Return the same with the position in a document, for the object `key` that came from `origin`."""
        position = origin.document.locate(origin.path + self.spot, at_key=self.at_key)
        return replace(self, position=position, object=key)

    def left_out(self) -> Finding:
        """Return the warning that what this is about was left out for it."""
        return replace(self, severity=Severity.WARNING, message=f"{_LEFT_OUT}{self.message}")

    @property
    def is_dispensable(self) -> bool:
        """Whether a few of its kind tell what many would: a warning about something that was read all the same."""
        return self.severity is Severity.WARNING and not self.message.startswith(_LEFT_OUT)

    def __str__(self) -> str:
        """Return ``file:line:column: error: field.path: message (remedy)``."""
        where = self.position.file
        if self.position.line:
            where += f":{self.position.line}:{self.position.column}"
        field = f"{self.field}: " if self.field else ""
        remedy = f" ({self.remedy})" if self.remedy else ""
        return f"{where}: {self.severity}: {field}{self.message}{remedy}"


def unreadable(
    name: str,
    message: str,
    remedy: str = "",
    *,
    severity: Severity = Severity.ERROR,
    code: Code = Code.UNREADABLE,
) -> Finding:
    """Return what is wrong with an input as a whole, or with whatever else has this name."""
    return Finding(code=code, severity=severity, position=Position(name), message=message, remedy=remedy)
