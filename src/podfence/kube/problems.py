# SPDX-License-Identifier: Apache-2.0
"""What is wrong with input, and where: positions and problems."""

from __future__ import annotations

import enum
from typing import NamedTuple

import msgspec


class Position(NamedTuple):
    """A place in an input; `line` and `column` count from 1 over the whole file, 0 means the file as such."""

    file: str
    line: int = 0
    column: int = 0

    def __str__(self) -> str:
        """Return ``file:line``, the form used in reasons."""
        return f"{self.file}:{self.line}" if self.line else self.file


class Severity(enum.StrEnum):
    """How bad a problem is: an error refuses the input, a warning does not."""

    ERROR = "error"
    WARNING = "warning"


class Problem(msgspec.Struct, frozen=True, kw_only=True):
    """One thing wrong with the input.

    `field` is the path as the API server writes it (``spec.ingress[0].ports[0].port``), empty when the
    whole document or file is meant; `message` is in the API server's words where it has any; `remedy`
    says what to do when the message alone does not.
    """

    severity: Severity
    position: Position
    message: str
    field: str = ""
    remedy: str = ""

    def __str__(self) -> str:
        """Return ``file:line:column: error: field.path: message (remedy)``."""
        where = self.position.file
        if self.position.line:
            where += f":{self.position.line}:{self.position.column}"
        field = f"{self.field}: " if self.field else ""
        remedy = f" ({self.remedy})" if self.remedy else ""
        return f"{where}: {self.severity}: {field}{self.message}{remedy}"
