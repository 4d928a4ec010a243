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
    ("helm-policy-without-namespace", "gatekeeper", "list", 0, "everything -> all pods", "1 policy without a namespace is taken to be in default (-n NS says where): controller-deny"),
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
    ("job", "glpi 173", "list --to ops/sts/pg --port 5432", 0, "ops/job/migrate -> ops/sts/pg  TCP 5432", ""),
    ("generate", "manifests with generateName", "check a/gen-00001 a/gen-00002 80", 1, "denied", ""),
    ("operator", "operators with two Deployments", "check shop/client shop/deploy/backend 80", 1, "denied  shop/client -> shop/deploy/backend", ""),
    ("operator", "operators with two Deployments", "check shop/client shop/deploy/frontend 80", 0, "allowed  shop/client -> shop/deploy/frontend", ""),
    ("circle", "Deployments that own each other", "check -n shop a b 80", 0, "allowed", ""),
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
