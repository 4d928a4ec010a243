# SPDX-License-Identifier: Apache-2.0
"""What goes wrong in a whole lab: agents die, nft fails, tables disappear, addresses change hands, pods come in crowds.

After each, every connection is as the engine says. With PODFENCE_LONG=1 the crowd is of 1,000 pods, or 400 on a bridge.
"""

from __future__ import annotations

import json
import os
import resource
import shlex
import shutil
import signal
import subprocess
import sys
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Self

import pytest

from podfence.lab import sandbox
from podfence.lab.sandbox import search_path
from tests.lab.labs import PATIENCE, PROGRAM, Run, needs_lab, processes, running, within

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = needs_lab

POOL = 253
"""How many pods of its own network a node has addresses for."""


LONG = bool(os.environ.get("PODFENCE_LONG"))

DATAGRAMS = """
import socket, sys
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as line:
    line.connect((sys.argv[1], 90))
    for text in sys.stdin:
        word, patience = text.split()
        line.settimeout(float(patience))
        try:
            line.send(word.encode())
            answer = line.recv(100).decode().strip()
        except OSError as error:
            answer = type(error).__name__
        print(answer, flush=True)
"""


def pod(name: str, app: str, node: str = "node-2") -> str:
    """Return the manifest of a pod that sends back what it gets on TCP 80 and UDP 90."""
    ports = "[{containerPort: 80}, {containerPort: 90, protocol: UDP}]"
    where = f"nodeName: {node}, " if node else ""
    return f"""
apiVersion: v1
kind: Pod
metadata: {{name: {name}, namespace: default, labels: {{app: {app}}}}}
spec: {{{where}containers: [{{name: main, image: example/echo, ports: {ports}}}]}}
---"""


def policy(app: str, *peers: str) -> str:
    """Return the manifest of a policy that lets some pods in."""
    ingress = "".join(f"{{from: [{{podSelector: {{matchLabels: {{app: {peer}}}}}}}]}}, " for peer in peers)
    return f"""
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {{name: {app}, namespace: default}}
spec: {{podSelector: {{matchLabels: {{app: {app}}}}}, policyTypes: [Ingress], ingress: [{ingress}]}}
---"""


SERVICE = """
apiVersion: v1
kind: Service
metadata: {name: other}
spec: {clusterIP: 10.96.3.4, selector: {app: x}, ports: [{port: 80}]}
"""

FILLERS = [pod(f"filler-{number}", f"crowd-{number % 5}") for number in range(POOL)]
POLICIES = "".join(policy(f"crowd-{number}", f"crowd-{(number + 1) % 5}") for number in range(5))


class Nft:
    """A directory with an `nft` that does nothing with our table while it is told to fail."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._broken = directory / "broken"
        real = shlex.quote(shutil.which("nft", path=search_path()) or "")
        (directory / "nft").write_text(
            f"""#!/bin/sh
script=$(case " $* " in *" --file "*) cat ;; esac)
case " $*$script" in
*" inet podfence"*) if [ -e {shlex.quote(str(self._broken))} ]; then echo "Error: Out of order" >&2; exit 1; fi ;;
esac
printf '%s\\n' "$script" | {real} "$@"
"""
        )
        (directory / "nft").chmod(0o755)

    @contextmanager
    def failing(self) -> Iterator[Self]:
        self._broken.touch()
        try:
            yield self
        finally:
            self._broken.unlink()


@pytest.fixture(scope="module")
def nft(tmp_path_factory: pytest.TempPathFactory) -> Nft:
    return Nft(tmp_path_factory.mktemp("nft"))


@pytest.fixture(scope="module")
def lab(nft: Nft) -> Iterator[Run]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", f"{nft.directory}:{os.environ['PATH']}")
        with running() as run:
            run("apply", "-f", "-", stdin=POLICIES)
            yield run


@pytest.fixture(autouse=True)
def cleared(request: pytest.FixtureRequest) -> Iterator[None]:
    yield
    if "lab" in request.fixturenames:
        run: Run = request.getfixturevalue("lab")
        if names := [item["name"] for item in run.status()["pods"] if item["namespace"] == "default"]:
            run("delete", "pod", *names)


def agent(run: Run, node: str) -> int | None:
    """Return the process of a node's agent, as this machine counts."""
    mark = f"PODFENCE_LAB={run.name}\0".encode()
    for folder in Path("/proc").iterdir():
        with suppress(OSError):
            is_one = folder.name.isdigit() and (folder / "comm").read_text() == f"agent {node}\n"
            if is_one and mark in (folder / "environ").read_bytes():
                return int(folder.name)
    return None


def kill(run: Run, node: str) -> int | None:
    """Kill a node's agent; return which it was, None if there was none."""
    pid = agent(run, node)
    if pid is not None:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    return pid


@contextmanager
def meanwhile(run: Run, *words: str, stdin: str) -> Iterator[subprocess.Popen[str]]:
    """Run ``podfence lab ...`` while something else is done; it must succeed."""
    environment = os.environ | {"PODFENCE_LAB": run.name}
    with subprocess.Popen(
        (PROGRAM, "lab", *words), stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True, env=environment
    ) as command:
        assert command.stdin is not None
        with command.stdin as pipe:
            pipe.write(stdin)
        try:
            yield command
            assert command.wait(PATIENCE) == 0
        finally:
            command.kill()


def assert_holds(run: Run) -> None:
    answer = json.loads(run("verify", "-o", "json", check=False).stdout)
    assert answer["holds"], answer["differences"][:5]
    assert answer["tried"] > 0


def address(run: Run, name: str) -> str | None:
    """Return the address of a pod that has one."""
    found = [item["addresses"] for item in run.status()["pods"] if item["name"] == name]
    return found[0][0] if found and found[0] else None


def test_agents_that_are_killed_while_pods_come_and_policies_change_leave_every_connection_as_it_should_be(
    lab: Run,
) -> None:
    with meanwhile(lab, "apply", "-f", "-", stdin="".join(FILLERS[:200])) as applying:
        killed: set[int | None] = set()
        while applying.poll() is None and len(killed) < 5:
            killed.add(kill(lab, "node-2"))
    assert len(killed - {None}) > 1
    assert_holds(lab)

    for number in range(4):
        changed = policy("crowd-0", *(["crowd-3"] if number % 2 == 0 else ["crowd-1", "crowd-2"]))
        with meanwhile(lab, "apply", "-f", "-", stdin=changed):
            kill(lab, "node-2")
    assert_holds(lab)
    lab("apply", "-f", "-", stdin=POLICIES)


def test_while_nft_fails_pods_that_are_not_programmed_are_closed_and_the_log_says_why(lab: Run, nft: Nft) -> None:
    lab("apply", "-f", "-", stdin=pod("there", "crowd-0") + pod("client", "crowd-1", "node-1"))
    there = address(lab, "there")
    pods = "".join(pod(f"late-{number}", "open") for number in range(3))

    def passes(target: str | None, seconds: int = 1) -> bool:
        words = ("exec", "client", "--", "nc", "-z", "-w", str(seconds), str(target), "80")
        return lab(*words, check=False).returncode == 0

    with nft.failing():
        assert kill(lab, "node-2") is not None
        assert within(lambda: "kernel of node node-2 could not be programmed: Out of order" in lab("logs").stdout)
        with meanwhile(lab, "apply", "-f", "-", stdin=pods):
            assert within(lambda: address(lab, "late-2"))
            late = address(lab, "late-2")
            assert not passes(late)
            assert passes(there, 30)
            nft._broken.unlink()
            assert within(lambda: passes(late))
            nft._broken.touch()
    assert_holds(lab)


@pytest.mark.parametrize(
    ("harm", "found"),
    [
        ("delete table inet podfence", "repaired: table inet podfence was gone"),
        ("insert rule inet podfence forward accept", "repaired: chain forward had other rules"),
    ],
)
def test_what_is_done_to_the_table_of_a_node_by_hand_is_repaired_by_itself(lab: Run, harm: str, found: str) -> None:
    lab("apply", "-f", "-", stdin="".join(FILLERS[:20]))
    before = lab("logs").stdout.count(found)
    lab("exec", "node:node-2", "--", "nft", harm)
    assert within(lambda: lab("logs").stdout.count(found) > before), lab("logs").stdout[-2000:]
    assert_holds(lab)


def test_an_agent_that_cannot_reach_the_api_server_enforces_the_last_state_also_when_it_is_started_anew(
    lab: Run,
) -> None:
    lab(
        "apply",
        "-f",
        "-",
        stdin=pod("there", "crowd-0") + pod("friend", "crowd-1", "node-1") + pod("other", "x", "node-1"),
    )
    there = str(address(lab, "there"))

    def passes(source: str, seconds: int = 1) -> bool:
        return lab("exec", source, "--", "nc", "-z", "-w", str(seconds), there, "80", check=False).returncode == 0

    def node(command: str) -> None:
        lab("exec", "node:node-2", "--", "nft", command)

    # As if the server had been killed.
    node("add table ip lost; add chain ip lost in { type filter hook input priority -300; }")
    node("add rule ip lost in iifname lo meta l4proto tcp reject with tcp reset")
    try:
        assert kill(lab, "node-2") is not None
        assert (passes("friend", 30), passes("other")) == (True, False)
        node("delete table inet podfence")
        assert within(lambda: (passes("friend"), passes("other")) == (True, False))
    finally:
        node("delete table ip lost")
    lab("apply", "-f", "-", stdin=policy("crowd-0", "x"))
    assert (passes("friend"), passes("other", 30)) == (False, True)
    lab("apply", "-f", "-", stdin=POLICIES)


def test_servers_outside_and_the_dns_server_of_the_cluster_are_started_again_when_they_are_killed(lab: Run) -> None:
    lab("apply", "-f", "-", stdin=pod("client", "open", "node-1"))

    def answers() -> bool:
        # The cluster's DNS server asks that outside for the name, and a server outside answers at the address.
        words = ("exec", "client", "--", "nc", "-z", "-w", "1", "www.example.org", "80")
        return lab(*words, check=False).returncode == 0

    assert within(answers)
    (dns,) = (item["name"] for item in lab.status()["pods"] if item["name"].startswith("coredns-"))
    inits = [first(lab, name) for name in ("outside", dns[:15])]
    servers = [pid for init in inits for pid in children(init)]
    assert len(servers) == 3
    for pid in servers:
        os.kill(pid, signal.SIGKILL)
    assert within(answers)
    assert not {pid for init in inits for pid in children(init)} & {*servers}


def test_a_lab_that_may_open_no_more_files_answers_again_when_it_may(lab: Run) -> None:
    supervisor = processes(lab.name)[2]
    now, most = resource.prlimit(supervisor, resource.RLIMIT_NOFILE)

    def has_waited() -> bool:
        resource.prlimit(supervisor, resource.RLIMIT_NOFILE, (3, most))
        with sandbox.connect(lab.name):
            assert supervisor in processes(lab.name)
        resource.prlimit(supervisor, resource.RLIMIT_NOFILE, (now, most))
        return "lab: a request has to wait: Too many open files" in lab("logs").stdout

    assert within(has_waited), lab("logs").stdout[-2000:]


def test_the_next_owner_of_an_address_inherits_nothing(lab: Run) -> None:
    lab("apply", "-f", "-", stdin="".join(FILLERS[: POOL - 1]) + pod("mortal", "open"))
    there = address(lab, "mortal")
    assert there
    # There is no room for it yet.
    lab("apply", "-f", "-", stdin=policy("heir") + pod("heir", "heir"))
    assert address(lab, "heir") is None

    command = (PROGRAM, "lab", "exec", "-i", "node:node-1", "--", sys.executable, "-c", DATAGRAMS, there)
    environment = os.environ | {"PODFENCE_LAB": lab.name}
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1, env=environment
    ) as line:

        def answer(word: str, patience: float = 0.5) -> str:
            assert line.stdin is not None
            assert line.stdout is not None
            line.stdin.write(f"{word} {patience}\n")
            return line.stdout.readline().strip()

        assert answer("one", PATIENCE) == "one"
        lab("delete", "pod", "mortal")
        assert within(lambda: address(lab, "heir") == there)
        assert [answer("two") for _ in range(3)] == ["TimeoutError"] * 3
        # What was open to the first owner by its labels is not to the second, and it is the policy that says so.
        assert_holds(lab)
        lab("delete", "netpol", "heir")
        # Flows are looked at right after the rules, and nobody waits for that.
        assert within(lambda: answer("three") == "three")


def test_after_the_end_of_a_process_that_is_not_replaced_each_command_says_so_and_the_rest_goes_on() -> None:
    manifests = pod("there", "crowd-0") + pod("other", "x") + policy("crowd-0", "crowd-1")

    def is_denied() -> bool:
        words = ("exec", "other", "--", "nc", "-z", "-w", "1", there, "80")
        return run(*words, check=False).returncode == 1

    with running("-f", "-", stdin=manifests) as run:
        there = str(address(run, "there"))
        os.kill(first(run, "podfence.lab.processes.zygote"), signal.SIGKILL)
        assert run("apply", "-f", "-", stdin=pod("late", "x")).stdout == "pod/late created\n"
        why = "pod default/late: cannot be started: the process that starts pods has ended"
        assert why in run("logs").stdout

        for name, command in (("outside", ("exec", "outside", "--", "true")), ("node-1", ("verify",))):
            os.kill(first(run, name), signal.SIGKILL)
            done = run(*command, check=False)
            assert (done.returncode, f"error: {name} has ended" in done.stderr) == (2, True), done.stderr
        # What verify had lifted is in force again on the other node, and new Services are known there.
        assert next(node["agent"] for node in run.status()["nodes"] if node["name"] == "node-2") == "enforcing"
        assert is_denied()
        done = run("apply", "-f", "-", stdin=SERVICE, check=False)
        assert (done.returncode, "error: Services on node-1: node-1 has ended" in done.stderr) == (2, True), done.stderr
        assert run("exec", "other", "--", "nc", "-z", "-w", "2", "10.96.3.4", "80").returncode == 0

        os.kill(first(run, "agents"), signal.SIGKILL)
        kill(run, "node-2")
        why = "agent node-2: cannot be started: the process that starts agents has ended"
        assert within(lambda: why in run("logs").stdout)
        assert is_denied()
        run("down")
        assert processes(run.name) == []


def children(pid: int) -> list[int]:
    """Return the processes that a process has started and that still run."""
    return [int(text) for text in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def first(run: Run, mark: str) -> int:
    """Return the oldest process of a lab with this name, or that was started with this argument."""
    for pid in processes(run.name):
        with suppress(OSError):
            folder = Path(f"/proc/{pid}")
            if mark in ((folder / "comm").read_text().strip(), *(folder / "cmdline").read_text().split("\0")):
                return pid
    raise AssertionError(mark)


# On a bridge pods find each other themselves, and the kernel has no room for the neighbours of many more.
@pytest.mark.parametrize(("network", "crowd"), [("routed", 1000 if LONG else 100), ("bridge", 400 if LONG else 100)])
def test_a_crowd_of_pods_that_comes_at_once_is_programmed(network: str, crowd: int) -> None:
    pods = [pod(f"crowd-{number}", f"crowd-{number % 5}", "") for number in range(crowd)]
    with running("--network", network, "--nodes", str(max(2, crowd // 200)), "-f", "-", stdin=POLICIES) as run:
        run("apply", "-f", "-", stdin="".join(pods))
        assert sum(item["phase"] == "Running" for item in run.status()["pods"]) >= crowd
        assert_holds(run)
