# SPDX-License-Identifier: Apache-2.0
"""The words of kubectl where there is no kubectl: the same requests, and the same messages."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import time
from typing import TYPE_CHECKING

import pytest
import yaml
from click.testing import CliRunner

from podfence.cli.main import commands
from tests.lab.kubectl import KUBECTL, needs_kubectl
from tests.lab.labs import EXAMPLES, PATIENCE, Run, needs_lab, running

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = needs_lab


@pytest.fixture(scope="module")
def lab() -> Iterator[Run]:
    """A lab with a server in `default`."""
    with running("--nodes", "1") as run:
        done = run("run", "web", "--image=nginx", "--labels=app=web,tier=front", "--expose", "--port=80")
        assert done.stdout == "service/web created\npod/web created\n"
        yield run


def test_a_pod_that_was_run_answers_by_the_name_of_its_service(lab: Run) -> None:
    assert lab("run", "client", "--image=busybox", "--restart=Never", "--", "sleep", "1000").stdout == "pod/client created\n"  # fmt: skip
    deadline = time.monotonic() + PATIENCE
    while lab("exec", "client", "--", "true", check=False).returncode:
        assert time.monotonic() < deadline, "the pod has not started"
    started = lab("exec", "client", "--", "sh", "-c", "until wget -qO- --timeout=1 http://web; do :; done")
    assert "nginx" in started.stdout


def test_what_there_is_is_shown_as_a_table_or_as_objects(lab: Run) -> None:
    header, row = lab("get", "svc", "web").stdout.splitlines()
    assert header.split() == ["NAME", "TYPE", "CLUSTER-IP", "EXTERNAL-IP", "PORT(S)", "AGE"]
    assert row.split()[:2] == ["web", "ClusterIP"]
    assert lab("get", "pods", "-l", "tier=front", "-o", "name").stdout == "pod/web\n"
    assert json.loads(lab("get", "pod", "web", "-o", "json").stdout)["metadata"]["labels"] == {"app": "web", "tier": "front"}  # fmt: skip
    found = yaml.safe_load(lab("get", "nodes", "-o", "yaml").stdout)
    assert (found["kind"], {(item["apiVersion"], item["kind"]) for item in found["items"]}) == ("List", {("v1", "Node")})  # fmt: skip
    assert lab("get", "pods", "-A").stdout.splitlines()[0].split()[:2] == ["NAMESPACE", "NAME"]
    assert "IP" in lab("get", "pods", "-o", "wide").stdout.splitlines()[0].split()


@needs_kubectl
@pytest.mark.parametrize("words", [("get", "ns"), ("get", "pods", "-A"), ("get", "svc", "-o", "wide"), ("get", "netpol"), ("get", "deploy", "-A")])  # fmt: skip
def test_tables_are_those_that_kubectl_prints(lab: Run, words: tuple[str, ...]) -> None:
    own = lab(*words, check=False)
    command = (str(KUBECTL), "--kubeconfig", lab("kubeconfig").stdout.strip(), *words)
    theirs = subprocess.run(command, capture_output=True, text=True, check=False)
    # An age may be a second more, and as wide as that.
    plain = [re.sub(r"\d+[smh]\b *", "AGE ", done.stdout) for done in (own, theirs)]
    assert [line.rstrip() for line in plain[0].splitlines()] == [line.rstrip() for line in plain[1].splitlines()]


@needs_kubectl
@pytest.mark.parametrize("words", [("get", "ns,netpol,svc"), ("get", "ns", "default")])  # fmt: skip
def test_objects_are_those_that_kubectl_prints(lab: Run, words: tuple[str, ...]) -> None:
    command = (str(KUBECTL), "--kubeconfig", lab("kubeconfig").stdout.strip(), *words, "-o", "json")
    theirs = subprocess.run(command, capture_output=True, text=True, check=True)
    assert json.loads(lab(*words, "-o", "json").stdout) == json.loads(theirs.stdout)


@needs_kubectl
@pytest.mark.parametrize("words", [("run", "Bad", "--image=nginx"), ("label", "ns", "default", "a/b/c=d")])  # fmt: skip
def test_what_the_server_refuses_is_said_as_kubectl_says_it(lab: Run, words: tuple[str, ...]) -> None:
    command = (str(KUBECTL), "--kubeconfig", lab("kubeconfig").stdout.strip(), *words)
    theirs = subprocess.run(command, capture_output=True, text=True, check=False)
    own = lab(*words, check=False)
    assert (own.returncode, own.stderr) == (theirs.returncode, theirs.stderr) == (1, theirs.stderr)


def test_namespaces_and_deployments_are_created_exposed_and_annotated(lab: Run) -> None:
    assert lab("create", "namespace", "prod").stdout == "namespace/prod created\n"
    assert lab("create", "deployment", "api", "-n", "prod", "--image=nginx", "--replicas=2", "--port=80").stdout == "deployment.apps/api created\n"  # fmt: skip
    assert lab("expose", "deployment", "api", "-n", "prod").stdout == "service/api exposed\n"
    assert lab("create", "deploy", "exact", "-n", "prod", f"--image=registry.local:5000/my_api@sha256:{'0' * 64}", "--replicas=0").returncode == 0  # fmt: skip
    service = json.loads(lab("get", "service", "api", "-n", "prod", "-o", "json").stdout)
    assert (service["spec"]["selector"], service["spec"]["ports"][0]["port"]) == ({"app": "api"}, 80)
    assert lab("annotate", "ns", "prod", "example.org/owner=shop").stdout == "namespace/prod annotated\n"
    isolation = 'net.beta.kubernetes.io/network-policy={"ingress": {"isolation": "DefaultDeny"}}'
    assert "Warning: metadata.annotations[net.beta." in lab("annotate", "ns", "prod", isolation).stderr
    assert lab("annotate", "ns", "prod", "net.beta.kubernetes.io/network-policy-").stderr == ""
    assert lab("annotate", "ns", "prod", "example.org/owner-").stdout == "namespace/prod annotated\n"
    assert "annotations" not in json.loads(lab("get", "ns", "prod", "-o", "json").stdout)["metadata"]
    assert lab("delete", "ns/prod").stdout == 'namespace "prod" deleted\n'


def test_labels_are_changed_only_where_that_is_meant(lab: Run) -> None:
    assert lab("label", "pod/web", "svc/web", "team=a").stdout == "pod/web labeled\nservice/web labeled\n"
    assert lab("label", "pod", "web", "team=a").stdout == "pod/web not labeled\n"
    refused = lab("label", "pod", "web", "team=b", check=False)
    assert (refused.returncode, refused.stderr) == (
        1,
        "error: 'team' already has a value (a); --overwrite changes it\n",
    )
    assert lab("label", "--overwrite", "pod", "web", "team=b").stdout == "pod/web labeled\n"
    assert lab("label", "pod,svc", "web", "team-").stdout == "pod/web unlabeled\nservice/web unlabeled\n"


def test_the_words_of_the_recipes_work_without_kubectl(lab: Run) -> None:
    def typed(line: str, stdin: str = "") -> str:
        return lab(*shlex.split(line), stdin=stdin).stdout

    assert typed("create service clusterip apiserver --tcp 8001:8000 --tcp 5001:5000") == "service/apiserver created\n"
    shown = typed("get svc,pod").splitlines()
    assert {"service/apiserver", "service/web", "pod/web"} <= {line.split()[0] for line in shown if line}
    page = typed("run test-1 -i --rm --image=alpine -- wget -qO- --timeout=30 http://web")
    assert (page.startswith("pod/test-1 created\n"), "nginx" in page, page.endswith('pod "test-1" deleted\n')) == (True,) * 3  # fmt: skip
    policy = (EXAMPLES / "limit-traffic" / "api-allow.yaml").read_text()
    assert typed("create -f -", policy) == "networkpolicy.networking.k8s.io/api-allow created\n"
    assert "PodSelector:     app=bookstore,role=api" in typed("describe netpol api-allow")
    again = lab("create", "-f", "-", stdin=policy, check=False)
    assert (again.returncode, again.stderr) == (
        1,
        'Error from server (AlreadyExists): error when creating "<stdin>": networkpolicies.networking.k8s.io "api-allow" already exists\n',
    )
    assert typed("delete service/apiserver") == 'service "apiserver" deleted\n'
    assert typed("delete -f -", policy) == 'networkpolicy.networking.k8s.io "api-allow" deleted\n'
    gone = lab("delete", "-f", "-", stdin=policy, check=False)
    assert (gone.returncode, gone.stderr) == (
        1,
        'Error from server (NotFound): error when deleting "<stdin>": networkpolicies.networking.k8s.io "api-allow" not found\n',
    )


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (("get", "pod", "nothing"), 1, 'Error from server (NotFound): pods "nothing" not found'),
        (("get", "wombats"), 2, 'the server doesn\'t have a resource type "wombats"'),
        (("get", "pods", "web", "-A"), 2, "names, -A and -l exclude each other"),
        (("get", "pods", "-l", "a in"), 1, "Error from server (BadRequest): "),
        (("get", "netpol"), 0, "No resources found in default namespace."),
        (("run", "web", "--image=nginx"), 1, 'Error from server (AlreadyExists): pods "web" already exists'),
        (("run", "x", "--image=nginx", "--expose"), 2, "--expose needs --port"),
        (("run", "x", "--image=nginx", "--labels=a"), 2, "--labels: 'a' is not KEY=VALUE"),
        (("create", "deployment", "x"), 2, "a Deployment needs --image"),
        (("create", "namespace", "x", "--image=nginx"), 2, "--image is not a flag of create namespace"),
        (("create", "service", "clusterip", "x"), 2, "a Service needs --tcp=PORT or --tcp=PORT:TARGET"),
        (("create", "service", "clusterip", "x", "--tcp=a"), 2, "--tcp: 'a' is not PORT or PORT:TARGET"),
        (("create", "service", "clusterip", "x", "--tcp=\u0668\u0660"), 2, "--tcp: '\u0668\u0660' is not PORT or PORT:TARGET"),
        (("create", "quota", "x"), 2, "use -f for everything else"),
        (("create", "-f", "-"), 2, "<stdin>"),
        (("create", "-f", "x.yaml", "--image=nginx"), 2, "--image is not a flag of create -f"),
        (("run", "x", "--image=nginx", "--rm"), 2, "--rm needs -i or -t"),
        (("delete", "pod"), 2, "name the objects: pod NAME"),
        (("delete", "pod", "web", "-f", "x"), 2, "name what to delete"),
        (("delete", "node", "node-1"), 1, "Error from server (Forbidden): "),
        (("get", "pod/web", "svc"), 2, "svc: write KIND/NAME for each object, or KIND and then only names"),
        (("describe", "pod", "nothing"), 1, 'Error from server (NotFound): pods "nothing" not found'),
        (("describe", "netpol"), 0, "No resources found in default namespace."),
        (("label", "pod", "web", "a=b!"), 1, 'The Pod "web" is invalid: metadata.labels: '),
        (("label", "pod", "web", "a=b", "x"), 2, "'x' is neither KEY=VALUE nor KEY-"),
        (("create", "namespace", "Not_a_name"), 1, 'The Namespace "Not_a_name" is invalid: metadata.name: '),
        (("expose", "pod", "nothing", "--port=80"), 1, 'Error from server (NotFound): pods "nothing" not found'),
        (("expose", "pod", "web"), 1, 'Error from server (AlreadyExists): services "web" already exists'),
        (("annotate", "pod", "web", "x"), 2, "say what is to change: KEY=VALUE, or KEY-"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said(lab: Run, words: tuple[str, ...], code: int, message: str) -> None:
    # In this process: a program would mostly be starting.
    done = CliRunner(env={"PODFENCE_LAB": lab.name}).invoke(commands, ("lab", *words))
    assert (done.exit_code, message in done.stderr) == (code, True), done.stderr


def test_kinds_that_a_lab_does_not_use_are_named(lab: Run, tmp_path: Path) -> None:
    (tmp_path / "claim.yaml").write_text("apiVersion: v1\nkind: PersistentVolumeClaim\nmetadata: {name: a}\n")
    note = "note: 1 PersistentVolumeClaim left out: a lab does not use this kind\n"
    done = lab("apply", "-f", str(tmp_path))
    assert (done.stdout, done.stderr) == ("", note)
    with (tmp_path / "claim.yaml").open("a") as file:
        file.write("---\napiVersion: v1\nkind: NamespaceList\nitems: [{metadata: {name: beside}}]\n")
    done = lab("create", "-f", str(tmp_path))
    assert (done.stdout, done.stderr) == ("namespace/beside created\n", note)
    done = lab("delete", "-f", str(tmp_path))
    assert (done.stdout, done.stderr) == ('namespace "beside" deleted\n', note)
