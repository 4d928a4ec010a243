# SPDX-License-Identifier: Apache-2.0
"""How many random clusters a test looks at: the same few on every run, or many new ones for `make fuzz`."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings


def tried(examples: int) -> settings:
    """Return the settings for a test that compares with the twin; PODFENCE_EXAMPLES asks for that many new cases."""
    wanted = os.environ.get("PODFENCE_EXAMPLES")
    return settings(
        max_examples=int(wanted or examples), derandomize=wanted is None, suppress_health_check=list(HealthCheck)
    )
