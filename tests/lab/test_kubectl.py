# SPDX-License-Identifier: Apache-2.0
"""A lab as kubectl sees it: by a kubeconfig that comes and goes with the lab, for its user only."""

from __future__ import annotations

import base64
import json
import os
import pty
import select
import signal
import stat
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import yaml

from podfence.lab import access, sandbox
from tests.lab.kubectl import KUBECTL, needs_kubectl
from tests.lab.labs import (
    EXAMPLES,
    PATIENCE,
    PROGRAM,
    Run,
    fresh_name,
    needs_lab,
    packages,
    processes,
    python_for_nobody,
    running,
    within,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [needs_lab, needs_kubectl]

SHOP = str(EXAMPLES / "three-tier" / "app.yaml")
POLICIES = str(EXAMPLES / "three-tier" / "policies")


@pytest.fixture(scope="module", autouse=True)
def environ(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Have kubectl on PATH, and a runtime folder and a home of these tests."""
    before = dict(os.environ)
    home = tmp_path_factory.mktemp("home")
    (home / "runtime").mkdir()
    os.environ |= {"XDG_RUNTIME_DIR": str(home / "runtime"), "HOME": str(home)}
    os.environ["PATH"] = f"{before.get('PATH', os.defpath)}:{Path(str(KUBECTL)).parent}"
    yield
    os.environ.clear()
    os.environ.update(before)


@pytest.fixture(scope="module")
def shop(environ: None) -> Iterator[Run]:
    """A lab with the shop."""
    with running("-f", SHOP) as run:
        yield run


ANONYMOUS = """
import ssl, sys, urllib.error, urllib.request
try:
    urllib.request.urlopen(sys.argv[1], context=ssl._create_unverified_context())
except urllib.error.HTTPError as error:
    print(error.code)
"""


STRANGER = """
import socket, sys
from podfence.lab.connection import Connection
from podfence.lab.sandbox import version
with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as raw:
    raw.connect(sys.argv[1].replace("@", "\\0"))
    connection = Connection(raw)
    connection.send({"op": "about", "version": version()})
    print(connection.receive()[0]["error"])
try:
    open(sys.argv[2])
except OSError as error:
    print(type(error).__name__)
"""


def kubectl(run: Run, *words: str, stdin: str = "", check: bool = True) -> subprocess.CompletedProcess[str]:
    return run("kubectl", *words, stdin=stdin, check=check)


class TestObjects:
    def test_what_is_applied_in_one_way_is_seen_in_the_other(self, shop: Run) -> None:
        pods = json.loads(kubectl(shop, "get", "pods", "--namespace=shop", "--output=json").stdout)["items"]
        assert {pod["status"]["phase"] for pod in pods} == {"Running"}
        assert {pod["metadata"]["name"] for pod in pods} == {
            pod["name"] for pod in shop.status()["pods"] if pod["namespace"] == "shop"
        }
        assert "networkpolicy.networking.k8s.io/db created" in kubectl(shop, "apply", "--filename", POLICIES).stdout
        assert [item["name"] for item in shop.status()["policies"]] == ["api", "db", "web"]
        assert shop("verify").returncode == 0
        kubectl(shop, "delete", "--filename", POLICIES)
        assert shop.status()["policies"] == []

    def test_a_pod_is_started_reached_and_deleted(self, shop: Run) -> None:
        assert kubectl(shop, "run", "client", "--image=busybox", "--", "sleep", "1000").stdout == "pod/client created\n"
        kubectl(shop, "wait", "--for=condition=Ready", "--timeout=120s", "pod/client")
        done = kubectl(shop, "exec", "client", "--", "wget", "-qO-", "--timeout=30", "http://api.shop:5000")
        assert done.stdout.startswith("pod api-")
        kubectl(shop, "delete", "pod", "client")
        assert "client" not in {pod["name"] for pod in shop.status()["pods"]}

    def test_a_pod_of_one_command_prints_what_it_does_and_goes(self, shop: Run) -> None:
        once = kubectl(
            shop,
            "run",
            "once",
            "--rm",
            "-i",
            "--attach",
            "--quiet",
            "--restart=Never",
            "--image=busybox",
            "--",
            "cat",
            stdin="typed\n",
        )
        assert once.stdout == "typed\n"
        assert "once" not in {pod["name"] for pod in shop.status()["pods"]}

    def test_a_deleted_pod_is_asked_to_end_and_is_there_until_its_time_is_up(self, shop: Run) -> None:
        stubborn = "trap 'echo asked' TERM; echo ready; while true; do sleep 0.05; done"
        kubectl(shop, "run", "stubborn", "--image=busybox", "--", "sh", "-c", stubborn)
        assert within(lambda: kubectl(shop, "logs", "stubborn", check=False).stdout == "ready\n")
        kubectl(shop, "delete", "pod", "stubborn", "--wait=false")
        assert within(lambda: kubectl(shop, "logs", "stubborn").stdout == "ready\nasked\n")
        known = json.loads(kubectl(shop, "get", "pod", "stubborn", "-o", "json").stdout)["metadata"]
        assert (known["deletionGracePeriodSeconds"], known["deletionTimestamp"][:2]) == (30, "20")
        assert kubectl(shop, "get", "pods").stdout.splitlines()[1].split()[:3] == ["stubborn", "1/1", "Terminating"]
        with subprocess.Popen(
            (PROGRAM, "lab", "apply", "-f", POLICIES, "--name", shop.name),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        ) as applying:
            assert applying.stderr is not None
            assert applying.stderr.readline() == b"waiting for a pod to end\n"
            assert kubectl(shop, "delete", "pod", "stubborn", "--now").returncode == 0
            assert applying.wait(PATIENCE) == 0
        kubectl(shop, "delete", "--filename", POLICIES)
        assert "stubborn" not in {pod["name"] for pod in shop.status()["pods"]}

    def test_a_rollout_that_is_paused_changes_no_pod_until_it_goes_on(self, shop: Run) -> None:
        kubectl(shop, "rollout", "pause", "deployment/api", "-n", "shop")
        kubectl(shop, "set", "env", "deployment/api", "A=b", "-n", "shop")
        shop.client.request("settle")
        assert '"A"' not in kubectl(shop, "get", "pods", "-n", "shop", "-l", "tier=api", "-o", "json").stdout
        kubectl(shop, "rollout", "resume", "deployment/api", "-n", "shop")
        kubectl(shop, "rollout", "status", "deployment/api", "-n", "shop", "--timeout=120s")
        assert '"A"' in kubectl(shop, "get", "pods", "-n", "shop", "-l", "tier=api", "-o", "json").stdout

    def test_a_rollout_is_undone(self, shop: Run) -> None:
        kubectl(shop, "set", "image", "deployment/db", "*=redis", "-n", "shop")
        kubectl(shop, "rollout", "undo", "deployment/db", "-n", "shop")
        kubectl(shop, "rollout", "status", "deployment/db", "-n", "shop", "--timeout=120s")
        shown = kubectl(shop, "get", "deployment", "db", "-n", "shop", "-o", "wide").stdout
        assert "mysql:8" in shown
        assert "redis" not in shown

    def test_logs_of_several_pods_are_printed(self, shop: Run) -> None:
        assert kubectl(shop, "logs", "-n", "shop", "-l", "tier=api", "--tail=1").returncode == 0

    def test_the_exit_code_is_that_of_kubectl_and_all_words_are_its_own(self, shop: Run) -> None:
        failed = kubectl(shop, "get", "pod", "nothing", check=False)
        assert (failed.returncode, failed.stderr) == (1, 'Error from server (NotFound): pods "nothing" not found\n')
        assert "kubectl get" in kubectl(shop, "get", "--help").stdout
        assert "kubectl controls the Kubernetes cluster manager" in kubectl(shop, "--help").stdout
        assert kubectl(shop, "-n", "shop", "get", "pods", "-o", "name").stdout.count("pod/") == 6


class TestAccess:
    def test_the_kubeconfig_is_for_its_user_only(self, shop: Run) -> None:
        place = Path(shop("kubeconfig").stdout.strip())
        assert stat.S_IMODE(place.stat().st_mode) == 0o600
        assert not (Path(os.environ["HOME"]) / ".kube").exists()

    def test_what_is_in_the_network_of_a_node_reaches_the_server_and_is_nobody_there(self, shop: Run) -> None:
        server = yaml.safe_load(access.path(shop.name).read_text())["clusters"][0]["cluster"]["server"]
        asked = shop("exec", "node:node-1", "--", sys.executable, "-c", ANONYMOUS, f"{server}/api/v1/pods")
        assert asked.stdout == "401\n"

    def test_another_user_of_the_machine_is_refused(self, shop: Run) -> None:
        python = python_for_nobody()
        if python is None:
            pytest.skip("needs root to become another user, and a Python that everybody may run")
        become = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", python, "-c", STRANGER)
        socket, config = sandbox.address(shop.name), access.path(shop.name)
        done = subprocess.run((*become, socket.replace("\0", "@"), config), env=os.environ | packages(), capture_output=True, text=True, check=False, cwd="/")  # fmt: skip
        assert done.stdout == "this lab belongs to another user\nPermissionError\n", done.stderr

    def test_every_namespace_holds_the_certificate_of_the_server(self, shop: Run) -> None:
        cluster = yaml.safe_load(Path(shop("kubeconfig").stdout.strip()).read_text())["clusters"][0]["cluster"]
        words = ("get", "configmap", "kube-root-ca.crt", "--namespace=shop", "--output=json")
        authority = base64.b64decode(cluster["certificate-authority-data"]).decode()
        assert json.loads(kubectl(shop, *words).stdout)["data"] == {"ca.crt": authority}

    def test_the_token_is_on_no_command_line_and_in_no_environment(self, shop: Run) -> None:
        token = yaml.safe_load(access.path(shop.name).read_text())["users"][0]["user"]["token"].encode()
        found = processes(shop.name)
        assert len(found) > 5
        for pid in found:
            for name in ("cmdline", "environ"):
                assert token not in Path(f"/proc/{pid}/{name}").read_bytes()

    def test_pods_do_not_reach_the_server(self, shop: Run) -> None:
        server = yaml.safe_load(access.path(shop.name).read_text())["clusters"][0]["cluster"]["server"]
        port = server.rpartition(":")[2]
        for place in ("shop/deploy/web", "outside"):
            assert shop("exec", place, "--", "nc", "-z", "-w", "1", "127.0.0.1", port, check=False).returncode != 0

    def test_a_kubeconfig_that_was_removed_is_written_again_and_a_changed_one_stays(self, shop: Run) -> None:
        place = access.path(shop.name)
        place.unlink()
        assert kubectl(shop, "get", "nodes", "-o", "name").stdout == "node/node-1\nnode/node-2\n"
        kubectl(shop, "config", "set-context", "--current", "--namespace=shop")
        assert kubectl(shop, "get", "pods", "-o", "name").stdout.count("pod/") == 6
        kubectl(shop, "config", "set-context", "--current", "--namespace=default")

    def test_podfence_reads_the_lab_by_its_kubeconfig_too(self, shop: Run) -> None:
        command = (PROGRAM, "check", "shop/deploy/web", "shop/deploy/api", "5000", "--kubeconfig", access.path(shop.name))  # fmt: skip
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stdout.startswith("allowed")) == (0, True), done.stderr


class TestEnds:
    def test_the_kubeconfig_goes_with_the_lab(self) -> None:
        with running("--nodes", "1") as run:
            place = access.path(run.name)
            kubectl(run, "get", "nodes")
            assert place.exists()
            run("down")
            assert list(place.parent.glob(f"{run.name}*")) == []

    @pytest.mark.parametrize("which", [0, 1, 2])
    def test_after_a_crash_it_goes_when_somebody_looks_for_labs(self, which: int) -> None:
        with running("--nodes", "1") as run:
            place = access.path(run.name)
            os.kill(processes(run.name)[which], signal.SIGKILL)
            for _ in range(200):
                if run.name not in run("list").stdout:
                    break
            assert not place.exists()

    def test_a_lab_that_does_not_run_is_said_not_to(self) -> None:
        run = Run(fresh_name())
        for command in ("kubeconfig", "kubectl"):
            done = run(command, check=False)
            assert (done.returncode, f"no lab named {run.name} is running" in done.stderr) == (2, True)

    def test_without_kubectl_it_is_said_where_there_is_one(self, shop: Run, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("PATH", "/nowhere")
        done = kubectl(shop, "get", "pods", check=False)
        assert (done.returncode, "there is no kubectl on PATH; install version 1.30 or newer" in done.stderr) == (
            2,
            True,
        )


def test_the_oldest_policies_mean_what_they_did_where_the_lab_is_as_old() -> None:
    with running("--set", "legacy=v1beta1", "-f", str(EXAMPLES / "before-1-7" / "app.yaml")) as run:

        def spider(code: int) -> str:
            """Return what a try prints once it ends with a code: an agent needs a moment for a change."""
            for _ in range(20):
                done = kubectl(
                    run, "exec", "client", "--", "wget", "--spider", "--timeout=1", "http://nginx", check=False
                )
                if done.returncode == code:
                    break
            return done.stderr

        assert "remote file exists" in spider(0)
        isolation = 'net.beta.kubernetes.io/network-policy={"ingress": {"isolation": "DefaultDeny"}}'
        assert kubectl(run, "annotate", "ns", "default", isolation).stdout == "namespace/default annotated\n"
        assert "download timed out" in spider(1)
        created = kubectl(run, "create", "-f", str(EXAMPLES / "before-1-7" / "access-nginx.yaml"))
        assert created.stdout == "networkpolicy.extensions/access-nginx created\n"
        assert kubectl(run, "get", "netpol", "-o", "name").stdout == "networkpolicy.extensions/access-nginx\n"
        assert "download timed out" in spider(1)
        kubectl(run, "label", "pod", "client", "access=true")
        assert "remote file exists" in spider(0)


def test_a_shell_finds_the_lab_and_its_end_is_the_end_of_the_command() -> None:
    name = fresh_name()
    master, slave = pty.openpty()
    environ = os.environ | {"SHELL": "/bin/bash", "PS1": "", "TERM": "dumb"}
    command = ("setsid", "--ctty", PROGRAM, "lab", "up", "--quiet", "--shell", "--name", name)
    try:
        with subprocess.Popen(command, stdin=slave, stdout=slave, stderr=slave, env=environ) as shell:
            os.close(slave)
            os.write(master, b"k get nodes -o name; complete -p k; exit 3\n")
            screen = ""
            while "__start_kubectl" not in screen:
                assert select.select([master], [], [], PATIENCE)[0], screen
                screen += os.read(master, 65536).decode()
            assert shell.wait(PATIENCE) == 3
        assert "node/node-1\r\nnode/node-2\r\n" in screen
        assert Run(name).is_running()
    finally:
        os.close(master)
        Run(name)("down", check=False)


def test_a_lab_runs_also_where_no_kubeconfig_can_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    (tmp_path / "podfence").mkdir(mode=0o755)
    with running("--nodes", "1") as run:
        assert run("status").returncode == 0
        refused = run("kubeconfig", check=False)
        assert (refused.returncode, "is not a folder that only you can read" in refused.stderr) == (2, True)
