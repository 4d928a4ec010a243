# SPDX-License-Identifier: Apache-2.0
"""What policies and rules are called: here their names become text, and text becomes names again.

A kernel's table, logs and answers name them. A NetworkPolicy has a namespace, and a cluster-wide policy has none.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, NamedTuple

from podfence.kube.objects import Key
from podfence.policy.verdict import Direction

if TYPE_CHECKING:
    from collections.abc import Iterable

_KIND: Final = "NetworkPolicy"
_OF_NAMESPACES: Final = frozenset({_KIND, "Namespace"})
"""The kinds of policies that select pods of one namespace only: its annotation is one of them (semantics 10.1)."""

_TITLE: Final = re.compile(r"(egress|ingress) rule (\d+): (\S+) (?:([^/\s]+)/)?(\S+)")


class RuleId(NamedTuple):
    """A rule as counters, logs and answers name it; `index` counts from 0, and in texts from 1.

    Rules of one kind are in order of name. What no rule decides comes after all of them: `kind` is lower case then.
    """

    kind: str
    namespace: str
    name: str
    direction: Direction
    index: int = 0  # type: ignore[assignment]  # as `RuleRef` has it; nobody looks for a place in the tuple

    def __str__(self) -> str:
        """Return ``NetworkPolicy shop/db rule 1``, or ``option icmp=allowed``."""
        what = Key(self.kind, self.namespace, self.name)
        return f"{what} rule {self.index + 1}" if self.is_rule else str(what)

    @property
    def is_rule(self) -> bool:
        """Whether it is a rule of a policy, and not what stands for an option or the default."""
        return self.kind[0].isupper()

    @property
    def title(self) -> str:
        """The name with its direction, as `read_title` reads it: ``ingress rule 1: NetworkPolicy shop/db``."""
        # The name comes last: it may be too long for a comment.
        what = Key(self.kind, self.namespace, self.name)
        return f"{self.direction} rule {self.index + 1}: {what}" if self.is_rule else f"{self.direction}: {what}"


def read_title(text: str) -> RuleId | None:
    """Return the rule of a title, whose last name may be cut; None if it is not that of a rule."""
    found = _TITLE.fullmatch(text)
    return None if found is None else RuleId(found[3], found[4] or "", found[5], Direction(found[1]), int(found[2]) - 1)


def icmp_option(direction: Direction) -> RuleId:
    """Return what is credited with ICMP that the option ``icmp=allowed`` admits, whatever the rules say."""
    return RuleId("option", "", "icmp=allowed", direction)


def default(direction: Direction) -> RuleId:
    """Return what is credited with connections that no tier decides (semantics 11.21)."""
    return RuleId("default", "", "allow", direction)


def group_text(namespace: str, policies: Iterable[Key]) -> str:
    """Return the policies that judge pods of a namespace: ``shop/db,web``; those of the cluster with their kind."""
    return f"{namespace}/{','.join(map(_inside, policies))}"


def read_group(text: str) -> tuple[str, tuple[Key, ...]]:
    """Return the namespace and the policies of a text of `group_text`, whose last name may be cut."""
    namespace, _, names = text.partition("/")
    keys = []
    for item in names.split(","):
        kind, apart, name = item.partition(" ")
        keys.append(Key(kind, "", name) if apart else Key(_KIND, namespace, item))
    return namespace, tuple(keys)


def short_text(namespace: str, policy: Key) -> str:
    """Return a policy that judges pods of a namespace: ``shop/db``, or ``KIND NAME`` of the cluster."""
    inside = _inside(policy)
    return f"{namespace}/{inside}" if policy.kind in _OF_NAMESPACES else inside


def _inside(policy: Key) -> str:
    return policy.name if policy.kind in _OF_NAMESPACES else str(policy)
