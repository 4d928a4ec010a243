# SPDX-License-Identifier: Apache-2.0
"""Verdicts and their reasons: the answer for one connection, in both directions.

allowed(connection) = egress allows at the source AND ingress allows at the destination (semantics 1.4).
"""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, TypeVar

from podfence.documents import Value
from podfence.kube.findings import Position
from podfence.kube.objects import Key
from podfence.policy.changes import Remedy

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


_End = TypeVar("_End")


class Decision(enum.StrEnum):
    """What is decided; ``depends`` when it differs inside the question or upstream leaves it open."""

    ALLOWED = "allowed"
    DENIED = "denied"
    DEPENDS = "depends"


class Direction(enum.StrEnum):
    """One side of a connection: egress is judged at its source, ingress at its destination."""

    EGRESS = "egress"
    INGRESS = "ingress"

    @property
    def other(self) -> Direction:
        """The direction that is judged at the other end."""
        return Direction.INGRESS if self is Direction.EGRESS else Direction.EGRESS

    def ordered(self, one: _End, other: _End) -> tuple[_End, _End]:
        """Return subject and peer of source and destination, and the other way round."""
        return (one, other) if self is Direction.EGRESS else (other, one)


class Tier(enum.StrEnum):
    """The tiers in the order they are asked (semantics 11.21); ``Default`` allows what nobody decided."""

    ADMIN = "Admin"
    NETWORK_POLICY = "NetworkPolicy"
    BASELINE = "Baseline"
    DEFAULT = "Default"


class Matter(enum.StrEnum):
    """What kind of thing a verdict depends on: a part of the question, an option, or something that is not known."""

    PART = "part"
    OPTION = "option"
    NAMESPACE_LABELS = "namespaceLabels"
    LABEL = "label"
    NODE = "node"
    ADDRESS = "address"
    BACKENDS = "backends"
    SERVICE = "service"
    POLICIES = "policies"
    PORT_NAMES = "portNames"


ANNOTATION_KIND = "Namespace annotation"
"""The kind in reasons of the annotation that isolated a namespace before 1.7 (semantics 10.1)."""


class Meaning(Value, frozen=True):
    """What one value of something unknown would mean: ``purpose=monitoring`` decides so."""

    value: str
    decision: Decision


class Dependency(Value, frozen=True):
    """One thing that a verdict depends on.

    `what` is its kind, `text` the clause that names it, `object` whose it is: a namespace, a pod or a workload as
    ends are written, a Service, an address, an option. `supply` says how to give what is not known, and `values` what
    some of its values would mean, all others being the last.
    """

    what: Matter
    text: str
    object: str = ""
    supply: str = ""
    values: tuple[Meaning, ...] = ()

    def __str__(self) -> str:
        """Return ``the labels of namespace ingress (give it: kubectl get ns ingress -o yaml)``."""
        return f"{self.text} ({self.supply})" if self.supply and self.what is not Matter.OPTION else self.text


def told(dependencies: Iterable[Dependency]) -> str:
    """Return dependencies in one clause: ``the port and the destination pod``; "" for none.

    Of the policies that were not read only the first is named: a repository has hundreds of places where they may lie.
    """
    found = list(dependencies)
    texts = [str(item) for item in found if item.what is not Matter.POLICIES]
    unread = [item for item in found if item.what is Matter.POLICIES]
    if places := [f"{item.object} ({item.supply})" if item.supply else item.object for item in unread]:
        texts.append(f"policies that were not read: {first_place(places)}")
    *first, last = texts or [""]
    return f"{', '.join(first)} and {last}" if first else last


def first_place(places: Sequence[str]) -> str:
    """Return the first of some places, and how many more there are; "" for none."""
    more = len(places) - 1
    return f"{places[0]}, and {more} more place{'s' * (more > 1)}" if more > 0 else "".join(places)


class Line(Value, frozen=True):
    """One line of a source file."""

    number: int
    text: str


class PolicyRef(Value, frozen=True):
    """A policy as named in a reason; `position` is None when it did not come from a file."""

    kind: str
    namespace: str
    name: str
    position: Position | None = None

    def __str__(self) -> str:
        """Return ``NetworkPolicy shop/db (policies/db.yaml:3)``."""
        where = f" ({self.position})" if self.position else ""
        if self.kind == ANNOTATION_KIND:
            return f"the annotation of namespace {self.name}{where}"
        return f"{Key(self.kind, self.namespace, self.name)}{where}"


class RuleRef(Value, frozen=True):
    """A rule as named in a reason: its policy, direction and index (from 1 in texts, from 0 here).

    `excerpt` holds the numbered source lines of the rule, and `item` those of the item of its peers that admits, empty
    when it did not come from a file.
    """

    policy: PolicyRef
    direction: Direction
    index: int
    position: Position | None = None
    excerpt: tuple[Line, ...] = ()
    item: tuple[Line, ...] = ()

    def __str__(self) -> str:
        """Return ``NetworkPolicy shop/db (policies/db.yaml:3) rule 1 (policies/db.yaml:14)``."""
        where = f" ({self.position})" if self.position else ""
        return f"{self.policy} rule {self.index + 1}{where}"


class Miss(Value, frozen=True):
    """The rule that comes nearest to admitting a denied connection, and by what it misses.

    `admits` says what the rule admits (``TCP 5432 from app=api``), `gap` why this connection is not
    that (``the source has app=web``).
    """

    rule: RuleRef
    admits: str
    gap: str


class Reason(Value, frozen=True, kw_only=True):
    """Why one direction of a connection is decided as it is.

    `summary` is one clause for people. Allowed by a rule: `rule` is set, and `match` says which item of its `from` or
    `to` it is that admits, and what that means. Denied: `policies` are those
    that isolate the pod, `nearest` the best miss, if they have any rule, and `remedies` are changes that
    would admit the connection, the narrowest first, and `remedy` is the first in words; where a cluster-wide policy
    denies, only `rule` is set. Allowed by default or exempt
    (own node, itself, no pod at this end): `policies` is empty. `semantics` is the number of the rule of
    the specification that decided, `options` the engine options that did, as ``--set`` takes them, and `depends_on`
    what leaves it open.
    """

    direction: Direction
    decision: Decision
    tier: Tier
    summary: str
    semantics: str
    policies: tuple[PolicyRef, ...] = ()
    rule: RuleRef | None = None
    match: str = ""
    nearest: Miss | None = None
    remedy: str = ""
    remedies: tuple[Remedy, ...] = ()
    options: tuple[str, ...] = ()
    depends_on: tuple[Dependency, ...] = ()

    def __str__(self) -> str:
        """Return ``ingress: NetworkPolicy shop/db (policies/db.yaml:3) isolates the pod, no rule …``."""
        return f"{self.direction}: {self.summary}"


class Verdict(Value, frozen=True, kw_only=True):
    """The answer to one question, with its reasons.

    `source`, `destination` and `port` are the question's ends as shown (``shop/deploy/web``,
    ``TCP 5432``, ``all ports``). When the parts of a question are decided differently (pods of a
    workload, backends of a Service, ports, address families, options), `decision` is ``depends``,
    `parts` holds the verdict of each part and `depends_on` says on what; it does so as well if parts are decided alike
    but depend on different things, or need different changes to be admitted. `translation` says which ports of its
    backends the ports of a Service are.
    """

    source: str
    destination: str
    port: str
    decision: Decision
    depends_on: tuple[Dependency, ...] = ()
    translation: str = ""
    egress: Reason
    ingress: Reason
    notes: tuple[str, ...] = ()
    parts: tuple[Verdict, ...] = ()

    @property
    def allowed(self) -> bool | None:
        """Whether the connection is allowed; None when it depends."""
        return None if self.decision is Decision.DEPENDS else self.decision is Decision.ALLOWED

    @property
    def reason(self) -> str:
        """The deciding clauses of both directions, as one line."""
        return f"{self.egress} | {self.ingress}"

    def __str__(self) -> str:
        """Return the decision in one line: ``denied  shop/web -> shop/db TCP 5432   egress: … | ingress: …``.

        Where parts are decided differently, each has reasons of its own, and none is that of the whole.
        """
        port = f" {self.port}" if self.port else ""
        depends = f"depends on {told(self.depends_on)}" if self.depends_on else ""
        why = depends if self.parts and depends else "; ".join(filter(None, (depends, self.reason)))
        return f"{self.decision}  {self.source} -> {self.destination}{port}   {why}"
