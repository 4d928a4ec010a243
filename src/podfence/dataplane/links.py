# SPDX-License-Identifier: Apache-2.0
"""By which link the packets of each local pod come to the node, as far as that was proven."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator
    from collections.abc import Set as AbstractSet


class PodLink(NamedTuple):
    """The node's end of a pod's cable.

    `interface` is its name. `bridge` is the bridge whose port it is, "" for a link that packets are routed from.
    `mac` is the hardware address of the pod's end, "" if it is not known, which only a routed link may do without.
    `addresses` are those of the pod, numbers as in `podfence.sets`; a pod that has none yet is held.
    `pod` is ``namespace/name``, for people.
    `exempt` says that the node's configuration lets this pod send with any address but those of others, as a router
    does.
    """

    interface: str
    bridge: str
    mac: str
    addresses: tuple[int, ...]
    pod: str
    exempt: bool = False


class Links(NamedTuple):
    """What is known of a node's links; a link that is not in it is left alone.

    `bridges` are those of the primary network of pods: a port of theirs that is neither of a pod here nor one of
    `uplinks` is of a pod that is just being made, and is to be in `held`: from frames one cannot tell whose port it is
    (many kernels lack `meta ibrname`), so until it is there, only pods and uplinks are protected from it. Where there
    are `uplinks`, hosts beyond them may send by `bridges` with any address that no pod has.

    `reserved` are the node's and the gateways' addresses there, also link-local ones, which no pod may claim.
    `tunnel_ports` (UDP) and `tunnel_protocols` (numbers of IP) are those by which this node takes packets of others
    out of tunnels that prove nothing about who sent them, and `tunnel_kinds` the kinds of interfaces that do.
    """

    pods: tuple[PodLink, ...] = ()
    bridges: frozenset[str] = frozenset()
    uplinks: frozenset[str] = frozenset()
    reserved: frozenset[int] = frozenset()
    tunnel_ports: frozenset[int] = frozenset()
    tunnel_protocols: frozenset[int] = frozenset()
    held: frozenset[str] = frozenset()
    tunnel_kinds: frozenset[str] = frozenset()

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to bind."""
        return not (self.pods or self.bridges)

    @property
    def bound(self) -> tuple[PodLink, ...]:
        """The links that carry their pods' addresses and nothing else, without addresses that are reserved."""
        return tuple(link for link in self._own if link.addresses)

    @property
    def new(self) -> frozenset[str]:
        """The interfaces of links whose pods have no address yet."""
        own = tuple(self._own)
        return frozenset(link.interface for link in own) - {link.interface for link in own if link.addresses}

    def held_but(self, known: AbstractSet[PodLink]) -> Links:
        """Return the links with those pods held that are not `known` as they are."""
        return self._replace(pods=tuple(link if link in known else link._replace(addresses=()) for link in self.pods))

    @property
    def _own(self) -> Iterator[PodLink]:
        for link in self.pods:
            if link.exempt:
                continue
            if self.reserved.isdisjoint(link.addresses):
                yield link
            else:
                yield link._replace(addresses=tuple(item for item in link.addresses if item not in self.reserved))

    @property
    def all_bridges(self) -> frozenset[str]:
        """The bridges of `bridges`, and those that pods are ports of."""
        return self.bridges | {link.bridge for link in self.pods if link.bridge}

    def is_confined(self, bridge: str) -> bool:
        """Return whether only pods that are bound send by a bridge."""
        return not self.uplinks and not any(link.exempt and link.bridge == bridge for link in self.pods)
