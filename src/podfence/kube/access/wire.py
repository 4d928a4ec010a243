# SPDX-License-Identifier: Apache-2.0
"""A kubeconfig as it is written (``v1``, ``Config``): only what is used; other fields are ignored, as kubectl does.

Null is the same as absent everywhere, as in Go.
"""

from __future__ import annotations

from typing import Any

import msgspec

EXEC_EXTENSION = "client.authentication.k8s.io/exec"
"""The extension of a cluster that is handed to its exec plugins."""


class Quiet(msgspec.Struct, kw_only=True):
    """What may hold secrets and so does not show what it holds."""

    def __repr__(self) -> str:
        return f"{type(self).__name__}(...)"


class Extension(Quiet):
    """One extension, of which only clusters' `EXEC_EXTENSION` is used."""

    name: str | None = None
    extension: Any = None


class Cluster(Quiet, rename="kebab"):
    """How a server is reached and known."""

    server: str | None = None
    tls_server_name: str | None = None
    insecure_skip_tls_verify: bool | None = None
    certificate_authority: str | None = None
    certificate_authority_data: str | None = None
    proxy_url: str | None = None
    disable_compression: bool | None = None
    extensions: list[Extension | None] | None = None


class Context(Quiet):
    """A cluster, a user of it and a namespace."""

    cluster: str | None = None
    user: str | None = None
    namespace: str | None = None


class AuthProvider(Quiet):
    """A provider that was built into kubectl once."""

    name: str | None = None


class Variable(Quiet):
    """An environment variable of a plugin."""

    name: str | None = None
    value: str | None = None


class Exec(Quiet, rename="camel"):
    """A program that gives credentials."""

    command: str | None = None
    args: list[str | None] | None = None
    env: list[Variable | None] | None = None
    api_version: str | None = None
    install_hint: str | None = None
    provide_cluster_info: bool | None = None
    interactive_mode: str | None = None


class User(Quiet, rename="kebab"):
    """Who somebody is, and how that is proven."""

    client_certificate: str | None = None
    client_certificate_data: str | None = None
    client_key: str | None = None
    client_key_data: str | None = None
    token: str | None = None
    token_file: str | None = msgspec.field(default=None, name="tokenFile")
    impersonate: str | None = msgspec.field(default=None, name="as")
    as_uid: str | None = None
    as_groups: list[str | None] | None = None
    as_user_extra: dict[str, list[str | None] | None] | None = None
    username: str | None = None
    password: str | None = None
    auth_provider: AuthProvider | None = None
    exec: Exec | None = None


class NamedCluster(Quiet):
    """An entry of `clusters`."""

    name: str | None = None
    cluster: Cluster | None = None


class NamedContext(Quiet):
    """An entry of `contexts`."""

    name: str | None = None
    context: Context | None = None


class NamedUser(Quiet):
    """An entry of `users`."""

    name: str | None = None
    user: User | None = None


class Config(Quiet, rename="kebab"):
    """One kubeconfig file."""

    api_version: str | None = msgspec.field(default=None, name="apiVersion")
    kind: str | None = None
    current_context: str | None = None
    clusters: list[NamedCluster | None] | None = None
    contexts: list[NamedContext | None] | None = None
    users: list[NamedUser | None] | None = None
