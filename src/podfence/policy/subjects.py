# SPDX-License-Identifier: Apache-2.0
"""The policies of a namespace by the labels that their subjects need, so that a pod is matched against few of them."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from podfence.cluster.controllers import is_unknown

if TYPE_CHECKING:
    from collections.abc import Mapping

    from podfence.policy.grants import CompiledPolicy


class Subjects:
    """The policies of one namespace, by a label that their subjects must have."""

    def __init__(self, policies: tuple[CompiledPolicy, ...]) -> None:
        """Take the policies in their order."""
        self._policies = policies
        self._needing: dict[tuple[str, str], list[int]] = defaultdict(list)
        self._naming: dict[str, list[int]] = defaultdict(list)
        self._others: list[int] = []
        for number, policy in enumerate(policies):
            terms = policy.subject.pods.requirements if policy.subject.pods else ()
            needed = next((term for term in terms if term.operator == "In"), None)
            if needed is None:
                self._others.append(number)
                continue
            self._naming[needed.key].append(number)
            for value in set(needed.values):
                self._needing[needed.key, value].append(number)

    def possible(self, labels: Mapping[str, str | None], *, whole: bool = True) -> tuple[CompiledPolicy, ...]:
        """Return the policies that may select a pod with these labels, and few others, in their order.

        The pod may have further labels unless they are the `whole`, and a label of unknown value may have any.
        """
        if not whole:
            return self._policies
        found = list(self._others)
        for key, value in labels.items():
            if value is not None:
                found += self._naming.get(key, ()) if is_unknown(value) else self._needing.get((key, value), ())
        return tuple(self._policies[number] for number in sorted(found))
