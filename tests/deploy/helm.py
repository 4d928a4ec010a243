# SPDX-License-Identifier: Apache-2.0
"""The chart, rendered by helm; without a helm that is there already, what needs it is skipped."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parent.parent.parent
CHART = ROOT / "deploy" / "chart" / "podfence"
KUBERNETES = "1.36.0"

_BUILT = ROOT / "build" / "bin" / "helm"
HELM = shutil.which("helm") or (str(_BUILT) if _BUILT.exists() else None)

needed = pytest.mark.skipif(HELM is None, reason="there is no helm: `make helm` builds it")


def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    assert HELM is not None
    return subprocess.run((HELM, *arguments), cwd=ROOT, capture_output=True, text=True, check=False)


def template(*arguments: str, kubernetes: str = KUBERNETES) -> subprocess.CompletedProcess[str]:
    """Render the chart as release `r` in namespace `n`."""
    return run("template", "r", CHART, "--namespace", "n", "--kube-version", kubernetes, *arguments)


def objects(*arguments: str) -> dict[str, dict[str, Any]]:
    """Return what the chart makes, by kind: it makes one of each at most."""
    done = template(*arguments)
    assert done.returncode == 0, done.stderr
    made = [item for item in yaml.safe_load_all(done.stdout) if item]
    found = {item["kind"]: item for item in made}
    assert len(found) == len(made)
    return found


def pod(*arguments: str) -> dict[str, Any]:
    """Return the template of the DaemonSet's pods."""
    found: dict[str, Any] = objects(*arguments)["DaemonSet"]["spec"]["template"]
    return found


def agent(*arguments: str) -> dict[str, Any]:
    """Return the container `agent`."""
    (container,) = pod(*arguments)["spec"]["containers"]
    found: dict[str, Any] = container
    return found
