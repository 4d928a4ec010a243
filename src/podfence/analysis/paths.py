# SPDX-License-Identifier: Apache-2.0
"""The way of a connection that a node leads elsewhere: what its source is judged by, and what its destination sees.

It is that of `docs/explanation/on-a-node.md` (semantics 7.9, 7.16): a node rewrites the destination before policies
are asked there, and the source only after. So the node that is asked judges what it sends on by the source as it
came; if that is to another node, its own address is the source there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from msgspec import Struct
from msgspec.structs import replace

from podfence.analysis.pairs import Arrival, Pair
from podfence.policy.ends import AddressEnd, End, NodeEnd, PodEnd, is_one_pod
from podfence.policy.unknown import node as node_of
from podfence.sets import PortSet
from podfence.sets.addresses import family_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from podfence.analysis.endpoints import NodeEndpoint
    from podfence.policy.engine import Engine

_ELSEWHERE: Final = "another node"
_THAT_NODE: Final = "that node"
_EVERYWHERE: Final = "DaemonSet"


class Entry(Struct, frozen=True):
    """The node that is asked, and whether it leads to its own pods only (`local`) and to one pod (`host_port`)."""

    node: NodeEndpoint
    local: bool
    host_port: bool = False

    @property
    def name(self) -> str:
        """The node's name, or a word for the one that is meant."""
        return self.node.node or _THAT_NODE


class Step(NamedTuple):
    """A connection on its way, with the ports that it is sent to; `why` it does not arrive, "" if it does.

    It is `missed` by a pod that does not run where the node leads to its own pods only. It starts at the node `start`,
    and whether its pod runs where it is said to is known if it `is_placed`.
    """

    pair: Pair
    ports: PortSet
    why: str = ""
    missed: bool = False
    start: str = ""
    is_placed: bool = True


class _Places(NamedTuple):
    """The nodes of the source ("" for what is no pod) and of the pod that answers, and whether each was known."""

    source: str
    backend: str


def arrivals(
    engine: Engine, pair: Pair, ports: PortSet, entry: Entry, asked: PortSet, beside: str = ""
) -> Iterator[Step]:
    """Yield what a connection to a port of a node may become, one for each place where the pods may run.

    `pair` is the connection from its source straight to the pod that answers, `ports` those of the pod, and `asked`
    those of the node. If what answers is an address outside, it is `beside` the node that its endpoint names.
    """
    places = list(dict.fromkeys(_places(pair, entry, beside, is_open=engine.world.is_open("Pod"))))
    matter = tuple(node_of(name) for name in _unplaced(pair, entry))
    for place in places:
        step = _arrival(engine, pair, ports, entry, asked, place)
        several = len(places) > 1
        variant = _where(pair, place) if several else ""
        yield step._replace(
            pair=replace(step.pair, matter=matter if several else (), variant=variant),
            start=place.source,
            is_placed=not _is_unplaced(pair.destination),
        )


def _unplaced(pair: Pair, entry: Entry) -> Iterator[str]:
    if _is_unplaced(pair.source) and not (entry.node.own and _is_unplaced(pair.destination)):
        yield pair.source_name
    if _is_unplaced(pair.destination):
        yield pair.destination_name


def _is_unplaced(end: End) -> bool:
    return not isinstance(end, AddressEnd) and not _node_of(end)


def _node_of(end: PodEnd | NodeEnd) -> str:
    return end.member.node if isinstance(end, PodEnd) else end.name


def _where(pair: Pair, place: _Places) -> str:
    texts = []
    if _is_unplaced(pair.destination):
        texts.append(f"{pair.destination_name} runs on {place.backend}")
    if _is_unplaced(pair.source) and not (texts and place.source == _THAT_NODE):
        at = place.source
        if at == _THAT_NODE and not texts:
            at = "the same node" if place.backend == _THAT_NODE else _ELSEWHERE
        texts.append(f"{pair.source_name}{'' if texts else ' runs'} on {at}")
    return f"where {' and '.join(texts)}" if texts else ""


def _places(pair: Pair, entry: Entry, beside: str, *, is_open: bool) -> Iterator[_Places]:
    """Yield where the two may run; where pods are all there are, one without a node runs on none that is known."""
    source, end, near = pair.source, pair.destination, entry.name
    if isinstance(source, AddressEnd):
        sources = [""]
    elif entry.node.own:
        sources = [near]
    else:
        known = _node_of(source)
        # A node that is not named is any but the pod's own.
        sources = [known] if known else [near, _ELSEWHERE] if is_open and entry.node.node else [_ELSEWHERE]
    for where in sources:
        if name := beside if isinstance(end, AddressEnd) else _node_of(end):
            yield from (_Places(where, at) for at in _known(name, source, entry, is_open=is_open))
        elif isinstance(end, AddressEnd):
            yield _Places(where, "")
        elif entry.host_port and _is_everywhere(end):
            yield _Places(where, near)
        elif is_one_pod(source, end):
            yield _Places(where, where)
        elif is_open:
            yield from (_Places(where, name) for name in dict.fromkeys((near, where or _ELSEWHERE, _ELSEWHERE)))
        else:
            yield _Places(where, _ELSEWHERE)


def _is_everywhere(end: End) -> bool:
    """Return whether a pod of a workload runs on every node."""
    return isinstance(end, PodEnd) and end.member.workload is not None and end.member.workload.kind == _EVERYWHERE


def _known(node: str, source: End, entry: Entry, *, is_open: bool) -> tuple[str, ...]:
    """Return the name of a pod's node in the words of the question; both if nobody knows whether that node is meant."""
    if isinstance(source, AddressEnd) or not entry.node.own:
        return (node,)
    if not _node_of(source):
        return (entry.name, node) if is_open else (node,)
    return (entry.name if _node_of(source) == node else node,)


def _arrival(engine: Engine, pair: Pair, ports: PortSet, entry: Entry, asked: PortSet, place: _Places) -> Step:
    source, end, near = pair.source, pair.destination, entry.name
    here = place.backend == near
    if isinstance(end, PodEnd):
        end = replace(end, member=replace(end.member, node=place.backend))
    other = None if entry.node.node or entry.node.own else False
    address = next((number for number in entry.node.addresses if family_of(number) == pair.family), None)
    node = NodeEnd(entry.node.node, address, pair.family, own=other)
    # A node that is asked by itself, or by a pod of its own, leads to all pods whatever the policy for outside.
    within = place.source == near
    sent_to_node = isinstance(source, PodEnd) and not within
    first = replace(pair, destination=node if sent_to_node else end)
    sent = asked if sent_to_node else ports
    if entry.host_port and not here:
        # Nothing is translated: the connection is one to the node itself.
        return Step(replace(first, destination=node), asked, missed=True)
    if entry.local and not here and not within:
        why = f"cannot be reached: {near} leads to its own pods only, and has none of these"
        return Step(first, sent, why, missed=True)
    seen: End = source
    if isinstance(source, PodEnd):
        seen = replace(source, member=replace(source.member, node=place.source))
    elif isinstance(source, NodeEnd) and within:
        seen = replace(source, own=here)
    behind = replace(node, own=False) if not here else NodeEnd(near, None, pair.family, own=True)
    option = engine.options.service_source
    if not entry.host_port and ((option == "node" and not entry.local) or (option != "client" and not here)):
        seen = seen if entry.local else behind
    return Step(replace(first, arrival=Arrival(seen, end, ports)), sent)
