# SPDX-License-Identifier: Apache-2.0
"""Completion: what a shell is offered while a line is typed."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from podfence.cli import complete
from tests.kube.access.kubeconfigs import write

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable
    from pathlib import Path

    Program = Callable[..., subprocess.CompletedProcess[str]]


def _offered(program: Program, line: str) -> list[str]:
    """Return what bash would be offered for the last word of `line`."""
    done = program(_PODFENCE_COMPLETE="bash_complete", COMP_WORDS=line, COMP_CWORD=str(len(line.split(" ")) - 1))
    assert done.stderr == ""
    return [entry.partition(",")[2] or entry for entry in done.stdout.split()]


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        (
            "podfence ",
            [
                "list",
                "check",
                "explain",
                "diff",
                "agent",
                "controller",
                "why",
                "lab",
                "options",
                "semantics",
                "config",
                "schema",
                "completion",
                "version",
            ],
        ),
        ("podfence ex", ["explain"]),
        ("podfence list -o m", ["md", "matrix", "matrix-json"]),
        ("podfence check -f shop shop/d", ["shop/deploy/api", "shop/deploy/web"]),
        ("podfence check -f shop shop/deploy/web shop/s", ["shop/sts/db", "shop/svc/db"]),
        ("podfence list -f shop --to i", ["internet"]),
        ("podfence list -f shop -n ", ["shop"]),
        ("podfence list --set icm", ["icmp=portless", "icmp=denied", "icmp=allowed", "icmp=depends"]),
        ("podfence list --set end-port=", ["end-port=range", "end-port=first"]),
        ("podfence list --set ip-block", ["ip-block-pods=", "ip-block-nodes="]),
        ("podfence list --set nothing=", []),
        ("podfence list --color a", ["auto", "always"]),
        ("podfence schema Ver", ["Verdict", "Version", "Verification"]),
        ("podfence completion z", ["zsh"]),
        ("podfence check -f broken.yaml br", []),
        ("podfence check -f missing.yaml i", ["internet"]),
        ("podfence check -f - i", ["internet"]),
    ],
)
def test_words_are_offered(program: Program, shop: str, broken: str, line: str, offered: list[str]) -> None:
    assert _offered(program, line) == offered


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("podfence list --context ", ["dev", "prod-eu", "prod-us"]),
        ("podfence list --context prod", ["prod-eu", "prod-us"]),
        ("podfence list --cluster p", ["prod"]),
        ("podfence check --user ", ["ann", "bob"]),
        ("podfence list --kubeconfig one --context ", ["dev"]),
        ("podfence list --kubeconfig pipe --context ", []),
        ("podfence list --kubeconfig missing --context ", []),
        ("podfence list --kubeconfig broken --user ", []),
        ("podfence list --to ", ["apiserver", "internet", "node", "own-node", "self"]),
    ],
)
def test_entries_of_kubeconfigs_are_offered_and_no_server_is_asked(
    program: Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: str, offered: list[str]
) -> None:
    unreachable = {"server": "https://192.0.2.1"}
    write(
        tmp_path / "one",
        current="dev",
        clusters={"c": unreachable},
        contexts={"dev": {"cluster": "c"}},
        users={"ann": {}},
    )
    contexts = {name: {"cluster": "prod", "user": "bob"} for name in ("prod-us", "prod-eu")}
    write(tmp_path / "two", clusters={"prod": unreachable}, contexts=contexts, users={"bob": {}})
    (tmp_path / "broken").write_text("users: {")
    os.mkfifo(tmp_path / "pipe")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("KUBECONFIG", "one:two:pipe:missing")

    assert _offered(program, line) == offered


def test_file_names_are_left_to_the_shell(program: Program) -> None:
    assert _offered(program, "podfence list -f ") == ["file,"]


@pytest.mark.parametrize(
    ("words", "shown"),
    [
        (["check", "-f", "shop", "shop/d"], "shop/deploy/api\nshop/deploy/web\n:4\n"),
        (["completion", ""], "bash\nzsh\nfish\n:4\n"),
        (["list", "-f", ""], ":0\n"),
        (["li"], "list\tList the connections that the policies allow\n:4\n"),
    ],
)
def test_kubectl_is_answered_in_its_own_words(
    shop: str, words: list[str], shown: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["kubectl_complete-podfence", *words])

    assert complete.for_kubectl() == 0
    assert capsys.readouterr().out == shown
