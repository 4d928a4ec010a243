# SPDX-License-Identifier: Apache-2.0
"""Which interface of the node leads to a pod: the kernel's own answer, by its routes and rules.

It is asked for one route after the other over a socket (rtnetlink(7)), since only the kernel knows what all of
its tables of routes and the rules between them make of an address.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
import sys
from contextlib import closing
from typing import TYPE_CHECKING, Final, Literal, NamedTuple

from podfence.dataplane.conntrack import addresses
from podfence.netlink.asking import BUFFER, Netlink, NetlinkError, listed, opened
from podfence.netlink.messages import ERROR, REQUEST, attribute, contents, error_number, message, messages, text_of
from podfence.sets.addresses import V6_FIRST, AddressSet

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

Kind = Literal["routed", "bridge", "absent", "bypass"]


class Place(NamedTuple):
    """Where a pod is attached to its node.

    "routed": behind a link of its own, such as a veth; the forward hook sees all of its traffic.
    "bridge": behind `bridge`; the forward hook sees traffic within that only if the bridge hands it over.
    "bypass": behind a link that others share (macvlan, ipvlan, SR-IOV, Open vSwitch); the forward hook sees nothing.
    "absent": no interface leads there, or it leads away from the node: the pod is not wired, or gone.
    """

    interface: str
    kind: Kind
    bridge: str = ""


_GET_LINK: Final = 18
_NEW_ROUTE, _GET_ROUTE = 24, 26
_LINK: Final = struct.Struct("=BxHiII")
_LINK_NAME, _LINK_MASTER, _LINK_INFO = 3, 10, 18
_INFO_KIND, _INFO_DATA = 1, 2
_ROUTE: Final = struct.Struct("=BBBBBBBBI")
_AS_WRITTEN: Final = 0x2000
"""A flag (RTM_F_FIB_MATCH): answer with the route as it is in its table, not with what it means for the address."""
_DESTINATION, _INTERFACE, _GATEWAY, _VIA = 1, 4, 5, 18
_UNICAST: Final = 1
_NUMBER: Final = struct.Struct("=I")

_CHANGES: Final = 0x1 | 0x10 | 0x100
"""The groups RTMGRP_LINK, RTMGRP_IPV4_IFADDR and RTMGRP_IPV6_IFADDR."""

_PATIENCE: Final = 10.0
_GONE: Final = frozenset({errno.ENETUNREACH, errno.EHOSTUNREACH, errno.EACCES, errno.EINVAL, errno.ESRCH})

CABLES: Final = frozenset({"veth", "netkit", "tun"})
"""Kinds of links that the node's end of a pod's cable has; others have them too."""

_SHARED: Final = frozenset({"", "bond", "ipvlan", "ipvtap", "macvlan", "macvtap", "openvswitch", "team", "vlan"})
_ABSENT: Final = Place("", "absent")


class Link(NamedTuple):
    """An interface: its name, what kind of link it is ("" for a device), and that kind's options as attributes.

    `master` is the number of the interface whose port it is, such as a bridge, 0 if there is none.
    """

    name: str
    kind: str
    options: bytes = b""
    master: int = 0


def links() -> dict[int, Link]:
    """Return all interfaces of this thread's network namespace by number. Raises NetlinkError or OSError."""
    return {
        _LINK.unpack_from(data, start)[2]: _link(data, start + _LINK.size, end)
        for data, start, end in listed(socket.NETLINK_ROUTE, _GET_LINK, _LINK.pack(0, 0, 0, 0, 0))
    }


def own_addresses() -> dict[int, set[int]]:
    """Return the addresses, numbers as in `podfence.sets`, of each interface by its number. Raises as `links`."""
    with closing(Netlink(socket.NETLINK_ROUTE)) as routes:
        return addresses(routes)


def _link(data: bytes, start: int, end: int) -> Link:
    parts = contents(data, start, end)
    info = parts.get(_LINK_INFO, b"")
    inner = contents(info, 0, len(info))
    master = int.from_bytes(parts.get(_LINK_MASTER, b""), sys.byteorder)
    return Link(
        text_of(parts.get(_LINK_NAME, b"")), text_of(inner.get(_INFO_KIND, b"")), inner.get(_INFO_DATA, b""), master
    )


class LinkWatch:
    """Becomes readable when an interface of the node, or an address of one, came, went or was changed."""

    def __init__(self) -> None:
        """Begin to listen in this thread's network namespace. Raises OSError if the kernel does not let us."""
        self._socket = opened(socket.NETLINK_ROUTE, _CHANGES)
        self._socket.setblocking(False)  # noqa: FBT003  a method without keywords

    def fileno(self) -> int:
        """Return what to wait for."""
        return self._socket.fileno()

    def clear(self) -> None:
        """Take what it has to tell, so that only later changes are told."""
        while True:
            try:
                self._socket.recv(BUFFER)
            except BlockingIOError:
                return
            except OSError as error:
                # There was more than it could hold; whoever looks sees all of it.
                if error.errno != errno.ENOBUFS:
                    return

    def close(self) -> None:
        """Listen no more."""
        self._socket.close()


def locate(addresses: Iterable[str]) -> dict[str, Place]:
    """Return where each address of a pod is attached, in the network namespace of this thread.

    A block, such as a node's pod CIDR, is asked by one of its last addresses: so a bridge is found that has no pods
    yet. What is no address is left out. Raises NetlinkError or OSError if the kernel does not answer.
    """
    numbers = {text: number for text in addresses if (number := _asked(text)) is not None}
    if not numbers:
        return {}
    known = links()
    routes = _routes(list(numbers.values()))
    return {text: _place(routes[number], known) for text, number in numbers.items()}


def _asked(text: str) -> int | None:
    try:
        ((first, last),) = AddressSet.cidr(text).spans
    except ValueError:
        return None
    # The last address of an IPv4 block is that of broadcasts.
    return last - 1 if last - first > 1 else last


def way(address: int, known: Mapping[int, Link]) -> Place:
    """Return where an address, a number as in `podfence.sets`, is attached, given all links. Raises as `locate`."""
    return _place(_routes([address])[address], known)


def has_own_route(address: int) -> bool:
    """Return whether the route that leads to an address is for it alone, and not for a network. Raises as `locate`."""
    route = _routes([address], flags=_AS_WRITTEN)[address]
    return route.length == (32 if address < V6_FIRST else 128)


class _Route(NamedTuple):
    """What the kernel says of an address: the interface's number, 0 for none, and whether another node is next.

    `length` is that of the prefix, which is the whole address unless the route was asked for as it is written.
    """

    interface: int
    is_onward: bool
    length: int = 0


def _place(route: _Route, known: Mapping[int, Link]) -> Place:
    link = known.get(route.interface)
    if link is None:
        return _ABSENT
    if link.kind == "openvswitch":
        return Place(link.name, "bypass")
    if route.is_onward:
        return _ABSENT
    if link.kind == "bridge":
        return Place(link.name, "bridge", link.name)
    if link.kind in CABLES:
        return Place(link.name, "routed")
    # Tunnels are left, which lead to other nodes.
    return Place(link.name, "bypass") if link.kind in _SHARED else _ABSENT


def _routes(numbers: list[int], flags: int = 0) -> dict[int, _Route]:
    with opened(socket.NETLINK_ROUTE) as asked:
        asked.settimeout(_PATIENCE)
        return {number: _route(asked, sequence, number, flags) for sequence, number in enumerate(numbers, 1)}


def _route(asked: socket.socket, sequence: int, number: int, flags: int) -> _Route:
    """Ask for one route and return it; the kernel has answered before `send` returns."""
    four = number < V6_FIRST
    raw = number.to_bytes(4, "big") if four else (number - V6_FIRST).to_bytes(16, "big")
    family = socket.AF_INET if four else socket.AF_INET6
    header = _ROUTE.pack(family, len(raw) * 8, 0, 0, 0, 0, 0, 0, flags)
    try:
        asked.send(message(_GET_ROUTE, REQUEST, sequence, header + attribute(_DESTINATION, raw)))
        data = asked.recv(BUFFER)
    except OSError as error:
        raise NetlinkError("asking for a route", error.errno or errno.ETIMEDOUT) from error
    for kind, _, (start, end) in messages(data):
        if kind == ERROR:
            problem = error_number(data, start)
            if problem not in _GONE:
                raise NetlinkError(f"asking for a route ({os.strerror(problem)})", problem)
        elif kind == _NEW_ROUTE and (found := _ROUTE.unpack_from(data, start))[7] == _UNICAST:
            parts = contents(data, start + _ROUTE.size, end)
            if _INTERFACE in parts:
                return _Route(_NUMBER.unpack(parts[_INTERFACE])[0], _GATEWAY in parts or _VIA in parts, found[1])
    return _Route(0, is_onward=False)
