# SPDX-License-Identifier: Apache-2.0
"""The hooks and templates for other systems do what they say, in a shell with the variables of that system."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
import yaml

from podfence.kube.live.resources import RESOURCES
from podfence.kube.load import load
from podfence.kube.registry import Need, needed
from tests.ci.runner import ROOT
from tests.cli import manifests
from tests.report.schemas import Entry
from tests.repositories import ENVIRON, Checkout

PROGRAMS = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
OPEN = manifests.POLICY.replace("    ports:\n    - port: 5432\n", "")


@pytest.fixture
def pull(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Checkout:
    """Return a checkout whose working tree opens a connection, and whose last commit does not."""
    for name, value in (ENVIRON | {"PATH": PROGRAMS}).items():
        monkeypatch.setenv(name, value)
    made = Checkout(tmp_path / "repository")
    made.commit({"manifests/shop.yaml": manifests.SHOP, "manifests/db.yaml": manifests.POLICY})
    made.git("update-ref", "refs/remotes/origin/trunk", "main")
    made.write({"manifests/db.yaml": OPEN})
    return made


@pytest.mark.parametrize(
    ("hook", "text", "code"),
    [
        ("podfence", OPEN, 0),
        ("podfence", manifests.BROKEN, 2),
        ("podfence-diff", OPEN, 1),
        ("podfence-diff", manifests.POLICY, 0),
        ("podfence-diff", manifests.BROKEN, 2),
    ],
)
def test_hooks_of_pre_commit(pull: Checkout, hook: str, text: str, code: int) -> None:
    pull.write({"manifests/db.yaml": text})
    hooks = {item["id"]: item for item in yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text())}
    done = subprocess.run(shlex.split(hooks[hook]["entry"]), cwd=pull.folder, capture_output=True, check=False)
    assert done.returncode == code, done.stderr


def test_the_job_of_gitlab_reports_and_fails(pull: Checkout) -> None:
    pull.git("commit", "-q", "-a", "-m", "open")
    job = yaml.safe_load((ROOT / "examples" / "ci" / "gitlab.yaml").read_text())["podfence"]
    variables = job["variables"] | {"CI_MERGE_REQUEST_TARGET_BRANCH_NAME": "trunk"}
    for kinds, code in ((variables["PODFENCE_FAIL_ON"], 0), ("opened", 1)):
        done = subprocess.run(
            ["sh", "-ec", "\n".join(job["script"])],
            cwd=pull.folder,
            env=os.environ | variables | {"PODFENCE_FAIL_ON": kinds},
            check=False,
        )
        assert done.returncode == code
        report = pull.folder / job["artifacts"]["reports"]["codequality"]
        (entry,) = msgspec.json.decode(report.read_bytes(), type=list[Entry])
        assert (entry.location.path, entry.location.lines.begin) == ("manifests/db.yaml", 7)
        assert entry.severity == ("major" if code else "minor")
        assert (pull.folder / "podfence.md").read_text().startswith("<!-- podfence diff -->\n")


def test_the_job_of_argo_cd_may_list_what_podfence_lists_and_nothing_more() -> None:
    file = ROOT / "examples" / "ci" / "argocd.yaml"
    documents = {item["kind"]: item for item in yaml.safe_load_all(file.read_text())}
    granted = {
        (group, resource)
        for rule in documents["ClusterRole"]["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
    }
    assert all(rule["verbs"] == ["list"] for rule in documents["ClusterRole"]["rules"])
    kinds = (RESOURCES[name] for name in needed(Need.LIVE))
    assert granted == {(kind.api_version.rpartition("/")[0], kind.plural) for kind in kinds}
    assert load([str(file)]).warnings == ()
    assert documents["Job"]["spec"]["template"]["spec"]["containers"][0]["command"][:2] == ["podfence", "diff"]
