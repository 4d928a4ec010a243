# SPDX-License-Identifier: Apache-2.0
"""The lab as people use it: by its commands, with real processes and packets, and through every way it can end."""

from __future__ import annotations

import json
import os
import pty
import select
import signal
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, get_args

import pytest

from podfence.lab.addresses import PodNetworkKind
from tests.lab import images, labs
from tests.lab.labs import EXAMPLES, PROGRAM, Run, needs_lab, processes, running, within

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = needs_lab

SHOP = str(EXAMPLES / "three-tier" / "app.yaml")
POLICIES = str(EXAMPLES / "three-tier" / "policies")
WEB, API, DB = "shop/deploy/web", "shop/deploy/api", "shop/deploy/db"

CLIENT = """
apiVersion: v1
kind: Pod
metadata: {name: client, namespace: shop, labels: {app: client}}
spec:
  containers:
  - {name: main, image: busybox, command: [sh, -c, "echo hello from $HOSTNAME; sleep 3600"]}
"""


@pytest.fixture(scope="module")
def shop() -> Iterator[Run]:
    """A lab with the shop and without policies; whoever applies some takes them away."""
    with running("-f", SHOP) as run:
        run("apply", "-f", "-", stdin=CLIENT)
        yield run


@pytest.fixture
def policies(shop: Run) -> Iterator[Run]:
    """The same with the policies."""
    shop("apply", "-f", POLICIES)
    yield shop
    shop("delete", "-f", POLICIES)


def ended(process: subprocess.Popen[bytes]) -> int | None:
    """Return the exit code of a process, None if it does not end in time; then it is killed."""
    try:
        return process.wait(labs.PATIENCE)
    except subprocess.TimeoutExpired:
        process.kill()
        return None


class TestConnections:
    def test_a_pod_reaches_another_by_the_name_of_its_service(self, shop: Run) -> None:
        assert shop("exec", WEB, "--", "wget", "-qO-", "--timeout=30", "http://api:5000").stdout.startswith("pod api-")

    def test_what_policies_deny_times_out_and_what_they_admit_passes(self, policies: Run) -> None:
        denied = policies("exec", WEB, "--", "nc", "-z", "-w", "1", "db", "3306", check=False)
        assert denied.returncode == 1
        assert policies("exec", WEB, "--", "nc", "-z", "-w", "30", "api", "5000").returncode == 0
        assert policies("exec", API, "--", "nc", "-z", "-w", "30", "db", "3306").returncode == 0

    def test_the_denial_is_in_the_log_with_its_policy_and_counted(self, policies: Run) -> None:
        policies("exec", DB, "--", "nc", "-z", "-w", "1", "api", "5000", check=False)
        assert within(lambda: "by shop/db" in policies("logs").stdout)
        assert any(item["name"] == "db" and item["denied"] for item in policies.status()["policies"])

    def test_outside_reaches_pods_and_nodes_reach_them_and_they_reach_outside(self, shop: Run) -> None:
        address = next(pod["addresses"][0] for pod in shop.status()["pods"] if pod["name"].startswith("web"))
        for source in ("outside", "node:node-1", "node:node-2"):
            assert "nginx" in shop("exec", source, "--", "wget", "-qO-", "-T", "30", f"http://{address}").stdout
        assert shop("exec", WEB, "--", "wget", "-qO-", "-T", "30", "http://198.51.100.7:81").returncode == 0

    def test_every_connection_is_as_the_engine_says(self, policies: Run) -> None:
        result = policies("verify", "-o", "json")
        answer = json.loads(result.stdout)
        assert answer["kind"] == "Verification"
        assert answer["holds"]
        assert answer["tried"] == answer["asExpected"] > 200

    def test_what_something_else_cuts_off_is_not_taken_for_a_policy_that_works(self, policies: Run) -> None:
        nodes = ("node:node-1", "node:node-2")
        cut = "add table ip other; add chain ip other c { type filter hook forward priority 0; }; add rule ip other c tcp dport 3306 drop"
        for node in nodes:
            policies("exec", node, "--", "nft", cut)
        found = policies("verify", "-o", "json", check=False)
        for node in nodes:
            policies("exec", node, "--", "nft", "delete table ip other")
        answer = json.loads(found.stdout)
        assert found.returncode == 1
        assert {dead["port"] for dead in answer["dead"]} == {"TCP 3306"}
        assert answer["differences"] == []


class TestWhatIsShown:
    def test_a_running_lab_is_listed(self, shop: Run) -> None:
        listed = json.loads(shop("list", "-o", "json").stdout)["items"]
        assert {"name": shop.name, "nodes": 2, "pods": 9, "problem": ""} in listed
        assert f"{shop.name}   " in shop("list").stdout

    def test_status_shows_labels_and_selectors(self, policies: Run) -> None:
        status = policies.status()
        assert {"name": "shop", "labels": {"kubernetes.io/metadata.name": "shop"}} in status["namespaces"]
        assert next(pod["labels"] for pod in status["pods"] if pod["name"] == "client") == {"app": "client"}
        assert next(item["selector"] for item in status["services"] if item["name"] == "db") == "tier=db"
        assert next(item["selector"] for item in status["policies"] if item["name"] == "db") == "tier=db"

    def test_logs_have_times_and_can_be_cut(self, shop: Run) -> None:
        def texts(*words: str) -> list[str]:
            return [json.loads(line)["text"] for line in shop("logs", *words, "-o", "json").stdout.splitlines()]

        assert texts("shop/client") == ["hello from client"]
        assert (texts("shop/client", "--tail", "0"), texts("shop/client", "--since", "1h")) == (
            [],
            ["hello from client"],
        )
        assert shop("logs", "shop/client", "--timestamps").stdout.endswith("Z hello from client\n")
        refused = shop("logs", "shop/client", "-p", check=False)
        assert (refused.returncode, "was not started again" in refused.stderr) == (2, True)
        assert "-p needs a pod" in shop("logs", "-p", check=False).stderr

    def test_commands_answer_about_the_running_lab(self, policies: Run) -> None:
        def asked(*words: str) -> subprocess.CompletedProcess[str]:
            environ = os.environ | {"PODFENCE_LAB": policies.name}
            return subprocess.run((PROGRAM, *words), capture_output=True, text=True, check=False, env=environ)

        kubeconfig = f"--kubeconfig={policies('kubeconfig').stdout.strip()}"
        for words, code, named in (
            (("check", WEB, DB, "3306"), 1, "NetworkPolicy shop/db (live) isolates"),
            (("check", API, DB, "3306"), 0, "allowed by NetworkPolicy shop/db (live) rule 1 (spec.ingress[0])"),
            (("explain", WEB, DB, "3306"), 1, "NetworkPolicy shop/db (live)\n"),
            (("list", "--pods"), 0, "shop/client"),
        ):
            for place in ("--lab", f"--lab={policies.name}", kubeconfig):
                done = asked(*words, place)
                assert (done.returncode, named in done.stdout) == (code, True), (words, place, done.stdout, done.stderr)
        nowhere = asked("list", "--lab=nowhere")
        assert (nowhere.returncode, "no lab named nowhere is running" in nowhere.stderr) == (2, True)
        assert "--context and --lab exclude each other" in asked("list", "--lab", "--context=x").stderr
        assert "--lab chooses a lab, and -f reads manifests" in asked("list", "--lab", "-f", SHOP).stderr


class TestObjects:
    def test_labels_change_what_policies_select(self, policies: Run) -> None:
        def probe(seconds: int) -> int:
            words = ("exec", "shop/client", "--", "nc", "-z", "-w", str(seconds), "db", "3306")
            return policies(*words, check=False).returncode

        assert probe(1) == 1
        assert policies("label", "pod", "client", "tier=api", "-n", "shop").stdout == "pod/client labeled\n"
        assert probe(30) == 0
        assert policies("label", "pod", "client", "tier-", "-n", "shop").stdout == "pod/client unlabeled\n"
        assert probe(1) == 1

    def test_apply_says_what_kubectl_says(self, shop: Run) -> None:
        unchanged = shop("apply", "-f", SHOP).stdout
        assert "deployment.apps/web unchanged\n" in unchanged
        scaled = (EXAMPLES / "three-tier" / "app.yaml").read_text().replace("replicas: 3", "replicas: 4")
        assert "deployment.apps/web configured\n" in shop("apply", "-f", "-", stdin=scaled).stdout
        assert sum(pod["name"].startswith("web") for pod in shop.status()["pods"]) == 4
        shop("apply", "-f", SHOP)
        assert sum(pod["name"].startswith("web") for pod in shop.status()["pods"]) == 3

    def test_what_does_not_exist_cannot_be_deleted(self, shop: Run) -> None:
        done = shop("delete", "netpol", "nothing", "-n", "shop", check=False)
        assert (done.returncode, done.stdout) == (1, "")
        assert 'networkpolicies.networking.k8s.io "nothing" not found' in done.stderr

    def test_an_invalid_manifest_changes_nothing_and_names_line_and_field(self, shop: Run) -> None:
        broken = CLIENT.replace("client", "other").replace(
            "image: busybox", "image: busybox, ports: [{containerPort: 70000}]"
        )
        done = shop("apply", "-f", "-", stdin=broken, check=False)
        assert done.returncode == 2
        assert "<stdin>:7:" in done.stderr
        assert "containerPort" in done.stderr
        assert not any(pod["name"] == "other" for pod in shop.status()["pods"])

    def test_a_pod_is_deleted_with_its_processes_and_its_workload_makes_another(self, shop: Run) -> None:
        before = {pod["name"] for pod in shop.status()["pods"]}
        victim = next(name for name in before if name.startswith("api"))
        shop("delete", "pod", victim, "-n", "shop")
        after = {pod["name"] for pod in shop.status()["pods"]}
        assert victim not in after
        assert len(after) == len(before)


class TestCommands:
    def test_the_exit_code_output_and_input_of_a_command_are_handed_on(self, shop: Run) -> None:
        done = shop(
            "exec",
            "-i",
            "client",
            "-n",
            "shop",
            "--",
            "sh",
            "-c",
            "cat; echo wrong >&2; exit 7",
            stdin="in",
            check=False,
        )
        assert (done.returncode, done.stdout, done.stderr) == (7, "in", "wrong\n")

    def test_a_command_has_no_input_unless_it_is_asked_for(self, shop: Run) -> None:
        assert shop("exec", "client", "-n", "shop", "--", "cat", stdin="in").stdout == ""

    def test_a_shell_has_a_terminal_of_its_own(self, shop: Run) -> None:
        master, slave = pty.openpty()
        command = (PROGRAM, "lab", "shell", "shop/client")
        with subprocess.Popen(
            command, stdin=slave, stdout=slave, stderr=slave, env=os.environ | {"PODFENCE_LAB": shop.name}
        ) as shell:
            os.close(slave)
            os.write(master, b"tty; echo $((6 * 7)); exit 3\n")
            shown = b""
            # Until the last who has the other side is gone, the shell or what it leaves to say.
            while select.select([master], [], [], labs.PATIENCE)[0]:
                try:
                    shown += os.read(master, 4096)
                except OSError:
                    break
            assert ended(shell) == 3
        os.close(master)
        assert b"42" in shown
        assert b"not a tty" not in shown

    def test_ctrl_c_ends_the_command_in_the_pod_too(self, shop: Run) -> None:
        command = (PROGRAM, "lab", "exec", "shop/client", "--", "sleep", "4242")
        listing = ("exec", "shop/client", "--", "ps")
        with subprocess.Popen(command, env=os.environ | {"PODFENCE_LAB": shop.name}) as sleeping:
            assert within(lambda: "sleep 4242" in shop(*listing).stdout)
            sleeping.send_signal(signal.SIGINT)
            assert ended(sleeping) == 130
        assert within(lambda: "sleep 4242" not in shop(*listing).stdout)

    @pytest.mark.parametrize("target", ["nobody", "shop/nobody", "deploy/nobody", "node-9", "a/b/c/d"])
    def test_a_place_that_does_not_exist_is_named(self, shop: Run, target: str) -> None:
        done = shop("exec", target if target != "node-9" else "node:node-9", "--", "true", check=False)
        assert done.returncode == 2
        assert done.stderr.startswith("podfence: error: ")
        assert target in done.stderr

    def test_what_a_pod_printed_is_its_log(self, shop: Run) -> None:
        assert within(lambda: shop("logs", "client", "-n", "shop").stdout == "hello from client\n")

    def test_status_says_what_is_real_and_what_is_a_stand_in(self, shop: Run) -> None:
        text = shop("status").stdout
        assert "stand-in: answers on TCP 3306" in text
        assert "real: sh of this machine" in text
        assert "enforcing" in text
        assert json.loads(shop("status", "-o", "json").stdout)["kind"] == "LabStatus"


class TestJobs:
    def test_a_pod_that_has_finished_is_shown_and_its_output_can_be_read(self, shop: Run) -> None:
        job = """
apiVersion: batch/v1
kind: Job
metadata: {name: once, namespace: shop}
spec:
  template:
    spec:
      restartPolicy: Never
      containers:
      - {name: main, image: busybox, command: [sh, -c, "echo done"]}
"""
        shop("apply", "-f", "-", stdin=job)

        def phases() -> list[str]:
            return [pod["phase"] for pod in shop.status()["pods"] if pod["name"].startswith("once")]

        assert within(lambda: phases() == ["Completed"])
        assert shop("logs", "job/once", "-n", "shop").stdout == "done\n"
        shop("delete", "job", "once", "-n", "shop")
        assert phases() == []


class TestFamilies:
    @pytest.mark.parametrize(("family", "tried"), [("--ipv6", 277), ("--dual", 554)])
    def test_a_lab_of_either_family_does_what_the_engine_says(self, family: str, tried: int) -> None:
        with running("-f", SHOP, "-f", POLICIES, family) as run:
            assert run("exec", WEB, "--", "wget", "-qO-", "--timeout=30", "http://api:5000").stdout.startswith(
                "pod api-"
            )
            assert run("exec", WEB, "--", "nc", "-z", "-w", "1", "db", "3306", check=False).returncode == 1
            answer = json.loads(run("verify", "-o", "json").stdout)
            assert (answer["holds"], answer["tried"]) == (True, tried)


class TestImages:
    def test_a_loaded_image_replaces_the_stand_in_with_its_own_root_and_program(
        self, shop: Run, tmp_path: Path
    ) -> None:
        pod = CLIENT.replace("client", "own").replace(
            'image: busybox, command: [sh, -c, "echo hello from $HOSTNAME; sleep 3600"]', "image: example/own:1"
        )
        shop("apply", "-f", "-", stdin=pod)
        assert any("stand-in" in item["runs"][0] for item in shop.status()["pods"] if item["name"] == "own")
        file = tmp_path / "own.tar"
        file.write_bytes(images.docker({"example/own:1": [images.busybox()]}, images.BUSYBOX_CONFIG))
        assert shop("image", "load", str(file)).stdout == "loaded example/own:1\n"
        assert within(lambda: shop("logs", "own", "-n", "shop").stdout == "hello from /work\n")
        assert "home" not in shop("exec", "shop/own", "--", "ls", "/").stdout.split()
        shop("delete", "pod", "own", "-n", "shop")

    @pytest.mark.parametrize("content", [b"", b"no archive", None])
    def test_what_is_no_image_archive_is_refused_by_name(
        self, shop: Run, tmp_path: Path, content: bytes | None
    ) -> None:
        file = tmp_path / "broken.tar"
        if content is not None:
            file.write_bytes(content)
        done = shop("image", "load", str(file), check=False)
        assert done.returncode == 2
        assert "broken.tar" in done.stderr


class TestWithoutRoot:
    @pytest.mark.parametrize("network", get_args(PodNetworkKind))
    def test_an_ordinary_user_has_the_same_lab(self, network: str) -> None:
        python = labs.python_for_nobody()
        if python is None:
            pytest.skip(
                "needs root to become an ordinary user, and a Python of the same version that everybody may run"
            )
        environ = os.environ | {"PODFENCE_LAB": labs.fresh_name(), "HOME": "/"} | labs.packages()

        def run(*words: str) -> subprocess.CompletedProcess[str]:
            command = (
                "setpriv",
                "--reuid=65534",
                "--regid=65534",
                "--clear-groups",
                python,
                "-m",
                "podfence",
                "lab",
                *words,
            )
            return subprocess.run(
                command, capture_output=True, text=True, check=False, env=environ, cwd="/", timeout=labs.PATIENCE
            )

        try:
            started = run("up", "--network", network, "-f", SHOP, "-f", POLICIES)
            assert started.returncode == 0, started.stderr
            assert run("exec", WEB, "--", "wget", "-qO-", "--timeout=30", "http://api:5000").stdout.startswith(
                "pod api-"
            )
            assert run("exec", WEB, "--", "nc", "-z", "-w", "1", "db", "3306").returncode == 1
            assert run("verify").returncode == 0
        finally:
            run("down")


class TestAgents:
    def test_an_agent_that_is_killed_is_replaced_and_enforcement_never_stops(self, policies: Run) -> None:
        before = [pid for pid in processes(policies.name) if name_of(pid).startswith(b"agent node-")]
        assert len(before) == 2
        for pid in before:
            os.kill(pid, signal.SIGKILL)
        denied = policies("exec", WEB, "--", "nc", "-z", "-w", "1", "db", "3306", check=False)
        assert denied.returncode == 1
        assert within(lambda: all(node["agent"] == "enforcing" for node in policies.status()["nodes"]))
        assert json.loads(policies("verify", "-o", "json").stdout)["holds"]


class TestPods:
    def test_the_output_of_a_deleted_pod_is_not_that_of_the_next_one_of_its_name(self, shop: Run) -> None:
        manifest = CLIENT.replace("client", "twice")
        for _ in range(2):
            shop("apply", "-f", "-", stdin=manifest)
            assert within(lambda: shop("logs", "twice", "-n", "shop").stdout == "hello from twice\n")
            shop("delete", "pod", "twice", "-n", "shop")
        assert shop("logs", "twice", "-n", "shop", check=False).returncode == 2

    def test_a_pod_whose_first_process_is_killed_is_started_anew_at_its_address(self, shop: Run) -> None:
        shop("apply", "-f", "-", stdin=CLIENT.replace("client", "mortal"))

        def mortal() -> dict[str, object]:
            return next(pod for pod in shop.status()["pods"] if pod["name"] == "mortal")

        before = mortal()
        (victim,) = [pid for pid in processes(shop.name) if is_init_of(pid, b"mortal")]
        os.kill(victim, signal.SIGKILL)
        assert within(lambda: mortal()["restarts"] == 1 and mortal()["phase"] == "Running")
        assert mortal()["addresses"] == before["addresses"]
        assert shop("exec", "shop/mortal", "--", "wget", "-qO-", "-T", "30", "http://web").returncode == 0
        shop("delete", "pod", "mortal", "-n", "shop")


def is_init_of(pid: int, hostname: bytes) -> bool:
    """Return whether a process is the first one of a pod."""
    try:
        first = Path(f"/proc/{pid}/status").read_text().partition("NSpid:")[2].splitlines()[0].split()[-1] == "1"
        return first and Path(f"/proc/{pid}/root/etc/hostname").read_bytes().strip() == hostname
    except OSError:
        return False


def name_of(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/comm").read_bytes()
    except OSError:
        return b""


class TestTheEnd:
    def test_a_second_lab_of_a_name_is_refused_and_the_first_goes_on(self, shop: Run) -> None:
        done = shop("up", check=False)
        assert done.returncode == 2
        assert "already runs" in done.stderr
        assert shop.is_running()

    def test_down_leaves_no_process(self) -> None:
        with running("--nodes", "1") as run:
            assert processes(run.name)
            run("down")
            assert processes(run.name) == []
            assert run("down", check=False).returncode == 2

    @pytest.mark.parametrize("victim", [0, 1, 2])
    def test_killing_a_process_that_all_others_depend_on_ends_all(self, victim: int) -> None:
        with running("--nodes", "1") as run:
            os.kill(processes(run.name)[victim], signal.SIGKILL)
            assert within(lambda: processes(run.name) == [])
            assert not run.is_running()

    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
    def test_interrupting_the_start_leaves_no_process(self, number: signal.Signals) -> None:
        name = labs.fresh_name()
        command = (PROGRAM, "lab", "up", "--nodes", "1", "-f", SHOP)
        with subprocess.Popen(command, env=os.environ | {"PODFENCE_LAB": name}, stderr=subprocess.DEVNULL) as starting:
            assert within(lambda: len(processes(name)) > 4)
            starting.send_signal(number)
            starting.wait(labs.PATIENCE)
        Run(name)("down", check=False)
        assert within(lambda: processes(name) == [])

    def test_without_a_lab_every_command_says_how_to_start_one(self) -> None:
        run = Run(labs.fresh_name())
        for words in (
            ("status",),
            ("verify",),
            ("logs",),
            ("down",),
            ("exec", "x", "--", "true"),
            ("delete", "pod", "x"),
        ):
            done = run(*words, check=False)
            assert done.returncode == 2
            assert "podfence lab up" in done.stderr

    @pytest.mark.parametrize("name", ["", "a b", "x" * 200, "../lab"])
    def test_what_cannot_be_the_name_of_a_lab_is_refused_as_such(self, name: str) -> None:
        for words in (("up",), ("status",), ("down",)):
            done = Run("unused")(*words, "--name", name, check=False)
            assert done.returncode == 2
            assert "is not a valid name of a lab" in done.stderr

    def test_a_missing_program_is_named_with_its_package(self, tmp_path: Path) -> None:
        done = subprocess.run(
            (PROGRAM, "lab", "up"),
            capture_output=True,
            text=True,
            check=False,
            env=os.environ | {"PATH": str(tmp_path)},
        )
        assert done.returncode == 2
        assert "apt-get install" in done.stderr

    def test_a_system_without_user_namespaces_is_told_what_to_allow(self, tmp_path: Path) -> None:
        refusing = tmp_path / "unshare"
        refusing.write_text("#!/bin/sh\necho 'unshare: unshare failed: Operation not permitted' >&2; exit 1\n")
        refusing.chmod(0o755)
        path = f"{tmp_path}:{os.environ['PATH']}"
        done = subprocess.run(
            (PROGRAM, "lab", "up"), capture_output=True, text=True, check=False, env=os.environ | {"PATH": path}
        )
        assert done.returncode == 2
        assert "user namespaces" in done.stderr

    def test_an_option_that_kernels_cannot_be_programmed_for_is_refused(self) -> None:
        done = Run(labs.fresh_name())("up", "--set", "icmp=depends", check=False)
        assert done.returncode == 2
        assert "icmp=depends" in done.stderr


def test_manifests_are_applied_and_deleted_with_the_options_that_the_lab_was_started_with() -> None:
    old = """
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: old}
spec:
  podSelector: {}
  ingress: [{from: [{ipBlock: {cidr: 010.0.0.0/8}}]}]
"""
    with running("--nodes", "1") as strict:
        refused = strict("apply", "-f", "-", stdin=old, check=False)
        assert refused.returncode == 2
    with running("--nodes", "1", "--set", "validation=lax") as lax:
        assert lax("apply", "-f", "-", stdin=old).stdout == "networkpolicy.networking.k8s.io/old created\n"
        assert lax("delete", "-f", "-", stdin=old).stdout == 'networkpolicy.networking.k8s.io "old" deleted\n'
