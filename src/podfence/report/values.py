# SPDX-License-Identifier: Apache-2.0
"""What all documents have in common."""

from __future__ import annotations

from typing import Literal

import msgspec

ApiVersion = Literal["podfence/v1"]
DecisionName = Literal["allowed", "denied", "depends"]

API_VERSION: ApiVersion = "podfence/v1"


class Value(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A part of a document; every field is always present."""
