# SPDX-License-Identifier: Apache-2.0
"""One connection, followed through a node's program and through what its kernel really has.

The program says which groups judge it, and on which ports by which rules. Of the table only that is compared
which the first packet of the connection may meet: the chains, by the digests of their rules, and in each set or
map the element for the packet's addresses.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from podfence.dataplane.chains import group_name
from podfence.dataplane.program import GroupKey, PortProgram, first_match
from podfence.dataplane.ruleset import part_text
from podfence.policy.verdict import Direction
from podfence.sets import PortSet
from podfence.sets.addresses import family_of

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from podfence.dataplane.program import NodeProgram
    from podfence.dataplane.ruleset import ElementKey, Ruleset, SetBody
    from podfence.nft.element import Verdict

_LOOKUP: Final = re.compile(
    r"(?:\b([io]ifname)|(?:\b([io]ifname) \. )?\b(ip6?) ([sd]addr)( \. ip6? daddr)?) (?:!= |vmap )?@(\S+)"
)
_TARGET: Final = re.compile(r"\b(?:goto|jump) ([^\s,}]+)")
_ROOTS: Final = ("bind", "forward", "stage_in")
_TO_NODE: Final = ("bind", "tunnel_in", "own_node")
_ENDS: Final = {"iifname": "saddr", "oifname": "daddr"}
_PAIRS: Final = ("pairs4", "pairs6")
_WORDS: Final = {4: "ip", 6: "ip6"}


@dataclass(frozen=True, slots=True)
class Side:
    """What a node's program does at one end of a connection.

    `key` is the group that judges it, None if no policy isolates the end or it is not of this node. `rules` are the
    ports that are admitted, each set with the rule that is credited. `is_held` says that the address is in the node's
    pod range and of no pod that is known.
    """

    key: GroupKey | None
    admitted: PortSet
    rules: PortProgram = ()
    is_held: bool = False

    @property
    def chain(self) -> str:
        """The name of the group's chain, empty without a group."""
        return "" if self.key is None else group_name(self.key)


def side(program: NodeProgram, direction: Direction, local: int, peer: int) -> Side:
    """Return what a program does with connections between a local address and its peer, on all ports."""
    if local in program.pod_range and local not in program.known:
        return Side(None, PortSet.EMPTY, is_held=True)
    forbidden = tunnel_ports(program, local, peer) if direction is Direction.EGRESS else PortSet.EMPTY
    key = program.group_of[direction].get(local)
    pair = (local, peer) if direction is Direction.EGRESS else (peer, local)
    if key is None or pair in program.own:
        return Side(None, PortSet.ALL - forbidden)
    # In the order of the group's chain, so that each port is credited to the rule that counts it.
    asked = program.groups[key].programs_for(peer, program.sets)
    rules = first_match((ports - forbidden, name) for item in asked for ports, name in item)
    return Side(key, PortSet.union(ports for ports, _ in rules), rules)


def tunnel_ports(program: NodeProgram, pod: int, node: int) -> PortSet:
    """Return the ports by which a node takes packets out of tunnels; no policy opens them for pods."""
    tunnels = program.tunnels
    if tunnels is None or pod not in tunnels.sources or node not in program.nodes:
        return PortSet.EMPTY
    return PortSet.union(PortSet.of("UDP", port, port) for port in tunnels.ports)


def differences(
    wanted: Ruleset, actual: Ruleset, source: int, destination: int, *, to_node: bool = False
) -> Iterator[str]:
    """Yield a sentence for each thing the first packet from `source` may meet that is not as wanted.

    Addresses are numbers as in `podfence.sets`. `to_node` says that the destination is the node itself.
    """
    for name, body in sorted(actual.chains.items()):
        if body.chain.hook is not None and name not in wanted.chains:
            yield f"chain {name} at the {body.chain.hook.hook} hook is not ours"
    addresses = {"saddr": source, "daddr": destination}
    interfaces = {end: _interface(wanted, address) for end, address in addresses.items()}
    seen: set[str] = set()
    todo = [name for name in (_TO_NODE if to_node else _ROOTS) if name in wanted.chains]
    while todo:
        name = todo.pop(0)
        if name in seen or name not in wanted.chains:
            continue
        seen.add(name)
        body = wanted.chains[name]
        there = actual.chains.get(name)
        if there is None:
            yield f"chain {name} is gone"
        elif not there.same_as(body):
            yield f"chain {name} has other rules"
        for rule in body.rules:
            led = True
            for alone, interface, word, end, both, container in _LOOKUP.findall(rule.text):
                link = interfaces.get(_ENDS.get(alone or interface, ""), "")
                if ((alone or interface) and not link) or (word and word != _WORDS[family_of(addresses[end])]):
                    led = False
                    continue
                if alone:
                    key: ElementKey = link
                elif interface:
                    key = (link, addresses[end])
                else:
                    key = (source, destination) if both else addresses[end]
                found, difference = _compare(container, wanted.sets[container], actual.sets.get(container), key)
                if difference:
                    yield difference
                if found is not None and found.chain is not None:
                    todo.append(found.chain)
            if led:
                todo += _TARGET.findall(rule.text)


def frame_differences(wanted: Ruleset, actual: Ruleset, addresses: Collection[int]) -> Iterator[str]:
    """Yield a sentence for each thing in the table of frames that is not as wanted and may concern some addresses."""
    ends = [
        key
        for name in ("bound4", "bound6")
        if name in wanted.sets
        for key in wanted.sets[name].elements
        if isinstance(key, tuple) and not set(addresses).isdisjoint(key)
    ]
    concerned = {*addresses, *(part for key in ends for part in key)}
    for name, body in sorted(wanted.chains.items()):
        there = actual.chains.get(name)
        if there is None:
            yield f"of frames: chain {name} is gone"
        elif not there.same_as(body):
            yield f"of frames: chain {name} has other rules"
    for name, body in sorted(actual.chains.items()):
        if body.chain.hook is not None and name not in wanted.chains:
            yield f"of frames: chain {name} at the {body.chain.hook.hook} hook is not ours"
    for name, wanted_set in sorted(wanted.sets.items()):
        actual_set = actual.sets.get(name)
        keys = wanted_set.elements.keys() | (actual_set.elements.keys() if actual_set else set())
        for key in keys:
            if not concerned.isdisjoint(key if isinstance(key, tuple) else (key,)):
                _, difference = _compare(name, wanted_set, actual_set, key)
                if difference:
                    yield f"of frames: {difference}"


def _interface(wanted: Ruleset, address: int) -> str:
    """Return the interface that an address is bound to, "" if it is not."""
    pairs = (key for name in _PAIRS if name in wanted.sets for key in wanted.sets[name].elements)
    return next((str(key[0]) for key in pairs if isinstance(key, tuple) and key[1] == address), "")


def _compare(name: str, wanted: SetBody, actual: SetBody | None, key: ElementKey) -> tuple[Verdict | None, str]:
    """Return where an element leads, if it is there and leads anywhere, and how the kernel's differs."""
    is_there, verdict = _element(wanted, key)
    if actual is None:
        return verdict, f"set or map {name} is gone"
    is_really, really = _element(actual, key)
    if (is_there, verdict) == (is_really, really):
        return verdict, ""
    what = " . ".join(map(part_text, key)) if isinstance(key, tuple) else part_text(key)
    if not is_really:
        return verdict, f"{name} has no {what}{f' ({verdict})' if verdict else ''}, and should"
    if not is_there:
        return verdict, f"{name} has {what}{f' ({really})' if really else ''}, and should not"
    return verdict, f"{name} has {what} ({really}), and should have it as {verdict}"


def _element(body: SetBody, key: ElementKey) -> tuple[bool, Verdict | None]:
    if "interval" not in body.container.flags:
        return key in body.elements, body.elements.get(key)
    for span, verdict in body.elements.items():
        first, last = span if isinstance(span, tuple) else (span, span)
        if isinstance(key, int) and isinstance(first, int) and isinstance(last, int) and first <= key <= last:
            return True, verdict
    return False, None
