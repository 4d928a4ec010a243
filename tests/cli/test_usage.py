# SPDX-License-Identifier: Apache-2.0
"""Help, usage errors, and the commands that read no cluster."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from podfence.cli.main import commands
from podfence.policy.options import describe
from podfence.report.documents import KINDS
from tests.kube.access.kubeconfigs import single

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from click.testing import Result

    Run = Callable[..., Result]
    Program = Callable[..., subprocess.CompletedProcess[str]]

ANSWERING = [("list",), ("check", "shop/web", "shop/db", "5432"), ("explain", "shop/web", "shop/db")]


@pytest.mark.parametrize("flag", ["-h", "--help"])
@pytest.mark.parametrize("command", ["", *commands.table])
def test_help_shows_what_a_command_is_for_and_examples_before_options(run: Run, command: str, flag: str) -> None:
    result = run(*command.split(), flag)

    assert result.exit_code == 0
    places = [result.stdout.index(title) for title in ("\nExamples:\n", "\nOptions:\n", "\nUsage:\n")]
    assert places == sorted(places)
    assert f"podfence {command}".strip() in result.stdout[places[0] : places[1]]
    assert result.stderr == ""


def test_no_command_is_the_help(run: Run) -> None:
    assert run().stdout == run("--help").stdout
    assert (run("lab").exit_code, run("lab").stderr) == (2, run("lab", "--help").stdout)


@pytest.mark.usefixtures("nowhere")
@pytest.mark.parametrize("question", ANSWERING)
def test_without_files_and_without_a_cluster_the_message_names_all_ways_to_give_one(
    run: Run, tmp_path: Path, question: tuple[str, ...]
) -> None:
    result = run(*question)

    assert result.exit_code == 2
    assert result.stdout == ""
    assert result.stderr == (
        f"podfence: error: no cluster is configured: {tmp_path}/.kube/config (the default) does not exist,"
        " and this is not a pod with a service account: KUBERNETES_SERVICE_HOST is not set"
        " (give one with --kubeconfig, or read manifests with -f)\n"
        "If kubectl reaches the cluster, pipe its output:\n"
        "  kubectl get ns,no,po,deploy,sts,ds,rs,rc,job,cj,svc,endpointslice,netpol -A -o yaml"
        f" | podfence {' '.join(question)} -f -\n"
    )


@pytest.mark.usefixtures("nowhere")
def test_a_cluster_that_was_asked_for_and_is_not_there_is_not_answered_with_a_pipe(run: Run) -> None:
    result = run("list", "--context", "prod")

    assert result.exit_code == 2
    assert result.stderr == (
        'podfence: error: there is no context "prod", because there is no kubeconfig (there are no contexts)\n'
    )


@pytest.mark.usefixtures("nowhere")
def test_what_is_wrong_in_a_kubeconfig_is_named_with_its_line(run: Run, tmp_path: Path) -> None:
    (tmp_path / "config").write_text("apiVersion: v1\nkind: Config\ncontexts: {}\n")
    result = run("list", "--kubeconfig", str(tmp_path / "config"))

    assert result.exit_code == 2
    assert result.stderr.splitlines() == [
        f"{tmp_path}/config:3:11: error: contexts: expected a list, found a mapping (start its first line with a dash)",
        "podfence: error: 1 error; nothing was answered",
    ]


@pytest.mark.usefixtures("nowhere")
def test_without_the_client_the_message_says_what_to_install(tmp_path: Path) -> None:
    kubeconfig = single(tmp_path / "config")
    script = "import sys; sys.modules['aiohttp'] = None; from podfence.cli.main import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", script, "list", "--kubeconfig", kubeconfig],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )

    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == ("podfence: error: reading a live cluster needs aiohttp (pip install 'podfence[live]')\n")


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("lst",), "unknown command 'lst'; did you mean list?"),
        (("check", "-f", "x"), "Missing argument 'SRC'."),
        (("check", "a", "-f", "x"), "Missing argument 'DST'."),
        (("list", "--form", "a"), "No such option '--form'"),
        (("list", "-o", "xml", "-f", "x"), "'xml' is not one of 'table', 'json'"),
        (("list", "--pods", "-o", "matrix", "-f", "x"), "--pods and -o matrix exclude each other"),
        (("list", "--to", "shop/db", "-o", "matrix", "-f", "x"), "--to and -o matrix exclude each other"),
        (("list", "-f", "x", "--color", "blue"), "'blue' is not one of 'auto', 'always', 'never'"),
        (
            ("list", "-f", "x", "--context", "prod"),
            "--context chooses a live cluster, and -f reads manifests in its place; give one or the other",
        ),
        (
            ("list", "-k", "x", "--as", "ann", "--as-group", "dev", "--as-uid", "7"),
            "--as, --as-group, --as-uid choose a live cluster, and -k reads manifests in its place",
        ),
        (
            (
                "check",
                "a",
                "b",
                "-f",
                "-",
                "--kubeconfig",
                "c",
                "--cluster",
                "c",
                "--user",
                "u",
                "--request-timeout=1s",
            ),
            "--kubeconfig, --cluster, --user, --request-timeout choose a live cluster, and -f reads manifests",
        ),
        (
            ("list", "--request-timeout", "5d"),
            "'5d' is not a duration; write 30s, 2m or 1h30m, or a number of seconds",
        ),
        (("list", "-R"), "-R needs a folder to read; give one with -f"),
        (("list", "-f", "x", "--set", "hairpn=policy"), "unknown option 'hairpn'; did you mean hairpin?"),
        (("list", "-f", "x", "--set", "hairpin=maybe"), "'maybe' is not one of allowed, policy, depends"),
        (("list", "-f", "x", "--set", "hairpin"), "write OPTION=VALUE"),
        (("schema", "Verdit"), "unknown kind 'Verdit'; did you mean Verdict?"),
        (("completion", "tcsh"), "'tcsh' is not one of 'bash', 'zsh', 'fish'"),
    ],
)
def test_bad_usage_is_one_message_and_exit_code_2(run: Run, args: tuple[str, ...], message: str) -> None:
    result = run(*args)

    assert result.exit_code == 2
    assert result.stdout == ""
    assert result.stderr.splitlines()[-1].startswith("podfence: error: ")
    assert message in result.stderr.splitlines()[-1]


def test_options_are_listed_with_default_values_rule_and_meaning(run: Run) -> None:
    header, *lines = run("options").stdout.splitlines()

    assert header.split() == ["OPTION", "DEFAULT", "VALUES", "RULE", "MEANING"]
    assert [line.split()[0] for line in lines] == [name.replace("_", "-") for name in describe()]
    assert lines[1].split(maxsplit=6)[:6] == ["hairpin", "allowed", "allowed,", "policy,", "depends", "7.2"]


def test_every_listed_option_and_value_can_be_set(run: Run) -> None:
    for item in json.loads(run("options", "-o", "json").stdout)["items"]:
        for value in item["values"]:
            written = value.replace("KIND,…", "Pod").replace("CIDR,…", "10.0.0.0/8")
            result = run("list", "-f", "does-not-exist", "--set", f"{item['name']}={written}")
            assert "option" not in result.stderr


@pytest.mark.parametrize("flags", [("-o", "json"), ("-ojson",), ("-o=json",), ("--output=json",)])
def test_a_format_is_written_as_with_kubectl(run: Run, flags: tuple[str, ...]) -> None:
    assert json.loads(run("version", *flags).stdout)["kind"] == "Version"


def test_the_version_is_that_of_the_package(run: Run) -> None:
    number = json.loads(run("version", "-o", "json").stdout)["version"]

    assert run("version").stdout == run("--version").stdout == f"podfence {number}\n"
    assert f"version: {number}\n" in run("version", "-o", "yaml").stdout.replace('"', "")


def test_schema_without_a_kind_lists_the_kinds_and_each_has_one(run: Run) -> None:
    listed = run("schema").stdout.split()

    assert listed == list(KINDS)
    for kind in listed:
        assert json.loads(run("schema", kind).stdout)["$ref"] == f"#/$defs/{kind}"


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_completion_script_asks_the_program(run: Run, shell: str) -> None:
    result = run("completion", shell)

    assert result.exit_code == 0
    assert f"_PODFENCE_COMPLETE={shell}_complete" in result.stdout


@pytest.mark.parametrize("args", [("--help",), ("list", "--help"), ("version",), ("completion", "bash")])
def test_help_version_and_completion_start_without_heavy_imports(args: tuple[str, ...], program: Program) -> None:
    result = program(*args, PYTHONPROFILEIMPORTTIME="1")

    imported = {line.rpartition("|")[2].strip() for line in result.stderr.splitlines()}
    assert "podfence.cli.main" in imported
    assert imported & {"msgspec", "yaml", "asyncio", "podfence.api"} == set()


def test_reading_files_imports_nothing_that_reaches_clusters(shop: str, program: Program) -> None:
    result = program("list", "-f", shop, PYTHONPROFILEIMPORTTIME="1")

    imported = {line.rpartition("|")[2].strip() for line in result.stderr.splitlines()}
    assert "podfence.kube.load" in imported
    assert imported & {"asyncio", "aiohttp", "ssl", "podfence.kube.access", "podfence.kube.live"} == set()
