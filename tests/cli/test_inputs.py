# SPDX-License-Identifier: Apache-2.0
"""Incomplete answers say so first and are never firm; kustomizations and charts are inputs like files."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

import pytest

from tests.cli import manifests

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from click.testing import Result

    Run = Callable[..., Result]

QUESTION = ("check", "shop/api", "shop/db", "5432")
BROKEN = "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: [\n"
POD = "apiVersion: v1\nkind: Pod\nmetadata: {name: twice, namespace: shop}\nspec: {containers: [{name: c, image: i}]}\n"
DENY_ALL = (
    "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: deny, namespace: shop}\n"
    "spec: {podSelector: {}, policyTypes: [Ingress, Egress]}\n"
)
REFUSED = manifests.POLICY.replace("name: db, namespace: shop", "name: x, namespace: SPACE").replace(
    "port: 5432", "port: 0"
)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, nowhere: None) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "shop.yaml").write_text(manifests.SHOP)
    return tmp_path / "d"


def test_a_policy_that_does_not_parse_never_ends_in_a_firm_answer(run: Run, folder: Path) -> None:
    (folder / "b.yaml").write_text(BROKEN)
    for command in (QUESTION, ("explain", *QUESTION[1:]), ("list",)):
        assert run(*command, "-f", "d").exit_code == 2
        result = run(*command, "-f", "d", "--keep-going")
        assert result.exit_code == (0 if command == ("list",) else 3)
        assert result.stdout.splitlines()[0] == "incomplete: d/b.yaml cannot be read"
        assert "d/b.yaml:3:12: warning: left out: " in result.stderr


@pytest.mark.parametrize(("space", "code"), [("shop", 3), ("other", 0)])
def test_a_refused_policy_leaves_other_namespaces_alone(run: Run, folder: Path, space: str, code: int) -> None:
    (folder / "b.yaml").write_text(REFUSED.replace("SPACE", space))
    result = run(*QUESTION, "-f", "d", "--keep-going")
    assert result.exit_code == code
    assert result.stdout.startswith("incomplete: NetworkPolicy x") is (code == 3)


def test_documents_say_that_they_are_incomplete(run: Run, folder: Path) -> None:
    (folder / "b.yaml").write_text(BROKEN)
    for command in (QUESTION, ("list",), ("list", "--pods")):
        document = json.loads(run(*command, "-f", "d", "--keep-going", "-o", "json").stdout)
        assert (document["complete"], document["incomplete"]) == (False, ["d/b.yaml cannot be read"])
        document = json.loads(run(*command, "-f", "d/shop.yaml", "-o", "json").stdout)
        assert (document["complete"], document["incomplete"]) == (True, [])
    assert json.loads(run("list", "-f", "d", "--keep-going", "-o", "matrix-json").stdout)["complete"] is False
    assert "complete: false" in run("list", "--pods", "-f", "d", "--keep-going", "-o", "yaml").stdout


def test_in_csv_every_line_is_data_and_the_rest_is_beside_it(run: Run, folder: Path) -> None:
    (folder / "b.yaml").write_text(BROKEN)
    result = run("list", "-f", "d", "--keep-going", "-o", "csv")
    assert result.stdout.startswith("source,")
    assert "incomplete: d/b.yaml cannot be read" in result.stderr


def test_many_gaps_are_one_line(run: Run, folder: Path) -> None:
    for name in "abc":
        (folder / f"{name}.yaml").write_text(BROKEN)
    first = run("list", "-f", "d", "--keep-going").stdout.splitlines()[0]
    assert first == "incomplete: d/a.yaml cannot be read, and 2 more places (-v names all)"


def test_with_a_namespace_only_what_may_touch_it_is_said(run: Run, folder: Path) -> None:
    (folder / "b.yaml").write_text(REFUSED.replace("SPACE", "other"))
    assert "incomplete" not in run("list", "-n", "shop", "-f", "d", "--keep-going").stdout
    assert "incomplete" in run("list", "-f", "d", "--keep-going").stdout


def test_verbose_names_all_that_was_left_out(run: Run, folder: Path) -> None:
    for number in range(5):
        (folder / f"v{number}.yaml").write_text("a: 1\n")
    assert "d/v4.yaml" not in run("list", "-f", "d").stderr
    assert "d/v4.yaml" in run("list", "-f", "d", "-v").stderr
    assert run("list", "-f", "d", "-q").stderr == ""


@pytest.mark.parametrize(
    "flag",
    [
        ("--values", "x"),
        ("--helm-set", "a=b"),
        ("--release", "r"),
        ("--kube-version", "1.31"),
        ("--api-versions", "a/v1"),
    ],
)
def test_flags_of_charts_need_a_chart(run: Run, folder: Path, flag: tuple[str, str]) -> None:
    result = run("list", "-f", "d", *flag)
    assert result.exit_code == 2
    assert f"{flag[0]} needs a chart; give one with --helm" in result.stderr


@pytest.mark.parametrize("flag", [("-R",), ("--exclude", "x"), ("--keep-going",)])
def test_flags_of_folders_need_one(run: Run, folder: Path, flag: tuple[str, ...]) -> None:
    result = run("list", *flag)
    assert (result.exit_code, f"{flag[0]} needs a folder to read" in result.stderr) == (2, True)


def program(folder: Path, name: str, script: str) -> None:
    path = folder.parent / "bin" / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


RENDERED = """\
cat <<END
---
# Source: shop/templates/pod.yaml
apiVersion: v1
kind: Pod
metadata: {name: new, labels: {args: "$(echo $* | tr -c 'a-z0-9\\n' . | cut -c 1-8)"}}
spec: {containers: [{name: c, image: i}]}
---
# Source: shop/templates/np.yaml
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: p}
spec: {podSelector: {matchLabels: {app: x}}, ingress: [{ports: [{port: ${PORT:-80}}]}]}
END
"""


def test_a_chart_is_rendered_by_helm_and_its_places_are_its_templates(
    run: Run, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program(folder, "helm", 'printf "%s\\n" "$*" > args\n' + RENDERED)
    monkeypatch.setenv("PATH", f"{folder.parent / 'bin'}{os.pathsep}{os.environ['PATH']}")
    (folder.parent / "chart").mkdir()
    flags: tuple[str, ...]
    flags = ("--helm", "chart", "--values", "v.yaml", "--helm-set", "a=b", "--release", "r", "-n", "shop", "-f", "d")
    flags += ("--kube-version", "1.31", "--api-versions", "a/v1", "--api-versions", "b/v1")
    result = run("explain", "internet", "shop/app=x", "80", *flags)
    assert result.exit_code == 0, result.stderr
    assert "(chart/templates/np.yaml (rendered):2)" in result.stdout
    assert (folder.parent / "args").read_text() == (
        "template --namespace shop --values v.yaml --set a=b --kube-version 1.31 --api-versions a/v1 --api-versions b/v1"
        " -- r chart\n"
    )

    monkeypatch.setenv("PORT", "0")
    assert "chart/templates/np.yaml (rendered):5:72: error: spec.ingress[0].ports[0].port" in run("list", *flags).stderr


@pytest.mark.parametrize(
    ("script", "chart", "message"),
    [
        ("echo 'Error: no values' >&2; echo 'Use --debug flag to render' >&2; exit 1", "chart", "chart (helm): error: helm template failed: no values\n"),
        ("exit 7", "chart", "chart (helm): error: helm template failed: exit code 7\n"),
        ("exit 0", "oci://example.org/chart", "oci://example.org/chart: error: no such chart (charts are not fetched: give a folder or a package, such as helm pull writes)\n"),
        ("exit 0", "chart", "chart: error: holds no object"),
    ],
)  # fmt: skip
def test_a_chart_that_does_not_render_is_an_error(
    run: Run, folder: Path, monkeypatch: pytest.MonkeyPatch, script: str, chart: str, message: str
) -> None:
    program(folder, "helm", script)
    monkeypatch.setenv("PATH", f"{folder.parent / 'bin'}{os.pathsep}{os.environ['PATH']}")
    (folder.parent / "chart").mkdir()
    result = run("list", "--helm", chart)
    assert result.exit_code == 2
    assert result.stderr.startswith(message)


@pytest.mark.parametrize("flag", ["-f", "-k", "--helm"])
def test_an_empty_path_is_no_path(run: Run, folder: Path, monkeypatch: pytest.MonkeyPatch, flag: str) -> None:
    for name in ("helm", "kustomize"):
        program(folder, name, "exit 0")
    monkeypatch.setenv("PATH", f"{folder.parent / 'bin'}")
    result = run("list", flag, "")
    assert (result.exit_code, result.stderr.splitlines()[0]) == (2, '"": error: this is no path')


def test_without_helm_the_message_says_so(run: Run, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    result = run("list", "--helm", "d")
    assert (result.exit_code, result.stderr) == (2, "podfence: error: --helm needs helm on PATH, and it is not there\n")


def test_kubectls_log_header_is_not_repeated(run: Run, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    line = 'E1129 06:47:28.308059   19248 run.go:72] "command failed" err="unable to find \\"x\\""'
    program(folder, "kubectl", f"echo '{line}' >&2; exit 1")
    monkeypatch.setenv("PATH", f"{folder.parent / 'bin'}")
    program(folder, "cat", 'exec /bin/cat "$@"')
    assert run("list", "-k", "d").stderr.startswith(
        'd (kustomize): error: kubectl kustomize failed: unable to find "x"\n'
    )


def test_what_kubectl_writes_around_an_error_of_several_lines_is_not_repeated(
    run: Run, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    header = 'E1129 06:47:28.308059   19248 run.go:72] "command failed" err=<'
    said = ("# Warning: vars is deprecated.", header, "\taccumulating x: no host", "\t: exit status 128", " >")
    program(folder, "kustomize", "printf '%s\\n' " + " ".join(f"'{line}'" for line in said) + " >&2; exit 1")
    monkeypatch.setenv("PATH", f"{folder.parent / 'bin'}")
    assert run("list", "-k", "d").stderr.startswith(
        "d (kustomize): error: kustomize build failed: accumulating x: no host\n: exit status 128\npodfence: "
    )


def test_a_chart_for_another_version_says_how_to_name_one(
    run: Run, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program(
        folder, "helm", "echo 'Error: chart requires kubeVersion: >= 1.22 which is incompatible with 1.20' >&2; exit 1"
    )
    monkeypatch.setenv("PATH", f"{folder.parent / 'bin'}")
    assert (
        "incompatible with 1.20 (--kube-version VERSION says for which to render)\n"
        in run("list", "--helm", "d").stderr
    )


def test_inputs_of_all_kinds_can_be_mixed_and_repeated(run: Run, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pod = (
        "apiVersion: v1\\nkind: Pod\\nmetadata: {name: %s, namespace: z}\\nspec: {containers: [{name: c, image: i}]}\\n"
    )
    program(folder, "kustomize", f"printf '{pod}' $(basename $3)")
    program(folder, "helm", f"printf '{pod}' $(basename $4)")
    monkeypatch.setenv("PATH", f"{folder.parent / 'bin'}{os.pathsep}{os.environ['PATH']}")
    for name in ("k1", "k2", "h1", "h2"):
        (folder.parent / name).mkdir()
    result = run("list", "-o", "matrix", "-f", "d", "-k", "k1", "-k", "k2", "--helm", "h1", "--helm", "h2")
    assert [name for name in ("z/k1", "z/k2", "z/h1", "z/h2", "shop/sts/db") if name not in result.stdout] == []


def test_of_warnings_of_one_kind_three_are_shown_and_all_with_verbose(run: Run, folder: Path) -> None:
    for number in range(5):
        (folder / f"{number}.yaml").write_text(f"# {number}\n{POD.replace('image: i', f'image: i{number}')}")
    few, all_of_them = (run("list", "-f", "d", *flags).stderr for flags in ((), ("-v",)))
    assert (few.count("replaces the one at"), few.count("note: 1 more warning like these; -v shows")) == (3, 1)
    assert (all_of_them.count("replaces the one at"), all_of_them.count("more warning")) == (4, 0)


def test_what_is_left_out_of_a_refused_folder_is_always_named(run: Run, folder: Path) -> None:
    for number in range(5):
        (folder / f"{number}.yaml").write_text(BROKEN)
    assert run("list", "-f", "d", "--keep-going").stderr.count("warning: left out: ") == 5


@pytest.mark.parametrize(
    ("flags", "helps"), [(("-f", "d"), True), (("-f", "d/b.yaml"), False), (("-f", "d", "-f", "d/b.yaml"), True)]
)
def test_keep_going_is_named_where_it_would_help(run: Run, folder: Path, flags: tuple[str, ...], helps: bool) -> None:
    (folder / "b.yaml").write_text(BROKEN)
    assert ("--keep-going" in run("list", *flags).stderr) is helps
    assert (run("list", *flags, "--keep-going").exit_code == 0) is helps


def test_verbose_names_every_place_where_a_policy_may_lie(run: Run, folder: Path) -> None:
    for name in "abc":
        (folder / f"{name}.yaml").write_text(BROKEN)
    assert run("list", "-f", "d", "--keep-going", "-v").stderr.count("note: incomplete: d/") == 3


def test_a_policy_that_several_files_have_counts_once(run: Run, folder: Path) -> None:
    for name in "ab":
        policy = manifests.POLICY.replace("name: db, namespace: shop", "name: lost")
        (folder / f"{name}.yaml").write_text(f"# {name}\n{policy}")
    assert "note: 1 policy without a namespace is taken to be in default" in run("list", "-f", "d").stderr


def test_of_many_policies_that_were_not_read_a_verdict_names_the_first(run: Run, folder: Path) -> None:
    for name in "abc":
        (folder / f"{name}.yaml").write_text(BROKEN)
    text, document = (run(*QUESTION, "-f", "d", "--keep-going", *flags).stdout for flags in ((), ("-o", "json")))
    assert "depends on policies that were not read: d/a.yaml cannot be read, and 2 more places; " in text
    assert "d/b.yaml" not in text
    assert len(json.loads(document)["dependsOn"]) == 3


def test_a_listing_without_lines_says_whose_policies_allow_nothing_and_that_others_may_allow_more(
    run: Run, folder: Path
) -> None:
    (folder / "shop.yaml").write_text(POD)
    (folder / "deny.yaml").write_text(DENY_ALL)
    assert "note: nothing is allowed\n" in run("list", "-f", "d").stderr
    (folder / "b.yaml").write_text(BROKEN)
    result = run("list", "-f", "d", "--keep-going")
    assert "note: nothing is allowed by the policies that were read\n" in result.stderr
    assert "connections of all pods depend on policies that were not read: " in result.stdout
