# SPDX-License-Identifier: Apache-2.0
"""An Access from one context of a kubeconfig, or from one cluster and user of it by name.

Both are checked as client-go does (tools/clientcmd/client_config.go and validation.go), and all problems of both are
reported together. Two things are stricter here: a context that names a cluster or user that does not exist is an
error, where kubectl goes on with localhost or without credentials.
"""

from __future__ import annotations

import base64
import difflib
from typing import TYPE_CHECKING, Any, Final, TypeVar

import msgspec

from podfence.errors import AccessError, InputError
from podfence.kube.access import address, wire
from podfence.kube.access.access import Access, Impersonation, Secret
from podfence.kube.access.identity import Identity, identify, plugin
from podfence.kube.access.kubeconfig import contents, decode_data, problem, set_twice
from podfence.kube.validation.findings import go_quote

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from podfence.kube.access.access import Choice
    from podfence.kube.access.kubeconfig import Entry, Kubeconfig
    from podfence.kube.findings import Finding

T = TypeVar("T")

DEFAULT_NAMESPACE: Final = "default"
"""The namespace where nobody names one."""

_NOBODY: Final = Identity()
_SHOWN_NAMES: Final = 8


def choose(config: Kubeconfig, choice: Choice, environ: Mapping[str, str]) -> Access | None:
    """Return the access that `choice` means; None if neither it nor the kubeconfig names a cluster.

    Raises AccessError for names that were asked for and do not exist, and InputError for what a file says.
    """
    context = _context(config, choice)
    cluster = _chosen(config, config.clusters, choice.cluster, "cluster")
    user = _chosen(config, config.users, choice.user, "user")
    if context is not None:
        cluster = cluster or _named(config.clusters, context, context.value.cluster, "cluster")
        user = user or _named(config.users, context, context.value.user, "user")
    if cluster is None:
        return None
    return _build(cluster, user, context, choice, environ)


def _context(config: Kubeconfig, choice: Choice) -> Entry[wire.Context] | None:
    if choice.context:
        return _chosen(config, config.contexts, choice.context, "context")
    if not config.current:
        return None
    context = config.contexts.get(config.current)
    if context is None:
        message = f"there is no context {go_quote(config.current)}"
        remedy = _nearest(config.current, config.contexts, "context")
        document = next(file.document for file in config.files if file.document is not None and file.current)
        raise InputError([problem(document, ("current-context",), message, remedy)])
    return context


def _chosen(config: Kubeconfig, entries: Mapping[str, Entry[T]], name: str, kind: str) -> Entry[T] | None:
    if not name:
        return None
    entry = entries.get(name)
    if entry is None:
        where = f" in {config.names}" if config.files else ", because there is no kubeconfig"
        remedy = _nearest(name, entries, kind)
        raise AccessError(f"there is no {kind} {go_quote(name)}{where} ({remedy})")
    return entry


def _named(
    entries: Mapping[str, Entry[T]], context: Entry[wire.Context], name: str | None, kind: str
) -> Entry[T] | None:
    """Return the entry that a context names; a context without a user is of nobody in particular."""
    entry = entries.get(name or "")
    if entry is None and (name or kind == "cluster"):
        named = f"there is no {kind} {go_quote(name)}" if name else f"context {go_quote(context.name)} names no {kind}"
        raise InputError([context.problem(named, kind, remedy=_nearest(name or "", entries, kind))])
    return entry


def _nearest(name: str, known: Iterable[str], kind: str) -> str:
    """Return what to write instead of `name`: the name nearest to it, or which ones there are."""
    names = sorted(known)
    near = difflib.get_close_matches(name, names, n=1)
    if near:
        return f"did you mean {near[0]}?"
    if not names:
        return f"there are no {kind}s"
    more = f" and {len(names) - _SHOWN_NAMES} more" if len(names) > _SHOWN_NAMES else ""
    return f"the {kind}s are {', '.join(names[:_SHOWN_NAMES])}{more}"


def _build(
    cluster: Entry[wire.Cluster],
    user: Entry[wire.User] | None,
    context: Entry[wire.Context] | None,
    choice: Choice,
    environ: Mapping[str, str],
) -> Access:
    """Return how `cluster` is reached as `user`, None being nobody in particular.

    Raises InputError with everything that is wrong with the two, and AccessError for what is wrong with
    `choice` or `environ`.
    """
    problems: list[Finding] = []
    server = _server(cluster, problems)
    ca = _authorities(cluster, problems)
    own_proxy = _proxy(cluster, problems)
    identity = identify(user, problems) if user is not None else _NOBODY
    acting = impersonation(user, choice, problems)
    if problems or server is None:
        raise InputError(problems)
    # As in kubectl: a connection that is not encrypted carries no credentials.
    proven = identity if server.is_secure else _NOBODY
    return Access(
        server=server,
        namespace=choice.namespace or (context.value.namespace if context is not None else "") or DEFAULT_NAMESPACE,
        source=cluster.file,
        context=context.name if context is not None else "",
        ca=ca,
        insecure=bool(cluster.value.insecure_skip_tls_verify),
        server_name=cluster.value.tls_server_name or "",
        proxy=own_proxy or address.proxy_from_environment(server, environ),
        compressed=not cluster.value.disable_compression,
        certificate=proven.certificate,
        token=proven.token,
        token_file=proven.token_file,
        basic=proven.basic,
        plugin=plugin(user, proven.exec, Secret(_cluster_info(cluster.value, ca))) if user and proven.exec else None,
        impersonation=acting,
    )


def impersonation(user: Entry[wire.User] | None, choice: Choice, problems: list[Finding]) -> Impersonation | None:
    """Return whom to act as: what `choice` says, part by part, else what `user` says.

    Groups, a uid and more fields need a name; without one they are a problem of the user, and an AccessError
    where they are `choice`'s.
    """
    value = user.value if user is not None else wire.User()
    name = choice.impersonate or value.impersonate or ""
    if name:
        extra = value.as_user_extra or {}
        return Impersonation(
            name,
            choice.uid or value.as_uid or "",
            choice.groups or tuple(group or "" for group in value.as_groups or ()),
            tuple((key, tuple(item or "" for item in items or ())) for key, items in extra.items()),
        )
    if choice.groups or choice.uid:
        raise AccessError(f"{'--as-group' if choice.groups else '--as-uid'} needs a user to act as (add --as USER)")
    for field, given in (
        ("as-uid", value.as_uid),
        ("as-groups", value.as_groups),
        ("as-user-extra", value.as_user_extra),
    ):
        if user is not None and given:
            problems.append(user.problem("this needs a user to act as", field, remedy="add as: USER"))
    return None


def _server(cluster: Entry[wire.Cluster], problems: list[Finding]) -> address.Server | None:
    if not cluster.value.server:
        message = f"cluster {go_quote(cluster.name)} has no server"
        problems.append(cluster.problem(message, "server", remedy="write server: https://HOST:6443"))
        return None
    try:
        return address.parse(cluster.value.server)
    except ValueError as error:
        problems.append(cluster.problem(str(error), "server"))
        return None


def _authorities(cluster: Entry[wire.Cluster], problems: list[Finding]) -> bytes:
    """Return who vouches for the server; nothing means the system's authorities."""
    path, data = cluster.value.certificate_authority, cluster.value.certificate_authority_data
    if cluster.value.insecure_skip_tls_verify and (path or data):
        message = "a certificate authority and insecure-skip-tls-verify are both set"
        problems.append(cluster.problem(message, "insecure-skip-tls-verify", remedy="remove one of the two"))
        return b""
    if path and data:
        problems.append(set_twice(cluster, "certificate-authority"))
    elif path:
        return contents(cluster, "certificate-authority", path, problems)
    return decode_data(data or "")


def _proxy(cluster: Entry[wire.Cluster], problems: list[Finding]) -> address.Proxy | None:
    try:
        return address.parse_proxy(cluster.value.proxy_url) if cluster.value.proxy_url else None
    except ValueError as error:
        problems.append(cluster.problem(str(error), "proxy-url"))
        return None


def _cluster_info(cluster: wire.Cluster, ca: bytes) -> bytes:
    """Return what a plugin is told of a cluster if it wants to know it: `Cluster` of its protocol, as JSON."""
    info: dict[str, Any] = {"server": cluster.server}
    if cluster.tls_server_name:
        info["tls-server-name"] = cluster.tls_server_name
    if cluster.insecure_skip_tls_verify:
        info["insecure-skip-tls-verify"] = True
    if ca:
        info["certificate-authority-data"] = base64.b64encode(ca).decode()
    if cluster.proxy_url:
        info["proxy-url"] = cluster.proxy_url
    if cluster.disable_compression:
        info["disable-compression"] = True
    extensions = (item for item in cluster.extensions or () if item is not None and item.name == wire.EXEC_EXTENSION)
    info["config"] = next((item.extension for item in extensions), None)
    return msgspec.json.encode(info)
