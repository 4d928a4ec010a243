# SPDX-License-Identifier: Apache-2.0
"""Events as bytes and back."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING

import msgspec
import pytest

from podfence.agent.wire import decode_event, encode_event
from podfence.cluster.state import Event, EventType
from podfence.kube.load import load
from podfence.kube.objects import (
    Backend,
    EndpointPort,
    EndpointSlice,
    Ingress,
    KubeObject,
    Owner,
    PodTemplate,
    Service,
    ServicePort,
    Workload,
)
from tests.dataplane import dense

if TYPE_CHECKING:
    from pathlib import Path

OBJECTS: list[KubeObject] = [
    *dense.cluster(Random(1)),
    Workload(
        kind="Deployment", namespace="a", name="w", template=PodTemplate(labels={"a": "b"}), owner=Owner("X", "y")
    ),
    Service(namespace="a", name="s", selector={}, ports=(ServicePort(80, "http"), ServicePort(53, 5353, "UDP"))),
    EndpointSlice(
        namespace="a", name="e", service="s", backends=(Backend(("10.0.0.1",), "p"),), ports=(EndpointPort(None),)
    ),
    Ingress(namespace="a", name="i", services=("s",)),
]


@pytest.mark.parametrize("item", OBJECTS, ids=lambda item: f"{type(item).__name__} {item.key.name}")
def test_an_object_comes_back_as_it_was(item: KubeObject) -> None:
    event = decode_event(encode_event(Event(EventType.MODIFIED, item)))
    assert event.type is EventType.MODIFIED
    assert type(event.object) is type(item)
    assert msgspec.structs.asdict(event.object) == msgspec.structs.asdict(item)


def test_where_an_object_came_from_stays_behind(tmp_path: Path) -> None:
    text = "apiVersion: v1\nkind: Namespace\nmetadata: {name: shop, annotations: {a: b}}\n"
    (tmp_path / "shop.yaml").write_text(text)
    (item,) = load([str(tmp_path)]).objects
    assert item.origin is not None
    data = encode_event(Event(EventType.ADDED, item))
    assert decode_event(data).object.origin is None
    assert b"shop.yaml" not in data


@pytest.mark.parametrize(
    "content",
    [
        b"",
        msgspec.msgpack.encode(["added", "Secret", {}]),
        msgspec.msgpack.encode(["moved", "Pod", {}]),
        msgspec.msgpack.encode(["added", "Pod", {"namespace": "shop", "name": "web", "phase": 1}]),
    ],
)
def test_what_is_no_event_is_refused(content: bytes) -> None:
    with pytest.raises(ValueError, match=r"Secret|moved|phase|truncated"):
        decode_event(content)
