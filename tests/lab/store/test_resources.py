# SPDX-License-Identifier: Apache-2.0
"""The table of resources: every kind that podfence reads is in it, and rows are as a real server's discovery has them."""

from __future__ import annotations

import pytest

from podfence.kube.registry import KINDS
from podfence.lab.store.resources import RESOURCES


@pytest.mark.parametrize("kind", KINDS)
def test_a_lab_holds_every_kind_that_podfence_reads(kind: str) -> None:
    row = RESOURCES[KINDS[kind].printed(plural=True)]
    assert row.kind == kind
    assert row.namespaced == KINDS[kind].namespaced


# Of the discovery of Kubernetes 1.36: short names, categories, status, scale.
DISCOVERY = [
    ("namespaces", "v1", "ns", "", True, False),
    ("nodes", "v1", "no", "", True, False),
    ("pods", "v1", "po", "all", True, False),
    ("services", "v1", "svc", "all", True, False),
    ("endpoints", "v1", "ep", "", False, False),
    ("replicationcontrollers", "v1", "rc", "all", True, True),
    ("configmaps", "v1", "cm", "", False, False),
    ("secrets", "v1", "", "", False, False),
    ("serviceaccounts", "v1", "sa", "", False, False),
    ("events", "v1", "ev", "", False, False),
    ("deployments.apps", "apps/v1", "deploy", "all", True, True),
    ("replicasets.apps", "apps/v1", "rs", "all", True, True),
    ("statefulsets.apps", "apps/v1", "sts", "all", True, True),
    ("daemonsets.apps", "apps/v1", "ds", "all", True, False),
    ("jobs.batch", "batch/v1", "", "all", True, False),
    ("cronjobs.batch", "batch/v1", "cj", "all", True, False),
    ("endpointslices.discovery.k8s.io", "discovery.k8s.io/v1", "", "", False, False),
    ("networkpolicies.networking.k8s.io", "networking.k8s.io/v1", "netpol", "", False, False),
    ("ingresses.networking.k8s.io", "networking.k8s.io/v1", "ing", "", True, False),
    ("networkpolicies.extensions", "extensions/v1beta1", "netpol", "", False, False),
    ("roles.rbac.authorization.k8s.io", "rbac.authorization.k8s.io/v1", "", "", False, False),
    ("rolebindings.rbac.authorization.k8s.io", "rbac.authorization.k8s.io/v1", "", "", False, False),
    ("clusterroles.rbac.authorization.k8s.io", "rbac.authorization.k8s.io/v1", "", "", False, False),
    ("clusterrolebindings.rbac.authorization.k8s.io", "rbac.authorization.k8s.io/v1", "", "", False, False),
]


def test_the_rows_are_those_of_discovery() -> None:
    assert [
        (key, row.api_version, "".join(row.short), "".join(row.categories), row.has_status, row.has_scale)
        for key, row in RESOURCES.items()
    ] == DISCOVERY
