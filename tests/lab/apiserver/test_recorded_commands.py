# SPDX-License-Identifier: Apache-2.0
"""Stock kubectl prints with this server what it printed with a real one, command after command.

The commands and what they printed are in `commands.jsonl`; README.md says how they were recorded, and
docs/reference/kubectl.md which commands they stand for.
"""

from __future__ import annotations

import base64
import json
import os
import re
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.lab.apiserver.serving import TOKEN, Served, make_certificates, served
from tests.lab.kubectl import KUBECTL, QUICKLY, needs_kubectl

if TYPE_CHECKING:
    from collections.abc import Iterator

HERE = Path(__file__).parent

MASKS = (
    (re.compile(r"\d{4}-\d\d-\d\d[T ][\d:.]+(Z| \+0000( UTC)?)"), "TIME"),
    (re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"), "UID"),
    (re.compile(r'(resourceVersion"?: "?)\d+'), r"\1REVISION"),
    (re.compile(r"(?<= )(\d+[smhd])+(?= |\n|$)"), "AGE"),
    (re.compile(r"gen-\w{5}"), "gen-NAME"),
    (re.compile(r"\S*/(LIVE|MERGED)(-\d+)?/"), r"TMP/\1/"),
    (re.compile(r" from \w+ namespace"), ""),
    (re.compile(r" +"), " "),
)

# What another kubectl than the recorded one words or sends otherwise.
RECORDED = "1.36"
OF_THE_RECORDED_KUBECTL = {
    "202-scale-missing": "kubectl 1.32 adds words of its own",
    **dict.fromkeys(
        ("326-describe-port-range", "350-describe-netpol-all"), "kubectl 1.30 does not describe ranges of ports"
    ),
    "385-create-deployment-dry-server": "kubectl 1.32 prints creationTimestamp: null",
}


def commands() -> list[dict[str, Any]]:
    return [json.loads(line) for line in (HERE / "commands.jsonl").read_text(encoding="utf-8").splitlines()]


def masked(text: str) -> str:
    for pattern, word in MASKS:
        text = pattern.sub(word, text)
    return text


def write_kubeconfig(path: Path, server: Served) -> None:
    authority = base64.b64encode(make_certificates().authority.encode()).decode()
    cluster = {"server": f"https://127.0.0.1:{server.port}", "certificate-authority-data": authority}
    named = {"clusters": [{"name": "lab", "cluster": cluster}], "users": [{"name": "lab", "user": {"token": TOKEN}}]}
    context = [{"name": "lab", "context": {"cluster": "lab", "user": "lab"}}]
    text = json.dumps({"apiVersion": "v1", "kind": "Config", "contexts": context, "current-context": "lab", **named})
    path.write_text(text, encoding="utf-8")


def run(args: list[str], environ: dict[str, str], stdin: str = "") -> subprocess.CompletedProcess[str]:
    command = [str(KUBECTL), *args]
    return subprocess.run(command, input=stdin, env=environ, capture_output=True, text=True, check=False, timeout=60)


def differences(server: Served, home: Path) -> Iterator[str]:
    environ = {"KUBECONFIG": str(home / "kubeconfig"), "HOME": str(home), "PATH": os.environ["PATH"], **QUICKLY}
    version = json.loads(run(["version", "--client", "-o", "json"], environ).stdout)["clientVersion"]
    is_recorded = f"{version['major']}.{version['minor'].rstrip('+')}" == RECORDED
    for row in commands():
        if "before" in row:
            server.store.create("networkpolicies.networking.k8s.io", row["before"])
        if row["id"] in OF_THE_RECORDED_KUBECTL and not is_recorded:
            continue
        done = run(row["args"], environ | row.get("env", {}), row.get("stdin", ""))
        found = (done.returncode, masked(done.stdout), masked(done.stderr))
        wanted = (row["exit"], masked(row["stdout"]), masked(row["stderr"]))
        if found != wanted:
            yield f"{row['id']}: kubectl {' '.join(row['args'])}\n  {found}\n  and not\n  {wanted}"


@needs_kubectl
def test_kubectl_prints_what_it_printed_with_a_real_cluster(tmp_path: Path) -> None:
    with served() as server:
        for name in ("pol", "pol2"):
            server.store.create("namespaces", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
        write_kubeconfig(tmp_path / "kubeconfig", server)
        wrong = list(differences(server, tmp_path))
    assert not wrong, "\n".join(wrong)
