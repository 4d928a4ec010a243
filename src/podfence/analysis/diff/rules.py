# SPDX-License-Identifier: Apache-2.0
"""The rules of one policy on both sides: which were added, removed and changed."""

from __future__ import annotations

from difflib import SequenceMatcher
from itertools import zip_longest
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from podfence.kube.objects import Rule


def aligned(old: Sequence[Rule], new: Sequence[Rule]) -> Iterator[tuple[int | None, int | None]]:
    """Yield the numbers of rules that are each other's counterpart, None where there is none, in order.

    Equal rules are counterparts; of the others, those that stand at the same place between equal ones.
    """
    numbers: dict[Rule, int] = {}
    one, other = ([numbers.setdefault(rule, len(numbers)) for rule in rules] for rules in (old, new))
    matcher = SequenceMatcher(None, one, other, autojunk=False)
    for _, first, last, start, end in matcher.get_opcodes():
        yield from zip_longest(range(first, last), range(start, end))
