# SPDX-License-Identifier: Apache-2.0
"""What a node's kernel counted: connections that each policy let begin, and packets that were denied.

Everything is read from the table itself, so that it can be asked by whoever has it and nothing else.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, NamedTuple

from podfence.dataplane.ruleset import TABLE
from podfence.policy.identity import read_group, read_title

if TYPE_CHECKING:
    from collections.abc import Iterable

    from podfence.kube.objects import Key
    from podfence.nft.runner import Runner

_GROUP: Final = re.compile(r"(ingress|egress) of ([^/]+/.+)")
_CUT: Final = "..."


class Count(NamedTuple):
    """Packets of one direction, by the policies that decided; `rule` is what admitted them, None for a denial.

    Rules count from 1. What passes an established connection is not counted, so admitted packets are connections.
    A group of very many policies names the first of them. A policy of the whole cluster has no namespace, and is not
    among those of a denial.
    """

    direction: str
    namespace: str
    policies: tuple[str, ...]
    rule: int | None
    packets: int


def read(runner: Runner, known: Iterable[Key] = ()) -> tuple[Count, ...]:
    """Return the counts of a node's table; raise NftError, NotFoundError if there is no table.

    The table holds long names only in part: of those, policies that are `known` are recognised.
    """
    comments = {chain.name: chain.comment or "" for chain in runner.list_chains(TABLE)}
    names = _Names(known)
    found: list[Count] = []
    for counter in runner.counters(TABLE):
        if counter.chain.startswith("deny_"):
            group = _GROUP.fullmatch(comments.get(counter.chain.removeprefix("deny_"), ""))
            if group:
                namespace, keys = read_group(group[2])
                mine = (names.whole(namespace, key.name) for key in keys if key.namespace == namespace)
                policies = tuple(filter(None, mine))
                found.append(Count(group[1], namespace, policies, None, counter.packets))
        elif rule := read_title(comments.get(counter.chain, "")):
            policy = names.whole(rule.namespace, rule.name)
            if policy:
                found.append(Count(rule.direction, rule.namespace, (policy,), rule.index + 1, counter.packets))
    return tuple(found)


class _Names:
    """Names of policies, by what is left of them where they were too long."""

    def __init__(self, known: Iterable[Key]) -> None:
        self._names: dict[str, list[str]] = {}
        for key in known:
            self._names.setdefault(key.namespace, []).append(key.name)

    def whole(self, namespace: str, text: str) -> str:
        """Return the name of a policy of a namespace, empty if it is not known or might be of two."""
        if not text.endswith(_CUT):
            return text
        start = text.removesuffix(_CUT)
        matching = [name for name in self._names.get(namespace, ()) if start and name.startswith(start)]
        return matching[0] if len(matching) == 1 else ""
