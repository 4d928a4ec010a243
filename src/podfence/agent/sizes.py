# SPDX-License-Identifier: Apache-2.0
"""Which policies of the namespaces with local pods are too large, as far as that has not been said."""

from __future__ import annotations

from typing import TYPE_CHECKING

from podfence.agent.reports import Refusal

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from podfence.kube.objects import Key
    from podfence.policy.engine import Engine


class Sizes:
    """Remembers what was found."""

    def __init__(self) -> None:
        self._known: dict[str, frozenset[Refusal]] = {}

    def changed(self, engine: Engine, namespaces: Iterable[str], local: Collection[Key]) -> tuple[Refusal, ...]:
        """Return the policies of some namespaces that are too large and were not, or for another reason, by name.

        Only namespaces count that have one of the `local` pods; other nodes speak about the others.
        """
        result: list[Refusal] = []
        for name in sorted(namespaces):
            refused = [policy for policy in engine.policies(name) if policy.refused]
            known = self._known.pop(name, frozenset())
            if refused and any(key.namespace == name for key in local):
                found = [Refusal(policy.key.namespace, policy.key.name, policy.refused) for policy in refused]
                result += (item for item in found if item not in known)
                self._known[name] = frozenset(found)
        return tuple(result)
