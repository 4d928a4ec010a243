# SPDX-License-Identifier: Apache-2.0
"""Why a connection is as it is on this node: the engine's answer beside what the kernel has and counts.

The engine is asked in the loop's thread, where model and program agree; the kernel is read in the caller's. If they
differ because something was programmed in between, both are done again.
"""

from __future__ import annotations

import re
from concurrent.futures import CancelledError
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

from podfence.agent.node.answer import Judged, NodeConnection, RuleCount, Why
from podfence.agent.node.judging import bound, connections, judge, tunnelled
from podfence.analysis.check import check
from podfence.analysis.parsing import parse_endpoint
from podfence.analysis.ports import parse_port
from podfence.cluster.members import display_name
from podfence.dataplane.ruleset import BRIDGE_TABLE, TABLE, Ruleset, address_text, read_back
from podfence.dataplane.tracing import differences, frame_differences
from podfence.dataplane.verdicts import rule_chain
from podfence.errors import EndpointError, PodfenceError
from podfence.nft.errors import NotFoundError
from podfence.policy.ends import AddressEnd, NodeEnd, PodEnd
from podfence.policy.verdict import Direction

if TYPE_CHECKING:
    from collections.abc import Mapping

    from podfence.agent.node.judging import Asked, JudgedEnd
    from podfence.agent.node.view import View
    from podfence.dataplane.enforcer import Enforcer
    from podfence.nft.runner import Runner
    from podfence.policy.ends import End
    from podfence.policy.verdict import Verdict
    from podfence.sets import PortSet

MOST: Final = 32
"""How many connections are looked up in the kernel; a question about two large workloads has thousands."""

PATIENCE: Final = 20.0
"""Seconds to wait for the loop; the longest step that was measured, making a large table anew, takes one."""

_TRIES: Final = 5
_SERVICE: Final = re.compile(r"(?:^|/)(?:svc|services?)/", re.IGNORECASE)


class NotAnsweredError(PodfenceError):
    """The agent has no answer now."""


class Question(NamedTuple):
    """SRC DST [PORT] as they are written; bare names are looked up in `namespace`."""

    source: str
    destination: str
    port: str | None
    namespace: str


@dataclass(frozen=True, slots=True)
class _Expected:
    """All that the loop's thread knows of a question."""

    verdict: Verdict
    asked: tuple[Asked, ...]
    left_out: int
    skipped: tuple[str, ...]
    bound: tuple[str, ...]
    wanted: Ruleset
    wanted_frames: Ruleset
    enforcer: Enforcer
    transactions: int
    enforcing: bool


def answer(view: View, question: Question, runner: Runner) -> Why:
    """Return the answer to a question; this waits for the loop and for nft, so not to be called in an event loop.

    Raises EndpointError if the question cannot be read, NftError if the kernel cannot, NotAnsweredError if the agent
    has no answer yet.
    """
    for number in range(_TRIES):
        expected = _expected(view, question)
        try:
            actual = read_back(runner.contents(TABLE))
            counters = _counters(runner)
        except NotFoundError as error:
            message = f"the kernel has no table {TABLE.address}; `podfence agent status` shows what the agent does"
            raise NotAnsweredError(message) from error
        frames = _frames(runner) if expected.wanted_frames.chains else Ruleset()
        found = tuple(_connection(item, expected, actual, frames, counters) for item in expected.asked)
        unchanged = expected.enforcer.transactions == expected.transactions
        if unchanged or number == _TRIES - 1 or not any(item.differences for item in found):
            break
    notes = [*expected.skipped, *expected.bound]
    if not expected.enforcing:
        notes.append("the kernel does not have the latest changes yet: `podfence agent status` shows why")
    return Why(
        node=view.node,
        enforcing=expected.enforcing,
        verdict=expected.verdict,
        differs=any(item.differences for item in found),
        connections=found,
        left_out=expected.left_out,
        notes=tuple(notes),
    )


def _expected(view: View, question: Question) -> _Expected:
    future = view.ask(lambda: _ask(view, question))
    try:
        return future.result(PATIENCE)
    except (TimeoutError, CancelledError) as error:
        future.cancel()
        message = f"the agent did not answer within {PATIENCE:.0f} s; see its log"
        raise NotAnsweredError(message) from error


def _ask(view: View, question: Question) -> _Expected:
    """Ask engine and program; to be called in the loop's thread."""
    enforcer = view.agent.enforcer
    if enforcer is None:
        message = "the agent does not know the cluster yet: it is waiting for the first complete lists of all objects"
        raise NotAnsweredError(message)
    engine = enforcer.compiler.model.engine
    for text in (question.source, question.destination):
        if _SERVICE.search(text):
            message = f"{text}: the agent of a node does not watch Services; name the workload or pod behind it"
            raise EndpointError(message)
    source = parse_endpoint(engine.state, question.source, question.namespace)
    destination = parse_endpoint(engine.state, question.destination, question.namespace)
    port = parse_port(question.port)
    verdict = check(engine, source, destination, port)
    skipped: dict[str, None] = {}
    found = list(connections(engine, view.node, source, destination, port, skipped))
    if not found and not skipped:
        skipped[f"neither end is a pod of node {view.node}, so its kernel does not judge this"] = None
    return _Expected(
        verdict,
        tuple(judge(enforcer, *item) for item in found[:MOST]),
        max(0, len(found) - MOST),
        tuple(skipped),
        (*bound(view, found), *dict.fromkeys(tunnelled(enforcer.compiler.program, found))),
        enforcer.wanted,
        enforcer.wanted_frames,
        enforcer,
        enforcer.transactions,
        view.agent.status().enforcing,
    )


# The kernel


def _frames(runner: Runner) -> Ruleset:
    """Return what the kernel has in the table of frames, nothing if there is no such table."""
    try:
        return read_back(runner.contents(BRIDGE_TABLE))
    except NotFoundError:
        return Ruleset()


def _counters(runner: Runner) -> Mapping[str, int]:
    """Return how many packets each chain of the table counted."""
    found: dict[str, int] = {}
    for counter in runner.counters(TABLE):
        found[counter.chain] = found.get(counter.chain, 0) + counter.packets
    return found


def _connection(
    asked: Asked, expected: _Expected, actual: Ruleset, frames: Ruleset, counters: Mapping[str, int]
) -> NodeConnection:
    source, destination = _address(asked.source), _address(asked.destination)
    found: list[str] = []
    for item in asked.sides:
        admitted = item.side.admitted & asked.ports
        if item.side.is_held:
            found.append(
                f"{item.direction}: {address_text(item.address)} belongs to no pod that the program knows, so its "
                "packets are dropped"
            )
        missing, extra = item.certain - admitted, admitted - item.possible
        if missing:
            found.append(f"{item.direction}: the engine admits {missing}, and the node's program does not")
        if extra:
            found.append(f"{item.direction}: the node's program admits {extra}, and the engine does not")
    to_node = isinstance(asked.destination, NodeEnd) and any(
        item.end.member.node == asked.destination.name for item in asked.sides
    )
    found += differences(expected.wanted, actual, source, destination, to_node=to_node)
    found += frame_differences(expected.wanted_frames, frames, (source, destination))
    return NodeConnection(
        source=_name(asked.source),
        destination=_name(asked.destination),
        ports=str(asked.ports),
        sides=tuple(_side(item, asked.ports, counters) for item in asked.sides),
        differences=tuple(dict.fromkeys(found)),
    )


def _side(item: JudgedEnd, ports: PortSet, counters: Mapping[str, int]) -> Judged:
    key = item.side.key
    return Judged(
        direction="egress" if item.direction is Direction.EGRESS else "ingress",
        pod=display_name(item.end.member.key),
        address=address_text(item.address),
        chain=item.side.chain,
        policies=tuple(map(str, key.policies)) if key else (),
        engine=str(item.certain),
        program=str(item.side.admitted & ports),
        rules=tuple(
            RuleCount(
                rule=str(rule),
                ports=str(admitted & ports),
                packets=counters.get(rule_chain(rule)),
            )
            for admitted, rule in item.side.rules
            if admitted & ports
        ),
        denied_packets=counters.get(f"deny_{item.side.chain}") if key else None,
    )


def _address(end: End) -> int:
    if end.address is None:
        raise ValueError(end)
    return end.address


def _name(end: End) -> str:
    address = address_text(_address(end))
    match end:
        case PodEnd(member=member):
            return f"{display_name(member.key)} ({address})"
        case NodeEnd(name=name):
            return f"node {name} ({address})"
        case AddressEnd():
            return address
