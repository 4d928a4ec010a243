# SPDX-License-Identifier: Apache-2.0
"""The access that a command line and an environment mean: a kubeconfig's, else that of the pod this runs in.

The way to the cluster of a pod is that of client-go's rest.InClusterConfig.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

from podfence.errors import AccessError, reason_of
from podfence.kube.access import address, kubeconfig
from podfence.kube.access.access import Access
from podfence.kube.access.build import DEFAULT_NAMESPACE, choose, impersonation

if TYPE_CHECKING:
    from collections.abc import Mapping

    from podfence.kube.access.access import Choice

SERVICE_ACCOUNT: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount")
"""Where a kubelet puts what a pod needs to know."""

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
    access = choose(config, choice, environ)
    if access is not None:
        return access
    no_pod = _missing(environ, account)
    if not no_pod and not where.explicit and not choice.names_entries:
        return _in_cluster(choice, environ, account)
    raise AccessError(_unchosen(config) if config.contexts or config.clusters else _unfound(where, config, no_pod))


def _unchosen(config: kubeconfig.Kubeconfig) -> str:
    names = ", ".join(sorted(config.contexts))
    remedy = f"choose one with --context: {names}" if names else "choose a cluster with --cluster"
    return f"{config.names} sets no current-context ({remedy})"


def _unfound(where: kubeconfig.Places, config: kubeconfig.Kubeconfig, no_pod: str) -> str:
    if config.files:
        looked = f"{config.names} names no cluster"
    elif where.paths:
        plural = "do not exist" if len(where.paths) > 1 else "does not exist"
        looked = f"{', '.join(where.paths)} ({where.named_by}) {plural}"
    else:
        looked = f"neither {kubeconfig.VARIABLE} nor HOME is set"
    pod = f", and this is no pod with a service account: {no_pod}" if no_pod and not where.explicit else ""
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
        namespace=choice.namespace or environ.get(_NAMESPACE) or _namespace(account) or DEFAULT_NAMESPACE,
        source=f"the service account in {account}",
        ca=_authorities(account / "ca.crt"),
        proxy=address.proxy_from_environment(server, environ),
        token_file=str(account / "token"),
        impersonation=impersonation(None, choice, []),
    )


def _namespace(account: Path) -> str:
    try:
        return (account / "namespace").read_text().strip()
    except OSError:
        return ""


def _authorities(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return b""
    except OSError as error:
        raise AccessError(f"{path} cannot be read: {reason_of(error)}") from None
