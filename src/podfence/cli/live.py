# SPDX-License-Identifier: Apache-2.0
"""The options that say which live cluster is read and as whom, named as kubectl names them."""

from __future__ import annotations

import os
from functools import partial
from typing import TYPE_CHECKING, Final, NamedTuple

import click

from podfence.cli import complete
from podfence.cli.duration import limit

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from podfence.api import Cluster
    from podfence.policy.options import Options


class Asked(NamedTuple):
    """What the options of one command line say; "" is what the kubeconfig says, and no timeout is no limit."""

    context: str = ""
    kubeconfig: str = ""
    cluster: str = ""
    user: str = ""
    impersonate: str = ""
    groups: tuple[str, ...] = ()
    uid: str = ""
    timeout: float | None = None
    lab: str = ""


_NAMELESS: Final = "\0"
"""The value of ``--lab`` without a name, which no lab can have."""

_named: Final = partial(click.option, metavar="NAME", default="")

with_context: Final = _named(
    "--context", shell_complete=complete.contexts, help="Kubeconfig context to use instead of the current one."
)
"""Adds ``--context``."""

OPTIONS: Final = (
    with_context,
    click.option(
        "--kubeconfig",
        metavar="PATH",
        default="",
        type=click.Path(),
        help="Kubeconfig file to use instead of those in KUBECONFIG, or ~/.kube/config.",
    ),
    _named("--cluster", shell_complete=complete.clusters, help="Kubeconfig cluster to use instead of the context's."),
    _named("--user", shell_complete=complete.users, help="Kubeconfig user to use instead of the context's."),
    click.option("--as", "impersonate", metavar="USER", default="", help="User to impersonate."),
    click.option("--as-group", "groups", metavar="GROUP", multiple=True, help="Group to impersonate. Repeatable."),
    click.option("--as-uid", "uid", metavar="UID", default="", help="UID to impersonate."),
    click.option(
        "--request-timeout",
        "timeout",
        metavar="TIME",
        callback=limit,
        help="Timeout of one request to the server, such as 30s or 2m. The default, 0, means no timeout.",
    ),
    click.option(
        "--lab",
        metavar="[NAME]",
        default="",
        is_flag=False,
        flag_value=_NAMELESS,
        shell_complete=complete.labs,
        help="Lab that runs on this machine. Without NAME, it is PODFENCE_LAB, then lab.",
    ),
)


def written(values: Mapping[str, object]) -> list[str]:
    """Return the options of the command that were given, as they are written, out of some by their names in Python."""
    flags = {param.name: param.opts[0] for param in click.get_current_context().command.params}
    return [flags[name] for name, value in values.items() if value]


def refuse(asked: Asked, why: str) -> None:
    """Raise a usage error if `asked` names a cluster and none is read; `why` says what is, and what to do."""
    if given := written(asked._asdict()):
        verb = "chooses" if len(given) == 1 else "choose"
        what = "lab" if given == ["--lab"] else "live cluster"
        raise click.UsageError(f"{', '.join(given)} {verb} a {what}, and {why}")


def load(asked: Asked, options: Options, progress: Callable[[float, int], None] | None, hint: str) -> Cluster:
    """Return the live cluster that `asked` means.

    Raises PodfenceError, with `hint` where nothing says which cluster there is.
    """
    import podfence
    from podfence.errors import AccessError

    chosen = asked._asdict()
    del chosen["lab"]
    try:
        return podfence.load_live(**chosen, options=options, progress=progress)
    except AccessError as error:
        if any(asked) or _is_configured():
            raise
        raise AccessError(f"{error}\n{hint}") from error


def load_lab(asked: Asked, settings: Sequence[str]) -> Cluster:
    """Return the lab that `asked` means, with its options, and `settings` in their place where they say something.

    Raises PodfenceError; a usage error if a live cluster is named too.
    """
    import podfence

    if others := written(asked._replace(lab="")._asdict()):
        raise click.UsageError(f"{', '.join(others)} and --lab exclude each other")
    return podfence.load_lab(lab_name(asked), settings=settings)


def lab_name(asked: Asked) -> str:
    """Return the name of the lab that `asked` means."""
    return os.environ.get("PODFENCE_LAB") or "lab" if asked.lab in ("", _NAMELESS) else asked.lab


def _is_configured() -> bool:
    from podfence.kube.access import kubeconfig

    return any(os.path.lexists(path) for path in kubeconfig.places("", os.environ).paths)
