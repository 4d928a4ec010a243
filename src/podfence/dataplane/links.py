# SPDX-License-Identifier: Apache-2.0
"""By which link the packets of each local pod come to the node, as far as that was proven."""

from __future__ import annotations

from typing import NamedTuple


class PodLink(NamedTuple):
    """The node's end of a pod's cable.

    `interface` is its name. `bridge` is the bridge whose port it is, "" for a link that packets are routed from.
    `mac` is the hardware address of the pod's end, "" if it is not known, which only a routed link may do without.
    `addresses` are those of the pod, numbers as in `podfence.sets`. `pod` is ``namespace/name``, for people.
    `exempt` says that the node's configuration lets this pod send with any address, as a router does.
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
    `uplinks` is of a pod that is just being made. `reserved` are the node's and the gateways' addresses there, also
    link-local ones, which no pod may claim. `tunnel_ports` (UDP) and `tunnel_protocols` (numbers of IP) are those by
    which this node takes packets of others out of tunnels that prove nothing about who sent them.
    """

    pods: tuple[PodLink, ...] = ()
    bridges: frozenset[str] = frozenset()
    uplinks: frozenset[str] = frozenset()
    reserved: frozenset[int] = frozenset()
    tunnel_ports: frozenset[int] = frozenset()
    tunnel_protocols: frozenset[int] = frozenset()
