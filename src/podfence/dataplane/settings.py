# SPDX-License-Identifier: Apache-2.0
"""What a person chooses about how a node enforces."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Binding = Literal["off", "report", "enforce"]


@dataclass(frozen=True, slots=True)
class Settings:
    """How what is denied ends: `reject` instead of dropping it, and a line through NFLOG to group `log_group`.

    `label` is the bit of connection tracking's labels, 0 to 127, that cuts an established flow. `binding` is what
    becomes of packets on a pod's link that are not that pod's: they are dropped ("enforce"), counted and logged but not
    dropped ("report"), or not looked at ("off").
    """

    reject: bool = False
    log_group: int | None = None
    label: int = 119
    binding: Binding = "enforce"
