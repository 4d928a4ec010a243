# SPDX-License-Identifier: Apache-2.0
"""The pages of the recipes are complete, and fit together with the examples."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from tests.kubernetes.sessions.borrowed import Namespaces
from tests.kubernetes.sessions.page import LEAVE, read
from tests.observations.observations import OBSERVATIONS

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted((ROOT / "docs/tutorial/recipes").glob("*.md"))
SESSIONS = [page for page in PAGES if page.name != "README.md"]

of_page = pytest.mark.parametrize("page", [pytest.param(page, id=page.stem) for page in SESSIONS])

# Manifests that the pages add to those of the examples.
OWN = {"internal-dns", "default-deny", "access-nginx"}


def test_the_index_names_every_page() -> None:
    index = (ROOT / "docs/tutorial/recipes/README.md").read_text()

    assert [page.name for page in SESSIONS if f"]({page.name})" not in index] == []


def test_what_the_documents_show_is_in_some_session() -> None:
    said = {
        identifier
        for page in SESSIONS
        for match in re.finditer(r"<!-- observations: (.+) -->", page.read_text())
        for identifier in match[1].split(", ")
    }

    assert {row.id for row in OBSERVATIONS if row.kind == "O"} <= said <= {row.id for row in OBSERVATIONS}


@of_page
def test_every_shell_in_a_pod_is_left(page: Path) -> None:
    for block in read(page):
        for step in block.steps:
            assert not step.inside or [typed.command == LEAVE for typed in step.inside].index(True) + 1 == len(
                step.inside
            )


@of_page
def test_files_that_are_applied_exist(page: Path) -> None:
    named = re.findall(r"(?<=-f )examples/\S+", page.read_text())

    assert [name for name in named if not (ROOT / name).exists()] == []


@of_page
def test_manifests_on_a_page_are_those_of_the_examples(page: Path) -> None:
    examples = [
        (item["metadata"]["name"], _spec(item))
        for file in ROOT.glob("examples/*/*.yaml")
        for item in yaml.safe_load_all(file.read_text())
        if item.get("kind") == "NetworkPolicy"
    ]
    for block in read(page):
        for step in block.steps:
            for text in re.findall(r"<<\s*EOF.*?\n(.*)\nEOF", step.command, re.DOTALL):
                for item in yaml.safe_load_all(text):
                    name = item["metadata"]["name"]
                    assert item["kind"] != "NetworkPolicy" or name in OWN or (name, _spec(item)) in examples


def _spec(item: dict[str, dict[str, object]]) -> dict[str, object]:
    return item["spec"]


def test_namespaces_are_renamed_where_they_are_namespaces_and_nowhere_else(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("```console\n$ kubectl create namespace prod\n$ kubectl create ns other\n```\n")
    own = Namespaces("mine", read(page), tmp_path / "kubeconfig")

    for command, expected in (
        ("kubectl run x -n prod", "kubectl run x -n mine-prod"),
        ("kubectl run x --namespace=default", "kubectl run x --namespace=mine-default"),
        ("kubectl label namespace/prod name=prod", "kubectl label namespace/mine-prod name=prod"),
        ("kubectl delete ns prod other", "kubectl delete ns mine-prod mine-other"),
        ("wget -qO- http://web.default:80", "wget -qO- http://web.mine-default:80"),
        ("nslookup web.default.svc.cluster.local", "nslookup web.mine-default.svc.cluster.local"),
        ("kind: X\n  namespace: default\n", "kind: X\n  namespace: mine-default\n"),
        ("name: prod", "name: prod"),
        ("kubectl run x --labels=app=other", "kubectl run x --labels=app=other"),
        ('kubectl run x --labels="app=other,role=prod"', 'kubectl run x --labels="app=other,role=prod"'),
        ("kubectl delete networkpolicy default-deny-all", "kubectl delete networkpolicy default-deny-all"),
        ("kubectl run x -n kube-system", "kubectl run x -n kube-system"),
    ):
        assert own.away(command) == expected
        assert own.back(expected) == command
