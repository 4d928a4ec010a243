# SPDX-License-Identifier: Apache-2.0
"""What all tests share: the place of the checkout, and one profile for generated cases."""

from __future__ import annotations

import signal
from pathlib import Path

import hypothesis
import pytest

# A deadline measures the machine and its neighbours; print_blob lets a failure be replayed anywhere.
# The same cases on every run, so that a change is judged by its own failures; `make fuzz` looks for new ones.
hypothesis.settings.register_profile("podfence", deadline=None, print_blob=True, derandomize=True)
hypothesis.settings.load_profile("podfence")

# What a shell starts in the background ignores interrupts, and so would the programs that tests interrupt.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def checkout() -> Path:
    """Return the root of the checkout."""
    return Path(__file__).resolve().parent.parent
