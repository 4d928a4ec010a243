# SPDX-License-Identifier: Apache-2.0
"""What people have is answered at the first try, and rightly.

The folders are in tests/data/situations, small and with other names; each row says where the situation was seen.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from click.testing import Result

    Run = Callable[..., Result]

SITUATIONS = Path(__file__).parent.parent / "data" / "situations"

# (folder, seen in, command line, exit code, in the answer, on standard error)
ROWS = [
    ("app-with-values", "nearly every repository", "list -R", 0, "everything -> all pods", "3 files or documents without a Kubernetes object"),
    ("kustomize-tree", "metallb", "list -R", 0, "everything -> all pods", "kustomization . are not applied"),
    ("kustomize-tree", "metallb", "list -R", 0, "everything -> all pods", "1 patch of a kustomization (./web-patch.yaml)"),
    ("no-image", "cluster-monitoring-operator", "list", 0, "everything -> all pods", "image: Required value"),
    ("policy-status", "dumps of Kubernetes 1.24 to 1.27", "list", 0, "", 'warning: unknown field "status"'),
    ("helm-no-namespace", "charts rendered with a namespace", "check -n prod test web 80", 0, "allowed  prod/test -> prod/deploy/web", ""),
    ("helm-no-namespace", "charts rendered with a namespace", "check default/test default/web 80", 1, "denied", "taken to be in default"),
    ("helm-policy-without-namespace", "gatekeeper", "list", 0, "everything -> all pods", "1 policy without a namespace is taken to be in default (-n NS names another namespace): controller-deny"),
    ("helm-policy-without-namespace", "gatekeeper", "check internet app/controller 80 -n app", 1, "denied", ""),
    ("rollout", "kube-linter 848", "check shop/web shop/svc/api 80", 0, "allowed", ""),
    ("rollout", "kube-linter 848", "check shop/api shop/rollout/api 80", 1, "denied", ""),
    ("custom-workloads", "users of Argo Rollouts and OpenShift", "list", 0, "default/rollout/api          -> default/deploy/db", ""),
    ("custom-workloads", "users of Argo Rollouts and OpenShift", "check deploymentconfig/web rollout/api 8080", 0, "allowed", ""),
    ("custom-workloads", "users of Argo Rollouts and OpenShift", "check web db 5432", 1, "denied", ""),
    ("controller-labels-job", "the chart of OpenSearch", "list", 0, "", "nothing is allowed"),
    ("job", "glpi 173", "check ops/migrate ops/svc/pg 5432", 0, "allowed", ""),
    ("job", "glpi 173", "check ops/pg ops/pg 5433", 3, "depends", ""),
    ("job", "glpi 173", "check ops/pg-0 ops/pg-1 5433", 0, "allowed", ""),
    ("job", "glpi 173", "check ops/pg-1 ops/pg-0 5433", 1, "denied", ""),
    ("job", "glpi 173", "check ops/dump ops/svc/pg 5432", 1, "denied", ""),
    ("job", "glpi 173", "list --to ops/sts/pg --port 5432", 0, "ops/job/migrate                  -> ops/sts/pg  TCP 5432", ""),
    ("generate", "manifests with generateName", "check a/gen-00001 a/gen-00002 80", 1, "denied", ""),
    ("generate", "manifests with generateName", "check node:n1 a/gen-00001 80", 3, "depends on the node that a/gen-00001 runs on", ""),
    ("ingress-hostnet", "canal 80", "check ingress-nginx/ctl shop/web 80", 3, "allowed  the pod of ingress-nginx/ds/ctl on the same node -> shop/deploy/web TCP 80", ""),
    ("ingress-hostnet", "canal 80", "check ingress-nginx/ctl shop/web 80", 3, "denied  pods of ingress-nginx/ds/ctl on other nodes -> shop/deploy/web TCP 80", ""),
    ("ingress-hostnet", "canal 80", "check ingress-nginx/ctl shop/web 80 --set world=closed", 1, "denied", ""),
    ("no-service", "kbve 14223", "check ops/healthcheck 10.96.0.1 443", 3, "depends on whether 10.96.0.1 is the address of a Service", ""),
    ("no-service", "kbve 14223", "check ops/healthcheck 10.96.0.1 443 --set world=closed:Service", 0, "allowed", ""),
    ("no-service", "kbve 14223", "check ops/healthcheck 10.96.0.1 443 --set service-cidrs=10.200.0.0/16", 0, "allowed", ""),
    ("operator", "operators with two Deployments", "check shop/client shop/deploy/backend 80", 1, "denied  shop/client -> shop/deploy/backend", ""),
    ("operator", "operators with two Deployments", "check shop/client shop/deploy/frontend 80", 0, "allowed  shop/client -> shop/deploy/frontend", ""),
    ("circle", "Deployments that own each other", "check -n shop a b 80", 0, "allowed", ""),
    ("shift-left", "network-config-analyzer 262", "check shop/web kube-system/k8s-app=kube-dns 53/udp", 0, "allowed", ""),
    ("shift-left", "network-config-analyzer 262", "list", 0, "shop/deploy/web                                  -> pods k8s-app=kube-dns of kube-system (none here)  UDP 53", ""),
    ("shift-left", "network-config-analyzer 262", "list", 0, "pods app.kubernetes.io/name=ingress-nginx of ingress-nginx (none here) -> shop/deploy/web ", ""),
    ("self-probe", "calico 6476, kind 3875", "check own-node nginx/ctl 8081", 0, "allowed", ""),
    ("self-probe", "calico 6476, kind 3875", "check self nginx/ctl 8081", 0, "allowed", ""),
    ("self-probe", "calico 6476, kind 3875", "check nginx/ctl nginx/ctl 8081", 1, "denied", "note: nginx/deploy/ctl to itself means two different pods; `self` means one pod and itself"),
    ("webhook", "kubeflow 3580", "check node:cp-1 ml/svc/pipe 8443", 1, "denied", ""),
    ("webhook", "kubeflow 3580", "check apiserver ml/svc/pipe 8443", 1, "denied", ""),
    ("apiserver-vip", "kbve 14223", "explain ops/healthcheck default/svc/kubernetes 443", 1, "default/svc/kubernetes TCP 443 is TCP 6443 of its endpoints", ""),
    ("apiserver-vip", "kbve 14223", "check ops/healthcheck apiserver 443", 1, "the destination is 192.168.50.10", ""),
    ("lb-egress", "antrea 8179, calico 10664", "explain app/client 10.40.0.13 443", 1, "10.40.0.13 TCP 443 is edge/svc/ctl TCP 443, which is TCP 8443 of its pods", ""),
    ("nodeport", "calico 2660, antrea 280", "check 198.51.100.7 203.0.113.50 80", 1, "denied", ""),
    ("nodeport", "calico 2660, antrea 280", "check 198.51.100.7 node:n1 30080", 1, "denied", ""),
    ("nodeport", "calico 2660, antrea 280", "check 198.51.100.7 10.100.0.11 30080", 1, "denied", ""),
    ("nodeport", "calico 2660, antrea 280", "check 10.101.1.1 node:n1 30080", 3, "depends on the node that shop/deploy/web runs on", ""),
    ("nodeport", "calico 2660, antrea 280", "explain 10.101.1.1 node:n2 30081", 3, "node:n2 TCP 30081 is shop/svc/web-local TCP 80, which is TCP 80 of its pods (externalTrafficPolicy Local)", ""),
    ("nodeport", "calico 2660, antrea 280", "explain 10.101.1.1 shop/svc/web 80", 3, "depends on option service-source", ""),
]  # fmt: skip


@pytest.mark.parametrize(
    ("folder", "line", "code", "answer", "said"),
    [(folder, line, code, answer, said) for folder, _, line, code, answer, said in ROWS],
    ids=[f"{row[0]}: {row[2]}" for row in ROWS],
)
def test_what_people_have_is_answered_rightly(
    run: Run, monkeypatch: pytest.MonkeyPatch, folder: str, line: str, code: int, answer: str, said: str
) -> None:
    monkeypatch.chdir(SITUATIONS / folder)
    result = run(*line.split(), "-f", ".")
    assert result.exit_code == code, result.stderr
    assert answer in result.stdout
    assert said in result.stderr
