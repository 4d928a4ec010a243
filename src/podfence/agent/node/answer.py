# SPDX-License-Identifier: Apache-2.0
"""What an agent tells the commands on its node: its status, and why a connection is as it is."""

from __future__ import annotations

from typing import Literal

import msgspec

from podfence.policy.verdict import Verdict

SourceName = Literal["waiting", "live", "kept"]
DirectionName = Literal["egress", "ingress"]
BindingName = Literal["off", "report", "enforce"]


class _Part(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A part of an answer; every field is always present."""


class Watch(_Part, frozen=True):
    """How the watch of one kind of objects is doing; `error` is empty while it is connected."""

    kind: str
    listed: bool
    connected: bool
    error: str
    events: int
    failures: int
    relists: int


class NodeFinding(_Part, frozen=True):
    """Something about the node that makes enforcing impossible, or less than it should be, and the remedy."""

    severity: str
    code: str
    message: str
    remedy: str


class Moment(_Part, frozen=True):
    """Something that happened, and when, as in RFC 3339."""

    at: str
    what: str


class DroppedPackets(_Part, frozen=True):
    """Packets that were dropped: by policies in each direction, of unknown pods (`held`), and of cut flows.

    `stray` are those that are not of the pod whose link they came by, by reason; they passed if binding is "report".
    """

    egress: int
    ingress: int
    held: int
    cut: int
    stray: dict[str, int]


class PodLinks(_Part, frozen=True):
    """How many pods of the node are bound to their links, how many are not, and how many are exempt from it."""

    bound: int
    unbound: int
    exempt: int


class AgentStatus(_Part, frozen=True):
    """How an agent is doing.

    `enforcing` says that the kernel has all that was delivered; `obstacles` say why the agent is not ready. Times are
    as in RFC 3339. `dropped` is null when the kernel's counters could not be read.
    """

    api_version: Literal["podfence/v1"]
    kind: Literal["AgentStatus"]
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
    binding: BindingName
    links: PodLinks
    last_change: Moment | None
    last_error: Moment | None
    dropped: DroppedPackets | None


class RuleCount(_Part, frozen=True):
    """The ports that a rule admits of a connection, and the packets that began connections it admitted, of all peers.

    The figure is null if the kernel has no such counter.
    """

    rule: str
    ports: str
    packets: int | None


class Judged(_Part, frozen=True):
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


class NodeConnection(_Part, frozen=True):
    """One connection of the question, between two addresses; `differences` are sentences."""

    source: str
    destination: str
    ports: str
    sides: tuple[Judged, ...]
    differences: tuple[str, ...]


class NodeAnswer(_Part, frozen=True):
    """The engine's verdict, and what the kernel of this node has for it.

    `connections` are those with an end among the pods of this node, of which `left_out` are not shown. `notes` say
    what the comparison does not cover.
    """

    node: str
    enforcing: bool
    verdict: Verdict
    connections: tuple[NodeConnection, ...]
    left_out: int
    notes: tuple[str, ...]

    @property
    def differs(self) -> bool:
        """Whether engine and kernel are not of one mind about any of the connections."""
        return any(item.differences for item in self.connections)


class Refusal(msgspec.Struct, frozen=True):
    """Why a question has no answer."""

    error: str
