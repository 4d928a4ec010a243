# SPDX-License-Identifier: Apache-2.0
"""Errors by which a node's kernel refuses a program, and what is so until it takes one."""

from __future__ import annotations

from typing import Final

from podfence.dataplane.enforcer import ForeignTableError
from podfence.nft.errors import NftError, NotInstalledError, PermissionDeniedError

HOPELESS: Final = (ForeignTableError, NotInstalledError, PermissionDeniedError)
"""Those that do not go away by themselves within seconds."""

REFUSALS: Final = (NftError, ForeignTableError, OSError)

_HELD: Final = "packets of pods that are not programmed yet are dropped, and the kernel continues to enforce its rules"
_GONE: Final = "the table is gone, and nothing on the node is denied until a try succeeds"
_AS_FOUND: Final = "until a try succeeds, the node has the rules that it had before this agent, if any"


def meanwhile(*, gone: bool, adopted: bool) -> str:
    """Return what the kernel enforces until it takes a program; the table may be `gone`, or not `adopted` yet."""
    if gone:
        return _GONE
    return _HELD if adopted else _AS_FOUND
