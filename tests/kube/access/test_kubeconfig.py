# SPDX-License-Identifier: Apache-2.0
"""A kubeconfig file is read as kubectl reads it; what is wrong is named with its place, and nothing of it quoted."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from podfence.errors import InputError
from podfence.kube.access import kubeconfig
from tests.kube.access.kubeconfigs import of

if TYPE_CHECKING:
    from pathlib import Path

HIDDEN = "hunter2"


def problems(path: Path, text: str) -> list[str]:
    path.write_text(text)
    with pytest.raises(InputError) as caught:
        kubeconfig.read(str(path))
    assert HIDDEN not in str(caught.value)
    return [str(problem).removeprefix(str(path)) for problem in caught.value.problems]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("users: [{name: u, user: {token: 12345}}]", [":1:33: error: users[0].user.token: expected a string, found a number (put it in quotes)"]),
        ("users: [{name: u, user: hunter2}]", [":1:25: error: users[0].user: expected a mapping, found a string"]),
        ("users:\n  name: u\n", [":2:3: error: users: expected a list, found a mapping (start its first line with a dash)"]),
        ("users: [{name: u, user: {exec: {args: hunter2}}}]", [":1:39: error: users[0].user.exec.args: expected a list, found a string (write it in brackets)"]),
        ("clusters: [{name: c, cluster: {insecure-skip-tls-verify: 'true'}}]", [":1:58: error: clusters[0].cluster.insecure-skip-tls-verify: expected true or false, found a string (remove the quotes)"]),
        ("clusters: 1\nusers: 2\n", [":1:11: error: clusters: expected a list, found a number", ":2:8: error: users: expected a list, found a number"]),
        ("- a\n", [":1:1: error: expected a kubeconfig, found a list"]),
        ("hunter2", [":1:1: error: expected a kubeconfig, found a string"]),
        ("kind: Pod\n", [':1:7: error: kind: expected Config, found "Pod" (this is no kubeconfig)']),
        ("apiVersion: v2\n", [':1:13: error: apiVersion: expected v1, found "v2" (this is no kubeconfig)']),
        ("users: [{name: u, user: {token: *hunter2}}]", None),
        ("users:\n- name: u\n  user:\n    token: !!int hunter2\n", None),
        ("users:\n- name: u\n  user:\n    token: 'hunter2\n", None),
        ("users:\n- {name: u, user: {client-key-data: 'hunter2!'}}\n", None),
    ],
)  # fmt: skip
def test_errors_name_the_place_and_not_the_value(tmp_path: Path, text: str, expected: list[str] | None) -> None:
    found = problems(tmp_path / "config", text)
    if expected is not None:
        assert found == expected
    assert all("error: " in problem for problem in found)


@pytest.mark.parametrize("data", ["a", "aGk", "a b=", "aGk==", "-_8=", "aGkü"])
def test_base64_is_as_strict_as_go(tmp_path: Path, data: str) -> None:
    text = f"users:\n- name: u\n  user:\n    client-certificate-data: {data}\n    client-key-data: aGk=\n"
    assert problems(tmp_path / "config", text) == [
        ":4:30: error: users[0].user.client-certificate-data: this is not base64 (name a file with client-certificate, or encode it with base64)"
    ]


def test_line_breaks_in_base64_are_skipped() -> None:
    assert kubeconfig.decode_data("aG\r\nk=\n") == b"hi"


def test_a_name_twice_in_a_file_is_an_error(tmp_path: Path) -> None:
    text = "contexts:\n- {name: a, context: {}}\n- {name: b}\n- {name: a}\n"
    assert problems(tmp_path / "config", text) == [
        ':4:10: error: contexts[2].name: duplicate name "a", already used on line 2 (names are unique inside of a file)'
    ]


@pytest.mark.parametrize(
    "text", ["", "---\n", "# nothing\n", "{}", "clusters:\nusers: null\ncontexts: []\n", "clusters: [null]\n"]
)
def test_a_file_may_be_empty(tmp_path: Path, text: str) -> None:
    (tmp_path / "config").write_text(text)
    read = kubeconfig.read(str(tmp_path / "config"))
    assert (read.current, read.clusters, read.contexts, read.users) == ("", (), (), ())


def test_unknown_fields_and_later_documents_are_ignored(tmp_path: Path) -> None:
    (tmp_path / "config").write_text(
        "current-context: a\nfuture: 1\nclusters: [{name: c, cluster: {server: s, new: {}}}]\n---\ncurrent-context: b\n"
    )
    read = kubeconfig.read(str(tmp_path / "config"))
    assert read.current == "a"
    assert read.clusters[0].value.server == "s"


def test_a_folder_is_no_kubeconfig(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read: is a directory"):
        kubeconfig.read(str(tmp_path))


def test_kubectls_own_form_is_read(tmp_path: Path) -> None:
    path = tmp_path / "config"
    path.write_text(
        "apiVersion: v1\nkind: Config\npreferences: {}\ncurrent-context: kind-a\n"
        "clusters:\n- cluster:\n    certificate-authority-data: aGk=\n    server: https://127.0.0.1:36071\n  name: kind-a\n"
        "contexts:\n- context:\n    cluster: kind-a\n    namespace: shop\n    user: admin\n  name: kind-a\n"
        "users:\n- name: admin\n  user:\n    client-certificate-data: aGk=\n    client-key-data: aGk=\n"
    )
    access = of(str(path))
    assert str(access.server) == "https://127.0.0.1:36071"
    assert (access.namespace, access.context, access.ca) == ("shop", "kind-a", b"hi")
