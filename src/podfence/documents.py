# SPDX-License-Identifier: Apache-2.0
"""What all answers have in common as documents: an answer is what is printed, under names outside of Python."""

from __future__ import annotations

from typing import Literal

import msgspec

ApiVersion = Literal["podfence/v1"]

API_VERSION: ApiVersion = "podfence/v1"


class Value(msgspec.Struct, frozen=True, rename="camel"):
    """An answer, or a part of one; printed with all its fields, in their order, named as Kubernetes names fields.

    What other programs read changes with it: a field may be added, and must not be renamed or taken away.
    """
