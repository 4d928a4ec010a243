# SPDX-License-Identifier: Apache-2.0
"""What the lab raises on purpose."""

from __future__ import annotations

from podfence.errors import PodfenceError


class LabError(PodfenceError):
    """The lab cannot do what was asked; the text says why and what helps."""
