# SPDX-License-Identifier: Apache-2.0
"""What the commands have in common that do what kubectl does, by the API server of a lab."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from podfence.cli import errors, outputs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from podfence.cli.lab.shared import Manifests
    from podfence.lab.manifests import Written
    from podfence.lab.rest import Named, Rest
    from podfence.lab.store.resources import Resource

EXITS = "0  done\n1  the server refused something\n2  no lab, or wrong usage"


def rest(lab: str) -> Rest:
    """Return the API server of a lab. Raises LabError."""
    from podfence.lab.client import Client
    from podfence.lab.rest import Rest

    return Rest(Client(lab).access(), lambda text: errors.complain(f"Warning: {text}"))


def named(words: Sequence[str]) -> list[Named]:
    """Return the objects that words mean, each with its name. Raises LabError, and a usage error without a name."""
    from podfence.lab import rest

    targets = rest.named(words)
    if not all(target.name for target in targets):
        raise click.UsageError(f"name the objects: {words[0]} NAME", click.get_current_context())
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
    from podfence.lab.client import Client

    code = refusals(*requests)
    Client(lab).request("settle")
    return code


def written(manifests: Manifests, lab: str, namespace: str) -> list[Written]:
    """Return the objects of manifests, in order, once all have been read without an error.

    Those that name no namespace are in `namespace`. Kinds that a lab does not use are left out, and a note names them.
    Raises RefusedError, with every problem printed.
    """
    from podfence.cli.lab import shared
    from podfence.lab import manifests as reading
    from podfence.lab.client import Client

    return reading.written(shared.read_as_lab(manifests, Client(lab)), namespace)


def create(
    server: Rest, row: Resource, namespace: str, made: dict[str, Any], verb: str = "created", *, file: str = ""
) -> None:
    """Create an object, of a manifest if it has a file, and print what was done. Raises RefusedError."""
    from podfence.lab import rest

    whole = {"apiVersion": row.api_version, "kind": row.kind, **made}
    # A manifest may have another version of the kind.
    row = row._replace(api_version=whole["apiVersion"])
    during = f'error when creating "{file}": ' if file else ""
    stored = server.send("POST", rest.path(row, namespace), whole, during=during)
    outputs.write([f"{rest.printed(row, stored['metadata']['name'])} {verb}"])


def delete(server: Rest, row: Resource, namespace: str, name: str, *, file: str = "") -> None:
    """Delete an object, of a manifest if it has a file, and print what was done. Raises RefusedError."""
    from podfence.lab import rest

    during = f'error when deleting "{file}": ' if file else ""
    server.send("DELETE", rest.path(row, namespace, name), during=during)
    outputs.write([f'{rest.printed(row, "").removesuffix("/")} "{name}" deleted'])


def pairs(texts: Iterable[str], flag: str) -> dict[str, str]:
    """Return the texts ``KEY=VALUE``, which may be several with commas, as a mapping; raise a usage error."""
    found: dict[str, str] = {}
    for text in ",".join(texts).split(",") if texts else ():
        key, equals, value = text.partition("=")
        if not equals or not key:
            raise click.UsageError(f"{flag}: {text!r} is not KEY=VALUE", click.get_current_context())
        found[key] = value
    return found
