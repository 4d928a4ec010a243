# SPDX-License-Identifier: Apache-2.0
"""Denied packets told to people: once for each flow and minute, with names beside addresses."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Generic, NamedTuple, TypeVar

from podfence.cluster.nodes import numbers_of
from podfence.dataplane.ruleset import address_text
from podfence.policy.identity import read_group, short_text
from podfence.policy.verdict import Direction
from podfence.sets.addresses import V6_FIRST

if TYPE_CHECKING:
    from collections.abc import Iterable

    from podfence.agent.nflog import Logged
    from podfence.cluster.state import ClusterState
    from podfence.dataplane.compiler import Compiler
    from podfence.kube.objects import Node

AGAIN: Final = 60.0
"""Seconds for which one line speaks for a flow."""

MOST: Final = 100
"""How many flows that the same policies deny have a line of their own in that time.

A scan of a network would fill the log; and were the number one for all, a tenant could use it up with denials of his
own pods, and nobody would read of what others try.
"""

_PROTOCOLS: Final = {1: "ICMP", 6: "TCP", 17: "UDP", 58: "ICMP", 132: "SCTP"}
_WITH_PORTS: Final = frozenset({6, 17, 132})
_FRAGMENT: Final = 44
_OPTIONS: Final = frozenset({0, 43, 60})
_PREFIX: Final = "podfence "
_BY: Final = " denied by "

_Item = TypeVar("_Item")


class Denied(NamedTuple):
    """A flow that a group of policies denied, as far as one packet tells.

    Addresses are numbers as in `podfence.sets`; `port` is the destination's, None where there are none or the
    packet is a later fragment. `policies` are as the rule's prefix has them, which may be cut.
    """

    direction: Direction
    source: int
    destination: int
    protocol: int
    port: int | None
    policies: str


class Ends(NamedTuple):
    """The ends of a packet: addresses are numbers as in `podfence.sets`, `port` is the destination's, None if none."""

    source: int
    destination: int
    protocol: int
    port: int | None


def ends(packet: bytes) -> Ends | None:
    """Return the ends of a packet that begins with its network header, None if it is no IP packet."""
    version = packet[0] >> 4 if packet else 0
    if version == 4 and len(packet) >= 20:
        protocol, start = packet[9], (packet[0] & 0xF) * 4
        if int.from_bytes(packet[6:8], "big") & 0x1FFF:
            start = len(packet)
        source, destination = _number(packet[12:16]), _number(packet[16:20])
    elif version == 6 and len(packet) >= 40:
        protocol, start = _upper(packet)
        source, destination = (V6_FIRST + _number(part) for part in (packet[8:24], packet[24:40]))
    else:
        return None
    port = _number(packet[start + 2 : start + 4]) if protocol in _WITH_PORTS and len(packet) >= start + 4 else None
    return Ends(source, destination, protocol, port)


def parse(logged: Logged) -> Denied | None:
    """Return what a logged packet tells, None if a rule of somebody else logged it or it is no IP packet."""
    direction, by, policies = logged.prefix.removeprefix(_PREFIX).partition(_BY)
    if not logged.prefix.startswith(_PREFIX) or not by or direction not in tuple(Direction):
        return None
    found = ends(logged.packet)
    return None if found is None else Denied(Direction(direction), *found, policies.rstrip().removesuffix(":"))


def _number(data: bytes) -> int:
    return int.from_bytes(data, "big")


def _upper(packet: bytes) -> tuple[int, int]:
    """Return the protocol that an IPv6 packet carries and where that starts, past the headers in between."""
    protocol, start = packet[6], 40
    while len(packet) >= start + 8:
        if protocol == _FRAGMENT:
            later = _number(packet[start + 2 : start + 4]) & 0xFFF8
            protocol, start = packet[start], len(packet) if later else start + 8
        elif protocol in _OPTIONS:
            protocol, start = packet[start], start + (packet[start + 1] + 1) * 8
        else:
            break
    return protocol, start


class DeniedFlow(NamedTuple):
    """A denied flow as it is told: `*_name` are empty for addresses of nobody known, `policies` are those that isolate.

    As text it is a line for people.
    """

    direction: Direction
    source: str
    source_name: str
    destination: str
    destination_name: str
    protocol: str
    port: int | None
    policies: tuple[str, ...]

    def __str__(self) -> str:
        """Return ``denied egress shop/web (10.244.1.5) -> 203.0.113.9 TCP 443 by shop/web``."""
        ends = f"{_end(self.source, self.source_name)} -> {_end(self.destination, self.destination_name)}"
        port = "" if self.port is None else f" {self.port}"
        first, *others = self.policies
        space = f"{first.partition('/')[0]}/"
        names = ",".join((first, *(item.removeprefix(space) for item in others)))
        return f"denied {self.direction} {ends} {self.protocol}{port} by {names}"


class LeftOut(NamedTuple):
    """How many packets that the same policies denied were not told, because they were of too many flows."""

    direction: Direction
    policies: str
    packets: int

    def __str__(self) -> str:
        """Return the sentence."""
        by = f"{self.direction} denied by {self.policies}"
        return f"{by}: more than {MOST} flows in a minute, {self.packets} packets of the rest were not logged"


@dataclass(slots=True)
class Share(Generic[_Item]):
    """What was said of flows or packets of one origin, and when; `left_out` packets since `told`.

    No more than `most` of them are said within `AGAIN`, each once.
    """

    most: int
    said: dict[_Item, float] = field(default_factory=dict)
    left_out: int = 0
    told: float | None = None

    def spend(self, item: _Item, now: float) -> bool:
        """Return whether something is to be said of a flow or packet, and remember it then."""
        said = self.said.get(item)
        if said is not None and now - said < AGAIN:
            return False
        if said is None and len(self.said) >= self.most:
            self.said = {key: when for key, when in self.said.items() if now - when < AGAIN}
            if len(self.said) >= self.most:
                self.left_out += 1
                return False
        self.said[item] = now
        return True

    def is_idle(self, now: float) -> bool:
        """Return whether nothing was said lately."""
        return all(now - when >= AGAIN for when in self.said.values())


class Names:
    """Knows who has which address, pod or node.

    Pods choose the addresses that they send to, and there may be thousands of nodes: those are not searched for each.
    """

    def __init__(self) -> None:
        self._nodes: tuple[Node, ...] = ()
        self._at: dict[int, str] = {}

    def follow(self, state: ClusterState) -> None:
        """Know the nodes of a state; safe while another thread changes it."""
        nodes = tuple(state.nodes.values())
        if nodes != self._nodes:
            self._nodes = nodes
            self._at = {number: f"node {node.name}" for node in nodes for number in numbers_of(node.addresses)}

    def told(self, found: Ends | Denied, compiler: Compiler) -> tuple[str, str, str, str, str, int | None]:
        """Return source and destination as text, each with its name, then protocol and port."""
        return (
            *self._named(found.source, compiler),
            *self._named(found.destination, compiler),
            _PROTOCOLS.get(found.protocol, f"protocol {found.protocol}"),
            found.port,
        )

    def _named(self, address: int, compiler: Compiler) -> tuple[str, str]:
        """Return the text of an address, and the name of the pod or node that has it, "" if nobody known has."""
        pod = compiler.owner(address)
        name = f"{pod.namespace}/{pod.name}" if pod is not None else self._at.get(address, "")
        return address_text(address), name


class Denials:
    """Tells of flows, and leaves out what repeats."""

    def __init__(self) -> None:
        self._names = Names()
        self._shares: dict[tuple[Direction, str], Share[Denied]] = {}
        self._swept = 0.0

    def tell(self, found: Iterable[Denied], compiler: Compiler, now: float) -> list[DeniedFlow | LeftOut]:
        """Return each flow of which nothing was told within the last minute; `now` is in seconds.

        Names are those the compiler knows now. Safe while another thread changes the compiler's program.
        """
        self._names.follow(compiler.model.state)
        result: list[DeniedFlow | LeftOut] = []
        for item in found:
            share = self._shares.setdefault((item.direction, item.policies), Share(MOST))
            if share.spend(item, now):
                result.append(_named(item, compiler, self._names))
            if share.left_out and (share.told is None or now - share.told >= AGAIN):
                result.append(LeftOut(item.direction, item.policies, share.left_out))
                share.left_out, share.told = 0, now
        return [*result, *self._swept_up(now)]

    def _swept_up(self, now: float) -> list[LeftOut]:
        """Once in a while return what is still untold, and forget policies that denied nothing lately."""
        if now - self._swept < AGAIN:
            return []
        self._swept = now
        left_out = []
        for (direction, policies), share in list(self._shares.items()):
            if share.is_idle(now):
                if share.left_out:
                    left_out.append(LeftOut(direction, policies, share.left_out))
                del self._shares[direction, policies]
        return left_out


def _named(item: Denied, compiler: Compiler, names: Names) -> DeniedFlow:
    local = item.source if item.direction is Direction.EGRESS else item.destination
    group = compiler.program.group_of[item.direction].get(local)
    namespace, policies = (group.namespace, group.policies) if group else read_group(item.policies)
    return DeniedFlow(
        item.direction, *names.told(item, compiler), tuple(short_text(namespace, key) for key in policies)
    )


def _end(address: str, name: str) -> str:
    return f"{name} ({address})" if name else address
