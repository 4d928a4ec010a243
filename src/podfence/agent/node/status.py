# SPDX-License-Identifier: Apache-2.0
"""The status of an agent, collected for a person who asks on the node."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from podfence.agent.node.answer import AgentStatus, DroppedPackets, Moment, NodeFinding, PodLinks, Watch
from podfence.agent.node.programmed import Programmed
from podfence.agent.node.view import obstacles

if TYPE_CHECKING:
    from podfence.agent.node.drops import DropTotals
    from podfence.agent.node.view import View


def status(view: View, drops: DropTotals, version: str) -> AgentStatus:
    """Return how the agent is doing now. This asks nft for counters, so not to be called in an event loop."""
    dropped = drops.read(0.0)
    why = obstacles(view)
    change, error = view.latest.change, view.latest.error
    count = Programmed(view.agent.enforcer if view.latest.enforced else None)
    return AgentStatus(
        node=view.node,
        version=version,
        started=timestamp(view.started),
        enforcing=view.agent.status().enforcing,
        ready=not why,
        obstacles=why,
        source=view.source_state,
        source_since=timestamp(view.source_since),
        watches=tuple(
            Watch(
                kind=item.kind,
                listed=item.listed,
                connected=item.connected,
                error=item.error,
                events=item.events,
                failures=item.failures,
                relists=item.relists,
            )
            for item in view.health
        ),
        findings=tuple(
            NodeFinding(severity=item.severity, code=item.code, message=item.message, remedy=item.remedy)
            for item in view.findings
        ),
        pods=count.pods,
        policies=count.policies,
        groups=count.groups,
        binding=view.binding,
        links=PodLinks(**view.attachments._asdict()),
        last_change=None
        if change is None
        else Moment(
            at=timestamp(change.at),
            what=f"{change.record.kind} {change.record.namespace}/{change.record.name} {change.record.type.lower()}"
            f", in the kernel after {change.record.seconds * 1000:.1f} ms",
        ),
        last_error=None if error is None else Moment(at=timestamp(error.at), what=error.text),
        dropped=None
        if dropped is None
        else DroppedPackets(
            egress=dropped.egress,
            ingress=dropped.ingress,
            held=dropped.held,
            cut=dropped.cut,
            stray=dropped.stray,
        ),
    )


def timestamp(seconds: float) -> str:
    """Return seconds since the epoch as RFC 3339 writes them, in UTC and whole."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
