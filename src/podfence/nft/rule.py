# SPDX-License-Identifier: Apache-2.0
"""Rules, as nft's own text."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from podfence.nft.errors import InvalidError
from podfence.nft.names import check_comment, check_name, comment_text

if TYPE_CHECKING:
    from podfence.nft.table import Table

_QUOTED = re.compile(r'"[^"]*"')


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule of a chain.

    `text` is nft's language without the comment; read back, it is in nft's own form and without the
    figures of counters. `handle` is the kernel's number of a rule that was read back.
    """

    chain: str
    text: str
    comment: str | None = None
    handle: int | None = None

    def __post_init__(self) -> None:
        check_name(self.chain, "chain")
        check_comment(self.comment)
        bare = _QUOTED.sub("", self.text)
        if not self.text.strip() or not self.text.isprintable():
            raise InvalidError(f"the text of a rule is one line and not empty: {self.text!r}")
        if any(sign in bare for sign in '";#\\'):
            raise InvalidError(f"a rule has ; # \\ only between quotation marks, and those in pairs: {self.text!r}")
        if bare.count("{") != bare.count("}"):
            raise InvalidError(f"the braces of a rule are closed: {self.text!r}")
        if re.search(r"\bcomment\b", bare):
            raise InvalidError(f"the comment of a rule is given apart from its text: {self.text!r}")

    def statement(self, verb: str, table: Table) -> str:
        """Return the command that does `verb` to this rule; `delete` goes by the handle."""
        what = f"handle {self.handle}" if verb == "delete" else f"{self.text}{comment_text(self.comment)}"
        return f"{verb} rule {table.address} {self.chain} {what}"
