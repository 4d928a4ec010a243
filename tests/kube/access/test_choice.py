# SPDX-License-Identifier: Apache-2.0
"""Files are found and merged, and one context of them chosen, as kubectl does; names that do not exist are errors."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest

from podfence.errors import AccessError, InputError, PodfenceError
from podfence.kube.access.access import Choice, Impersonation
from podfence.kube.access.load import load
from tests.kube.access.kubeconfigs import PLUGIN, Fields, of, single, write

if TYPE_CHECKING:
    from pathlib import Path

A = {"server": "https://a:1"}
B = {"server": "https://b:2"}


@pytest.fixture
def account(tmp_path: Path) -> Path:
    folder = tmp_path / "account"
    folder.mkdir()
    (folder / "token").write_text("t")
    (folder / "namespace").write_text("own\n")
    return folder


POD = {"KUBERNETES_SERVICE_HOST": "10.96.0.1", "KUBERNETES_SERVICE_PORT": "443"}


def test_the_first_file_wins_for_each_name_and_for_the_current_context(tmp_path: Path) -> None:
    one = write(tmp_path / "1", clusters={"c": A}, users={"u": {"username": "one"}})
    two = write(
        tmp_path / "2",
        current="x",
        clusters={"c": B, "d": B},
        users={"u": {"username": "two", "password": "added"}},
        contexts={"x": {"cluster": "c", "user": "u"}, "y": {"cluster": "d"}},
    )
    three = write(tmp_path / "3", current="y", contexts={"x": {"cluster": "d"}})
    environ = {"KUBECONFIG": os.pathsep.join([str(tmp_path / "missing"), one, "", two, one, three])}

    access = load(Choice(), environ)
    assert (access.context, access.server.host) == ("x", "a")
    # The entry is taken whole: no password from the second file.
    assert access.basic is not None
    assert access.basic.reveal() == "Basic b25lOg=="
    assert load(Choice(context="y"), environ).server.host == "b"


def test_paths_are_seen_from_the_file_they_stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "ca.pem").write_bytes(b"authority")
    for name in ("crt", "key"):
        (tmp_path / "sub" / name).write_bytes(name.encode())
    user = {"client-certificate": "crt", "client-key": "./key", "tokenFile": "sub/../token"}
    one = write(
        tmp_path / "sub" / "1",
        users={"u": user, "p": {"exec": PLUGIN | {"command": "../bin/give"}}, "q": {"exec": PLUGIN}},
    )
    two = write(
        tmp_path / "2",
        current="x",
        clusters={"c": A | {"certificate-authority": "ca.pem"}},
        contexts={"x": {"cluster": "c", "user": "u"}},
    )
    monkeypatch.chdir(tmp_path / "sub")
    environ = {"KUBECONFIG": os.pathsep.join(["1", "../2"])}
    assert one == str(tmp_path / "sub" / "1")
    assert two

    access = load(Choice(), environ)
    assert access.ca == b"authority"
    assert access.token_file == str(tmp_path / "sub" / "token")
    assert access.certificate is not None
    assert (access.certificate.certificate, access.certificate.key) == (
        str(tmp_path / "sub/crt"),
        str(tmp_path / "sub/key"),
    )
    plugin = load(Choice(user="p"), environ).plugin
    assert plugin is not None
    assert plugin.command == str(tmp_path / "bin/give")
    plugin = load(Choice(user="q"), environ).plugin
    assert plugin is not None
    assert plugin.command == "give"


def test_the_order_of_places(tmp_path: Path, account: Path) -> None:
    home = tmp_path / "home"
    (home / ".kube").mkdir(parents=True)
    single(home / ".kube" / "config", cluster={"server": "https://home"})
    variable = single(tmp_path / "variable", cluster={"server": "https://variable"})
    given = single(tmp_path / "given", cluster={"server": "https://given"})
    everything = {"HOME": str(home), "KUBECONFIG": variable, **POD}

    assert load(Choice(kubeconfig=given), everything, account).server.host == "given"
    assert load(Choice(), everything, account).server.host == "variable"
    assert load(Choice(), {"HOME": str(home), **POD}, account).server.host == "home"
    assert load(Choice(), {"HOME": str(tmp_path), **POD}, account).server.host == "10.96.0.1"
    # What KUBECONFIG names and does not exist is not replaced by the default.
    assert load(Choice(), {"HOME": str(home), "KUBECONFIG": "/missing", **POD}, account).server.host == "10.96.0.1"


def test_a_pod_reaches_its_own_cluster(account: Path) -> None:
    access = load(Choice(), POD, account)
    assert access.server.url == "https://10.96.0.1:443"
    assert (access.token_file, access.namespace, access.ca) == (str(account / "token"), "own", b"")
    (account / "ca.crt").write_bytes(b"authority")
    access = load(
        Choice(impersonate="me"), POD | {"POD_NAMESPACE": "told", "KUBERNETES_SERVICE_HOST": "fd00::1"}, account
    )
    assert access.server.url == "https://[fd00::1]:443"
    assert (access.namespace, access.ca, access.impersonation) == ("told", b"authority", Impersonation("me"))
    assert load(Choice(namespace="asked"), POD, account).namespace == "asked"


def test_a_pod_whose_variables_or_authority_are_broken_is_told(account: Path) -> None:
    with pytest.raises(
        AccessError, match="KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT name no server: the port"
    ):
        load(Choice(), POD | {"KUBERNETES_SERVICE_PORT": "tcp://10.96.0.1"}, account)
    (account / "namespace").unlink()
    assert load(Choice(), POD, account).namespace == "default"
    (account / "ca.crt").mkdir()
    with pytest.raises(AccessError, match=r"ca\.crt cannot be read: is a directory"):
        load(Choice(), POD, account)


@pytest.mark.parametrize(
    ("choice", "environ", "message"),
    [
        ({"kubeconfig": "/no/file"}, {}, "/no/file: no such file (named by --kubeconfig)"),
        ({}, {"KUBECONFIG": "/no/a:/no/b"}, "no cluster is configured: /no/a, /no/b (KUBECONFIG) do not exist, and this is not a pod with a service account: KUBERNETES_SERVICE_HOST is not set (give one with --kubeconfig, or read manifests with -f)"),
        ({}, {"HOME": "/no"}, "no cluster is configured: /no/.kube/config (the default) does not exist, and this is not a pod"),
        ({}, {}, "no cluster is configured: neither KUBECONFIG nor HOME is set, and this is not a pod"),
        ({}, POD, "this is not a pod with a service account: /no/account/token does not exist"),
        ({"context": "x"}, POD, 'there is no context "x", because there is no kubeconfig (there are no contexts)'),
        ({"groups": ("g",)}, {}, "no cluster is configured"),
    ],
)  # fmt: skip
def test_where_nothing_is_found_the_places_are_named(
    choice: dict[str, Any], environ: dict[str, str], message: str, tmp_path: Path
) -> None:
    with pytest.raises(AccessError) as caught:
        load(Choice(**choice), environ, tmp_path / "no" / "account")
    assert str(caught.value).replace(str(tmp_path), "").startswith(message) or message in str(caught.value).replace(
        str(tmp_path), ""
    )


MANY: dict[str, Any] = {
    "current": "prod",
    "clusters": {"c1": A, "c2": B},
    "users": {"bob": {"token": "s3cret"}, "eve": {}},
    "contexts": {
        "prod": {"cluster": "c1", "user": "bob", "namespace": "shop"},
        "test": {"cluster": "c2", "user": "bob"},
        "anonymous": {"cluster": "c2"},
        "no-cluster": {"cluster": "c3", "user": "bob"},
        "no-user": {"cluster": "c1", "user": "bib"},
        "empty": {"user": "bob"},
    },
}


@pytest.mark.parametrize(
    ("choice", "host", "namespace", "has_token"),
    [
        ({}, "a", "shop", True),
        ({"context": "test"}, "b", "default", True),
        ({"namespace": "n"}, "a", "n", True),
        ({"cluster": "c2"}, "b", "shop", True),
        ({"user": "eve"}, "a", "shop", False),
        ({"context": "anonymous"}, "b", "default", False),
        ({"context": "anonymous", "user": "bob"}, "b", "default", True),
        ({"context": "no-cluster", "cluster": "c1"}, "a", "default", True),
    ],
)
def test_what_is_chosen(tmp_path: Path, choice: dict[str, Any], host: str, namespace: str, has_token: bool) -> None:
    access = of(write(tmp_path / "config", **MANY), **choice)
    assert (access.server.host, access.namespace, access.token is not None) == (host, namespace, has_token)


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        ({"context": "prdo"}, 'there is no context "prdo" in CONFIG (did you mean prod?)'),
        ({"context": "zzz"}, 'there is no context "zzz" in CONFIG (the contexts are anonymous, empty, no-cluster, no-user, prod, test)'),
        ({"cluster": "c9"}, 'there is no cluster "c9" in CONFIG (the clusters are c1, c2)'),
        ({"user": "nobody"}, 'there is no user "nobody" in CONFIG (the users are bob, eve)'),
        ({"context": "no-cluster"}, 'contexts[3].context.cluster: there is no cluster "c3" (the clusters are c1, c2)'),
        ({"context": "no-user"}, 'contexts[4].context.user: there is no user "bib" (did you mean bob?)'),
        ({"context": "empty"}, 'contexts[5].context.cluster: context "empty" names no cluster (the clusters are c1, c2)'),
        ({"uid": "1"}, "--as-uid needs a user to act as (add --as USER)"),
        ({"groups": ("g",)}, "--as-group needs a user to act as (add --as USER)"),
    ],
)  # fmt: skip
def test_names_that_do_not_exist(tmp_path: Path, choice: dict[str, Any], message: str) -> None:
    path = write(tmp_path / "config", **MANY)
    with pytest.raises(PodfenceError) as caught:
        of(path, **choice)
    assert str(caught.value).replace(path, "CONFIG").endswith(message)
    assert "s3cret" not in str(caught.value)


def test_a_current_context_that_does_not_exist_is_named_with_its_place(tmp_path: Path) -> None:
    first = write(tmp_path / "1", clusters={"c": A})
    second = tmp_path / "2"
    second.write_text("contexts: [{name: dev}]\ncurrent-context: dve\n")
    with pytest.raises(InputError) as caught:
        load(Choice(), {"KUBECONFIG": f"{first}:{second}"})
    assert str(caught.value) == f'{second}:2:18: error: current-context: there is no context "dve" (did you mean dev?)'


def test_without_a_current_context_one_has_to_be_chosen_but_a_pod_has_its_own(tmp_path: Path, account: Path) -> None:
    path = write(tmp_path / "config", clusters={"c": A}, contexts={"dev": {"cluster": "c"}})
    with pytest.raises(AccessError, match=r"sets no current-context \(choose one with --context: dev\)"):
        load(Choice(), {"KUBECONFIG": path})
    assert load(Choice(), {"KUBECONFIG": path, **POD}, account).server.host == "10.96.0.1"
    with pytest.raises(AccessError, match="sets no current-context"):
        load(Choice(kubeconfig=path), POD, account)


def test_all_that_is_wrong_with_a_context_is_reported_together(tmp_path: Path) -> None:
    path = single(
        tmp_path / "config",
        cluster={"server": "ftp://x", "proxy-url": "gopher://p", "certificate-authority": "no.pem"},
        user={"client-certificate": "no.crt", "token": "s3cret", "username": "u", "as-groups": ["g"]},
    )
    with pytest.raises(InputError) as caught:
        of(path)
    assert [(problem.field, problem.message) for problem in caught.value.problems] == [
        ("clusters[0].cluster.server", "expected a URL that begins with https:// or http://, not with ftp://"),
        ("clusters[0].cluster.certificate-authority", f"{tmp_path}/no.pem cannot be read: no such file or directory"),
        ("clusters[0].cluster.proxy-url", "expected a URL that begins with http://, https:// or socks5://"),
        ("users[0].user", "a client certificate needs its key"),
        ("users[0].user.client-certificate", f"{tmp_path}/no.crt cannot be read: no such file or directory"),
        ("users[0].user", "a token and a username are both set"),
        ("users[0].user.as-groups", "this needs a user to act as"),
    ]


@pytest.mark.parametrize(
    ("user", "cluster", "message"),
    [
        ({}, {"server": ""}, 'cluster "c" has no server (write server: https://HOST:6443)'),
        ({}, {"insecure-skip-tls-verify": True, "certificate-authority-data": "aGk="}, "a certificate authority and insecure-skip-tls-verify are both set (remove one of the two)"),
        ({}, {"certificate-authority": "config", "certificate-authority-data": "aGk="}, "certificate-authority and certificate-authority-data are both set (remove one of the two)"),
        ({"client-certificate": "config", "client-certificate-data": "aGk=", "client-key-data": "aGk="}, {}, "client-certificate and client-certificate-data are both set (remove one of the two)"),
        ({"token": "a\nb"}, {}, "a token has no blanks, line breaks or control characters in it"),
        ({"auth-provider": {"name": "gcp"}}, {}, 'auth provider "gcp" was removed from kubectl (use the exec plugin gke-gcloud-auth-plugin)'),
        ({"auth-provider": {"name": "azure"}}, {}, 'auth provider "azure" was removed from kubectl (use the exec plugin kubelogin)'),
        ({"auth-provider": {"name": "oidc"}}, {}, 'auth provider "oidc" is not supported (use an exec plugin, such as kubectl oidc-login)'),
        ({"auth-provider": {"name": "x"}}, {}, 'auth provider "x" is not known to kubectl (use an exec plugin)'),
        ({"auth-provider": {"name": "x"}, "exec": PLUGIN}, {}, "an auth-provider and an exec plugin are both set (remove auth-provider)"),
        ({"exec": PLUGIN | {"command": ""}}, {}, "the plugin has no command (write command: PROGRAM)"),
        ({"exec": PLUGIN | {"apiVersion": "client.authentication.k8s.io/v1alpha1"}}, {}, '"client.authentication.k8s.io/v1alpha1" is no version of the plugins\' protocol (write client.authentication.k8s.io/v1 or client.authentication.k8s.io/v1beta1)'),
        ({"exec": PLUGIN | {"interactiveMode": ""}}, {}, "interactiveMode is required (write one of Never, IfAvailable, Always)"),
        ({"exec": PLUGIN | {"interactiveMode": "Maybe"}}, {}, '"Maybe" is not one of Never, IfAvailable, Always'),
        ({"exec": PLUGIN | {"env": [{"value": "v"}]}}, {}, "an environment variable has no name"),
    ],
)  # fmt: skip
def test_what_kubectl_refuses_is_refused(tmp_path: Path, user: Fields, cluster: Fields, message: str) -> None:
    with pytest.raises(InputError) as caught:
        of(single(tmp_path / "config", user=user, cluster=cluster))
    assert str(caught.value).endswith(f": {message}")


@pytest.mark.parametrize(
    ("user", "used"),
    [
        ({}, set()),
        ({"token": "t"}, {"token"}),
        ({"tokenFile": "f"}, {"token_file"}),
        ({"token": "t", "tokenFile": "f"}, {"token", "token_file"}),
        ({"username": "n"}, {"basic"}),
        ({"password": "p"}, set()),
        ({"exec": PLUGIN}, {"plugin"}),
        # What is known of the user makes asking unnecessary.
        ({"exec": PLUGIN, "token": "t"}, {"token"}),
        ({"auth-provider": {"name": "gcp"}, "token": "t"}, {"token"}),
        ({"client-certificate-data": "aGk=", "client-key-data": "aGk=", "token": "t"}, {"certificate", "token"}),
        ({"client-key-data": "aGk="}, set()),
    ],
)
def test_which_credentials_are_used(tmp_path: Path, user: Fields, used: set[str]) -> None:
    fields = ("certificate", "token", "token_file", "basic", "plugin")
    access = of(single(tmp_path / "config", user=user))
    assert {name for name in fields if getattr(access, name)} == used
    # What is not encrypted carries none.
    access = of(single(tmp_path / "config", user=user, cluster={"server": "http://api"}))
    assert not any(getattr(access, name) for name in fields)


def test_acting_as_somebody(tmp_path: Path) -> None:
    user = {"as": "ann", "as-uid": "7", "as-groups": ["x", "y"], "as-user-extra": {"acme.com/proj%": ["1", "2"]}}
    path = single(tmp_path / "config", user=user)
    access = of(path)
    assert access.impersonation is not None
    assert access.impersonation.headers() == (
        ("Impersonate-User", "ann"),
        ("Impersonate-Uid", "7"),
        ("Impersonate-Group", "x"),
        ("Impersonate-Group", "y"),
        ("Impersonate-Extra-acme.com%2Fproj%25", "1"),
        ("Impersonate-Extra-acme.com%2Fproj%25", "2"),
    )
    asked = of(path, impersonate="bob", groups=("z",), uid="8").impersonation
    assert asked == Impersonation("bob", "8", ("z",), access.impersonation.extra)


def test_no_text_of_an_access_shows_a_secret(tmp_path: Path) -> None:
    users: list[Fields] = [
        {"token": "s3cret"},
        {"username": "u", "password": "s3cret"},
        {"client-certificate-data": "aGk=", "client-key-data": "czNjcmV0"},
        {"exec": PLUGIN | {"args": ["--password=s3cret"], "env": [{"name": "A", "value": "s3cret"}]}},
    ]
    for user in users:
        access = of(single(tmp_path / "config", user=user, cluster={"proxy-url": "http://u:s3cret@p"}))
        assert "s3cret" not in f"{access} {access!r} {access.plugin} {access.proxy}"
        assert access.proxy is not None
        assert access.proxy.password.reveal() == "s3cret"
