# SPDX-License-Identifier: Apache-2.0
"""Which link is which pod's: what plugins say they made, matched with pods and with what the kernel has.

Two things are believed: the results of network plugins, which only root of the node writes, and the addresses in
pods' statuses. What a pod can write is not: neither the forwarding table of a bridge nor the neighbours of the node.
And the kind of a link alone proves nothing: the node's own uplink may be one end of a cable, too.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from podfence.agent.node.interfaces import CABLES, Place
from podfence.agent.node.tunnels import tunnels
from podfence.dataplane.links import Links, PodLink
from podfence.sets.addresses import format_address

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from collections.abc import Set as AbstractSet

    from podfence.agent.node.interfaces import Link
    from podfence.agent.node.results import Attachment


@dataclass(frozen=True, slots=True)
class Kernel:
    """What the kernel of the node says: its links and their addresses by number, and which way leads to an address.

    `has_own_route` says whether that way is for the address alone.
    """

    links: Mapping[int, Link]
    addresses: Mapping[int, AbstractSet[int]]
    way: Callable[[int], Place]
    has_own_route: Callable[[int], bool]


@dataclass(frozen=True, slots=True)
class Granted:
    """What the node's configuration grants, and nothing in the cluster can.

    Pods of `namespaces` may send with any address. `uplinks` are ports of bridges that lead away from the node.
    """

    namespaces: frozenset[str] = frozenset()
    uplinks: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Matched:
    """What came of it; pods are named as ``namespace/name``.

    `unproven` says of each pod why nothing proves by which link its packets come. `astray` names for each pod the
    link that its plugin made and where the kernel leads instead.
    """

    links: Links
    unproven: Mapping[str, str]
    astray: Mapping[str, str]


def match(
    attachments: Iterable[Attachment],
    pods: Mapping[str, Sequence[int]],
    kernel: Kernel,
    granted: Granted,
    bridges: Iterable[int] = (),
) -> Matched:
    """Return by which links the packets of the node's pods come.

    `pods` are the addresses in the statuses of those that run here with a network of their own. A pod has a link
    before it has an address there, and may send with none until it has. `bridges` are numbers of interfaces that were
    bridges of pods before: they stay so without any pod.
    """
    work = _Matching(pods, kernel, granted)
    # A pod that was restarted may have left a result behind, and a new pod may have the address of an old one.
    for item in sorted(attachments, key=lambda found: found.written, reverse=True):
        work.take(item)
    work.take_by_routes()
    return work.end(bridges)


@dataclass(slots=True)
class _Matching:
    """What is matched so far, by the number of the node's link."""

    pods: Mapping[str, Sequence[int]]
    kernel: Kernel
    granted: Granted
    numbers: dict[str, int] = field(init=False)
    found: dict[int, PodLink | None] = field(default_factory=dict)
    owners: dict[int, str] = field(init=False)
    claimed: set[int] = field(default_factory=set)
    bridges: set[int] = field(default_factory=set)
    doubtful: set[int] = field(default_factory=set)
    gateways: set[int] = field(default_factory=set)
    unproven: dict[str, str] = field(default_factory=dict)
    astray: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.numbers = {link.name: number for number, link in self.kernel.links.items()}
        self.owners = {address: pod for pod, addresses in self.pods.items() for address in addresses}

    def take(self, item: Attachment) -> None:
        """Match one attachment; newer ones were matched before."""
        pod = item.pod or next(filter(None, map(self.owners.get, item.addresses)), "")
        number = self._end(item)
        if not pod or number is None or number in self.found:
            return
        known = self.pods.get(pod, ())
        # None are left for what an earlier sandbox of the pod left behind, and for what is ahead of its status.
        addresses = tuple(one for one in item.addresses if one in known and one not in self.claimed)
        self.found[number] = link = self._link(number, item, pod, addresses)
        if link is not None:
            self.claimed.update(addresses)

    def _end(self, item: Attachment) -> int | None:
        """Return the number of the node's end of the cable, None if that cannot be told."""
        links = self.kernel.links
        ends = [number for name in item.links if (number := self.numbers.get(name)) and links[number].kind in CABLES]
        if len(ends) > 1:
            # A plugin that makes several cables for one pod: the way to the first address is the primary one.
            leads = {self.kernel.way(address).interface for address in item.addresses[:1]}
            ends = [number for number in ends if links[number].name in leads]
        return ends[0] if len(ends) == 1 else None

    def _link(self, number: int, item: Attachment, pod: str, addresses: tuple[int, ...]) -> PodLink | None:
        """Return a link with what it is a port of, None if that is not what can be bound."""
        name = self.kernel.links[number].name
        master = self.kernel.links.get(self.kernel.links[number].master)
        exempt = self._is_exempt(pod)
        self.gateways.update(item.gateways)
        if master is not None and master.kind == "bridge":
            self.bridges.add(self.kernel.links[number].master)
            if not item.mac:
                self.unproven[pod] = f"its CNI plugin does not report the hardware address of its end of {name}"
                return None
            return PodLink(name, master.name, item.mac, addresses, pod, exempt)
        if master is not None and master.kind not in {"vrf", ""}:
            self.unproven[pod] = f"its link {name} is a port of {master.name}, which is a {master.kind}"
            return None
        for address in addresses or item.addresses:
            place = self.kernel.way(address)
            if place.interface != name:
                where = f"by {place.interface}" if place.interface else "nowhere"
                self.astray[pod] = f"{format_address(address)} is behind {name}, but the route to it leads {where}"
                return None
        return PodLink(name, "", item.mac, addresses, pod, exempt)

    def take_by_routes(self) -> None:
        """Match pods that no result tells of: a way that is for a pod's address alone leads over the pod's link."""
        users: dict[int, set[str]] = {}
        ways: dict[str, list[tuple[int, Place]]] = {}
        for pod, addresses in self.pods.items():
            for address in addresses:
                if address not in self.claimed:
                    place = self.kernel.way(address)
                    ways.setdefault(pod, []).append((address, place))
                    if place.kind == "routed":
                        users.setdefault(self.numbers[place.interface], set()).add(pod)
        bound = {link.pod for link in self.found.values() if link is not None}
        for pod, places in ways.items():
            if pod not in self.unproven and pod not in self.astray:
                self._take_by_routes(pod, places, users, is_bound=pod in bound)

    def _take_by_routes(
        self, pod: str, places: list[tuple[int, Place]], users: Mapping[int, set[str]], *, is_bound: bool
    ) -> None:
        for address, place in places:
            if place.kind == "bridge":
                text = format_address(address)
                if not is_bound:
                    self.doubtful.add(self.numbers[place.bridge])
                self.unproven[pod] = (
                    f"the result of its CNI plugin does not have its address {text}"
                    if is_bound
                    else f"no result of a CNI plugin says at which port of bridge {place.bridge} it is"
                )
            elif place.kind == "routed":
                number = self.numbers[place.interface]
                known = self.found.get(number)
                if known is not None and known.pod != pod:
                    self.unproven[pod] = f"{place.interface}, which leads to it, is the link of pod {known.pod}"
                elif len(users[number]) > 1 or not self.kernel.has_own_route(address):
                    self.unproven[pod] = f"{place.interface}, which leads to it, also leads elsewhere"
                else:
                    before = known.addresses if known else ()
                    mac = known.mac if known else ""
                    self.found[number] = PodLink(
                        place.interface, "", mac, (*before, address), pod, self._is_exempt(pod)
                    )
                    self.claimed.add(address)

    def end(self, remembered: Iterable[int]) -> Matched:
        """Return all of it."""
        links = self.kernel.links
        bridges = self.bridges | {number for number in remembered if number in links}
        names = frozenset(links[number].name for number in bridges)
        ports = {number for number, link in links.items() if link.master in bridges and not self.found.get(number)}
        # Where a pod that runs is behind nobody knows which port, any port of nobody may be its, and to hold that would
        # cut it off; that it is not bound is told.
        uplinks = {
            number
            for number in ports
            if links[number].kind not in CABLES
            or links[number].name in self.granted.uplinks
            or links[number].master in self.doubtful
        }
        reserved = frozenset().union(self.gateways, *(self.kernel.addresses.get(number, ()) for number in bridges))
        ends = tunnels(links.values())
        return Matched(
            Links(
                tuple(sorted(link for link in self.found.values() if link is not None)),
                names,
                frozenset(links[number].name for number in uplinks),
                reserved,
                ends.ports,
                ends.protocols,
                frozenset(links[number].name for number in ports - uplinks),
                ends.kinds,
            ),
            self._without_exempt(self.unproven),
            self._without_exempt(self.astray),
        )

    def _is_exempt(self, pod: str) -> bool:
        return pod.partition("/")[0] in self.granted.namespaces

    def _without_exempt(self, reasons: Mapping[str, str]) -> dict[str, str]:
        return {pod: reason for pod, reason in sorted(reasons.items()) if not self._is_exempt(pod)}
