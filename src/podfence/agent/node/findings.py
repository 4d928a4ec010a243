# SPDX-License-Identifier: Apache-2.0
"""What is wrong with a node, as a value: in the log, in readiness, in answers, and as an Event on the Node."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal

from podfence.documents import Value

if TYPE_CHECKING:
    from collections.abc import Sequence

SHOWN: Final = 5
"""How many pods, or other things, a message names."""


class NodeFinding(Value, frozen=True):
    """Something about the node that makes enforcing impossible ("fatal"), or other than it seems ("warning").

    `code` is a word that stays the same from version to version; one list of findings has each at most once.
    `message` says what was found, `remedy` what to do about it: parts of one sentence, without a full stop.
    """

    severity: Literal["fatal", "warning"]
    code: str
    message: str
    remedy: str

    def __str__(self) -> str:
        """Return the sentence."""
        return f"{self.message}; {self.remedy}"


def some(names: Sequence[str]) -> str:
    """Return names for a message: the first ones, and how many more there are."""
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return f"{', '.join(names[:SHOWN])}{more}"


def uncut(count: int) -> tuple[NodeFinding, ...]:
    """Return what is wrong if so many established flows are forbidden and go on."""
    if not count:
        return ()
    what = "an established connection continues although policies deny it"
    if count > 1:
        what = f"{count} established connections continue although policies deny them"
    why = "the kernel keeps their connection tracking entries, as for flow tables, and has no room there for a label"
    remedy = "delete the flow tables (`nft list flowtables`), or end the connections at their pods"
    return (NodeFinding("fatal", "flows-uncut", f"{what}: {why}", remedy),)
