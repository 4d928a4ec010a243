# SPDX-License-Identifier: Apache-2.0
"""Mistakes that tools of this kind have made, each as a test that podfence does not make it.

Everything goes through the commands, as people meet them: files in, two streams and an exit code out.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import chdir
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from click.testing import CliRunner

from podfence.cli.main import commands

PROGRAM = Path(sys.executable).with_name("podfence")

PODS = """\
{apiVersion: v1, kind: Namespace, metadata: {name: shop}}
---
apiVersion: v1
kind: Pod
metadata: {name: web, namespace: shop, labels: {app: web}}
spec: {nodeName: n1, containers: [{name: c, image: i}]}
status: {phase: Running, podIP: 10.0.0.1, podIPs: [{ip: 10.0.0.1}, {ip: "fd00::1"}]}
---
apiVersion: v1
kind: Pod
metadata: {name: db, namespace: shop, labels: {app: db}}
spec: {nodeName: n1, containers: [{name: c, image: i}]}
status: {phase: Running, podIP: 10.0.0.2, podIPs: [{ip: 10.0.0.2}, {ip: "fd00::2"}]}
---
apiVersion: v1
kind: Pod
metadata: {name: dns, namespace: kube-system, labels: {k8s-app: kube-dns}}
spec: {containers: [{name: c, image: i, ports: [{name: dns, containerPort: 53, protocol: UDP}]}]}
status: {phase: Running, podIP: 10.0.9.9, podIPs: [{ip: 10.0.9.9}]}
"""


def policy(spec: str, name: str = "p", api_version: str = "networking.k8s.io/v1") -> str:
    return (
        f"\n---\napiVersion: {api_version}\nkind: NetworkPolicy\n"
        f"metadata: {{name: {name}, namespace: shop}}\nspec:\n  {spec}\n"
    )


DENY_ALL = policy("{policyTypes: [Ingress, Egress]}", "deny")


class Answer(NamedTuple):
    """What a command gave."""

    code: int
    out: str
    err: str


def run(folder: Path, *args: str, text: str | None = None) -> Answer:
    """Run a command on a file of this text."""
    if text is not None:
        (folder / "all.yaml").write_text(text)
    with chdir(folder):
        done = CliRunner().invoke(commands, [*args, "-f", "all.yaml"])
    return Answer(done.exit_code, done.stdout, done.stderr)


def run_as_program(folder: Path, *args: str, **environ: str) -> Answer:
    """Run the installed program on that file, with this in its environment."""
    done = subprocess.run(
        [PROGRAM, *args, "-f", "all.yaml"],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env=os.environ | environ,
    )
    return Answer(done.returncode, done.stdout, done.stderr)


def refused(folder: Path, text: str) -> str:
    """Return the message of a refusal; nothing else may come of it, whatever is asked."""
    for args in (("list",), ("check", "shop/web", "shop/db", "80")):
        answer = run(folder, *args, text=text)
        assert (answer.code, answer.out) == (2, "")
        assert answer.err.rstrip().endswith("nothing was answered")
        assert "Traceback" not in answer.err
    return answer.err


# Input that is wrong


def test_a_file_that_does_not_parse_is_no_empty_cluster(tmp_path: Path) -> None:
    assert "all.yaml:21:16: error: " in refused(tmp_path, PODS + "---\n  - [unfinished\n")


@pytest.mark.parametrize("last", ["kind: [", "\tkind: Pod", "a: b: c"])
def test_a_later_document_that_does_not_parse_refuses_the_whole_file(tmp_path: Path, last: str) -> None:
    assert "error" in refused(tmp_path, f"{PODS}---\n{last}\n")


def test_every_document_of_a_file_counts(tmp_path: Path) -> None:
    assert run(tmp_path, "check", "shop/web", "shop/db", "80", text=PODS).code == 0
    denied = run(tmp_path, "check", "shop/web", "shop/db", "80", text=PODS + DENY_ALL)

    assert denied.code == 1
    assert "deny (all.yaml:22)" in denied.out


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("{podSelecter: {matchLabels: {app: db}}}", 'unknown field "spec.podSelecter"'),
        ("{ingress: [{from: [{namespaceSelecter: {}}]}]}", 'unknown field "spec.ingress[0].from[0].namespaceSelecter"'),
        ("{policyTypes: [ingress]}", 'spec.policyTypes[0]: Unsupported value: "ingress"'),
        ("{ingress: [{ports: [{protocol: tcp, port: 80}]}]}", 'spec.ingress[0].ports[0].protocol: Unsupported value: "tcp"'),
        ("{egress: [{to: [{ipBlock: {cidr: 10.0.0.0/24, except: [10.1.0.0/25]}}]}]}", "spec.egress[0].to[0].ipBlock.except[0]: Invalid value"),
        ("{egress: [{to: [{ipBlock: {cidr: 10.0.0.0/24, except: ['fd00::/64']}}]}]}", "must be a strict subset of `cidr`"),
        ("{ingress: [{from: [{}]}]}", "spec.ingress[0].from[0]: Required value: must specify a peer"),
        ("{ingress: [{ports: [{port: '80'}]}]}", "spec.ingress[0].ports[0].port: Invalid value"),
    ],
)  # fmt: skip
def test_a_mistyped_policy_is_refused_and_the_field_is_named(tmp_path: Path, spec: str, message: str) -> None:
    text = refused(tmp_path, PODS + policy(spec))

    assert "all.yaml:26:" in text
    assert message in text


def test_a_mistyped_field_comes_with_the_one_that_was_meant(tmp_path: Path) -> None:
    assert "podSelector" in refused(tmp_path, PODS + policy("{podSelecter: {}}"))


@pytest.mark.parametrize("version", ["networking.k8s.io/v2", "networking.k8s.io/v1beta1", "extensions/v1", "v1"])
def test_a_policy_of_an_unknown_api_version_is_refused(tmp_path: Path, version: str) -> None:
    text = refused(tmp_path, PODS + policy("{}", api_version=version))

    assert "all.yaml:22:13: error: apiVersion: " in text
    assert "NetworkPolicy" in text


# Meaning


@pytest.mark.parametrize(
    ("cidr", "peers"),
    [
        ("::/0", {"2001:db8::9": 0, "203.0.113.9": 1, "253.0.0.1": 1}),
        ("0.0.0.0/0", {"2001:db8::9": 1, "203.0.113.9": 0}),
        ("fd00::/64", {"fd00::9": 0, "253.0.0.1": 1, "253.0.0.0": 1, "fd00:0:0:1::1": 1}),
    ],
)
def test_families_are_never_mixed_up(tmp_path: Path, cidr: str, peers: dict[str, int]) -> None:
    text = PODS + policy(f"{{ingress: [{{from: [{{ipBlock: {{cidr: '{cidr}'}}}}]}}]}}")

    assert {peer: run(tmp_path, "check", peer, "shop/db", "80", text=text).code for peer in peers} == peers


@pytest.mark.parametrize(
    ("ports", "asked"),
    [
        ("[{protocol: UDP}]", {"80": False, "80/udp": True, "53/sctp": False, "icmp": False}),
        ("[{port: 80}]", {"80": True, "80/udp": False, "81": False}),
        ("[{port: 80, endPort: 82}, {protocol: SCTP, port: 80}]", {"82": True, "83": False, "80/sctp": True, "81/sctp": False}),
        ("[]", {"80": True, "1/udp": True, "icmp": True}),
    ],
)  # fmt: skip
def test_check_and_list_never_contradict_each_other(tmp_path: Path, ports: str, asked: dict[str, bool]) -> None:
    text = PODS + policy(f"{{podSelector: {{matchLabels: {{app: db}}}}, ingress: [{{ports: {ports}}}]}}")
    for port, expected in asked.items():
        verdict = run(tmp_path, "check", "shop/web", "shop/db", port, text=text)
        listed = run(tmp_path, "list", "--pods", "--from", "shop/web", "--to", "shop/db", "--port", port, "-o", "csv")
        assert verdict.code == (0 if expected else 1), port
        assert ("shop/web,shop/db" in listed.out.replace('"', "")) is expected, port


def test_pods_of_one_owner_with_different_labels_are_told_apart(tmp_path: Path) -> None:
    owned = "".join(
        f"\n---\napiVersion: v1\nkind: Pod\nmetadata:\n  name: {name}\n  namespace: shop\n  labels: {{track: {track}}}\n"
        "  ownerReferences: [{apiVersion: apps/v1, kind: StatefulSet, name: app, uid: u, controller: true}]\n"
        f"spec: {{containers: [{{name: c, image: i}}]}}\nstatus: {{phase: Running, podIP: {address}}}\n"
        for name, track, address in (("app-0", "stable", "10.0.1.1"), ("app-1", "canary", "10.0.1.2"))
    )
    text = PODS + owned + policy("{podSelector: {matchLabels: {track: canary}}}")
    listed = run(tmp_path, "list", "--to", "shop/app", text=text)
    both = run(tmp_path, "check", "shop/web", "shop/app", "80")

    assert listed.code == 0
    assert "shop/sts/app[track=stable]" in listed.out
    assert "canary" not in listed.out
    assert (both.code, "depends on the destination pod" in both.out) == (3, True)
    assert [run(tmp_path, "check", "shop/web", f"shop/{name}", "80").code for name in ("app-0", "app-1")] == [0, 1]


def test_an_address_block_that_holds_a_pods_address_admits_the_pod(tmp_path: Path) -> None:
    text = PODS + policy("{podSelector: {matchLabels: {app: db}}, ingress: [{from: [{ipBlock: {cidr: 10.0.0.0/24}}, {ipBlock: {cidr: 'fd00::1/128'}}]}]}")  # fmt: skip

    assert run(tmp_path, "check", "shop/web", "shop/db", "80", text=text).code == 0
    assert run(tmp_path, "check", "kube-system/dns", "shop/db", "80").code == 1
    assert "shop/web -> shop/db " in run(tmp_path, "list", "--pods", "--from", "shop/web", "--to", "shop/db").out


def test_a_pod_always_reaches_itself(tmp_path: Path) -> None:
    assert run(tmp_path, "check", "shop/db", "shop/db", "80", text=PODS + DENY_ALL).code == 0
    grid = run(tmp_path, "list", "-o", "matrix", "-n", "shop").out

    assert "X" in grid
    assert grid.count(".") >= 2


def test_dns_that_a_rule_admits_is_admitted(tmp_path: Path) -> None:
    rule = (
        "{policyTypes: [Egress], egress: [{to: [{namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: "
        "kube-system}}, podSelector: {matchLabels: {k8s-app: kube-dns}}}], ports: [{protocol: UDP, port: 53}]}]}"
    )
    text = PODS + policy(rule) + DENY_ALL

    assert run(tmp_path, "check", "shop/web", "kube-system/dns", "53/udp", text=text).code == 0
    assert run(tmp_path, "check", "shop/web", "kube-system/dns", "53/tcp").code == 1
    assert run(tmp_path, "check", "shop/web", "shop/db", "53/udp").code == 1


@pytest.mark.parametrize(
    "args",
    [("check", "shop/ghost", "shop/db"), ("check", "shop/web", "shop/svc/ghost"), ("check", "shop/web", "node:ghost"),
     ("list", "--from", "ghost/web"), ("list", "-n", "ghost"), ("check", "shop/web", "shop/db", "http"),
     ("check", "shop/web", "fd00::/129", "80"), ("check", "", "shop/db", "80")],
)  # fmt: skip
def test_a_question_about_nothing_is_an_error_with_a_message(tmp_path: Path, args: tuple[str, ...]) -> None:
    answer = run(tmp_path, *args, text=PODS)

    assert (answer.code, answer.out) == (2, "")
    assert answer.err.splitlines()[-1].startswith("podfence: error: ")
    assert "Traceback" not in answer.err
    assert "internal error" not in answer.err


# Output

MANY = PODS + "".join(
    policy(f"{{podSelector: {{matchLabels: {{app: {app}}}}}, ingress: [{{from: [{{podSelector: {{}}}}, {{ipBlock: {{cidr: 10.0.0.0/8}}}}], ports: [{{port: {port}}}]}}]}}", f"p{port}")
    for port, app in enumerate(["web", "db", "dns"] * 3, 80)
)  # fmt: skip


@pytest.mark.parametrize(
    "args",
    [("list",), ("list", "-o", "json"), ("list", "--pods", "-o", "csv"), ("list", "-o", "matrix"),
     ("explain", "shop/web", "shop/db", "-o", "yaml")],
)  # fmt: skip
def test_output_is_the_same_bytes_on_every_run(tmp_path: Path, args: tuple[str, ...]) -> None:
    runs = [run(tmp_path, *args, text=MANY), *(run_as_program(tmp_path, *args, PYTHONHASHSEED=seed) for seed in "01")]

    assert runs[0].out
    assert len({(answer.code, answer.out, answer.err) for answer in runs}) == 1


def test_warnings_and_notes_are_on_standard_error(tmp_path: Path) -> None:
    twice = PODS + policy("{podSelector: {}, podSelector: {}}")
    answer = run(tmp_path, "list", "-o", "json", text=twice)

    assert (answer.code, "warning: " in answer.err) == (0, True)
    json.loads(answer.out)


def test_line_numbers_are_the_files(tmp_path: Path) -> None:
    rules = policy(
        "podSelector: {matchLabels: {app: db}}\n  ingress:\n  - from:\n    - podSelector: {matchLabels: {app: web}}"
    )
    answer = run(tmp_path, "check", "shop/web", "shop/db", "80", text=PODS + rules)
    lines = (tmp_path / "all.yaml").read_text().splitlines()

    assert "p (all.yaml:22) rule 1 (all.yaml:28)" in answer.out
    assert (lines[21], lines[27]) == ("apiVersion: networking.k8s.io/v1", "  - from:")


def test_ports_in_json_are_numbers(tmp_path: Path) -> None:
    only = policy("{podSelector: {matchLabels: {app: db}}, ingress: [{ports: [{port: 80, endPort: 90}]}]}")
    answer = run(tmp_path, "list", "--to", "shop/db", "-o", "json", text=PODS + only)
    found: list[Any] = []

    def collect(value: object) -> None:
        if isinstance(value, dict):
            found.extend(item for key, item in value.items() if key in ("from", "to") and isinstance(item, int | str))
            value = list(value.values())
        for item in value if isinstance(value, list) else ():
            collect(item)

    collect(json.loads(answer.out))
    assert {80, 90} <= set(found)
    assert all(isinstance(item, int) for item in found)


@pytest.mark.parametrize(
    ("question", "code"),
    [(("shop/db", "shop/web", "80"), 0), (("shop/web", "shop/db", "80"), 1), (("shop/web", "shop/ghost", "80"), 2),
     (("shop/web", "shop/db"), 3)],
)  # fmt: skip
def test_the_exit_code_is_the_answer(tmp_path: Path, question: tuple[str, ...], code: int) -> None:
    only = policy("{podSelector: {matchLabels: {app: db}}, ingress: [{ports: [{port: 443}]}]}")

    assert run(tmp_path, "check", *question, text=PODS + only).code == code
    assert run(tmp_path, "explain", *question).code == code
