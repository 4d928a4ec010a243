# SPDX-License-Identifier: Apache-2.0
"""The answer to "what does a change open and close": the differences between two clusters, as data.

The ends of connections are workloads, by namespace, kind and name, and addresses outside. OLD is the cluster before
the change, NEW the one after it.
"""

from __future__ import annotations

from typing import Literal

from podfence.analysis.answers import AbsentConnection, Endpoints, Ports
from podfence.documents import Value
from podfence.kube.findings import Position
from podfence.kube.objects import Key
from podfence.policy.verdict import Direction

ConnectionWord = Literal["opened", "closed", "unknown", "known"]
Ends = Literal["kept", "added", "removed"]
ObjectWord = Literal["added", "removed", "changed", "text"]
GapWord = Literal["added", "removed", "kept"]
Family = Literal["", "IPv4", "IPv6"]

Effect = Literal[
    "policyAdded",
    "policyRemoved",
    "policyChanged",
    "ruleAdded",
    "ruleRemoved",
    "ruleChanged",
    "podSelectorChanged",
    "policyTypesChanged",
    "workloadChanged",
    "namespaceChanged",
    "clusterChanged",
]


class Side(Value, frozen=True, kw_only=True):
    """One of the two clusters: what it is called (a path, ``git:HEAD~1``, ``live``), and what is in it."""

    name: str
    workloads: int = 0
    pods: int = 0
    policies: int = 0


class Cause(Value, frozen=True, kw_only=True):
    """A change of an object that changes connections: to undo it in NEW undoes them.

    `object` is a policy (``NetworkPolicy shop/db``), a workload as ends are written, or a namespace; it is empty where
    it is the cluster as a whole. Rules have a `direction`, and count from 0: `old_rule` is the number in OLD and
    `new_rule` that in NEW. `old` and `new` are the places of the rule, or else of the object, on the sides that have
    it. `text` says it all in words.
    """

    effect: Effect
    text: str
    object: str = ""
    direction: Direction | None = None
    old_rule: int | None = None
    new_rule: int | None = None
    old: Position | None = None
    new: Position | None = None

    def __str__(self) -> str:
        """Return ``ingress rule 1 of NetworkPolicy shop/db was added (policies/db.yaml:14)``."""
        return self.text


class ConnectionChange(Value, frozen=True, kw_only=True):
    """What changes for every connection from `sources` to `destinations` on `ports`.

    `change`: ``opened`` connections are allowed in NEW and were denied in OLD, ``closed`` ones the other way round.
    Those that are ``unknown`` depend in NEW on what was not read, or on an option, and did not in OLD; those that are
    ``known`` did in OLD, and are allowed or denied in NEW. `before` and `after` say how each is: ``allowed``,
    ``denied``, or ``depends on …``; or else ``does not exist``, where an end is not there.

    `ends`: ``added`` if an end is in NEW only, ``removed`` if one is in OLD only, so that there is nothing to compare.
    `family` limits the change to an address family. `incomplete` says where policies may lie that were not read and
    that could turn the answer (semantics 13.9). To undo any one of `causes` in NEW undoes the change, unless they are
    `joint`: then it takes all of them. `internet`: public addresses are among the ends. `cross_namespace`: sources and
    destinations are pods of different namespaces. `allowed` is why a list of exceptions allows the change, "" if none
    does.
    """

    change: ConnectionWord
    sources: Endpoints
    destinations: Endpoints
    ports: Ports
    before: str
    after: str
    ends: Ends = "kept"
    family: Family = ""
    incomplete: str = ""
    causes: tuple[Cause, ...] = ()
    joint: bool = False
    internet: bool = False
    cross_namespace: bool = False
    allowed: str = ""


class AbsentChange(Value, frozen=True, kw_only=True):
    """What changes for pods of which neither side has any: a rule admits them in NEW only, or in OLD only.

    The other fields are those of a `ConnectionChange`.
    """

    change: ConnectionWord
    connection: AbsentConnection
    before: str
    after: str
    ends: Ends = "kept"
    incomplete: str = ""
    causes: tuple[Cause, ...] = ()
    joint: bool = False
    allowed: str = ""


class ObjectChange(Value, frozen=True, kw_only=True):
    """An object that differs: a policy, a workload, a bare pod, a namespace, a Service or a node.

    `change`: in NEW only, in OLD only, ``changed`` in what podfence reads of it, or only in its ``text``. `what` says
    what differs, in words: ``ingress rule 2``, ``labels app``. `old` and `new` are its places. `unseen` is what its
    change does for pods that are not in the input: it is a policy and ``selects no pod here``, or ``isolates pods that
    are not here``, or ``no longer isolates`` them.
    """

    change: ObjectWord
    kind: str
    namespace: str
    name: str
    what: tuple[str, ...] = ()
    old: Position | None = None
    new: Position | None = None
    unseen: str = ""

    def __str__(self) -> str:
        """Return ``NetworkPolicy shop/db``, or ``Namespace shop``."""
        return str(Key(self.kind, self.namespace, self.name))


class GapChange(Value, frozen=True, kw_only=True):
    """A place where a policy may lie that was not read: in NEW only (``added``), in OLD only, or in both.

    It may say anything about the pods of `namespaces`, None being everywhere.
    """

    change: GapWord
    what: str
    remedy: str = ""
    namespaces: tuple[str, ...] | None = None


class Difference(Value, frozen=True, kw_only=True):
    """What a change of a cluster opens and closes.

    `connections` are sets: each pair of ends, port and address family is in one change at most. `absent` is the same
    for peers of which neither side has any. `objects` are the objects that differ, and `gaps` the places where a
    policy may lie that was not read. `notes` say what a reader should know of the two sides. `fails` are
    the kinds of differences that were asked to be refused, and that are here and not allowed.
    """

    old: Side
    new: Side
    connections: tuple[ConnectionChange, ...] = ()
    absent: tuple[AbsentChange, ...] = ()
    objects: tuple[ObjectChange, ...] = ()
    gaps: tuple[GapChange, ...] = ()
    notes: tuple[str, ...] = ()
    fails: tuple[str, ...] = ()

    @property
    def changes(self) -> tuple[ConnectionChange | AbsentChange, ...]:
        """All changes of connections."""
        found: list[ConnectionChange | AbsentChange] = [*self.connections]
        return (*found, *self.absent)

    def __bool__(self) -> bool:
        """Return whether anything differs that matters: a connection, or how complete the answer is."""
        return bool(self.connections or self.absent) or any(item.change != "kept" for item in self.gaps)

    @property
    def only_text(self) -> bool:
        """Whether objects differ, and only in how they are written."""
        return not self and bool(self.objects) and all(item.change == "text" for item in self.objects)
