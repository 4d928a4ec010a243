# SPDX-License-Identifier: Apache-2.0
"""Base chains and regular chains."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal, get_args

from podfence.nft.errors import InvalidError
from podfence.nft.names import block, check_comment, check_name, comment_text

if TYPE_CHECKING:
    from podfence.nft.table import Table

HookType = Literal["filter", "nat", "route"]
HookName = Literal["prerouting", "input", "forward", "output", "postrouting"]
Policy = Literal["accept", "drop"]

HOOKS: Final[dict[str, tuple[str, ...]]] = {
    "filter": get_args(HookName),
    "nat": ("prerouting", "input", "output", "postrouting"),
    "route": ("output",),
}
CONNTRACK_PRIORITY: Final = -200
"""NAT needs the connection, so its chains come after connection tracking."""


@dataclass(frozen=True, slots=True)
class Hook:
    """Where in the kernel a base chain is called; `priority` is a number, lower is earlier."""

    type: HookType
    hook: HookName
    priority: int
    policy: Policy = "accept"

    def __post_init__(self) -> None:
        if self.hook not in HOOKS.get(self.type, ()):
            raise InvalidError(f"a chain of type {self.type!r} cannot be at hook {self.hook!r}")
        if self.policy not in get_args(Policy):
            raise InvalidError(f"{self.policy!r} is not a policy of a base chain: accept, drop")
        if not -(1 << 31) <= self.priority < 1 << 31:
            raise InvalidError(f"a priority has 32 bits: {self.priority}")
        if self.type == "nat" and self.priority <= CONNTRACK_PRIORITY:
            raise InvalidError(f"a nat chain has a priority above {CONNTRACK_PRIORITY}: {self.priority}")

    def __str__(self) -> str:
        return f"type {self.type} hook {self.hook} priority {self.priority}; policy {self.policy}"


@dataclass(frozen=True, slots=True)
class Chain:
    """A chain: with a hook a base chain, and without one reached by `jump` and `goto`."""

    name: str
    hook: Hook | None = None
    comment: str | None = None

    def __post_init__(self) -> None:
        check_name(self.name, "chain")
        check_comment(self.comment)

    def statement(self, verb: str, table: Table) -> str:
        """Return the command that does `verb` to this chain."""
        body = ""
        if verb == "add":
            body = block(str(self.hook) if self.hook else "", comment_text(self.comment).strip())
        return f"{verb} chain {table.address} {self.name}{body}"
