# SPDX-License-Identifier: Apache-2.0
"""The child that measures the lab: one is started, filled, verified and ended."""

from __future__ import annotations

import json
import os
import sys
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar

import msgspec

from podfence.kube.load import load
from podfence.lab.client import Client
from podfence.lab.verification.result import Verification

if TYPE_CHECKING:
    from collections.abc import Callable

    from podfence.kube.objects import KubeObject

_Result = TypeVar("_Result")

_NAMESPACES: Final = 10
_CHANGES: Final = 20
_FEW_CHANGES: Final = 4


def main() -> None:
    """Print a JSON line of name and seconds for each piece of work; the arguments are folder, pods and rounds."""
    folder, pods, rounds = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    objects = _written(folder / "lab.yaml", manifests(pods))
    changed = [_written(folder / f"policy-{number}.yaml", [policy("team0", 8000 + number)]) for number in range(2)]
    client = Client(f"bench-{os.getpid()}")

    for _ in range(rounds):
        taken("start an empty one of three nodes", lambda: client.up(nodes=3))
        try:
            taken(f"fill it with {pods} pods", lambda: client.apply(objects))
            # A look is not worth many.
            for number in range(_CHANGES if rounds > 1 else _FEW_CHANGES):
                taken("change a policy", partial(client.apply, changed[number % 2]))
            tried = taken("verify", lambda: verify(client))
        finally:
            taken("end it", client.down)
    print(json.dumps(["tried", tried]))


def _written(file: Path, items: list[dict[str, object]]) -> tuple[KubeObject, ...]:
    file.write_text("\n---\n".join(map(json.dumps, items)))
    return load([str(file)]).objects


def taken(name: str, work: Callable[[], _Result]) -> _Result:
    """Do some work, and print its name and the seconds it took."""
    start = time.perf_counter()
    result = work()
    print(json.dumps([name, time.perf_counter() - start]))
    return result


def verify(client: Client) -> int:
    """Try all pairs of pods; return how many connections that were. All must be as expected."""
    with client.conversation("verify", all_pairs=True) as replies:
        for reply in replies:
            if "progress" not in reply:
                found = msgspec.convert(reply, Verification)
                assert found.holds
                return found.tried
    raise AssertionError("the lab ended")


def manifests(pods: int) -> list[dict[str, object]]:
    """Return the objects for so many pods."""
    found: list[dict[str, object]] = []
    for number in range(_NAMESPACES):
        name = f"team{number}"
        meta = {"name": name, "labels": {"team": str(number % 3)}}
        found.append({"apiVersion": "v1", "kind": "Namespace", "metadata": meta})
        for app in ("front", "store"):
            container = {"name": "main", "image": "any", "ports": [{"containerPort": 8080}, {"containerPort": 9090}]}
            spec = {
                "replicas": pods // _NAMESPACES // 2,
                "selector": {"matchLabels": {"app": app}},
                "template": {"metadata": {"labels": {"app": app}}, "spec": {"containers": [container]}},
            }
            meta = {"name": app, "namespace": name}
            found.append({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": meta, "spec": spec})
        found.append(policy(name, 8080))
    return found


def policy(namespace: str, port: int) -> dict[str, object]:
    """Return the policy of a namespace, which admits some pods on one port."""
    peers = [
        {"podSelector": {"matchLabels": {"app": "front"}}},
        {"namespaceSelector": {"matchLabels": {"team": "1"}}},
    ]
    spec = {"podSelector": {"matchLabels": {"app": "store"}}, "ingress": [{"from": peers, "ports": [{"port": port}]}]}
    meta = {"name": "store", "namespace": namespace}
    return {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": meta, "spec": spec}


if __name__ == "__main__":
    main()
