# SPDX-License-Identifier: Apache-2.0
# ruff: noqa: ARG001 - click calls every completion function with the same arguments
"""Words for the shell's completion, from the files on the line as far as they can be read.

Of live clusters only what kubeconfigs say is offered: no server is asked, because one that does not answer would
hold up whoever is typing.

Whatever goes wrong, there are no words and no messages: they would end up in the middle of a line
that somebody is typing.
"""

from __future__ import annotations

import os
import sys
from functools import partial
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    import click

    from podfence.kube.objects import KubeObject


_WORDS = ("apiserver", "internet", "node", "own-node", "self")
"""The ends that need no object."""


def endpoints(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """Return the workloads, bare pods, Services and nodes that start with `incomplete`, and the words for others."""
    names = {name for item in _objects(ctx) if (name := _endpoint(item))}
    return _starting(incomplete, [*sorted(names), *_WORDS])


def namespaces(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """Return the namespaces that start with `incomplete`."""
    names = {item.key.name if item.key.kind == "Namespace" else item.key.namespace for item in _objects(ctx)}
    return _starting(incomplete, sorted(names - {""}))


def labs(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """Return the labs that run and start with `incomplete`."""
    from podfence.lab import sandbox

    return _starting(incomplete, sandbox.names())


def settings(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """Return ``OPTION=VALUE`` for every value, or ``OPTION=`` while the option is not complete."""
    from podfence.policy.options import describe

    choices = {name.replace("_", "-"): choice.values for name, choice in describe().items()}
    name, separator, _ = incomplete.partition("=")
    if not separator:
        matching = [name for name in choices if name.startswith(incomplete)]
        if len(matching) != 1:
            return [f"{name}=" for name in matching]
        name = matching[0]
    return _starting(incomplete, [f"{name}={value}" for value in choices.get(name, ())])


def kinds(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """Return the kinds of documents that start with `incomplete`."""
    from podfence.report.documents import KINDS

    return _starting(incomplete, KINDS)


def _starting(incomplete: str, names: Iterable[str]) -> list[str]:
    return [name for name in names if name.startswith(incomplete)]


def _configured(part: str, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """Return the names in a part of the kubeconfigs that the line or the environment names, as far as they are read."""
    try:
        from dataclasses import replace

        from podfence.kube.access import kubeconfig

        where = kubeconfig.places(ctx.params.get("kubeconfig") or "", os.environ)
        # A pipe holds what the command itself is to read, and may have nobody who writes to it.
        config = kubeconfig.load(replace(where, paths=tuple(filter(os.path.isfile, where.paths))))
    except Exception:  # noqa: BLE001 - see above: silence, whatever happens
        return []
    return _starting(incomplete, sorted(getattr(config, part)))


contexts, clusters, users = (partial(_configured, part) for part in ("contexts", "clusters", "users"))


def _objects(ctx: click.Context) -> list[KubeObject]:
    """Return what can be read of the files on the line; standard input belongs to the shell here."""
    paths = [path for path in ctx.params.get("files") or () if path != "-"]
    if not paths:
        return []
    try:
        from podfence.kube import decode, files

        documents = files.read(paths, recursive=bool(ctx.params.get("recursive"))).documents
        objects = decode.decode(documents, validation="answer").objects
    except Exception:  # noqa: BLE001 - see above: silence, whatever happens
        return []
    return objects


def _endpoint(item: KubeObject) -> str:
    """Return how `item` is written as an endpoint, "" if it is none or its owner stands for it."""
    from podfence.cluster.members import display_name
    from podfence.kube.registry import ENDS

    if item.key.kind == "Node":
        return f"node:{item.key.name}"
    if item.key.kind not in ENDS or getattr(item, "owner", None):
        return ""
    return display_name(item.key)


def for_kubectl() -> int:
    """Complete ``kubectl podfence``: the program ``kubectl_complete-podfence``.

    Takes the words after ``podfence``, the last one unfinished; prints one word per line and the
    directive that kubectl expects: no files (4) when there are words, else files as usual (0).
    """
    from click.shell_completion import ShellComplete

    from podfence.cli import outputs
    from podfence.cli.commands import COMPLETION_VARIABLE, PLUGIN
    from podfence.cli.main import commands

    *words, incomplete = sys.argv[1:] or [""]
    completion = ShellComplete(commands, {}, PLUGIN, COMPLETION_VARIABLE)
    items = [item for item in completion.get_completions(words, incomplete) if item.type == "plain"]
    outputs.write(f"{item.value}\t{item.help}" if item.help else item.value for item in items)
    outputs.write([":4" if items else ":0"])
    return 0
