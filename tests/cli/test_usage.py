# SPDX-License-Identifier: Apache-2.0
"""Help, usage errors, and the commands that read no cluster."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from podfence.cli.main import commands
from podfence.policy.options import describe
from podfence.report.documents import KINDS

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable

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


@pytest.mark.parametrize("question", ANSWERING)
def test_without_input_the_message_has_the_complete_command_for_a_live_cluster(
    run: Run, question: tuple[str, ...]
) -> None:
    result = run(*question)

    assert result.exit_code == 2
    assert result.stdout == ""
    assert result.stderr.startswith("podfence: error: no input: ")
    assert f" -A -o yaml | podfence {' '.join(question)} -f -\n" in result.stderr
    assert "kubectl get ns,no,po,deploy," in result.stderr


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
            result = run("list", "-f", "does-not-exist", "--set", f"{item['name']}={value}")
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
    assert imported & {"msgspec", "yaml", "rich", "asyncio", "podfence.api"} == set()
