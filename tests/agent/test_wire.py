# SPDX-License-Identifier: Apache-2.0
"""Notices and reports as bytes and back."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING

import msgspec
import pytest

from podfence.agent.reports import Record, Report
from podfence.agent.source import Attached, Bookmark, Synced, Unreadable, Verify
from podfence.agent.wire import decode_event, decode_notice, decode_report, encode_event, encode_notice, encode_report
from podfence.cluster.state import Event, EventType
from podfence.dataplane.links import Links, PodLink
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
from podfence.sets.addresses import parse_address
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


LINKS = Links(
    (
        PodLink("veth1", "cni0", "0a:58:0a:f4:01:02", (parse_address("10.244.1.2"), parse_address("fd00::2")), "a/w"),
        PodLink("cali1", "", "", (parse_address("10.244.1.3"),), "a/router", exempt=True),
    ),
    bridges=frozenset({"cni0"}),
    uplinks=frozenset({"eth1", "bond0"}),
    reserved=frozenset({parse_address("10.244.1.1"), parse_address("fe80::1")}),
    tunnel_ports=frozenset({8472}),
    tunnel_protocols=frozenset({4, 41}),
    tunnel_kinds=frozenset({"vxlan", "sit"}),
    held=frozenset({"veth2"}),
)


@pytest.mark.parametrize("notice", [Bookmark(7), Synced(), Verify(), Attached(Links()), Attached(LINKS)])
def test_a_mark_comes_back_as_it_was(notice: Bookmark | Synced | Verify | Attached) -> None:
    found = decode_notice(encode_notice(notice))
    assert type(found) is type(notice)
    assert found == notice


def test_where_an_object_came_from_stays_behind(tmp_path: Path) -> None:
    text = "apiVersion: v1\nkind: Namespace\nmetadata: {name: shop, annotations: {a: b}}\n"
    (tmp_path / "shop.yaml").write_text(text)
    (item,) = load([str(tmp_path)]).objects
    assert item.origin is not None
    data = encode_event(Event(EventType.ADDED, item))
    assert decode_event(data).object.origin is None
    assert b"shop.yaml" not in data


def test_a_report_comes_back_as_it_was() -> None:
    report = Report(
        node="n1",
        enforcing=True,
        revision=3,
        records=(Record("Pod", "shop", "web", EventType.ADDED, 0.25),),
        drift=(),
        cut=2,
    )
    assert decode_report(encode_report(report)) == report
    assert msgspec.json.decode(msgspec.json.encode(report), type=Report) == report


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "an event was left out, because it cannot be read: "),
        (
            msgspec.msgpack.encode(["added", "Secret", {}]),
            "an event was left out: there are no objects of kind 'Secret'",
        ),
        (msgspec.msgpack.encode(["moved", "Pod", {}]), "an event was left out: there is no type 'moved'"),
        (
            msgspec.msgpack.encode(["added", "Pod", {"namespace": "shop", "name": "web", "phase": 1}]),
            "an event about Pod shop/web was left out, because it cannot be read: Expected `str`, got `int` - at `$.phase`",
        ),
        (
            msgspec.msgpack.encode(["added", "Pod", {"name": 1}]),
            "an event about a Pod was left out, because it cannot be read: Expected `str`, got `int` - at `$.name`",
        ),
        (
            msgspec.msgpack.encode(
                ["attached", "", [[["v", "b", "m", ["web"], "a/w", False]], [], [], [], [], [], [], []]]
            ),
            "an event was left out, because it cannot be read: 'web' is not an IP address",
        ),
        (
            msgspec.msgpack.encode(["attached", "", 7]),
            "an event was left out, because it cannot be read: Expected `array`, got `int`",
        ),
    ],
)
def test_what_cannot_be_read_is_named(content: bytes, reason: str) -> None:
    found = decode_notice(content)
    assert isinstance(found, Unreadable)
    assert found.reason.startswith(reason)
    with pytest.raises(ValueError, match="an event"):
        decode_event(content)
