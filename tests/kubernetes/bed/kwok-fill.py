#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Fills the cluster with nodes, namespaces and pods that kwok plays (kwok-up.sh first), or takes them away again.

usage: kwok-fill.py [--nodes N] [--namespaces N] [--pods N] [--policies N] [--delete]

The work directory is PODFENCE_BED; the API server is reached through the control plane's network namespace.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import ssl
import subprocess
import sys
import threading
import time
import urllib.parse
from pathlib import Path
from typing import Any, Final, NamedTuple

_THREADS: Final = 8
_PREFIX: Final = "fake-"


class Request(NamedTuple):
    """One call of the API."""

    verb: str
    path: str
    body: dict[str, Any] | None = None


class Api:
    """The API server, as the administrator of the bed in a work directory."""

    def __init__(self, work: Path) -> None:
        settings = dict(word.split("=", 1) for word in (work / "conf/settings").read_text(encoding="utf-8").split())
        self.namespace = settings["PODFENCE_BED_NAME"]
        self._host = f"{settings['PODFENCE_BED_NET']}.1:6443"
        self._context = ssl.create_default_context(cafile=work / "pki/ca.crt")
        self._context.load_cert_chain(work / "pki/admin.crt", work / "pki/admin.key")

    def connect(self) -> http.client.HTTPSConnection:
        """Return a connection of its own for one thread."""
        return http.client.HTTPSConnection(self._host, context=self._context, timeout=60)

    def get(self, path: str) -> dict[str, Any]:
        """Return one answer."""
        return _call(self.connect(), Request("GET", path))

    def do_all(self, requests: list[Request], what: str) -> None:
        """Send requests over some connections at once; the first failure ends the program."""
        start = time.monotonic()
        waiting = iter(requests)
        lock = threading.Lock()
        failures: list[Exception] = []

        def work() -> None:
            connection = self.connect()
            while not failures:
                with lock:
                    request = next(waiting, None)
                if request is None:
                    return
                try:
                    _call(connection, request)
                except (OSError, RuntimeError, http.client.HTTPException) as error:
                    failures.append(error)

        threads = [threading.Thread(target=work) for _ in range(_THREADS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if failures:
            raise SystemExit(str(failures[0]))
        say(f"{what}: {len(requests)} in {time.monotonic() - start:.1f} s")


def _call(connection: http.client.HTTPSConnection, request: Request) -> dict[str, Any]:
    body = None if request.body is None else json.dumps(request.body)
    connection.request(request.verb, request.path, body, {"Content-Type": "application/json"})
    response = connection.getresponse()
    content = response.read()
    # What is there already, or gone already, is as it should be.
    if response.status >= 300 and response.status not in {404, 409}:
        raise RuntimeError(f"{request.verb} {request.path}: {response.status} {content[:300]!r}")
    answer: dict[str, Any] = json.loads(content) if content else {}
    return answer


def say(text: str) -> None:
    """Write a line of progress."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def node(i: int) -> Request:
    """Make a node that kwok plays."""
    room = {"cpu": "64", "memory": "256Gi", "pods": "1000"}
    name = f"{_PREFIX}{i}"
    # Without an operating system, so that agents do not go there.
    labels = {"type": "kwok", "kubernetes.io/hostname": name}
    return Request("POST", "/api/v1/nodes", {
        "metadata": {"name": name, "labels": labels},
        "spec": {"taints": [{"key": "kwok", "effect": "NoSchedule"}]},
        "status": {"capacity": room, "allocatable": room},
    })  # fmt: skip


def namespace(i: int) -> Request:
    """Make a namespace of one of ten teams."""
    return Request(
        "POST", "/api/v1/namespaces", {"metadata": {"name": f"{_PREFIX}{i}", "labels": {"team": f"t{i % 10}"}}}
    )


def pod(i: int, nodes: int, namespaces: int) -> Request:
    """Make a pod on one of the nodes."""
    return Request("POST", f"/api/v1/namespaces/{_PREFIX}{i % namespaces}/pods", {
        "metadata": {"name": f"p-{i}", "labels": {"app": f"a{i % 7}", "tier": f"t{i % 3}"}},
        "spec": {
            "nodeName": f"{_PREFIX}{i % nodes}",
            "automountServiceAccountToken": False,
            "tolerations": [{"operator": "Exists"}],
            "containers": [{"name": "c", "image": "fake", "ports": [{"name": "http", "containerPort": 80}]}],
        },
    })  # fmt: skip


def policy(i: int, namespaces: int) -> Request:
    """Make a policy of one application of a namespace: who may connect, by each form of peer in turn."""
    peers: list[dict[str, Any]] = [
        {"podSelector": {"matchLabels": {"app": f"a{i % 5}"}}},
        {"namespaceSelector": {"matchLabels": {"team": f"t{i % 10}"}}},
        {
            "namespaceSelector": {"matchLabels": {"team": f"t{i % 9}"}},
            "podSelector": {"matchExpressions": [{"key": "tier", "operator": "In", "values": [f"t{i % 3}"]}]},
        },
        {"ipBlock": {"cidr": f"198.18.{i % 200}.0/24", "except": [f"198.18.{i % 200}.128/26"]}},
    ]
    number = i // namespaces
    spec: dict[str, Any] = {
        "podSelector": {"matchLabels": {"app": f"a{number % 7}"}},
        "policyTypes": ["Ingress"],
        "ingress": [
            {"from": [peers[number % 4]], "ports": [{"port": "http" if number % 5 == 0 else 8000 + number % 50}]}
        ],
    }
    if number % 3 == 0:
        spec["policyTypes"] = ["Ingress", "Egress"]
        spec["egress"] = [{"to": [peers[(number + 1) % 4]]}, {"ports": [{"port": 53, "protocol": "UDP"}]}]
    return Request("POST", f"/apis/networking.k8s.io/v1/namespaces/{_PREFIX}{i % namespaces}/networkpolicies", {
        "metadata": {"name": f"np-{i}"},
        "spec": spec,
    })  # fmt: skip


def fill(api: Api, nodes: int, namespaces: int, pods: int, policies: int) -> None:
    """Make everything and wait until all pods run."""
    api.do_all([node(i) for i in range(nodes)], "nodes")
    api.do_all([namespace(i) for i in range(namespaces)], "namespaces")
    # A pod is refused until its namespace has its service account.
    accounts = "/api/v1/serviceaccounts?fieldSelector=" + urllib.parse.quote("metadata.name=default")
    deadline = time.monotonic() + 120
    while sum(item["metadata"]["namespace"].startswith(_PREFIX) for item in api.get(accounts)["items"]) < namespaces:
        if time.monotonic() > deadline:
            raise SystemExit("the namespaces have no service accounts: does the controller manager run?")
        time.sleep(0.5)
    api.do_all([policy(i, namespaces) for i in range(policies)], "policies")
    start = time.monotonic()
    api.do_all([pod(i, nodes, namespaces) for i in range(pods)], "pods")
    pending = "/api/v1/pods?limit=1&fieldSelector=" + urllib.parse.quote("status.phase!=Running,spec.nodeName!=")
    while api.get(pending)["items"]:
        if time.monotonic() - start > 900:
            raise SystemExit("not all pods run: does kwok?")
        time.sleep(1)
    say(f"all pods running {time.monotonic() - start:.1f} s after the first was made")


def delete(api: Api, nodes: int, namespaces: int) -> None:
    """Take everything away."""
    api.do_all([Request("DELETE", f"/api/v1/namespaces/{_PREFIX}{i}") for i in range(namespaces)], "namespaces deleted")
    api.do_all([Request("DELETE", f"/api/v1/nodes/{_PREFIX}{i}") for i in range(nodes)], "nodes deleted")


def main() -> None:
    """Enter the control plane's network namespace and do what is asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nodes", type=int, default=100)
    parser.add_argument("--namespaces", type=int, default=100)
    parser.add_argument("--pods", type=int, default=10000)
    parser.add_argument("--policies", type=int, default=0)
    parser.add_argument("--delete", action="store_true")
    asked = parser.parse_args()
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    api = Api(Path(os.environ.get("PODFENCE_BED") or cache / "podfence-bed"))
    place = Path("/run/netns", api.namespace)
    if not os.path.samestat(place.stat(), Path("/proc/self/ns/net").stat()):
        entered = subprocess.run(["nsenter", f"--net={place}", sys.executable, *sys.argv], check=False)
        raise SystemExit(entered.returncode)
    if asked.delete:
        delete(api, asked.nodes, asked.namespaces)
    else:
        fill(api, asked.nodes, asked.namespaces, asked.pods, asked.policies)


if __name__ == "__main__":
    main()
