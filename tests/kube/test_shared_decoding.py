# SPDX-License-Identifier: Apache-2.0
"""What two loads have in common is decoded once, and each has it as it would have read it alone."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import pytest

from podfence.kube.load import load
from podfence.kube.parsed import Parsed

if TYPE_CHECKING:
    from podfence.kube.decode import Validation
    from podfence.kube.load import Loaded

WAY: dict[bool, Validation] = {True: "strict", False: "lax"}
ROOT = Path(__file__).resolve().parents[2]

MANIFESTS = {
    "a.yaml": """\
apiVersion: v1
kind: List
items:
- {apiVersion: v1, kind: Namespace, metadata: {name: shop}}
- {apiVersion: v1, kind: Pod, metadata: {name: a}, spec: {containers: [{name: a, image: a}]}}
---
apiVersion: v1
kind: Endpoints
metadata: {name: db}
subsets: [{addresses: [{ip: 10.0.0.1}], ports: [{port: 80}]}]
---
apiVersion: apps/v1
kind: Deployment
metadata: {generateName: web-}
spec: {selector: {matchLabels: {a: b}}, template: {metadata: {labels: {a: b}}, spec: {containers: [{name: a, image: a}]}}}
---
{apiVersion: example.com/v1, kind: Thing, metadata: {name: x}}
""",
    "b.yaml": """\
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: p}
spec: {podSelector: {}, ingress: [{from: [{ipBlock: {cidr: 10.0.0.1/8}}]}]}
""",
}


def told(loaded: Loaded) -> object:
    """Return all that was read, with its places, those of parts of objects too."""
    objects = [
        (
            item.key,
            [getattr(item, name) for name in item.__struct_fields__ if name not in ("origin", "slices")],
            str(item.origin.at()) if item.origin else "",
            [str(part.origin.at()) for part in getattr(item, "slices", ()) if part.origin],
        )
        for item in loaded.objects
    ]
    rest = msgspec.structs.asdict(loaded)
    del rest["objects"]
    return objects, rest


@pytest.mark.parametrize("keep_going", [True, False])
def test_a_second_load_says_what_it_would_say_alone(*, keep_going: bool, tmp_path: Path) -> None:
    folders = tmp_path / "old", tmp_path / "new"
    for folder in folders:
        folder.mkdir()
        for name, text in MANIFESTS.items():
            (folder / name).write_text(text)
    parsed = Parsed()

    found = [
        load([str(folder)], validation=WAY[keep_going], keep_going=keep_going, parsed=parsed) for folder in folders
    ]

    assert list(map(told, found)) == [
        told(load([str(folder)], validation=WAY[keep_going], keep_going=keep_going)) for folder in folders
    ]


def test_objects_that_were_decoded_in_another_way_are_decoded_again(tmp_path: Path) -> None:
    for name, text in MANIFESTS.items():
        (tmp_path / name).write_text(text)
    parsed = Parsed()
    load([str(tmp_path)], parsed=parsed, validation="lax", namespace="one")

    found = load([str(tmp_path)], parsed=parsed, validation="lax", namespace="other")

    assert told(found) == told(load([str(tmp_path)], validation="lax", namespace="other"))


def test_the_examples_are_read_alike_from_two_places(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "examples", tmp_path / "examples", symlinks=True)
    parsed = Parsed()
    load([str(ROOT / "examples")], recursive=True, keep_going=True, parsed=parsed)

    found = load([str(tmp_path / "examples")], recursive=True, keep_going=True, parsed=parsed)

    assert told(found) == told(load([str(tmp_path / "examples")], recursive=True, keep_going=True))
