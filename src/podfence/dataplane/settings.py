# SPDX-License-Identifier: Apache-2.0
"""What a person chooses about how a node enforces."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Settings:
    """How what is denied ends: `reject` instead of dropping it, and a line through NFLOG to group `log_group`.

    `label` is the bit of connection tracking's labels, 0 to 127, that cuts an established flow.
    """

    reject: bool = False
    log_group: int | None = None
    label: int = 119
