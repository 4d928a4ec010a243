# SPDX-License-Identifier: Apache-2.0
"""The commands that answer, on files: what goes to standard output, to standard error, and the exit code."""

from __future__ import annotations

import csv
import io
import json
from typing import TYPE_CHECKING

import msgspec
import pytest
import yaml

from podfence.report.documents import KINDS
from tests.cli import manifests

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from click.testing import Result

    Run = Callable[..., Result]

QUESTIONS = [
    (("shop/api", "shop/db", "5432"), 0, "allowed"),
    (("shop/web", "shop/db", "5432"), 1, "denied"),
    (("shop/api", "shop/db"), 3, "depends"),
    (("api", "db", "5432", "-n", "shop"), 0, "allowed"),
    (("shop/api", "shop/svc/db", "5432"), 0, "allowed"),
    (("internet", "shop/db", "5432"), 1, "denied"),
    (("shop/app=api", "shop/db", "5432/tcp"), 0, "allowed"),
]


@pytest.mark.parametrize(("question", "code", "word"), QUESTIONS)
def test_check_answers_in_one_line_and_by_its_exit_code(
    run: Run, shop: str, question: tuple[str, ...], code: int, word: str
) -> None:
    result = run("check", *question, "-f", shop)

    assert (result.exit_code, result.stderr) == (code, "")
    first, *parts = result.stdout.splitlines()
    assert first.startswith(f"{word}  ")
    assert all(" | ingress: " in line for line in parts or [first])
    assert not parts or first.endswith("   depends on the port")
    assert all(part.startswith("  ") for part in parts)
    assert bool(parts) == (code == 3)


def test_check_names_the_policy_and_the_nearest_rule_with_their_places(run: Run, shop: str) -> None:
    assert run("check", "shop/web", "shop/db", "5432", "-f", f"{shop}/").stdout == (
        "denied  shop/deploy/web -> shop/sts/db TCP 5432"
        "   egress: allowed by default (no policy selects shop/deploy/web)"
        " | ingress: NetworkPolicy shop/db (shop/db.yaml:1) isolates the pod, no rule admits the connection;"
        " nearest: rule 1 admits TCP 5432 from app=api, but the source has app=web\n"
    )


@pytest.mark.parametrize(("question", "code", "word"), QUESTIONS)
def test_explain_shows_both_directions_with_the_same_exit_code(
    run: Run, shop: str, question: tuple[str, ...], code: int, word: str
) -> None:
    result = run("explain", *question, "-f", shop)

    assert (result.exit_code, result.stderr) == (code, "")
    assert result.stdout.startswith(f"{word}  ")
    assert "\nEgress from " in result.stdout.replace("  Egress", "Egress")
    assert "\nIngress to " in result.stdout.replace("  Ingress", "Ingress")


def test_a_remedy_is_a_manifest_that_admits_what_was_asked(run: Run, shop: str, tmp_path: Path) -> None:
    question = ("shop/web", "shop/db", "5432")
    printed = run("explain", *question, "--remedy", "-f", shop)
    (tmp_path / "remedy.yaml").write_text(printed.stdout)

    assert printed.exit_code == 1
    assert printed.stdout.startswith("# add to ")
    assert run("check", *question, "-f", shop, "-f", str(tmp_path / "remedy.yaml")).exit_code == 0


def test_there_is_no_remedy_for_what_is_allowed(run: Run, shop: str) -> None:
    answer = run("explain", "shop/api", "shop/db", "5432", "--remedy", "-f", shop)

    assert (answer.exit_code, answer.stdout) == (0, "")
    assert "note: no change to propose: allowed" in answer.stderr


def test_a_remedy_is_yaml_and_nothing_else(run: Run, shop: str) -> None:
    answer = run("explain", "shop/web", "shop/db", "5432", "--remedy", "-o", "json", "-f", shop)

    assert answer.exit_code == 2
    assert "--remedy and -o json exclude each other" in answer.stderr


def test_explain_quotes_the_rule_as_it_is_written(run: Run, shop: str) -> None:
    shown = run("explain", "shop/web", "shop/db", "5432", "-f", shop).stdout

    assert "       8 |     - podSelector: {matchLabels: {app: api}}\n" in shown
    assert "    but the source has app=web\n  Smallest change that would admit it\n    " in shown


@pytest.mark.parametrize("command", ["check", "explain"])
@pytest.mark.parametrize(("question", "code", "word"), QUESTIONS)
def test_a_verdict_is_the_same_in_json_and_yaml_and_reads_back(
    run: Run, shop: str, command: str, question: tuple[str, ...], code: int, word: str
) -> None:
    text = run(command, *question, "-f", shop, "-o", "json")
    value = json.loads(text.stdout)

    assert text.exit_code == code
    assert (value["kind"], value["decision"]) == ("Verdict", word)
    assert json.loads(msgspec.json.encode(msgspec.json.decode(text.stdout, type=KINDS["Verdict"]))) == value
    assert yaml.safe_load(run(command, *question, "-f", shop, "-o", "yaml").stdout) == value


def test_list_has_a_line_for_what_is_allowed_and_none_for_what_is_denied(run: Run, shop: str) -> None:
    result = run("list", "--to", "shop/db", "--from", "shop/api", "-f", shop)
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout == "shop/deploy/api -> shop/sts/db  TCP 5432\n"

    nothing = run("list", "--to", "shop/db", "--from", "shop/web", "-f", shop)
    assert (nothing.exit_code, nothing.stdout, nothing.stderr) == (0, "", "note: nothing is allowed\n")


@pytest.mark.parametrize("extra", [(), ("--pods",)])
@pytest.mark.parametrize("form", ["json", "yaml", "csv", "md", "table"])
def test_list_states_one_connection_in_every_format(run: Run, shop: str, form: str, extra: tuple[str, ...]) -> None:
    shown = run("list", "--to", "shop/db", "--from", "shop/api", "-f", shop, "-o", form, *extra).stdout

    match form:
        case "json" | "yaml":
            value = json.loads(shown) if form == "json" else yaml.safe_load(shown)
            items = value["items"] if extra else value["connections"]
            assert len(items) == 1
            assert items[0]["ports"] == {
                "everything": False,
                "ranges": [{"protocol": "TCP", "from": 5432, "to": 5432}],
            }
        case "csv":
            rows = list(csv.DictReader(io.StringIO(shown)))
            assert [(row["source"], row["destination"], row["from"], row["to"]) for row in rows] == [
                ("shop/deploy/api", "shop/sts/db", "5432", "5432")
            ]
        case _:
            assert "shop/deploy/api" in shown
            assert "TCP 5432" in shown


@pytest.mark.parametrize(
    ("args", "kind"),
    [((), "Connectivity"), (("--pods",), "PodConnections"), (("-o", "matrix-json"), "Matrix")],
)
def test_list_as_json_reads_back_into_its_kind(run: Run, shop: str, args: tuple[str, ...], kind: str) -> None:
    shown = run("list", "-f", shop, "-o", "json", *args).stdout

    assert json.loads(msgspec.json.encode(msgspec.json.decode(shown, type=KINDS[kind]))) == json.loads(shown)


def test_the_matrix_has_a_row_per_workload(run: Run, shop: str) -> None:
    _, *rows = run("list", "-f", shop, "-o", "matrix", "--port", "5432").stdout.splitlines()

    assert rows[:3] == [
        "1 shop/deploy/api  . . .",
        "2 shop/deploy/web  . . X",
        "3 shop/sts/db      . . X",
    ]


@pytest.mark.parametrize("form", ["table", "json", "yaml", "csv", "md", "matrix"])
def test_the_same_input_gives_the_same_bytes(run: Run, shop: str, form: str) -> None:
    assert run("list", "-f", shop, "-o", form).stdout == run("list", "-f", shop, "-o", form).stdout != ""


def test_a_namespace_limits_what_is_shown_and_not_what_is_loaded(run: Run, shop: str, tmp_path: Path) -> None:
    (tmp_path / "lab.yaml").write_text(
        "apiVersion: v1\nkind: Pod\nmetadata: {name: tool, namespace: lab}\nspec: {containers: [{name: c, image: i}]}\n"
    )
    files = ("-f", shop, "-f", "lab.yaml", "-q")

    everything = run("list", "--pods", *files).stdout
    assert "lab/tool" in everything
    assert run("list", "--pods", *files, "-A", "-n", "lab").stdout == everything
    only = run("list", "--pods", *files, "-n", "lab").stdout.splitlines()
    assert only
    assert all("lab/tool" in line for line in only)


def test_standard_input_is_read_where_a_dash_is_given(run: Run) -> None:
    stdin = f"{manifests.SHOP}---\n{manifests.POLICY}"

    assert run("check", "shop/api", "shop/db", "5432", "-f", "-", stdin=stdin).exit_code == 0


def test_an_option_changes_the_answer_and_the_last_setting_wins(run: Run, shop: str, tmp_path: Path) -> None:
    (tmp_path / "solo.yaml").write_text(
        "apiVersion: v1\nkind: Pod\nmetadata: {name: solo, namespace: shop, labels: {app: db}}\n"
        "spec: {containers: [{name: c, image: i}]}\n"
    )
    question = ("check", "shop/solo", "shop/solo", "5432", "-f", shop, "-f", "solo.yaml")

    assert run(*question).exit_code == 0
    assert run(*question, "--set", "self-traffic=policy").exit_code == 1
    assert run(*question, "--set", "self-traffic=policy", "--set", "self-traffic=allowed").exit_code == 0


def test_what_is_ignored_is_counted_only_on_request(run: Run, shop: str) -> None:
    assert "ConfigMap" not in run("list", "-f", shop).stderr
    assert run("list", "-f", shop, "-v").stderr == (
        "note: ignored 2 ConfigMap, 1 Secret\nnote: 3 workloads, 3 pods, 1 policy\n"
    )


def test_warnings_have_a_place_and_quiet_hides_them_and_notes(run: Run, shop: str, tmp_path: Path) -> None:
    (tmp_path / "again.yaml").write_text(
        manifests.POLICY.replace("shop}", "other}").replace(
            "podSelector: {matchLabels: {app: api", "namespaceSelector: {matchLabels: {app: api"
        )
        + "---\n"
        + manifests.POLICY
        + "  egress: []\n"
    )
    question = ("check", "shop/api", "shop/db", "5432", "-f", shop, "-f", "again.yaml")

    loud = run(*question)
    assert loud.exit_code == 0
    assert any(line.startswith("again.yaml:") and ": warning: " in line for line in loud.stderr.splitlines())
    assert any(line.startswith("note: ") and "other" in line for line in loud.stderr.splitlines())
    quiet = run(*question, "-q")
    assert (quiet.stdout, quiet.stderr) == (loud.stdout, "")


def test_refused_input_prints_all_problems_in_file_order_and_answers_nothing(run: Run, shop: str, broken: str) -> None:
    result = run("list", "-f", shop, "-f", broken)

    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == (
        "broken.yaml:8:13: error: spec.ingress[0].ports[0].port: Invalid value: 70000:"
        " must be between 1 and 65535, inclusive\n"
        "broken.yaml:10:17: error: spec.ingress[0].ports[1].protocol: Unsupported value:"
        ' "tcp": supported values: "TCP", "UDP", "SCTP" (write TCP)\n'
        "podfence: error: 2 errors in 1 file; nothing was answered\n"
    )


@pytest.mark.parametrize(
    ("question", "message"),
    [
        (("shop/nope", "shop/db"), "shop/nope"),
        (("shop/web", "shop/db", "70000"), "70000"),
        (("web", "shop/db"), "default"),
    ],
)
def test_a_question_that_cannot_be_read_is_an_error(
    run: Run, shop: str, question: tuple[str, ...], message: str
) -> None:
    for command in ("check", "explain"):
        result = run(command, *question, "-f", shop)
        assert (result.exit_code, result.stdout) == (2, "")
        assert result.stderr.startswith("podfence: error: ")
        assert message in result.stderr


@pytest.mark.parametrize("form", ["table", "json", "yaml", "csv", "md"])
def test_pods_that_cannot_be_listed_are_an_error_before_anything_is_written(
    run: Run, shop: str, tmp_path: Path, form: str
) -> None:
    (tmp_path / "agent.yaml").write_text(
        "apiVersion: v1\nkind: Pod\nmetadata: {name: agent, namespace: shop}\n"
        "spec: {hostNetwork: true, containers: [{name: c, image: i}]}\n"
    )
    result = run("list", "--pods", "--from", "shop/agent", "-o", form, "-q", "-f", shop, "-f", "agent.yaml")

    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith("podfence: error: shop/agent ")


def test_pods_between_which_nothing_is_allowed_are_said(run: Run, shop: str) -> None:
    result = run("list", "--pods", "--from", "shop/web", "--to", "shop/db", "-f", shop)

    assert (result.exit_code, result.stdout, result.stderr) == (0, "", "note: nothing is allowed\n")


def test_a_missing_file_is_an_error_and_never_an_empty_cluster(run: Run, tmp_path: Path) -> None:
    result = run("list", "-f", str(tmp_path / "nothing.yaml"))

    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.splitlines()[-1] == "podfence: error: 1 error in 1 file; nothing was answered"


def test_input_without_pods_is_said(run: Run, tmp_path: Path) -> None:
    (tmp_path / "empty.yaml").write_text("apiVersion: v1\nkind: Namespace\nmetadata: {name: shop}\n")

    assert "note: the input has no pods and no workloads\n" in run("list", "-f", str(tmp_path / "empty.yaml")).stderr


def test_policies_without_pods_are_listed_by_the_labels_by_which_they_select(run: Run, tmp_path: Path) -> None:
    (tmp_path / "p.yaml").write_text(
        "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: db, namespace: shop}\n"
        "spec: {podSelector: {matchLabels: {app: db}}, ingress: [{ports: [{port: 5432}]}]}\n"
    )

    result = run("list", "--from", "internet", "-f", str(tmp_path))
    everything = run("list", "-o", "csv", "-f", str(tmp_path))

    assert result.stdout == ""
    assert "note: the input has no pods and no workloads\n" in result.stderr
    assert "everything,shop/app=db,TCP,5432,5432,\n" in everything.stdout
    assert "pods with exactly the labels by which policies select" in everything.stderr
