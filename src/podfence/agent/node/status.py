# SPDX-License-Identifier: Apache-2.0
"""The status of an agent, collected for a person who asks on the node."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from podfence.agent.node.answer import AgentStatus, Watch, timestamp

if TYPE_CHECKING:
    from podfence.agent.node.drops import DropTotals
    from podfence.agent.node.view import View


class Programmed(NamedTuple):
    """How many pods, policies and groups the kernel of a node has."""

    pods: int = 0
    policies: int = 0
    groups: int = 0


def programmed(view: View) -> Programmed:
    """Count what the kernel has been given; safe in any thread: what the loop's thread changes is copied at once."""
    enforcer = view.agent.enforcer
    if enforcer is None or not view.latest.enforced:
        return Programmed()
    compiler = enforcer.compiler
    groups = tuple(compiler.program.groups)
    owners = {compiler.owner(address) for address in tuple(compiler.program.known)}
    return Programmed(len(owners - {None}), len({policy for key in groups for policy in key.policies}), len(groups))


def status(view: View, drops: DropTotals, version: str) -> AgentStatus:
    """Return how the agent is doing now. This asks nft for counters, so not to be called in an event loop."""
    dropped = drops.read(0.0)
    why = view.obstacles()
    source = view.source()
    return AgentStatus(
        node=view.node,
        version=version,
        started=timestamp(view.started),
        enforcing=view.agent.status().enforcing,
        ready=not why,
        obstacles=why,
        source=source.name,
        source_since=timestamp(source.since),
        watches=tuple(Watch(**item._asdict()) for item in source.watches),
        findings=tuple(view.findings()),
        **programmed(view)._asdict(),
        binding=view.binding,
        links=view.links(),
        last_change=view.latest.change,
        last_error=view.latest.error,
        dropped=None if dropped is None else dropped.summary,
    )
