# SPDX-License-Identifier: Apache-2.0
"""Every value of a document can be found again in its file, in YAML and in JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from podfence.kube.yaml import parse

if TYPE_CHECKING:
    from podfence.kube.positions import SourceDocument

_POLICY = """\
# a comment
kind: Namespace
metadata: {name: shop}
---
kind: NetworkPolicy
metadata:
  name: web   # the name
spec:
  podSelector: {matchLabels: {app: web}}
  ingress:
  - from:
    - ipBlock:
        cidr: 10.0.0.0/8

    # after the block
    ports:
    - port: 80
    - {port: 443, protocol: TCP}
  egress: []
  note: |
    # not a comment
    text

  last:
"""

_JSON = '{\n  "kind": "Pod",\n  "spec": {"a": [1, {"b": "\\/"}], "c": {}},\n\t"x": null\n}\n{"second": 2}'


def documents(text: str) -> list[SourceDocument]:
    return parse(text.encode(), "f.yaml")[0]


def place(document: SourceDocument, *path: str | int) -> tuple[int, int]:
    position = document.locate(path)
    assert position.file == "f.yaml"
    return position.line, position.column


@pytest.mark.parametrize(
    ("path", "value", "key"),
    [
        ((), (5, 1), (5, 1)),
        (("kind",), (5, 7), (5, 1)),
        (("metadata",), (7, 3), (6, 1)),
        (("metadata", "name"), (7, 9), (7, 3)),
        (("spec", "podSelector"), (9, 16), (9, 3)),
        (("spec", "podSelector", "matchLabels", "app"), (9, 36), (9, 31)),
        (("spec", "ingress"), (11, 3), (10, 3)),
        (("spec", "ingress", 0), (11, 5), (11, 5)),
        (("spec", "ingress", 0, "from", 0, "ipBlock", "cidr"), (13, 15), (13, 9)),
        (("spec", "ingress", 0, "ports", 1, "port"), (18, 14), (18, 8)),
        (("spec", "ingress", 0, "ports", 1, "nothing", 3), (18, 7), (18, 7)),
        (("spec", "egress"), (19, 11), (19, 3)),
        (("spec", "note"), (20, 9), (20, 3)),
        (("spec", "last"), (24, 8), (24, 3)),
        (("nothing", "at", "all"), (5, 1), (5, 1)),
    ],
)
def test_values_and_keys_are_located_over_the_whole_file(
    path: tuple[str | int, ...], value: tuple[int, int], key: tuple[int, int]
) -> None:
    policy = documents(_POLICY)[1]
    assert place(policy, *path) == value
    position = policy.locate(path, at_key=True)
    assert (position.line, position.column) == key


@pytest.mark.parametrize(
    ("path", "lines"),
    [
        (("kind",), [5]),
        (("metadata",), [6, 7]),
        (("spec", "ingress", 0, "from"), [11, 12, 13]),
        (("spec", "ingress", 0, "ports"), [16, 17, 18]),
        (("spec", "egress"), [19]),
        (("spec", "note"), [20, 21, 22]),
        (("spec", "last"), [24]),
    ],
)
def test_an_excerpt_is_key_and_value_without_what_follows(path: tuple[str | int, ...], lines: list[int]) -> None:
    text = _POLICY.split("\n")
    assert documents(_POLICY)[1].excerpt(path) == tuple((line, text[line - 1]) for line in lines)


@pytest.mark.parametrize(
    ("path", "value", "key"),
    [
        ((), (1, 1), (1, 1)),
        (("kind",), (2, 11), (2, 3)),
        (("spec",), (3, 11), (3, 3)),
        (("spec", "a", 1, "b"), (3, 27), (3, 22)),
        (("spec", "c"), (3, 40), (3, 35)),
        (("x",), (4, 7), (4, 2)),
    ],
)
def test_json_values_are_located(path: tuple[str | int, ...], value: tuple[int, int], key: tuple[int, int]) -> None:
    first = documents(_JSON)[0]
    assert place(first, *path) == value
    position = first.locate(path, at_key=True)
    assert (position.line, position.column) == key


def test_the_second_json_object_has_lines_of_the_file() -> None:
    second = documents(_JSON)[1]
    assert place(second, "second") == (6, 12)
    assert second.excerpt(("second",)) == ((6, '{"second": 2}'),)


@pytest.mark.parametrize(
    ("text", "path", "expected"),
    [
        pytest.param("x: &a {k: 1}\nw: *a\n", ("w",), (2, 4), id="an-alias-stands-where-it-is-written"),
        pytest.param("x: &a {k: 1}\nw: *a\n", ("w", "k"), (1, 11), id="what-is-in-it-stands-at-the-anchor"),
        pytest.param("x: &a {k: 1}\nw:\n  <<: *a\n  b: 2\n", ("w", "k"), (1, 11), id="merged"),
        pytest.param("x: &a {k: 1}\nw:\n  k: 2\n  <<: *a\n", ("w", "k"), (1, 11), id="merged-over-own"),
        pytest.param("x: &a {k: 1}\nw:\n  <<: *a\n  k: 2\n", ("w", "k"), (4, 6), id="own-over-merged"),
        pytest.param(
            "x:\n- &a {k: 1}\n- &b {k: 2, j: 3}\nw:\n  <<: [*a, *b]\n", ("w", "k"), (2, 10), id="first-merge-wins"
        ),
        pytest.param(
            "x:\n- &a {k: 1}\n- &b {k: 2, j: 3}\nw:\n  <<: [*a, *b]\n", ("w", "j"), (3, 16), id="second-merge"
        ),
        pytest.param("x: 1\nx: 2\n", ("x",), (2, 4), id="the-last-duplicate"),
        pytest.param('{"x":1,\n"x":2}', ("x",), (2, 5), id="the-last-duplicate-in-json"),
        pytest.param("yes: {1: a}\n", ("true", "1"), (1, 10), id="keys-as-kubectl-names-them"),
        pytest.param("é: ü\nk: {ö: a}\n", ("k", "ö"), (2, 8), id="columns-count-characters"),
        pytest.param("a: 1\r\nb: 2\r\n", ("b",), (2, 4), id="crlf"),
        pytest.param("\ufeffa: 1\n---\n\ufeffb: 2\n", ("a",), (1, 4), id="byte-order-mark"),
        pytest.param("a: x\u2028\nb: 2\n", ("b",), (2, 4), id="only-newlines-make-lines"),
        pytest.param("&a k: 1\n*a : 2\nj: 3\n", ("j",), (3, 4), id="alias-as-key"),
        pytest.param("a: ! 1\n! b: 2\n", ("b",), (2, 6), id="non-specific-tag"),
        pytest.param("x: !!str 1\n", ("x",), (1, 4), id="a-tag-belongs-to-its-value"),
    ],
)
def test_unusual_yaml_is_located_too(text: str, path: tuple[str | int, ...], expected: tuple[int, int]) -> None:
    assert place(documents(text)[0], *path) == expected


def paths_of(value: object) -> list[tuple[str | int, ...]]:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [(), *((step, *rest) for step, below in items for rest in paths_of(below))]


@pytest.mark.parametrize("text", [_POLICY, _JSON])
def test_every_path_has_its_own_place_inside_its_parent(text: str) -> None:
    for document in documents(text):
        paths = paths_of(document.value)
        keys = [document.locate(path, at_key=True) for path in paths if path and isinstance(path[-1], str)]
        assert len(set(keys)) == len(keys)
        for path in paths[1:]:
            assert document.locate(path) >= document.locate(path[:-1])


def test_excerpts_of_windows_files_have_no_carriage_returns() -> None:
    assert documents("a:\r\n  b: 1\r\n\r\nc: 2\r\n")[0].excerpt(("a",)) == ((1, "a:"), (2, "  b: 1"))
