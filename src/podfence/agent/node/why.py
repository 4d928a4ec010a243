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

from podfence.agent.node.answer import Judged, NodeAnswer, NodeConnection, RuleCount
from podfence.analysis.check import check
from podfence.analysis.endpoints import AlternativesEndpoint, Endpoint, PodsEndpoint
from podfence.analysis.pairs import NoCommonFamilyError, pairs
from podfence.analysis.parsing import parse_endpoint
from podfence.analysis.ports import parse_port
from podfence.cluster.members import display_name
from podfence.dataplane.drops import TUNNEL, UNKNOWN_SOURCE
from podfence.dataplane.program import ICMP_OPTION
from podfence.dataplane.ruleset import BRIDGE_TABLE, TABLE, Ruleset, address_text, read_back
from podfence.dataplane.tracing import Side, differences, frame_differences, side, tunnel_ports
from podfence.dataplane.verdicts import rule_chain
from podfence.errors import EndpointError, PodfenceError
from podfence.nft.errors import NotFoundError
from podfence.policy.ends import AddressEnd, NodeEnd, PodEnd
from podfence.policy.engine import Bound
from podfence.policy.verdict import Direction
from podfence.sets import PortSet

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from podfence.agent.node.view import View
    from podfence.analysis.ports import PortQuestion
    from podfence.cluster.members import Member
    from podfence.dataplane.enforcer import Enforcer
    from podfence.dataplane.program import NodeProgram, RuleName
    from podfence.kube.objects import Key
    from podfence.nft.runner import Runner
    from podfence.policy.ends import End
    from podfence.policy.engine import Engine
    from podfence.policy.verdict import Verdict

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
class _Judged:
    """One end: what the engine surely and possibly admits there, and what the program does."""

    direction: Direction
    end: PodEnd
    address: int
    certain: PortSet
    possible: PortSet
    side: Side


@dataclass(frozen=True, slots=True)
class _Asked:
    """A connection, with the ports asked about, and what engine and program say of each end on this node."""

    source: End
    destination: End
    ports: PortSet
    sides: tuple[_Judged, ...]


@dataclass(frozen=True, slots=True)
class _Expected:
    """All that the loop's thread knows of a question."""

    verdict: Verdict
    asked: tuple[_Asked, ...]
    left_out: int
    skipped: tuple[str, ...]
    bound: tuple[str, ...]
    wanted: Ruleset
    wanted_frames: Ruleset
    enforcer: Enforcer
    transactions: int
    enforcing: bool


def answer(view: View, question: Question, runner: Runner) -> NodeAnswer:
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
            message = f"the kernel has no table {TABLE.address}; `podfence agent status` says what the agent does"
            raise NotAnsweredError(message) from error
        frames = _frames(runner) if expected.wanted_frames.chains else Ruleset()
        found = tuple(_connection(item, expected, actual, frames, counters) for item in expected.asked)
        unchanged = expected.enforcer.transactions == expected.transactions
        if unchanged or number == _TRIES - 1 or not any(item.differences for item in found):
            break
    notes = [*expected.skipped, *expected.bound]
    if not expected.enforcing:
        notes.append("the kernel does not have the latest changes yet: `podfence agent status` says why")
    return NodeAnswer(
        node=view.node,
        enforcing=expected.enforcing,
        verdict=expected.verdict,
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
        message = f"the agent gave no answer within {PATIENCE:.0f} s; its log says what it does"
        raise NotAnsweredError(message) from error


def _ask(view: View, question: Question) -> _Expected:
    """Ask engine and program; to be called in the loop's thread."""
    enforcer = view.agent.enforcer
    if enforcer is None:
        message = "the agent does not know the cluster yet: it waits for the first complete lists of all objects"
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
    found = list(_connections(engine, view.node, source, destination, port, skipped))
    if not found and not skipped:
        skipped[f"neither end is a pod of node {view.node}, so its kernel does not judge this"] = None
    return _Expected(
        verdict,
        tuple(_judge(enforcer, *item) for item in found[:MOST]),
        max(0, len(found) - MOST),
        tuple(skipped),
        (*_bound(view, found), *dict.fromkeys(_tunnelled(enforcer.compiler.program, found))),
        enforcer.wanted,
        enforcer.wanted_frames,
        enforcer,
        enforcer.transactions,
        view.agent.status().enforcing,
    )


# Single connections


def _connections(
    engine: Engine, node: str, source: Endpoint, destination: Endpoint, port: PortQuestion, skipped: dict[str, None]
) -> Iterator[tuple[End, End, PortSet]]:
    """Yield the connections with an end among the node's pods, with the ports asked about."""
    for left in _single(source):
        for right in _single(destination):
            ports = _ports(right, port)
            if not any(_is_local(item, node) for item in (left, right)):
                continue
            try:
                found = pairs(engine, left, right)
            except NoCommonFamilyError:
                continue
            for pair in found:
                one, other = pair.source, pair.destination
                if isinstance(one, PodEnd) and isinstance(other, PodEnd) and one.member.key == other.member.key:
                    skipped["what a pod sends to itself does not come by the kernel's table"] = None
                elif one.address is None or other.address is None:
                    skipped["an end without an address is not known to the kernel"] = None
                else:
                    yield one, other, ports


def _single(endpoint: Endpoint) -> Iterator[Endpoint]:
    match endpoint:
        case PodsEndpoint(members=members, hypothetical=hypothetical):
            for member in members:
                yield PodsEndpoint(display_name(member.key), (member,), hypothetical)
        case AlternativesEndpoint(ends=ends):
            yield from ends
        case _:
            yield endpoint


def _ports(endpoint: Endpoint, port: PortQuestion) -> PortSet:
    if not port.name:
        return port.ports
    result = PortSet.EMPTY
    for member in endpoint.members if isinstance(endpoint, PodsEndpoint) else ():
        for item in member.ports:
            if item.name == port.name and port.protocol in {"", item.protocol}:
                result |= PortSet.single(item.protocol, item.number)
    return result


def _is_local(endpoint: Endpoint, node: str) -> bool:
    return isinstance(endpoint, PodsEndpoint) and any(_is_here(member, node) for member in endpoint.members)


def _is_here(member: Member, node: str) -> bool:
    return member.node == node and not member.host and member.pod is not None


def _judge(enforcer: Enforcer, source: End, destination: End, ports: PortSet) -> _Asked:
    """Say what engine and program admit at each end that is a pod of this node."""
    compiler = enforcer.compiler
    engine, program = compiler.model.engine, compiler.program
    sides: list[_Judged] = []
    for direction, local, peer in (
        (Direction.EGRESS, source, destination),
        (Direction.INGRESS, destination, source),
    ):
        if not isinstance(local, PodEnd) or not _is_here(local.member, compiler.node):
            continue
        if local.address is None or peer.address is None:
            continue
        own_node = isinstance(peer, NodeEnd) and peer.name == compiler.node
        certain, possible = (
            engine.admitted(direction, source, destination, bound) & ports
            for bound in (Bound.PESSIMISTIC, Bound.OPTIMISTIC)
        )
        if own_node and (direction is Direction.INGRESS or not program.judges_own_node):
            found = Side(None, PortSet.ALL)
        else:
            found = side(program, direction, local.address, peer.address)
            if direction is Direction.EGRESS:
                # What no policy decides is no difference between the engine and the program (see `_tunnelled`).
                beyond = tunnel_ports(program, local.address, peer.address)
                certain, possible = certain - beyond, possible - beyond
        sides.append(_Judged(direction, local, local.address, certain, possible, found))
    return _Asked(source, destination, ports, tuple(sides))


def _bound(view: View, found: Iterable[tuple[End, End, PortSet]]) -> Iterator[str]:
    """Say of each source on this node what becomes of its packets if they have another's address."""
    if view.binding == "off" or view.agent.links is None:
        return
    pods = {link.pod: link for link in view.agent.links.pods}
    sources = (source.member for source, _, _ in found if isinstance(source, PodEnd))
    for member in dict.fromkeys(member for member in sources if _is_here(member, view.node)):
        name = display_name(member.key)
        link = pods.get(name)
        if link is None:
            yield f"{name} is not bound to a link: it can write any source, and be taken for another"
        elif link.exempt:
            yield f"{name} may send with any address: its namespace is exempt on this node (--unbound-namespace)"
        else:
            where = f"port {link.interface} of bridge {link.bridge}" if link.bridge else f"link {link.interface}"
            table = BRIDGE_TABLE if link.bridge else TABLE
            own = ", ".join(map(address_text, link.addresses)) or "an address, which its status does not have yet,"
            end = "dropped" if view.binding == "enforce" else "told of, and passes,"
            yield (
                f"what {name} sends by {where} with another source than {own} is {end} "
                f"as {UNKNOWN_SOURCE} by table {table.address}, before any policy is asked"
            )


def _tunnelled(program: NodeProgram, found: Iterable[tuple[End, End, PortSet]]) -> Iterator[str]:
    """Say which of the ports that are asked about nodes keep to themselves."""
    for source, destination, ports in found:
        if not isinstance(source, PodEnd) or source.address is None or destination.address is None:
            continue
        beyond = tunnel_ports(program, source.address, destination.address) & ports
        if beyond:
            yield (
                f"{beyond} of {address_text(destination.address)} is where a node takes packets out of a tunnel: "
                f"what pods send there is dropped as {TUNNEL}, whatever policies admit"
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
    asked: _Asked, expected: _Expected, actual: Ruleset, frames: Ruleset, counters: Mapping[str, int]
) -> NodeConnection:
    source, destination = _address(asked.source), _address(asked.destination)
    found: list[str] = []
    for item in asked.sides:
        admitted = item.side.admitted & asked.ports
        if item.side.is_held:
            found.append(
                f"{item.direction}: {address_text(item.address)} is of no pod that the program knows, and held"
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


def _side(item: _Judged, ports: PortSet, counters: Mapping[str, int]) -> Judged:
    key = item.side.key
    return Judged(
        direction="egress" if item.direction is Direction.EGRESS else "ingress",
        pod=display_name(item.end.member.key),
        address=address_text(item.address),
        chain=item.side.chain,
        policies=tuple(map(_policy, key.policies)) if key else (),
        engine=str(item.certain),
        program=str(item.side.admitted & ports),
        rules=tuple(
            RuleCount(
                rule=_rule(rule),
                ports=str(admitted & ports),
                packets=counters.get(rule_chain(item.direction, rule)),
            )
            for admitted, rule in item.side.rules
            if admitted & ports
        ),
        denied_packets=counters.get(f"deny_{item.side.chain}") if key else None,
    )


def _policy(key: Key) -> str:
    return f"{key.kind} {key.namespace}/{key.name}"


def _rule(rule: RuleName) -> str:
    if rule == ICMP_OPTION:
        return "option icmp=allowed"
    return f"NetworkPolicy {rule.namespace}/{rule.policy} rule {rule.rule + 1}"


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
