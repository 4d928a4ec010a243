# SPDX-License-Identifier: Apache-2.0
"""The commands of kubectl that watch, ask about the server, or are refused: what each prints."""

from __future__ import annotations

import os
import subprocess
import threading
from typing import TYPE_CHECKING

import pytest

from tests.lab.apiserver.serving import Served, served
from tests.lab.apiserver.test_recorded_commands import write_kubeconfig
from tests.lab.kubectl import KUBECTL, QUICKLY, needs_kubectl

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

pytestmark = needs_kubectl

TEMPLATE = {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "nginx"}]}}
DEPLOYMENT = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {"name": "d", "namespace": "default"},
    "spec": {"replicas": 1, "selector": {"matchLabels": {"a": "b"}}, "template": TEMPLATE},
}
POD = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {"name": "p", "namespace": "default", "labels": {"a": "b"}},
    "spec": {"containers": [{"name": "c", "image": "nginx"}]},
}
READY = {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}
ROLLED_OUT = {"observedGeneration": 1, **dict.fromkeys(("replicas", "updatedReplicas", "availableReplicas"), 1)}


class Kubectl:
    """Runs kubectl against a server."""

    def __init__(self, server: Served, home: Path) -> None:
        write_kubeconfig(home / "kubeconfig", server)
        self.server = server
        self._environ = {
            "KUBECONFIG": str(home / "kubeconfig"),
            "HOME": str(home),
            "PATH": os.environ["PATH"],
            **QUICKLY,
        }

    def start(self, *args: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [str(KUBECTL), *args], env=self._environ, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )

    def run(self, *args: str, stdin: str = "") -> tuple[int, str]:
        done = subprocess.run(
            [str(KUBECTL), *args],
            env=self._environ,
            text=True,
            check=False,
            timeout=60,
            input=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        return done.returncode, done.stdout


@pytest.fixture(scope="module")
def kubectl(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kubectl]:
    with served() as server:
        server.store.create("pods", POD)
        server.store.create("deployments.apps", DEPLOYMENT)
        yield Kubectl(server, tmp_path_factory.mktemp("home"))


@pytest.mark.parametrize(
    ("line", "code", "text"),
    [
        ("version", 0, "Server Version: v1.36.0+podfence"),
        ("api-resources --api-group=networking.k8s.io", 0, "networkpolicies   netpol"),
        ("api-versions", 0, "networking.k8s.io/v1\n"),
        ("explain networkpolicy.spec", 0, "podSelector\t<LabelSelector>"),
        ("explain netpol.spec.ingress.ports.port", 0, "FIELD: port <IntOrString>"),
        ("explain networkpolicy.spec.foo", 1, 'field "foo" does not exist'),
        ("explain foo", 1, "the server doesn't have a resource type"),
        ("auth can-i create networkpolicies", 0, "yes"),
        ("auth can-i --list", 0, "*.*"),
        ("auth whoami", 0, "podfence:admin"),
        ("describe namespace default", 0, "No resource quota.\n\nNo LimitRange resource."),
        ("get networkpolicies.extensions", 0, "No resources found"),
        ("wait --for=condition=Available deploy/nope --timeout=1s", 1, '"nope" not found'),
        ("wait --for=condition=Ready pod/p --timeout=1s", 1, "timed out waiting for the condition on pods/p"),
        ("get pods --as=bob", 1, "a lab has one user, who cannot act as another"),
        ("top pods", 1, "Metrics API not available"),
        ("apply --server-side -f -", 1, "use kubectl apply without --server-side"),
        ("port-forward pod/p 1:1", 1, "pod is not running"),
        ("get hpa", 1, "the server doesn't have a resource type"),
        ("create quota q --hard=pods=1", 1, "the server could not find the requested resource"),
        ("create token default", 1, "make no tokens"),
        ("delete --raw /api/v1/namespaces/default/pods/nope", 1, "not found"),
    ],
)
def test_a_command_prints_what_it_should(kubectl: Kubectl, line: str, code: int, text: str) -> None:
    stdin = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: m\n"
    found, output = kubectl.run(*line.split(), stdin=stdin)
    assert text in output
    assert found == code


@pytest.mark.parametrize(
    ("line", "act", "text"),
    [
        (
            "wait --for=condition=Ready pod/p --timeout=30s",
            lambda store: store.update("pods", {**POD, "status": READY}, status=True),
            "pod/p condition met",
        ),
        (
            "rollout status deployment/d --timeout=30s",
            lambda store: store.update("deployments.apps", {**DEPLOYMENT, "status": ROLLED_OUT}, status=True),
            'deployment "d" successfully rolled out',
        ),
        (
            "get configmaps -w --output-watch-events --request-timeout=3s",
            lambda store: store.create("configmaps", {"metadata": {"name": "seen", "namespace": "default"}}),
            "ADDED      seen   0",
        ),
        (
            "delete namespace going --timeout=30s",
            lambda store: store.finalize("going"),
            'namespace "going" deleted',
        ),
        (
            "wait --for=delete pod/p --timeout=30s",
            lambda store: store.delete("pods", "default", "p"),
            "pod/p condition met",
        ),
    ],
)
def test_a_command_that_waits_sees_the_change(
    kubectl: Kubectl, line: str, act: Callable[..., object], text: str
) -> None:
    server = kubectl.server
    if "going" in line:
        server.store.create("namespaces", {"metadata": {"name": "going"}})
    assert server.serving.server is not None
    hub = server.serving.server.hub
    watches = threading.Event()
    start = hub.events

    def events(*args: object) -> object:
        watches.set()
        return start(*args)  # type: ignore[arg-type] # passed on

    hub.events = events  # type: ignore[method-assign,assignment] # to know when kubectl watches
    try:
        process = kubectl.start(*line.split())
        assert watches.wait(60)
        act(server.store)
        output, _ = process.communicate(timeout=60)
    finally:
        hub.events = start  # type: ignore[method-assign]
    assert text in output
