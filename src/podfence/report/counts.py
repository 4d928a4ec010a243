# SPDX-License-Identifier: Apache-2.0
"""Numbers of things, in words."""

from __future__ import annotations


def counted(number: int, noun: str, plural: str = "") -> str:
    """Return ``1 pod`` or ``2 pods``; `plural` is the noun's plural where it is not the noun and an s."""
    return f"{number} {noun if number == 1 else plural or noun + 's'}"
