# SPDX-License-Identifier: Apache-2.0
"""Verdicts and their reasons: the answer for one connection, in both directions.

allowed(connection) = egress allows at the source AND ingress allows at the destination (semantics 1.4).
"""

from __future__ import annotations

import enum

import msgspec

from podfence.kube.findings import Position


class Decision(enum.StrEnum):
    """What is decided; ``depends`` when it differs inside the question or upstream leaves it open."""

    ALLOWED = "allowed"
    DENIED = "denied"
    DEPENDS = "depends"


class Direction(enum.StrEnum):
    """One side of a connection: egress is judged at its source, ingress at its destination."""

    EGRESS = "egress"
    INGRESS = "ingress"


class Tier(enum.StrEnum):
    """The tiers in the order they are asked (semantics 11.21); ``Default`` allows what nobody decided."""

    ADMIN = "Admin"
    NETWORK_POLICY = "NetworkPolicy"
    BASELINE = "Baseline"
    DEFAULT = "Default"


ANNOTATION_KIND = "Namespace annotation"
"""The kind in reasons of the annotation that isolated a namespace before 1.7 (semantics 10.1)."""


class PolicyRef(msgspec.Struct, frozen=True):
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
        return f"{self.kind} {self.namespace}/{self.name}{where}"


class RuleRef(msgspec.Struct, frozen=True):
    """A rule as named in a reason: its policy, direction and index (from 1 in texts, from 0 here).

    `excerpt` holds the numbered source lines of the rule, empty when it did not come from a file.
    """

    policy: PolicyRef
    direction: Direction
    index: int
    position: Position | None = None
    excerpt: tuple[tuple[int, str], ...] = ()

    def __str__(self) -> str:
        """Return ``NetworkPolicy shop/db (policies/db.yaml:3) rule 1 (policies/db.yaml:14)``."""
        where = f" ({self.position})" if self.position else ""
        return f"{self.policy} rule {self.index + 1}{where}"


class Miss(msgspec.Struct, frozen=True):
    """The rule that comes nearest to admitting a denied connection, and by what it misses.

    `admits` says what the rule admits (``TCP 5432 from app=api``), `gap` why this connection is not
    that (``the source has app=web``), the flags whether its ports and its peers are what misses.
    """

    rule: RuleRef
    admits: str
    gap: str
    wrong_port: bool
    wrong_peer: bool


class Reason(msgspec.Struct, frozen=True, kw_only=True):
    """Why one direction of a connection is decided as it is.

    `summary` is one clause for people. Allowed by a rule: `rule` is set. Denied: `policies` are those
    that isolate the pod, `nearest` the best miss, if they have any rule, and `remedy` the smallest change
    of a policy that would admit the connection. Allowed by default or exempt
    (own node, itself, no pod at this end): `policies` is empty. `semantics` is the number of the rule of
    the specification that decided, `options` the engine options that did.
    """

    direction: Direction
    decision: Decision
    tier: Tier
    summary: str
    semantics: str
    policies: tuple[PolicyRef, ...] = ()
    rule: RuleRef | None = None
    nearest: Miss | None = None
    remedy: str = ""
    options: tuple[str, ...] = ()

    def __str__(self) -> str:
        """Return ``ingress: NetworkPolicy shop/db (policies/db.yaml:3) isolates, no rule admits; …``."""
        return f"{self.direction}: {self.summary}"


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """The answer to one question, with its reasons.

    `source`, `destination` and `port` are the question's ends as shown (``shop/deploy/web``,
    ``TCP 5432``, ``every port``). When the parts of a question are decided differently (pods of a
    workload, backends of a Service, ports, address families, options), `decision` is ``depends``,
    `parts` holds the verdict of each part and `depends_on` says on what.
    """

    source: str
    destination: str
    port: str
    decision: Decision
    egress: Reason
    ingress: Reason
    depends_on: str = ""
    parts: tuple[Verdict, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def allowed(self) -> bool | None:
        """Whether the connection is allowed; None when it depends."""
        return None if self.decision is Decision.DEPENDS else self.decision is Decision.ALLOWED

    @property
    def reason(self) -> str:
        """The deciding clauses of both directions, as one line."""
        return f"{self.egress} | {self.ingress}"

    def __str__(self) -> str:
        """Return the decision in one line: ``denied  shop/web -> shop/db TCP 5432   egress: … | ingress: …``."""
        depends = f"depends on {self.depends_on}; " if self.depends_on else ""
        port = f" {self.port}" if self.port else ""
        return f"{self.decision}  {self.source} -> {self.destination}{port}   {depends}{self.reason}"
