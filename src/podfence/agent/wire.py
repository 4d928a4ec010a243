# SPDX-License-Identifier: Apache-2.0
"""Events as bytes: MessagePack, an array of type, kind and content for each.

Where an object came from stays behind: it is of use where manifests are, and its text would come along.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Final, get_args

import msgspec

from podfence.cluster.state import Event, EventType
from podfence.kube.objects import Kept, KubeObject

if TYPE_CHECKING:
    from collections.abc import Mapping


class _Frame(msgspec.Struct, array_like=True, gc=False):
    type: EventType
    kind: str
    content: msgspec.Raw


_ENCODER: Final = msgspec.msgpack.Encoder()
_FRAMES: Final = msgspec.msgpack.Decoder(_Frame)
# No agent is told of what only labs keep.
_TYPES: Final = tuple(kind for kind in get_args(KubeObject) if kind is not Kept)
_OBJECTS: Final[Mapping[str, msgspec.msgpack.Decoder[KubeObject]]] = {
    kind.__name__: msgspec.msgpack.Decoder(kind) for kind in _TYPES
}


def schema() -> str:
    """Return a digest of what objects have: another one if a field came or went, or is of another type."""
    told = repr([msgspec.inspect.type_info(kind) for kind in _TYPES])
    return hashlib.sha256(told.encode()).hexdigest()[:16]


def encode_event(event: Event) -> bytes:
    """Return an event without its object's origin."""
    item = event.object
    if item.origin is not None:
        item = msgspec.structs.replace(item, origin=None)
    return _ENCODER.encode((event.type, type(item).__name__, item))


def decode_event(data: bytes | memoryview) -> Event:
    """Return the event in these bytes; raise ValueError if they are none."""
    frame = _FRAMES.decode(data)
    decoder = _OBJECTS.get(frame.kind)
    if decoder is None:
        raise ValueError(f"there are no objects of kind {frame.kind!r}")
    return Event(frame.type, decoder.decode(frame.content))
