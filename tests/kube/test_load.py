# SPDX-License-Identifier: Apache-2.0
"""Reading files to objects in one call."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import pytest

from podfence.errors import InputError
from podfence.kube.load import load

if TYPE_CHECKING:
    from pathlib import Path

POLICY = "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata:\n  name: {name}\nspec:\n  {spec}\n"


def policy(name: str, spec: str = "podSelector: {}") -> str:
    return POLICY.format(name=name, spec=spec)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def refusal(*paths: str) -> list[str]:
    with pytest.raises(InputError) as caught:
        load(paths)
    assert str(caught.value) == "\n".join(map(str, caught.value.problems))
    return [str(problem) for problem in caught.value.problems]


def test_objects_come_in_the_order_of_the_files(folder: Path) -> None:
    (folder / "b.yaml").write_text(policy("b") + "---\n" + policy("a"))
    (folder / "a.yaml").write_text("{apiVersion: v1, kind: Secret, metadata: {name: s}}\n---\n" + policy("c"))
    loaded = load(["b.yaml", "a.yaml"])
    assert [item.key.name for item in loaded.objects] == ["b", "a", "c"]
    assert (loaded.warnings, loaded.ignored) == ((), {"Secret": 1})


def test_standard_input_is_read_for_a_dash() -> None:
    loaded = load(["-"], stdin=io.BytesIO(policy("p").encode()))
    assert [item.key.name for item in loaded.objects] == ["p"]


def test_the_last_of_two_objects_with_one_key_is_kept(folder: Path) -> None:
    (folder / "a.yaml").write_text(policy("p", "policyTypes: [Ingress]"))
    (folder / "b.yaml").write_text(policy("q") + "---\n" + policy("p", "policyTypes: [Egress]"))
    loaded = load(["a.yaml", "b.yaml"])
    assert [(item.key.name, getattr(item, "policy_types", ())) for item in loaded.objects] == [
        ("q", ("Ingress",)),
        ("p", ("Egress",)),
    ]
    message = "NetworkPolicy default/p replaces the one at a.yaml:4 (give one of them another name or namespace)"
    assert [str(problem) for problem in loaded.warnings] == [f"b.yaml:11:9: warning: {message}"]


def test_the_same_name_in_another_namespace_or_kind_is_another_object(folder: Path) -> None:
    (folder / "a.yaml").write_text(
        policy("p")
        + "---\n"
        + policy("p").replace("  name: p", "  name: p\n  namespace: shop")
        + "---\n{apiVersion: v1, kind: Namespace, metadata: {name: p}}\n"
    )
    loaded = load(["a.yaml"])
    assert (len(loaded.objects), loaded.warnings) == (3, ())


def test_all_problems_of_all_files_are_raised_in_file_order(folder: Path) -> None:
    (folder / "b.yaml").write_text(policy("p", "ingress: all") + "---\n" + policy("Q"))
    (folder / "a.yaml").write_text(policy("p") + "---\n" + policy("p", "policyTypes: [x]"))
    got = refusal("b.yaml", "a.yaml")
    assert [line.split(" ")[0] for line in got] == ["b.yaml:6:12:", "b.yaml:11:9:", "a.yaml:13:17:"]


def test_warnings_stand_among_the_errors(folder: Path) -> None:
    (folder / "a.yaml").write_text(
        policy("p", "podSelector: {}\n  podSelector: {}")
        + "---\n"
        + policy("p", "policyTypes: [Egress]")
        + "---\n"
        + policy("p", "egress: 1")
    )
    got = refusal("a.yaml")
    assert [line.split(" ")[:2] for line in got] == [
        ["a.yaml:6:3:", "warning:"],
        ["a.yaml:12:9:", "warning:"],
        ["a.yaml:21:11:", "error:"],
    ]


def test_a_file_that_cannot_be_parsed_stands_between_its_neighbours(folder: Path) -> None:
    (folder / "d").mkdir()
    for name in ("a", "c"):
        (folder / "d" / f"{name}.yaml").write_text(policy("BAD"))
    (folder / "d" / "b.yaml").write_text("apiVersion: [")
    (folder / "z.yaml").write_text(policy("BAD"))
    got = refusal("z.yaml", "missing.yaml", "d")
    assert [line.split(":")[0] for line in got] == ["z.yaml", "missing.yaml", "d/a.yaml", "d/b.yaml", "d/c.yaml"]


def test_files_of_a_pattern_are_in_order_too(folder: Path) -> None:
    (folder / "a.yaml").write_text("a: [")
    (folder / "b.yaml").write_text(policy("BAD"))
    assert [line.split(":")[0] for line in refusal("*.yaml")] == ["a.yaml", "b.yaml"]


def test_options_reach_the_decoder(folder: Path) -> None:
    block = "ingress: [{from: [{ipBlock: {cidr: 10.1.2.3/24}}]}]"
    (folder / "a.yaml").write_text(policy("p", block))
    (folder / "old.yaml").write_text(policy("o", "egress: []").replace("networking.k8s.io/v1", "extensions/v1beta1"))
    assert len(refusal("a.yaml", "old.yaml")) == 2
    loaded = load(["a.yaml", "old.yaml"], validation="lax", legacy="v1")
    assert (len(loaded.objects), len(loaded.warnings)) == (2, 1)
