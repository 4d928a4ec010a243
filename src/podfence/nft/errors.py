# SPDX-License-Identifier: Apache-2.0
"""What nft refuses, classified once.

NftError                     everything else that nft says; the root of the others
├── InvalidError             refused here, before nft was asked
├── NotFoundError            a table, chain, set, map, element or rule does not exist
├── AlreadyExistsError       it exists already, or exists and is different
├── ConflictError            an interval overlaps another
├── BusyError                something still refers to what was to be deleted
├── PermissionDeniedError    the process lacks CAP_NET_ADMIN in its network namespace
├── NotInstalledError        there is no nft to run
├── NoBufferSpaceError       the transaction is too large for one netlink message
├── NftSyntaxError           nft cannot parse the script
└── MissingFeatureError      this nft or this kernel lacks something that is needed
"""

from __future__ import annotations

import re
from typing import Final

from podfence.errors import MissingProgramError, PodfenceError

SHOWN: Final = 160
"""How much of a script line a message shows; a line can hold a thousand elements."""


class NftError(PodfenceError):
    """An operation was refused: `text` is nft's own, `line` counts from 1 (0: unknown), `statement` is that line."""

    def __init__(self, text: str, *, line: int = 0, statement: str = "", column: int = 1) -> None:
        """Keep nft's text and its place; `column` counts from 1 and only chooses what a message shows."""
        self.text = text
        self.line = line
        self.statement = statement
        start = max(0, column - 1 - SHOWN // 2) if len(statement) > SHOWN else 0
        shown = statement[start : start + SHOWN]
        place = f" (line {line}: {'…' if start else ''}{shown}{'…' if start + SHOWN < len(statement) else ''})"
        super().__init__(text + (place if line else ""))


class InvalidError(NftError):
    """A value or an operation that nft could not take; nft was not asked."""


class NotFoundError(NftError):
    """Something that the operation names does not exist."""


class AlreadyExistsError(NftError):
    """Something exists already, or exists with another definition."""


class ConflictError(NftError):
    """An interval overlaps another one."""


class BusyError(NftError):
    """Something still refers to the object."""


class PermissionDeniedError(NftError):
    """The process may not change this network namespace."""


class NotInstalledError(NftError, MissingProgramError):
    """There is no nft to run."""


class NoBufferSpaceError(NftError):
    """The kernel's socket buffer does not hold the transaction."""


class NftSyntaxError(NftError):
    """Nft cannot parse the script."""


class MissingFeatureError(NftError):
    """This nft or this kernel lacks something that is needed."""


# In this order: "Could not process rule: No such file or directory" and the like hold nothing of the others.
CLASSES: Final[tuple[tuple[str, type[NftError]], ...]] = (
    ("syntax error", NftSyntaxError),
    ("interval overlaps with an existing one", ConflictError),
    ("conflicting intervals specified", ConflictError),
    ("No such file or directory", NotFoundError),
    ("element does not exist", NotFoundError),
    ("File exists", AlreadyExistsError),
    ("Device or resource busy", BusyError),
    ("Operation not permitted", PermissionDeniedError),
    ("Permission denied", PermissionDeniedError),
    ("No buffer space available", NoBufferSpaceError),
    ("Message too long", NoBufferSpaceError),
)
_LOCATED = re.compile(r"^\S+?:(\d+):(\d+)-\d+: Error: (.*)$", re.MULTILINE)
_PLAIN = re.compile(r"(?:^|: )Error: (.*)$", re.MULTILINE)
_NOT_STARTED = re.compile(
    r'exec of "\S*nft" failed: No such file|failed to execute \S*nft: No such file|\bnft\W*: (?:No such file|not found)'
)


def classify(stderr: str, script: str = "") -> NftError:
    """Return the error for what nft, or the command before it, wrote to standard error about `script`."""
    if found := _LOCATED.search(stderr):
        line, column, text = int(found[1]), int(found[2]), found[3]
    elif found := _PLAIN.search(stderr):
        line, column, text = 0, 1, found[1]
    elif _NOT_STARTED.search(stderr):
        return NotInstalledError(f"nft cannot be started: {stderr.strip()}")
    elif "Operation not permitted" in stderr or "Permission denied" in stderr:
        return PermissionDeniedError(stderr.strip())
    else:
        return NftError(stderr.strip() or "nft failed and said nothing")
    kind = next((kind for sign, kind in CLASSES if sign in text), NftError)
    lines = script.split("\n")
    statement = lines[line - 1] if 0 < line <= len(lines) else ""
    return kind(text, line=line, statement=statement, column=column)
