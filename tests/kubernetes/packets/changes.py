# SPDX-License-Identifier: Apache-2.0
"""Random changes of the town, of every kind that policies depend on."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

from tests.kubernetes.packets.fixture import NAMESPACES, apply, policy

if TYPE_CHECKING:
    from collections.abc import Callable
    from random import Random

    from tests.kubernetes.packets.fixture import Manifest, Town

_LABELS: Final = {
    "app": ("web", "api", "db", "shop"),
    "version": ("2", "", "3"),
    "public": ("yes",),
    "quarantine": ("yes",),
}
_SPACE_LABELS: Final = {"team": ("blue", "green", "red"), "tier": ("front", "back"), "empty": ("",)}
_PORTS: Final[tuple[Manifest, ...]] = (
    {"port": 80}, {"port": 81}, {"port": "http"}, {"port": "alt"}, {"protocol": "UDP", "port": "dns"}, {"protocol": "UDP"},
    {"port": 80, "endPort": 81}, {"port": 100, "endPort": 5000}, {"protocol": "UDP", "port": 80, "endPort": 5353}, {},
)  # fmt: skip


def selector(random: Random, labels: dict[str, tuple[str, ...]]) -> Manifest:
    """Return a random selector, of each of the forms there are."""
    key = random.choice(sorted(labels))
    values = labels[key]
    form = random.randrange(6)
    if form == 0:
        return {}
    if form == 1:
        return {"matchLabels": {key: random.choice(values)}}
    operator = ("In", "NotIn", "Exists", "DoesNotExist")[form - 2]
    some = {"values": random.sample(values, random.randint(1, len(values)))} if form < 4 else {}
    return {"matchExpressions": [{"key": key, "operator": operator, **some}]}


def peer(random: Random, town: Town) -> Manifest:
    """Return a random peer."""
    form = random.randrange(4)
    if form == 0:
        return {"podSelector": selector(random, _LABELS)}
    if form == 1:
        return {"namespaceSelector": selector(random, _SPACE_LABELS)}
    if form == 2:
        return {"podSelector": selector(random, _LABELS), "namespaceSelector": selector(random, _SPACE_LABELS)}
    node = random.choice(town.nodes)
    blocks = (
        {"cidr": "0.0.0.0/0", "except": [node.pods]},
        {"cidr": node.pods},
        {"cidr": f"{node.address}/32"},
        {"cidr": "203.0.113.0/24", "except": ["203.0.113.0/28", "203.0.113.64/26"]},
        {"cidr": "0.0.0.0/0"},
    )
    return {"ipBlock": random.choice(blocks)}


def spec(random: Random, town: Town) -> Manifest:
    """Return a random policy's body."""

    def rules(word: str) -> list[Manifest]:
        found = []
        for _ in range(random.randint(0, 2)):
            rule: Manifest = {}
            if random.random() < 0.8:
                rule[word] = [peer(random, town) for _ in range(random.randint(1, 2))]
            if random.random() < 0.7:
                rule["ports"] = random.sample(_PORTS, random.randint(1, 2))
            found.append(rule)
        return found

    types = random.choice((["Ingress"], ["Egress"], ["Ingress", "Egress"]))
    body: Manifest = {"podSelector": selector(random, _LABELS), "policyTypes": types}
    if "Ingress" in types:
        body["ingress"] = rules("from")
    if "Egress" in types:
        body["egress"] = rules("to")
    return body


class Changes:
    """Makes changes; what it says of each names all there is to it."""

    def __init__(self, random: Random, town: Town) -> None:
        self._random = random
        self._town = town
        self._made = 0

    def one(self) -> str:
        """Change something, and return what, once the API server has it (and a pod made anew is ready)."""
        kinds: tuple[tuple[Callable[[], str], int], ...] = (
            (self._create, 4), (self._alter, 4), (self._remove, 3), (self._label_pod, 5), (self._label_space, 3), (self._replace_pod, 4),
        )  # fmt: skip
        (chosen,) = self._random.choices([kind for kind, _ in kinds], [weight for _, weight in kinds])
        return chosen()

    def _create(self) -> str:
        self._made += 1
        key = (self._random.choice(sorted(NAMESPACES)), f"random-{self._made}")
        return self._put(key, "policy created")

    def _alter(self) -> str:
        return self._put(self._random.choice(sorted(self._town.policies)), "policy changed")

    def _put(self, key: tuple[str, str], what: str) -> str:
        self._town.policies[key] = item = policy(*key, spec(self._random, self._town))
        # Not applied but replaced: a policy may lose fields, and then must have lost them.
        verb = "create" if what == "policy created" else "replace"
        self._town.bed.kubectl(verb, "-f", "-", text=json.dumps(item))
        return f"{what}: {'/'.join(key)} {item['spec']}"

    def _remove(self) -> str:
        if len(self._town.policies) < 6:
            return self._create()
        key = self._random.choice(sorted(self._town.policies))
        del self._town.policies[key]
        self._town.bed.kubectl("-n", key[0], "delete", "networkpolicy", key[1])
        return f"policy deleted: {'/'.join(key)}"

    def _label_pod(self) -> str:
        key = self._random.choice(
            sorted(key for key, item in self._town.pods.items() if not item["spec"]["hostNetwork"])
        )
        name = self._random.choice(sorted(_LABELS))
        labels = self._town.pods[key]["metadata"]["labels"]
        text = self._flip(labels, name, _LABELS[name])
        self._town.bed.kubectl("-n", key[0], "label", "--overwrite", "pod", key[1], text)
        return f"pod labelled: {'/'.join(key)} {text}"

    def _label_space(self) -> str:
        space = self._random.choice(sorted(NAMESPACES))
        name = self._random.choice(sorted(_SPACE_LABELS))
        text = self._flip(self._town.namespaces[space], name, _SPACE_LABELS[name])
        self._town.bed.kubectl("label", "--overwrite", "namespace", space, text)
        return f"namespace labelled: {space} {text}"

    def _flip(self, labels: dict[str, str], name: str, values: tuple[str, ...]) -> str:
        if name in labels and self._random.random() < 0.4:
            del labels[name]
            return f"{name}-"
        labels[name] = self._random.choice(values)
        return f"{name}={labels[name]}"

    def _replace_pod(self) -> str:
        key = self._random.choice(
            sorted(key for key, item in self._town.pods.items() if not item["spec"]["hostNetwork"])
        )
        item = self._town.pods[key]
        node = self._random.choice(self._town.nodes)
        item["spec"]["nodeName"] = node.name
        self._town.bed.kubectl("-n", key[0], "delete", "pod", key[1], "--wait", "--timeout=60s")
        apply(self._town.bed, [item])
        self._town.wait_ready()
        return f"pod made again: {'/'.join(key)} on {node.name}"
