# SPDX-License-Identifier: Apache-2.0
"""Whatever is written to the store of a lab is refused in words or held, and the lab goes on.

The API server checks objects before it stores them. This is what holds if it lets something pass.
"""

from __future__ import annotations

import random

import pytest

from podfence.lab.store.errors import StoreError
from podfence.lab.store.resources import RESOURCES
from tests.lab import worlds
from tests.twin.effort import part

FIELDS = (
    "addresses", "args", "clusterIP", "clusterIPs", "command", "completions", "conditions", "containers", "dnsConfig",
    "egress", "endpoints", "env", "hostNetwork", "image", "ingress", "initContainers", "jobTemplate", "labels",
    "matchExpressions", "matchLabels", "metadata", "name", "nodeName", "nodePort", "nodeSelector", "ordinals",
    "parallelism", "podSelector", "policyTypes", "port", "ports", "replicas", "restartPolicy", "selector", "spec",
    "subsets", "targetPort", "template", "type",
)  # fmt: skip
VALUES = (None, 0, -1, 5, True, "", "x", "app", "web", 10**12, 1.5, "Always", "80")
KEYS = [key for key, row in RESOURCES.items() if not row.stored_as]
LABELS: tuple[dict[str, str | None] | None, ...] = ({}, {"app": "web"}, {"app": None}, None)


def junk(chance: random.Random, depth: int = 0) -> object:
    kind = chance.random()
    if depth > 3 or kind < 0.35:
        return chance.choice(VALUES)
    if kind < 0.55:
        return [junk(chance, depth + 1) for _ in range(chance.randrange(3))]
    return {chance.choice(FIELDS): junk(chance, depth + 1) for _ in range(chance.randrange(5))}


def hostile(chance: random.Random, key: str) -> dict[str, object]:
    row = RESOURCES[key]
    spec = junk(chance)
    if chance.random() < 0.4:
        template = {"metadata": {"labels": {"app": "web"}}, "spec": junk(chance, 1)}
        spec = {"selector": {"matchLabels": {"app": "web"}}, "template": template, "replicas": junk(chance, 3)}
    top = {field: junk(chance) for field in ("endpoints", "ports", "subsets", "data") if chance.random() < 0.2}
    metadata = {"name": chance.choice("ab"), "namespace": "default", "labels": chance.choice(LABELS)}
    return {"apiVersion": row.api_version, "kind": row.kind, "metadata": metadata, "spec": spec, **top}


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize(
    "body", ["spec: 3", "spec: null", "spec: {template: null}", "spec: {ports: [null]}", "data: 3"]
)
def test_applied_objects_that_make_no_sense_are_refused_or_held(key: str, body: str) -> None:
    row = RESOURCES[key]
    made = worlds.world(1)
    for _ in range(2):
        worlds.errors(made, f"apiVersion: {row.api_version}\nkind: {row.kind}\nmetadata: {{name: x}}\n{body}\n")
        worlds.settle(made)


@pytest.mark.parametrize("seed", range(part(100)))
def test_objects_that_make_no_sense_are_refused_or_held(seed: int) -> None:
    chance = random.Random(seed)
    made = worlds.world(1)
    for _ in range(8):
        key = chance.choice(KEYS)
        obj = hostile(chance, key)
        try:
            if chance.random() < 0.3:
                made.store.update(key, obj)
            else:
                made.store.create(key, obj)
        except StoreError:
            continue
        worlds.settle(made)
    worlds.apply(made, worlds.pod("last"))
    worlds.settle(made)
    assert worlds.pods(made)["last"].phase == "Running"
