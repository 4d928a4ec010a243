# SPDX-License-Identifier: Apache-2.0
"""Other limits of the budget than the real ones, for engine and twin alike, so that small policies come near them."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from podfence.policy import budget
from podfence.policy.budget import BUDGETS, Budget, Size

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def limits(one: Size, together: Size) -> Iterator[None]:
    """Let these be the standard limits meanwhile."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(budget, "BUDGETS", {**BUDGETS, "standard": Budget(one, together)})
        patch.setattr("tests.twin.size.BUDGETS", budget.BUDGETS)
        yield
