# SPDX-License-Identifier: Apache-2.0
"""The way to the cluster that this process runs in, as a pod (client-go's rest.InClusterConfig)."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

from podfence.errors import AccessError
from podfence.kube.access import address, proxy
from podfence.kube.access.access import Access
from podfence.kube.access.build import DEFAULT_NAMESPACE, impersonation
from podfence.kube.access.config import reason

if TYPE_CHECKING:
    from collections.abc import Mapping

    from podfence.kube.access.choice import Choice

SERVICE_ACCOUNT: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount")
"""Where a kubelet puts what a pod needs to know."""

_HOST: Final = "KUBERNETES_SERVICE_HOST"
_PORT: Final = "KUBERNETES_SERVICE_PORT"
_NAMESPACE: Final = "POD_NAMESPACE"


def missing(environ: Mapping[str, str], account: Path) -> str:
    """Return what makes this no pod with a service account, "" if it is one."""
    unset = next((name for name in (_HOST, _PORT) if not environ.get(name)), "")
    if unset:
        return f"{unset} is not set"
    token = account / "token"
    return "" if token.is_file() else f"{token} does not exist"


def access(choice: Choice, environ: Mapping[str, str], account: Path) -> Access:
    """Return the access that a pod has; `missing` has to say that it is one.

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
        proxy=proxy.from_environment(server, environ),
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
        raise AccessError(f"{path} cannot be read: {reason(error)}") from None
