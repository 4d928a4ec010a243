# SPDX-License-Identifier: Apache-2.0
"""The commands of kubectl that watch, ask about the server, or are refused: what each prints."""

from __future__ import annotations

import os
import subprocess
import threading
from typing import TYPE_CHECKING

import pytest

from podfence.lab.addresses import Plan
from podfence.lab.objects.world import World
from tests.lab.apiserver.serving import PATIENCE, Served, served
from tests.lab.apiserver.test_recorded_commands import write_kubeconfig
from tests.lab.kubectl import KUBECTL, QUICKLY, needs_kubectl

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from podfence.lab.store.store import Store

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


CONFIG_MAP = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: m\n"

LINES = {
    "version -o json": (0, '"gitVersion": "v1.36.0+podfence"'),
    "cluster-info": (0, "https://127.0.0.1:"),
    "events -n default": (0, "No events found in default namespace."),
    "api-resources --api-group=networking.k8s.io -o wide": (0, "networkpolicies   netpol"),
    "api-resources --namespaced=true -o name": (0, "networkpolicies.networking.k8s.io\n"),
    "api-versions": (0, "networking.k8s.io/v1\n"),
    "explain networkpolicy.spec": (0, "podSelector\t<LabelSelector>"),
    "explain netpol.spec.ingress.ports.port": (0, "FIELD: port <IntOrString>"),
    "explain networkpolicy.spec --recursive": (0, "    matchLabels\t<map[string]string>\n"),
    "explain networkpolicy.spec.foo": (1, 'field "foo" does not exist'),
    "explain foo": (1, "the server doesn't have a resource type"),
    "auth can-i create networkpolicies -n default": (0, "yes"),
    "auth can-i --list": (0, "*.*"),
    "auth whoami": (0, "podfence:admin"),
    "describe namespace default": (0, "No resource quota.\n\nNo LimitRange resource."),
    "get networkpolicies.extensions": (0, "No resources found"),
    "get pods p -L a --no-headers": (0, "   b\n"),
    "get pods --chunk-size=1 --sort-by=.metadata.name --server-print=false": (0, "NAME   AGE\np      "),
    "get pods p -o custom-columns=POD:.metadata.name --show-managed-fields": (0, "POD\np\n"),
    "get hpa": (1, "the server doesn't have a resource type"),
    "get -f -": (1, 'configmaps "m" not found'),
    "label pods --all x=y --dry-run=server": (0, "pod/p labeled (server dry run)"),
    "label pod p --list": (0, "a=b\n"),
    'annotate ns default net.beta.kubernetes.io/network-policy={"ingress":{"isolation":"DefaultDeny"}}': (
        0,
        "Warning: metadata.annotations[net.beta.kubernetes.io/network-policy]: it has had no effect since Kubernetes 1.7; ",
    ),
    "run x --image=nginx --dry-run=client -o yaml": (0, "kind: Pod\n"),
    "create deployment x --image=nginx --dry-run=client -o name": (0, "deployment.apps/x\n"),
    "create namespace x --dry-run=client": (0, "namespace/x created (dry run)"),
    "get pods p -o go-template={{.kind}}": (0, "Pod"),
    "wait --for=jsonpath={.metadata.name}=p pod/p --timeout=5s": (0, "pod/p condition met"),
    "wait --for=create pod/p --timeout=5s": (0, "pod/p condition met"),
    "rollout history deployment/d -n default": (0, "No rollout history found."),
    "wait --for=condition=Available deploy/nope --timeout=1s": (1, '"nope" not found'),
    "wait --for=condition=Ready pods --all --timeout=1s": (1, "timed out waiting for the condition on pods/p"),
    "apply -k /nowhere": (1, "not a valid directory"),
    "delete --raw /api/v1/namespaces/default/pods/nope": (1, "not found"),
    "delete pod,svc --all --force --grace-period=0 -n none": (0, "No resources found"),
    "get all -A": (0, "service/kubernetes"),
    "get pod p --subresource=status": (0, "NAME   READY"),
    "get pods -w --request-timeout=1s --match-server-version=false": (0, "NAME   READY"),
    "apply -f - --wait --overwrite=false --dry-run=server": (0, "configmap/m created (server dry run)"),
    "apply set-last-applied -f - --create-annotation --dry-run=server": (1, 'configmaps "m" not found'),
    "create -f - --save-config --dry-run=server -o name": (0, "configmap/m\n"),
    "create cronjob c --image=busybox --schedule=@daily --dry-run=server": (
        0,
        "cronjob.batch/c created (server dry run)",
    ),
    "create clusterrole system:x --verb=get --resource=pods --dry-run=server": (0, "k8s.io/system:x created"),
    "create service nodeport s --tcp=80 --node-port=30080 --dry-run=server": (0, "service/s created (server dry run)"),
    "create service externalname s --external-name=example.org --dry-run=server": (0, "service/s created"),
    "expose pod p --port=80 --protocol=UDP --cluster-ip=None --external-ip=1.2.3.4 --dry-run=server -o yaml": (
        0,
        "  externalIPs:\n  - 1.2.3.4\n",
    ),
    "run x --image=nginx --annotations=a=b --image-pull-policy=Always --privileged --dry-run=server -o yaml": (
        0,
        "      privileged: true\n",
    ),
    "set env deployment d A=b --dry-run=server": (0, "deployment.apps/d env updated (server dry run)"),
    "set resources deployment d --limits=cpu=1 --dry-run=server": (0, "resource requirements updated (server dry run)"),
    "set selector svc kubernetes a=b --dry-run=server": (0, "service/kubernetes selector updated (server dry run)"),
    "scale deploy d --replicas=3 --resource-version=1": (1, "Expected resource version to be 1, was "),
    "label pod p a=c --overwrite --resource-version=1": (1, "Operation cannot be fulfilled"),
    "rollout undo deployment/d --to-revision=9": (1, "unable to find specified revision 9 in history"),
    "events --for pod/p --types=Warning -n default": (0, "No events found in default namespace."),
    "debug pod/p --image=busybox --copy-to=p -q": (1, 'pods "p" already exists'),
    "delete pods -l a=b -A --dry-run=server --cascade=foreground": (0, 'pod "p" deleted'),
    "uncordon node-1": (0, "node/node-1 already uncordoned"),
    "delete configmaps --all --now --cascade=orphan --timeout=1s -n none": (0, "No resources found"),
}
"""Commands, with their exit code and something that they print."""

REFUSED = {
    "get pods --as=bob": "a lab has one user, who cannot act as another",
    "top pods -n default": "Metrics API not available",
    "apply --server-side --field-manager=me --force-conflicts -f -": "podfence labs have no server-side apply; leave out --server-side",
    "port-forward pod/p 1:1": "pod is not running",
    "create quota q --hard=pods=1": "the server could not find the requested resource",
    "create token default": "make no tokens",
    "create pdb x --selector=a=b --min-available=1": "the server could not find the requested resource",
    "diff --server-side -f -": "podfence labs have no server-side apply; leave out --server-side",
    "certificate approve x": "the server doesn't have a resource type",
    "cordon node-1": "pods run on all nodes of a lab; nodeName and nodeSelector choose the node of a pod",
    "taint nodes node-1 a=b:NoSchedule": "pods run on all nodes of a lab; nodeName and nodeSelector choose the node of a pod",
    "debug pod/p --image=busybox --target=c": "podfence labs have no ephemeral containers",
}
OTHER_CODES = {"cordon node-1": 0, "diff --server-side -f -": 2}
"""kubectl does not always exit with 1 then."""
"""Commands for what labs do not have, and why they fail."""

WAITING: dict[str, tuple[Callable[[Store], object], str]] = {
    "wait --for=condition=Ready pod/p --timeout=30s": (
        lambda store: store.update("pods", {**POD, "status": READY}, status=True),
        "pod/p condition met",
    ),
    "rollout status deployment/d -n default --timeout=30s": (
        lambda store: store.update("deployments.apps", {**DEPLOYMENT, "status": ROLLED_OUT}, status=True),
        'deployment "d" successfully rolled out',
    ),
    "get configmaps -w --output-watch-events --request-timeout=3s": (
        lambda store: store.create("configmaps", {"metadata": {"name": "seen", "namespace": "default"}}),
        "ADDED      seen   0",
    ),
    "get configmaps --watch-only -o name --request-timeout=3s": (
        lambda store: store.create("configmaps", {"metadata": {"name": "too", "namespace": "default"}}),
        "configmap/too",
    ),
    "delete namespace going --timeout=30s": (
        lambda store: store.finalize("going"),
        'namespace "going" deleted',
    ),
    "wait --for=delete pod/p -n default --timeout=30s": (
        lambda store: store.delete("pods", "default", "p"),
        "pod/p condition met",
    ),
}
"""Commands that wait, what happens then, and what they print because of it."""


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
            timeout=PATIENCE,
            input=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        return done.returncode, done.stdout


def fill(store: Store) -> None:
    """Have what the commands are about, and nothing else: the tests share it, and come in any order."""
    for resource, objects in (("pods", [POD]), ("deployments.apps", [DEPLOYMENT]), ("configmaps", [])):
        for item in store.list(resource, "default")[0]:
            store.delete(resource, "default", item["metadata"]["name"])
        for item in objects:
            store.create(resource, item)


@pytest.fixture(scope="module")
def kubectl(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kubectl]:
    # That of a lab, because it has nodes.
    with served(World(Plan(), 1).store) as server:
        fill(server.store)
        yield Kubectl(server, tmp_path_factory.mktemp("home"))


@pytest.mark.parametrize("line", LINES)
def test_a_command_prints_what_it_should(kubectl: Kubectl, line: str) -> None:
    code, text = LINES[line]
    found, output = kubectl.run(*line.split(), stdin=CONFIG_MAP)
    if "unrecognized condition" in output:
        pytest.skip("kubectl 1.30 cannot wait for what does not exist yet")
    assert text in output
    assert found == code


@pytest.mark.parametrize("line", REFUSED)
def test_what_a_lab_does_not_have_is_refused_with_a_sentence(kubectl: Kubectl, line: str) -> None:
    found, output = kubectl.run(*line.split(), stdin=CONFIG_MAP)
    assert REFUSED[line] in output
    assert found == OTHER_CODES.get(line, 1)


def test_acting_as_another_user_is_refused_with_the_sentence_also_by_a_kubectl_that_knows_nothing_yet(
    kubectl: Kubectl, tmp_path: Path
) -> None:
    found, output = kubectl.run("get", "pods", "--as=bob", f"--cache-dir={tmp_path}")
    assert (found, REFUSED["get pods --as=bob"] in output) == (1, True), output


@pytest.mark.parametrize("line", WAITING)
def test_a_command_that_waits_sees_the_change(kubectl: Kubectl, line: str) -> None:
    act, text = WAITING[line]
    server = kubectl.server
    if "going" in line:
        server.store.create("namespaces", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "going"}})
    assert server.serving.server is not None
    hub = server.serving.server.hub
    watches = threading.Event()
    start = hub.events

    def events(*args: object) -> object:
        watches.set()
        return start(*args)  # type: ignore[arg-type] # passed on

    hub.events = events  # type: ignore[method-assign,assignment] # to know when kubectl watches
    with kubectl.start(*line.split()) as process:
        try:
            assert watches.wait(PATIENCE)
            act(server.store)
            output, _ = process.communicate(timeout=PATIENCE)
        finally:
            process.kill()
            hub.events = start  # type: ignore[method-assign] # as it was
            fill(server.store)
    assert text in output
