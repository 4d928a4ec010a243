# SPDX-License-Identifier: Apache-2.0
"""What an agent tells the commands on its node: its status, and why a connection is as it is."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Literal

import msgspec

from podfence.agent.node.findings import NodeFinding
from podfence.dataplane.settings import Binding
from podfence.documents import Value
from podfence.policy.verdict import Verdict

SourceName = Literal["waiting", "live", "kept"]
"""`waiting` for the first complete lists, `live` from the API server, or from the state `kept` on disk without it."""

DirectionName = Literal["egress", "ingress"]


class Watch(Value, frozen=True, kw_only=True):
    """How the watch of one kind of objects is doing; `error` is empty while it is connected."""

    kind: str
    listed: bool
    connected: bool
    error: str
    events: int
    failures: int
    relists: int


class Moment(Value, frozen=True, kw_only=True):
    """Something that happened, and when, as in RFC 3339."""

    at: str
    what: str


def timestamp(seconds: float) -> str:
    """Return seconds since the epoch as RFC 3339 writes them, in UTC and whole."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


class DroppedPackets(Value, frozen=True, kw_only=True):
    """Packets that were dropped: by policies in each direction, of unknown pods (`held`), and of cut flows.

    `stray` are those that are not of the pod whose link they came by, by reason; they passed if binding is "report".
    """

    egress: int
    ingress: int
    held: int
    cut: int
    stray: dict[str, int]


class PodLinks(Value, frozen=True, kw_only=True):
    """How many pods of the node are bound to their links, how many are not, and how many are exempt from it."""

    bound: int = 0
    unbound: int = 0
    exempt: int = 0


class AgentStatus(Value, frozen=True, kw_only=True):
    """How an agent is doing.

    `enforcing` says that the kernel has all that was delivered; `obstacles` say why the agent is not ready. Times are
    as in RFC 3339. `dropped` is null when the kernel's counters could not be read.
    """

    node: str
    version: str
    started: str
    enforcing: bool
    ready: bool
    obstacles: tuple[str, ...]
    source: SourceName
    source_since: str
    watches: tuple[Watch, ...]
    findings: tuple[NodeFinding, ...]
    pods: int
    policies: int
    groups: int
    binding: Binding
    links: PodLinks
    last_change: Moment | None
    last_error: Moment | None
    dropped: DroppedPackets | None


class Settled(Value, frozen=True, kw_only=True):
    """Whether the kernel has all that was asked about, and whether it has all that was delivered at all."""

    reached: bool
    enforcing: bool


class RuleCount(Value, frozen=True, kw_only=True):
    """The ports that a rule admits of a connection, and the packets that began connections it admitted, of all peers.

    The figure is null if the kernel has no such counter.
    """

    rule: str
    ports: str
    packets: int | None


class Judged(Value, frozen=True, kw_only=True):
    """One direction of a connection, judged at an end that is on this node.

    `policies` isolate the pod; without any, all is admitted. `engine` and `program` are the ports, of those asked
    about, that the engine admits and that the node's program admits. `denied_packets` counts what the kernel denied
    of all pods of the group, on all ports, null if there is no group or no counter.
    """

    direction: DirectionName
    pod: str
    address: str
    chain: str
    policies: tuple[str, ...]
    engine: str
    program: str
    rules: tuple[RuleCount, ...]
    denied_packets: int | None


class NodeConnection(Value, frozen=True, kw_only=True):
    """One connection of the question, between two addresses; `differences` are sentences."""

    source: str
    destination: str
    ports: str
    sides: tuple[Judged, ...]
    differences: tuple[str, ...]


class Why(Value, frozen=True, kw_only=True):
    """The answer of `why`: the engine's verdict, and what the kernel of a node has for it.

    `differs` says that engine and kernel are not of one mind, in one of the `connections`; those are the connections
    of the question that have an end among the pods of this node, of which `leftOut` are not shown. `notes` say what
    the comparison does not cover.
    """

    node: str
    enforcing: bool
    verdict: Verdict
    differs: bool
    connections: tuple[NodeConnection, ...]
    left_out: int
    notes: tuple[str, ...]


class Refusal(msgspec.Struct, frozen=True):
    """Why a question has no answer."""

    error: str
