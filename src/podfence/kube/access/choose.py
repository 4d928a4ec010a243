# SPDX-License-Identifier: Apache-2.0
"""One context of a kubeconfig, or one cluster and user by name (client-go's tools/clientcmd/client_config.go).

Two things are stricter here: a context that names a cluster or user that does not exist is an error, where
kubectl goes on with localhost or without credentials.
"""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING, Final, TypeVar

from podfence.errors import AccessError, InputError
from podfence.kube.access.build import build
from podfence.kube.access.config import problem
from podfence.kube.validation.findings import go_quote

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from podfence.kube.access import wire
    from podfence.kube.access.access import Access
    from podfence.kube.access.choice import Choice
    from podfence.kube.access.config import Entry
    from podfence.kube.access.merge import Kubeconfig

T = TypeVar("T")

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
    return build(cluster, user, context, choice, environ)


def _context(config: Kubeconfig, choice: Choice) -> Entry[wire.Context] | None:
    if choice.context:
        return _chosen(config, config.contexts, choice.context, "context")
    if not config.current:
        return None
    context = config.contexts.get(config.current)
    if context is None:
        message = f"there is no context {go_quote(config.current)}"
        remedy = nearest(config.current, config.contexts, "context")
        document = next(file.document for file in config.files if file.document is not None and file.current)
        raise InputError([problem(document, ("current-context",), message, remedy)])
    return context


def _chosen(config: Kubeconfig, entries: Mapping[str, Entry[T]], name: str, kind: str) -> Entry[T] | None:
    if not name:
        return None
    entry = entries.get(name)
    if entry is None:
        where = f" in {config.names}" if config.files else ", because there is no kubeconfig"
        remedy = nearest(name, entries, kind)
        raise AccessError(f"there is no {kind} {go_quote(name)}{where} ({remedy})")
    return entry


def _named(
    entries: Mapping[str, Entry[T]], context: Entry[wire.Context], name: str | None, kind: str
) -> Entry[T] | None:
    """Return the entry that a context names; a context without a user is of nobody in particular."""
    entry = entries.get(name or "")
    if entry is None and (name or kind == "cluster"):
        named = f"there is no {kind} {go_quote(name)}" if name else f"context {go_quote(context.name)} names no {kind}"
        raise InputError([context.problem(named, kind, remedy=nearest(name or "", entries, kind))])
    return entry


def nearest(name: str, known: Iterable[str], kind: str) -> str:
    """Return what to write instead of `name`: the name nearest to it, or which ones there are."""
    names = sorted(known)
    near = difflib.get_close_matches(name, names, n=1)
    if near:
        return f"did you mean {near[0]}?"
    if not names:
        return f"there are no {kind}s"
    more = f" and {len(names) - _SHOWN_NAMES} more" if len(names) > _SHOWN_NAMES else ""
    return f"the {kind}s are {', '.join(names[:_SHOWN_NAMES])}{more}"
