# SPDX-License-Identifier: Apache-2.0
"""Notices and reports as bytes: MessagePack, an array of type, kind and content for each notice.

Where an object came from stays behind: it is of use where manifests are, and its text would come along.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Final, get_args

import msgspec

from podfence.agent.reports import Report
from podfence.agent.source import Bookmark, Synced, Unreadable, Verify
from podfence.cluster.state import Event, EventType
from podfence.kube.objects import KubeObject

if TYPE_CHECKING:
    from collections.abc import Mapping

    from podfence.agent.source import Notice


class _Frame(msgspec.Struct, array_like=True, gc=False):
    type: str
    kind: str = ""
    content: msgspec.Raw = msgspec.Raw(b"\xc0")


class _Named(msgspec.Struct):
    namespace: str = ""
    name: str = ""


_BOOKMARK: Final = "bookmark"
_SYNCED: Final = "synced"
_VERIFY: Final = "verify"

_ENCODER: Final = msgspec.msgpack.Encoder()
_FRAMES: Final = msgspec.msgpack.Decoder(_Frame)
_NAMES: Final = msgspec.msgpack.Decoder(_Named)
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
    except KeyError:
        return Unreadable(f"an event was left out: there are no objects of kind {kind!r}")
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        return Unreadable(f"an event{_about(kind, content)} was left out, because it cannot be read: {error}")
    return Unreadable(f"an event was left out: there is no type {frame.type!r}")


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
    return f" about {kind} {f'{found.namespace}/' if found.namespace else ''}{found.name}"
