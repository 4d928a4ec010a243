# SPDX-License-Identifier: Apache-2.0
"""Policies as they would be after a change, in YAML that can be applied."""

from __future__ import annotations

from typing import TYPE_CHECKING

from podfence.policy.changes import manifest
from podfence.report import yaml

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from podfence.analysis.mending import Mended


def lines(found: Iterable[Mended]) -> Iterator[str]:
    """Yield a document for each policy, with what was changed in comments above it; other changes are comments."""
    for number, item in enumerate(found):
        if number:
            yield "---"
        yield from (f"# {text}" for text in item.texts)
        if item.policy is not None:
            yield from yaml.lines(manifest(item.policy))
