# SPDX-License-Identifier: Apache-2.0
"""The real kubectl finds, merges and chooses the same."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from podfence.errors import PodfenceError
from podfence.kube.access import kubeconfig
from podfence.kube.access.access import Choice
from podfence.kube.access.load import load
from tests.kube.access.kubeconfigs import write

if TYPE_CHECKING:
    from pathlib import Path

KUBECTL = shutil.which("kubectl")
pytestmark = pytest.mark.skipif(KUBECTL is None, reason="kubectl is not installed")


def kubectl(environ: dict[str, str], *args: str) -> str:
    done = subprocess.run(
        ["kubectl", *args], env={"PATH": os.environ["PATH"], **environ}, capture_output=True, text=True, check=False
    )
    return done.stdout if done.returncode == 0 else f"error: {done.stderr}"


@pytest.fixture
def files(tmp_path: Path) -> dict[str, str]:
    """Write two files with entries of the same names in different folders; return the environment that names them."""
    (tmp_path / "a" / "pki").mkdir(parents=True)
    (tmp_path / "b").mkdir()
    for path in ("a/pki/ca", "b/ca", "b/crt", "b/key"):
        (tmp_path / path).write_text(path)
    first = write(
        tmp_path / "a" / "config",
        clusters={
            "one": {"server": "https://one:1/p/", "certificate-authority": "pki/ca"},
            "both": {"server": "https://a"},
        },
        contexts={"x": {"cluster": "one", "user": "ann"}, "y": {"cluster": "both", "user": "bob", "namespace": "n"}},
        users={"bob": {"token": "first"}},
    )
    second = write(
        tmp_path / "b" / "config",
        current="x",
        clusters={
            "two": {"server": "https://two", "certificate-authority": "ca"},
            "both": {"server": "https://b", "proxy-url": "http://p"},
        },
        contexts={"x": {"cluster": "two", "user": "bob", "namespace": "m"}, "z": {"cluster": "two", "user": "bob"}},
        users={
            "bob": {"username": "n", "password": "p"},
            "ann": {"client-certificate": "crt", "client-key": "../b/key", "as": "root", "as-groups": ["g"]},
        },
    )
    return {"HOME": str(tmp_path), "KUBECONFIG": os.pathsep.join([first, str(tmp_path / "none"), "", second])}


def sole(config: dict[str, list[dict[str, dict[str, str]]]], kind: str) -> dict[str, str]:
    (entry,) = config[f"{kind}s"]
    return entry[kind]


@pytest.mark.parametrize("context", ["", "x", "y", "z"])
def test_the_same_is_chosen(files: dict[str, str], context: str) -> None:
    options = ["--context", context] if context else []
    expected = json.loads(kubectl(files, "config", "view", "--minify", "--raw", "--flatten", "-o", "json", *options))
    access = load(Choice(context=context), files)

    cluster, user = sole(expected, "cluster"), sole(expected, "user")
    assert access.context == expected["current-context"]
    assert access.namespace == sole(expected, "context").get("namespace", "default")
    assert access.server.host == cluster["server"].removeprefix("https://").split(":")[0]
    assert base64.b64encode(access.ca).decode() == cluster.get("certificate-authority-data", "")
    assert (access.proxy.url if access.proxy else None) == ("http://p:80" if "proxy-url" in cluster else None)
    assert (access.token.reveal() if access.token else None) == user.get("token")
    assert (access.certificate is not None) == ("client-certificate-data" in user)
    assert (access.impersonation.user if access.impersonation else None) == user.get("as")


def test_the_same_context_is_current(files: dict[str, str]) -> None:
    config = kubeconfig.load(kubeconfig.places("", files))
    assert kubectl(files, "config", "current-context").strip() == config.current == "x"
    listed = kubectl(files, "config", "get-contexts", "-o", "name").split()
    assert listed == sorted(config.contexts)


@pytest.mark.parametrize(
    "content",
    [
        "users: [{name: u, user: {token: 1}}]",
        "users: [{name: u, user: {client-key-data: 'a'}}]",
        "users: [{name: u}, {name: u}]",
        "clusters: {}",
        "kind: Pod",
        "- a",
        "a: b: c",
    ],
)
def test_the_same_files_are_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "config").write_text(content)
    environ = {"HOME": str(tmp_path), "KUBECONFIG": str(tmp_path / "config")}
    assert kubectl(environ, "config", "view").startswith("error: ")
    with pytest.raises(PodfenceError):
        kubeconfig.load(kubeconfig.places("", environ))


@pytest.mark.parametrize(
    "content",
    [
        "",
        "---\n",
        "kind: Config",
        "users: null\nclusters: []",
        "future: 1\ncontexts: [{name: x, more: y}]",
        "clusters: [{name: c, cluster: {server: x, insecure-skip-tls-verify: yes}}]",
        "current-context: a\n---\ncurrent-context: b\n",
        'users: [{name: u, user: {client-key-data: "aG\\nk="}}]',
    ],
)  # fmt: skip
def test_the_same_files_are_read(tmp_path: Path, content: str) -> None:
    (tmp_path / "config").write_text(content)
    environ = {"HOME": str(tmp_path), "KUBECONFIG": str(tmp_path / "config")}
    expected = json.loads(kubectl(environ, "config", "view", "--raw", "-o", "json"))
    config = kubeconfig.load(kubeconfig.places("", environ))
    assert config.current == expected["current-context"]
    for kind, entries in (("clusters", config.clusters), ("contexts", config.contexts), ("users", config.users)):
        assert sorted(entries) == [entry["name"] for entry in expected[kind] or ()]


def test_the_default_is_in_the_home_folder(tmp_path: Path) -> None:
    (tmp_path / ".kube").mkdir()
    write(tmp_path / ".kube" / "config", current="x", contexts={"x": {}})
    environ = {"HOME": str(tmp_path)}
    assert (
        kubectl(environ, "config", "current-context").strip()
        == kubeconfig.load(kubeconfig.places("", environ)).current
        == "x"
    )
