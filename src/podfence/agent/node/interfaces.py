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
from typing import TYPE_CHECKING, Final, Literal, NamedTuple

from podfence.netlink.asking import Netlink, NetlinkError
from podfence.netlink.messages import ERROR, REQUEST, attribute, attributes, error_number, message, messages
from podfence.sets.addresses import V6_FIRST, AddressSet

if TYPE_CHECKING:
    from collections.abc import Iterable

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
_LINK_NAME, _LINK_INFO = 3, 18
_INFO_KIND, _INFO_DATA = 1, 2
_ROUTE: Final = struct.Struct("=BBBBBBBBI")
_DESTINATION, _INTERFACE, _GATEWAY, _VIA = 1, 4, 5, 18
_UNICAST: Final = 1
_NUMBER: Final = struct.Struct("=I")
_BUFFER: Final = 1 << 16
_PATIENCE: Final = 10.0
_GONE: Final = frozenset({errno.ENETUNREACH, errno.EHOSTUNREACH, errno.EACCES, errno.EINVAL, errno.ESRCH})

_OWN: Final = frozenset({"veth", "netkit", "tun"})
_SHARED: Final = frozenset({"", "bond", "ipvlan", "ipvtap", "macvlan", "macvtap", "openvswitch", "team", "vlan"})
_ABSENT: Final = Place("", "absent")


class Link(NamedTuple):
    """An interface: its name, what kind of link it is ("" for a device), and that kind's options as attributes."""

    name: str
    kind: str
    options: bytes = b""


def links() -> dict[int, Link]:
    """Return all interfaces of this thread's network namespace by number. Raises NetlinkError or OSError."""
    netlink = Netlink(socket.NETLINK_ROUTE)
    try:
        found = {}
        for data, places in netlink.dump(_GET_LINK, _LINK.pack(0, 0, 0, 0, 0)):
            for start, end in places:
                number = _LINK.unpack_from(data, start)[2]
                found[number] = _link(data, start + _LINK.size, end)
        return found
    finally:
        netlink.close()


def _link(data: bytes, start: int, end: int) -> Link:
    parts = {number: (first, last) for number, first, last in attributes(data, start, end)}
    inner = {number: data[a:b] for number, a, b in attributes(data, *parts.get(_LINK_INFO, (0, 0)))}
    first, last = parts.get(_LINK_NAME, (0, 0))
    return Link(_text(data[first:last]), _text(inner.get(_INFO_KIND, b"")), inner.get(_INFO_DATA, b""))


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


class _Route(NamedTuple):
    """What the kernel says of an address: the interface's number, 0 for none, and whether another node is next."""

    interface: int
    is_onward: bool


def _place(route: _Route, known: dict[int, Link]) -> Place:
    link = known.get(route.interface)
    if link is None:
        return _ABSENT
    if link.kind == "openvswitch":
        return Place(link.name, "bypass")
    if route.is_onward:
        return _ABSENT
    if link.kind == "bridge":
        return Place(link.name, "bridge", link.name)
    if link.kind in _OWN:
        return Place(link.name, "routed")
    # Tunnels are left, which lead to other nodes.
    return Place(link.name, "bypass") if link.kind in _SHARED else _ABSENT


def _routes(numbers: list[int]) -> dict[int, _Route]:
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE) as asked:
        asked.bind((0, 0))
        asked.settimeout(_PATIENCE)
        return {number: _route(asked, sequence, number) for sequence, number in enumerate(numbers, 1)}


def _route(asked: socket.socket, sequence: int, number: int) -> _Route:
    """Ask for one route and return it; the kernel has answered before `send` returns."""
    four = number < V6_FIRST
    raw = number.to_bytes(4, "big") if four else (number - V6_FIRST).to_bytes(16, "big")
    family = socket.AF_INET if four else socket.AF_INET6
    header = _ROUTE.pack(family, len(raw) * 8, 0, 0, 0, 0, 0, 0, 0)
    try:
        asked.send(message(_GET_ROUTE, REQUEST, sequence, header + attribute(_DESTINATION, raw)))
        data = asked.recv(_BUFFER)
    except OSError as error:
        raise NetlinkError("asking for a route", error.errno or errno.ETIMEDOUT) from error
    for kind, _, (start, end) in messages(data):
        if kind == ERROR:
            problem = error_number(data, start)
            if problem not in _GONE:
                raise NetlinkError(f"asking for a route ({os.strerror(problem)})", problem)
        elif kind == _NEW_ROUTE and _ROUTE.unpack_from(data, start)[7] == _UNICAST:
            parts = {what: data[first:last] for what, first, last in attributes(data, start + _ROUTE.size, end)}
            if _INTERFACE in parts:
                return _Route(_NUMBER.unpack(parts[_INTERFACE])[0], _GATEWAY in parts or _VIA in parts)
    return _Route(0, is_onward=False)


def _text(data: bytes) -> str:
    return data.rstrip(b"\0").decode("utf-8", "replace")
