# SPDX-License-Identifier: Apache-2.0
"""The access that a command line and an environment mean: a kubeconfig's, else that of the pod this runs in.

A context of a kubeconfig, or a cluster and a user of it by name, are checked as client-go does
(tools/clientcmd/client_config.go and validation.go), and all problems of both are reported together. Two things are
stricter here: a context that names a cluster or user that does not exist is an error, where kubectl goes on with
localhost or without credentials. The way to the cluster of a pod is that of client-go's rest.InClusterConfig.
"""

from __future__ import annotations

import base64
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import msgspec

from podfence.errors import AccessError, InputError, nearest, reason_of
from podfence.kube.access import address, kubeconfig, wire
from podfence.kube.access.access import Access, Impersonation, Secret
from podfence.kube.access.identity import Identity, identify, plugin
from podfence.kube.access.kubeconfig import contents, decode_data, problem, set_twice
from podfence.kube.validation.findings import go_quote

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from podfence.kube.access.access import Choice
    from podfence.kube.access.kubeconfig import Entry, Kubeconfig
    from podfence.kube.findings import Finding

T = TypeVar("T")

SERVICE_ACCOUNT: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount")
"""Where a kubelet puts what a pod needs to know."""

_DEFAULT_NAMESPACE: Final = "default"
_NOBODY: Final = Identity()
_SHOWN_NAMES: Final = 8
_GIVE: Final = "give one with --kubeconfig, or read manifests with -f"
_HOST: Final = "KUBERNETES_SERVICE_HOST"
_PORT: Final = "KUBERNETES_SERVICE_PORT"
_NAMESPACE: Final = "POD_NAMESPACE"


def load(choice: Choice, environ: Mapping[str, str], account: Path = SERVICE_ACCOUNT) -> Access:
    """Return how the cluster that `choice` means is reached.

    Kubeconfigs come first; where they name no cluster, the service account in `account` is taken. Unlike
    kubectl, a file given explicitly never leads to the service account, and nothing leads to localhost:8080.

    Raises InputError with everything that is wrong in a file, and AccessError if nothing was found, saying
    where it was looked for.
    """
    where = kubeconfig.places(choice.kubeconfig, environ)
    config = kubeconfig.load(where)
    access = _choose(config, choice, environ)
    if access is not None:
        return access
    no_pod = _missing(environ, account)
    if not no_pod and not where.explicit and not choice.names_entries:
        return _in_cluster(choice, environ, account)
    raise AccessError(_unchosen(config) if config.contexts or config.clusters else _unfound(where, config, no_pod))


def _unchosen(config: Kubeconfig) -> str:
    names = ", ".join(sorted(config.contexts))
    remedy = f"choose one with --context: {names}" if names else "choose a cluster with --cluster"
    return f"{config.names} sets no current-context ({remedy})"


def _unfound(where: kubeconfig.Places, config: Kubeconfig, no_pod: str) -> str:
    if config.files:
        looked = f"{config.names} names no cluster"
    elif where.paths:
        plural = "do not exist" if len(where.paths) > 1 else "does not exist"
        looked = f"{', '.join(where.paths)} ({where.named_by}) {plural}"
    else:
        looked = f"neither {kubeconfig.VARIABLE} nor HOME is set"
    pod = f", and this is not a pod with a service account: {no_pod}" if no_pod and not where.explicit else ""
    return f"no cluster is configured: {looked}{pod} ({_GIVE})"


def _missing(environ: Mapping[str, str], account: Path) -> str:
    """Return what makes this no pod with a service account, "" if it is one."""
    unset = next((name for name in (_HOST, _PORT) if not environ.get(name)), "")
    if unset:
        return f"{unset} is not set"
    token = account / "token"
    return "" if token.is_file() else f"{token} does not exist"


def _in_cluster(choice: Choice, environ: Mapping[str, str], account: Path) -> Access:
    """Return the access that a pod has; `_missing` has to say that it is one.

    Tokens rotate, so only their file is named. Without a ca.crt the system's authorities count. Raises
    AccessError for variables that name no server, and a ca.crt that cannot be read.
    """
    try:
        server = address.parse(f"https://{address.bracketed(environ[_HOST])}:{environ[_PORT]}")
    except ValueError as error:
        raise AccessError(f"{_HOST} and {_PORT} name no server: {error}") from None
    return Access(
        server=server,
        namespace=choice.namespace or environ.get(_NAMESPACE) or _namespace(account) or _DEFAULT_NAMESPACE,
        source=f"the service account in {account}",
        ca=_authorities_of_pod(account / "ca.crt"),
        proxy=address.proxy_from_environment(server, environ),
        token_file=str(account / "token"),
        impersonation=_impersonation(None, choice, []),
    )


def _namespace(account: Path) -> str:
    try:
        return (account / "namespace").read_text().strip()
    except OSError:
        return ""


def _authorities_of_pod(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return b""
    except OSError as error:
        raise AccessError(f"{path} cannot be read: {reason_of(error)}") from None


def _choose(config: Kubeconfig, choice: Choice, environ: Mapping[str, str]) -> Access | None:
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
    if near := nearest(name, names):
        return f"did you mean {near}?"
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
    if not cluster.value.server:
        message = f"cluster {go_quote(cluster.name)} has no server"
        problems.append(cluster.problem(message, "server", remedy="write server: https://HOST:6443"))
    server = _parsed(cluster, "server", cluster.value.server, address.parse, problems)
    ca = _authorities(cluster, problems)
    own_proxy = _parsed(cluster, "proxy-url", cluster.value.proxy_url, address.parse_proxy, problems)
    identity = identify(user, problems) if user is not None else _NOBODY
    acting = _impersonation(user, choice, problems)
    if problems or server is None:
        raise InputError(problems)
    # As in kubectl: a connection that is not encrypted carries no credentials.
    proven = identity if server.is_secure else _NOBODY
    return Access(
        server=server,
        namespace=choice.namespace or (context.value.namespace if context is not None else "") or _DEFAULT_NAMESPACE,
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


def _impersonation(user: Entry[wire.User] | None, choice: Choice, problems: list[Finding]) -> Impersonation | None:
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


def _parsed(
    cluster: Entry[wire.Cluster], field: str, text: str | None, parse: Callable[[str], T], problems: list[Finding]
) -> T | None:
    """Return the address in a field of a cluster, None if there is none; one that cannot be read is a problem."""
    try:
        return parse(text) if text else None
    except ValueError as error:
        problems.append(cluster.problem(str(error), field))
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


def _cluster_info(cluster: wire.Cluster, ca: bytes) -> bytes:
    """Return what a plugin is told of a cluster if it wants to know it: `Cluster` of its protocol, as JSON."""
    fields = {
        "server": cluster.server,
        "tls-server-name": cluster.tls_server_name,
        "insecure-skip-tls-verify": cluster.insecure_skip_tls_verify,
        "certificate-authority-data": base64.b64encode(ca).decode(),
        "proxy-url": cluster.proxy_url,
        "disable-compression": cluster.disable_compression,
    }
    extensions = (item for item in cluster.extensions or () if item is not None and item.name == wire.EXEC_EXTENSION)
    config: Any = next((item.extension for item in extensions), None)
    return msgspec.json.encode({key: value for key, value in fields.items() if value} | {"config": config})
