# SPDX-License-Identifier: Apache-2.0
"""What is said of errors: not again within a minute, and of a kernel that refuses a program what is so meanwhile."""

from __future__ import annotations

from typing import Final

from podfence.dataplane.enforcer import ForeignTableError
from podfence.nft.errors import NftError, NotInstalledError, PermissionDeniedError

AGAIN: Final = 60.0
"""Seconds after which the same is said again."""


HOPELESS: Final = (ForeignTableError, NotInstalledError, PermissionDeniedError)
"""Errors of a kernel that refuses a program, and do not go away by themselves within seconds."""

REFUSALS: Final = (NftError, ForeignTableError, OSError)
"""All errors by which a kernel refuses a program."""

_HELD: Final = "packets of pods that are not programmed yet are dropped, and the kernel continues to enforce its rules"
_GONE: Final = "the table is gone, and nothing on the node is denied until a try succeeds"
_AS_FOUND: Final = "until a try succeeds, the node has the rules that it had before this agent, if any"


class Complaints:
    """Remembers what was said in the last minute."""

    def __init__(self) -> None:
        self._said: dict[str, float] = {}

    def is_due(self, text: str, now: float) -> bool:
        """Return whether a text was not said within the last minute; it counts as said now if so."""
        self._said = {key: said for key, said in self._said.items() if now - said < AGAIN}
        if text in self._said:
            return False
        self._said[text] = now
        return True


def meanwhile(*, gone: bool, adopted: bool) -> str:
    """Return what the kernel enforces until it takes a program; the table may be `gone`, or not `adopted` yet."""
    if gone:
        return _GONE
    return _HELD if adopted else _AS_FOUND
