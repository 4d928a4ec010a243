# SPDX-License-Identifier: Apache-2.0
"""What the commands of the lab have in common: which lab, which manifests, its API server, and how changes are told."""

from __future__ import annotations

import functools
import sys
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from podfence.cli import errors, outputs
from podfence.cli.commands import added
from podfence.cli.inputs import reading

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from podfence.kube.objects import KubeObject
    from podfence.lab.client import Client, Message
    from podfence.lab.manifests import Written
    from podfence.lab.rest import Named, Rest
    from podfence.lab.store.resources import Resource

EXITS = "0  done\n1  the server refused something\n2  no lab, or wrong usage"
"""The exit codes of commands that do what kubectl does."""


class Manifests(NamedTuple):
    """What the options of one command line say about manifests."""

    files: tuple[str, ...]
    recursive: bool
    kustomize: str | None
    quiet: bool

    def __bool__(self) -> bool:
        """Return whether any are named."""
        return bool(self.files or self.kustomize)


_with_manifests = added(
    click.option(
        "-f",
        "--filename",
        "files",
        metavar="PATH",
        multiple=True,
        type=click.Path(),
        help="File or folder to read. Use - for standard input. Repeatable.",
    ),
    click.option("-R", "--recursive", is_flag=True, help="Also read the subfolders of each folder."),
    click.option("-k", "--kustomize", metavar="DIR", type=click.Path(), help="Kustomization to render."),
    click.option("-q", "--quiet", is_flag=True, help="Print no warnings, notes or progress."),
)

named = click.option(
    "--name",
    default="lab",
    metavar="LAB",
    envvar="PODFENCE_LAB",
    help="Name of the lab. The default is PODFENCE_LAB, then lab.",
)
"""Adds ``--name``."""

in_namespace = click.option(
    "-n",
    "--namespace",
    default="default",
    metavar="NS",
    help="Default namespace of names and objects. The default is default.",
)
"""Adds ``-n``."""

in_lab = added(in_namespace, named)
"""Adds both."""


def client(name: str) -> Client:
    """Return what asks a lab; whether there is one, its first answer tells."""
    from podfence.lab.client import Client

    return Client(name)


def reads_manifests(function: Callable[..., int]) -> Callable[..., int]:
    """Add the options that name manifests to a command; `function` gets them as its argument `manifests`."""

    @functools.wraps(function)
    def command(**values: Any) -> int:  # noqa: ANN401 - whatever the command and the options declare
        manifests = Manifests(**{name: values.pop(name) for name in Manifests._fields})
        return function(manifests=manifests, **values)

    return _with_manifests(command)


def read(manifests: Manifests, *, legacy: str, lax: bool) -> Sequence[KubeObject]:
    """Return the objects of manifests, after telling what there is to say about them.

    Raises RefusedError, with every problem printed, if there is an error anywhere.
    """
    from podfence.kube.load import load
    from podfence.lab.store.resources import KEPT

    if not manifests:
        return ()
    with reading(quiet=manifests.quiet, outcome="nothing was changed") as progress:
        loaded = load(
            manifests.files,
            recursive=manifests.recursive,
            stdin=sys.stdin.buffer if "-" in manifests.files else None,
            kustomize=[manifests.kustomize] if manifests.kustomize else (),
            forgiving=False,
            custom=False,
            legacy=legacy,
            validation="lax" if lax else "strict",
            kept=KEPT,
            progress=progress,
        )
    told = [str(warning) for warning in loaded.warnings]
    told += [f"note: {count} {kind} left out: a lab does not use this kind" for kind, count in loaded.ignored.items()]
    if told and not manifests.quiet:
        errors.complain("\n".join(told))
    return loaded.objects


def read_as_lab(manifests: Manifests, lab: str) -> Sequence[KubeObject]:
    """Do the same with the options that the lab was started with. Raises LabError if there is no lab."""
    about = client(lab).request("about")
    return read(manifests, legacy=about["legacy"], lax=about["lax"])


def teller(*, quiet: bool) -> Callable[[str], None]:
    """Return what to call with a sentence about what is going on: it is printed to standard error if wanted."""
    return (lambda _text: None) if quiet else errors.complain


def tell(reply: Message, *, quiet: bool) -> int:
    """Print what became of objects, as kubectl does, and return the exit code."""
    outputs.write(reply["outcomes"])
    for text in reply.get("notes", ()):
        if not quiet:
            errors.complain(f"note: {text}")
    for text in reply.get("problems", ()):
        errors.complain(text)
    return 1 if reply.get("problems") else 0


def rest(lab: str) -> Rest:
    """Return the API server of a lab. Raises LabError."""
    from podfence.lab.rest import Rest

    return Rest(client(lab).access(), lambda text: errors.complain(f"Warning: {text}"))


def objects(words: Sequence[str]) -> list[Named]:
    """Return the objects that words mean, each with its name. Raises LabError, and a usage error without a name."""
    from podfence.lab import rest

    targets = rest.named(words)
    if not all(target.name for target in targets):
        raise click.UsageError(f"name the objects: {words[0]} NAME")
    return targets


def refusals(*requests: Callable[[], object]) -> int:
    """Make requests one after the other, print what the server refuses, and return the exit code."""
    from podfence.lab.rest import RefusedError

    code = 0
    for request in requests:
        try:
            request()
        except RefusedError as error:
            errors.complain(str(error))
            code = 1
    return code


def changes(lab: str, *requests: Callable[[], object]) -> int:
    """Do the same with requests that change objects, and return when pods run and kernels enforce accordingly."""
    code = refusals(*requests)
    client(lab).request("settle")
    return code


def written(manifests: Manifests, lab: str, namespace: str) -> list[Written]:
    """Return the objects of manifests, in order, once all have been read without an error.

    Those that name no namespace are in `namespace`. Kinds that a lab does not use are left out, and a note names them.
    Raises RefusedError, with every problem printed.
    """
    from podfence.lab import manifests as reading

    return reading.written(read_as_lab(manifests, lab), namespace)


def delete(server: Rest, row: Resource, namespace: str, name: str, *, file: str = "") -> None:
    """Delete an object, of a manifest if it has a file, and print what was done. Raises RefusedError."""
    from podfence.lab import rest

    during = f'error when deleting "{file}": ' if file else ""
    server.send("DELETE", rest.path(row, namespace, name), during=during)
    outputs.write([f'{rest.printed(row, "").removesuffix("/")} "{name}" deleted'])
