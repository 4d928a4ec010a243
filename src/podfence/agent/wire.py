# SPDX-License-Identifier: Apache-2.0
"""Notices and reports as bytes: MessagePack, an array of type, kind and content for each notice.

Where an object came from stays behind: it is of use where manifests are, and its text would come along.
Addresses are texts, because numbers of MessagePack have 64 bits.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Final, get_args

import msgspec

from podfence.agent.reports import Report
from podfence.agent.source import Attached, Bookmark, Synced, Unreadable, Verify
from podfence.cluster.state import Event, EventType
from podfence.dataplane.links import Links, PodLink
from podfence.kube.objects import Key, KubeObject
from podfence.sets.addresses import format_address, parse_address

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from podfence.agent.source import Notice


class _Frame(msgspec.Struct, array_like=True, gc=False):
    type: str
    kind: str = ""
    content: msgspec.Raw = msgspec.Raw(b"\xc0")


class _Named(msgspec.Struct):
    namespace: str = ""
    name: str = ""


class _PodLink(msgspec.Struct, array_like=True):
    interface: str
    bridge: str
    mac: str
    addresses: list[str]
    pod: str
    exempt: bool


class _Links(msgspec.Struct, array_like=True):
    pods: list[_PodLink]
    bridges: list[str]
    uplinks: list[str]
    reserved: list[str]
    tunnel_ports: list[int]
    tunnel_protocols: list[int]
    held: list[str]
    tunnel_kinds: list[str]


_ATTACHED: Final = "attached"
_BOOKMARK: Final = "bookmark"
_SYNCED: Final = "synced"
_VERIFY: Final = "verify"

_ENCODER: Final = msgspec.msgpack.Encoder()
_FRAMES: Final = msgspec.msgpack.Decoder(_Frame)
_NAMES: Final = msgspec.msgpack.Decoder(_Named)
_LINKS: Final = msgspec.msgpack.Decoder(_Links)
_REVISIONS: Final = msgspec.msgpack.Decoder(int)
_REPORTS: Final = msgspec.msgpack.Decoder(Report)
_OBJECTS: Final[Mapping[str, msgspec.msgpack.Decoder[KubeObject]]] = {
    kind.__name__: msgspec.msgpack.Decoder(kind) for kind in get_args(KubeObject)
}
_TYPES: Final[Mapping[str, EventType]] = {str(item): item for item in EventType}


def schema() -> str:
    """Return a digest of what objects have: another one if a field came or went, or is of another type."""
    told = repr([msgspec.inspect.type_info(kind) for kind in get_args(KubeObject)])
    return hashlib.sha256(told.encode()).hexdigest()[:16]


def encode_event(event: Event) -> bytes:
    """Return an event without its object's origin."""
    item = event.object
    if item.origin is not None:
        item = msgspec.structs.replace(item, origin=None)
    return _ENCODER.encode((event.type, type(item).__name__, item))


def encode_notice(notice: Notice) -> bytes:
    """Return a notice; raise TypeError for one that only a reader makes."""
    match notice:
        case Event():
            return encode_event(notice)
        case Bookmark(revision):
            return _ENCODER.encode((_BOOKMARK, "", revision))
        case Synced():
            return _ENCODER.encode((_SYNCED,))
        case Verify():
            return _ENCODER.encode((_VERIFY,))
        case Attached(links):
            return _ENCODER.encode((_ATTACHED, "", _on_the_wire(links)))
        case Unreadable():
            raise TypeError("what cannot be read is never sent")


def decode_event(data: bytes | memoryview) -> Event:
    """Return the event in these bytes; raise ValueError, with what and why, if they are none."""
    found = decode_notice(data)
    if isinstance(found, Event):
        return found
    raise ValueError(found.reason if isinstance(found, Unreadable) else f"{found} is no event")


def decode_notice(data: bytes | memoryview) -> Notice:
    """Return the notice in these bytes; what cannot be read is a notice too."""
    kind, content = "", msgspec.Raw()
    try:
        frame = _FRAMES.decode(data)
        kind, content = frame.kind, frame.content
        if (event_type := _TYPES.get(frame.type)) is not None:
            return Event(event_type, _OBJECTS[kind].decode(content))
        if frame.type == _BOOKMARK:
            return Bookmark(_REVISIONS.decode(content))
        if frame.type == _SYNCED:
            return Synced()
        if frame.type == _VERIFY:
            return Verify()
        if frame.type == _ATTACHED:
            return Attached(_off_the_wire(_LINKS.decode(content)))
    except KeyError:
        return Unreadable(f"an event was left out: there are no objects of kind {kind!r}")
    except ValueError as error:
        return Unreadable(f"an event{_about(kind, content)} was left out, because it cannot be read: {error}")
    return Unreadable(f"an event was left out: there is no type {frame.type!r}")


def _on_the_wire(links: Links) -> _Links:
    return _Links(
        [
            _PodLink(item.interface, item.bridge, item.mac, _texts(item.addresses), item.pod, item.exempt)
            for item in links.pods
        ],
        sorted(links.bridges),
        sorted(links.uplinks),
        _texts(sorted(links.reserved)),
        sorted(links.tunnel_ports),
        sorted(links.tunnel_protocols),
        sorted(links.held),
        sorted(links.tunnel_kinds),
    )


def _off_the_wire(found: _Links) -> Links:
    """Return what was sent; raise ValueError for an address that is none."""
    return Links(
        tuple(
            PodLink(item.interface, item.bridge, item.mac, _numbers(item.addresses), item.pod, item.exempt)
            for item in found.pods
        ),
        frozenset(found.bridges),
        frozenset(found.uplinks),
        frozenset(_numbers(found.reserved)),
        frozenset(found.tunnel_ports),
        frozenset(found.tunnel_protocols),
        frozenset(found.held),
        frozenset(found.tunnel_kinds),
    )


def _texts(numbers: Iterable[int]) -> list[str]:
    return [format_address(number) for number in numbers]


def _numbers(texts: Iterable[str]) -> tuple[int, ...]:
    return tuple(parse_address(text) for text in texts)


def encode_report(report: Report) -> bytes:
    """Return a report."""
    return _ENCODER.encode(report)


def decode_report(data: bytes | memoryview) -> Report:
    """Return the report in these bytes; raise DecodeError if they are none."""
    return _REPORTS.decode(data)


def _about(kind: str, content: msgspec.Raw) -> str:
    """Return which object something unreadable was about, as far as that can be told."""
    if not kind:
        return ""
    try:
        found = _NAMES.decode(content)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return f" about a {kind}"
    return f" about {Key(kind, found.namespace, found.name)}"
