# SPDX-License-Identifier: Apache-2.0
"""A table."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from podfence.nft.errors import InvalidError
from podfence.nft.names import block, check_comment, check_name, comment_text

Family = Literal["inet", "ip", "ip6", "bridge"]


@dataclass(frozen=True, slots=True)
class Table:
    """A table of one family; all other objects are in one. The kernel passes over the chains of a `dormant` one."""

    name: str
    family: Family = "inet"
    comment: str | None = None
    dormant: bool = False

    def __post_init__(self) -> None:
        check_name(self.name, "table")
        check_comment(self.comment)
        if self.family not in get_args(Family):
            raise InvalidError(f"{self.family!r} is not a family of tables: {', '.join(get_args(Family))}")

    @property
    def address(self) -> str:
        """Return `inet NAME`, as commands name the table."""
        return f"{self.family} {self.name}"

    def statement(self, verb: str, _table: Table) -> str:
        """Return the command that does `verb` to this table."""
        parts = (comment_text(self.comment).strip(), "flags dormant" if self.dormant else "")
        body = block(*filter(None, parts)) if verb == "add" else ""
        return f"{verb} table {self.address}{body}"
