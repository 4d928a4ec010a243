# SPDX-License-Identifier: Apache-2.0
"""The access that a command line and an environment mean: a kubeconfig's, else that of the pod this runs in."""

from __future__ import annotations

from typing import TYPE_CHECKING

from podfence.errors import AccessError
from podfence.kube.access import incluster, merge
from podfence.kube.access.choose import choose

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from podfence.kube.access.access import Access
    from podfence.kube.access.choice import Choice

_GIVE = "give one with --kubeconfig, or read manifests with -f"


def load(choice: Choice, environ: Mapping[str, str], account: Path = incluster.SERVICE_ACCOUNT) -> Access:
    """Return how the cluster that `choice` means is reached.

    Kubeconfigs come first; where they name no cluster, the service account in `account` is taken. Unlike
    kubectl, a file given explicitly never leads to the service account, and nothing leads to localhost:8080.

    Raises InputError with everything that is wrong in a file, and AccessError if nothing was found, saying
    where it was looked for.
    """
    where = merge.places(choice.kubeconfig, environ)
    config = merge.load(where)
    access = choose(config, choice, environ)
    if access is not None:
        return access
    no_pod = incluster.missing(environ, account)
    if not no_pod and not where.explicit and not choice.names_entries:
        return incluster.access(choice, environ, account)
    raise AccessError(_unchosen(config) if config.contexts or config.clusters else _unfound(where, config, no_pod))


def _unchosen(config: merge.Kubeconfig) -> str:
    names = ", ".join(sorted(config.contexts))
    remedy = f"choose one with --context: {names}" if names else "choose a cluster with --cluster"
    return f"{config.names} sets no current-context ({remedy})"


def _unfound(where: merge.Places, config: merge.Kubeconfig, no_pod: str) -> str:
    if config.files:
        looked = f"{config.names} names no cluster"
    elif where.paths:
        plural = "do not exist" if len(where.paths) > 1 else "does not exist"
        looked = f"{', '.join(where.paths)} ({where.named_by}) {plural}"
    else:
        looked = f"neither {merge.VARIABLE} nor HOME is set"
    pod = f", and this is no pod with a service account: {no_pod}" if no_pod and not where.explicit else ""
    return f"no cluster is configured: {looked}{pod} ({_GIVE})"
