# SPDX-License-Identifier: Apache-2.0
"""The child that measures what somebody waits for who types kubectl into a lab."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from functools import partial
from typing import TYPE_CHECKING, Final

from bench.cluster import taken
from podfence.lab import rest
from podfence.lab.client import Client
from podfence.lab.store.resources import RESOURCES

if TYPE_CHECKING:
    from podfence.lab.rest import Rest

_PODS: Final = RESOURCES["pods"]
_PODS_OF_A_NODE: Final = 250
_BEAT: Final = 0.005
_OF_CROWD: Final = {"labelSelector": "app=crowd", "fieldSelector": "status.phase!=Running", "limit": "1"}


def main() -> None:
    """Print a JSON line of name and seconds for each wait; the arguments are kubectl, rounds and pods of a crowd."""
    kubectl, rounds, crowd = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    nodes = max(3, -(-crowd // _PODS_OF_A_NODE))
    os.environ["PODFENCE_LAB"] = name = f"bench-{os.getpid()}"
    client = Client(name)
    pods = [pod(f"crowd-{place}") for place in range(crowd)]
    written = json.dumps({"apiVersion": "v1", "kind": "List", "items": pods})
    for number in range(rounds):
        start = time.perf_counter()
        try:
            _lab("up", "--quiet", f"--nodes={nodes}")
            os.environ["KUBECONFIG"] = str(client.kubeconfig())
            _run(kubectl, "get", "pods")
            print(json.dumps(["lab up, until kubectl get pods has answered", time.perf_counter() - start]))
            with rest.Rest(client.access(), lambda _text: None) as server:
                for turn in range(rounds):
                    taken("kubectl run, until the pod runs", partial(one, kubectl, server, f"one-{turn}"))
                if number == rounds - 1:
                    taken(f"kubectl apply of {crowd:,} pods, until all run", partial(many, kubectl, server, written))
        finally:
            _lab("down")


def one(kubectl: str, server: Rest, name: str) -> None:
    """Run a pod, and return when it runs."""
    _run(kubectl, "run", name, "--image=nginx", "--port=80")
    path = rest.path(_PODS, "default", name)
    while (server.find(path) or {})["status"]["phase"] != "Running":
        time.sleep(_BEAT)


def many(kubectl: str, server: Rest, written: str) -> None:
    """Apply pods in one go, and return when all of them run."""
    _run(kubectl, "apply", "--filename=-", stdin=written)
    while server.send("GET", rest.path(_PODS, "default", query=_OF_CROWD))["items"]:
        time.sleep(_BEAT)


def pod(name: str) -> dict[str, object]:
    """Return a pod of the crowd."""
    container = {"name": "main", "image": "any", "ports": [{"containerPort": 8080}]}
    meta = {"name": name, "labels": {"app": "crowd"}}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": {"containers": [container]}}


def _lab(*words: str) -> None:
    _run(sys.executable, "-m", "podfence", "lab", *words)


def _run(*command: str, stdin: str = "") -> None:
    subprocess.run(command, input=stdin, text=True, stdout=subprocess.DEVNULL, check=True)


if __name__ == "__main__":
    main()
