# SPDX-License-Identifier: Apache-2.0
"""Kubeconfigs for tests: written as JSON, which is YAML, or as text where places matter."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from podfence.kube.access.access import Choice
from podfence.kube.access.load import load

if TYPE_CHECKING:
    from pathlib import Path

    from podfence.kube.access.access import Access

Fields = Mapping[str, object]

PLUGIN: dict[str, object] = {
    "apiVersion": "client.authentication.k8s.io/v1",
    "command": "give",
    "interactiveMode": "Never",
}


def write(
    path: Path,
    *,
    current: str = "",
    clusters: Mapping[str, Fields] | None = None,
    contexts: Mapping[str, Fields] | None = None,
    users: Mapping[str, Fields] | None = None,
) -> str:
    """Write a file with entries by name, and a current context; return its path."""
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": current,
        "clusters": [{"name": name, "cluster": value} for name, value in (clusters or {}).items()],
        "contexts": [{"name": name, "context": value} for name, value in (contexts or {}).items()],
        "users": [{"name": name, "user": value} for name, value in (users or {}).items()],
    }
    path.write_text(json.dumps(content))
    return str(path)


def single(path: Path, *, user: Fields | None = None, cluster: Fields | None = None) -> str:
    """Write a file with one context, `dev`, of one cluster and one user."""
    return write(
        path,
        current="dev",
        clusters={"c": {"server": "https://api.example:6443", **(cluster or {})}},
        contexts={"dev": {"cluster": "c", "user": "u"}},
        users={"u": user or {}},
    )


def of(kubeconfig: str, environ: dict[str, str] | None = None, **choice: Any) -> Access:  # noqa: ANN401  as Choice takes them
    """Return the access of one kubeconfig, for an environment that has nothing but `environ`."""
    return load(Choice(kubeconfig=kubeconfig, **choice), environ or {})
