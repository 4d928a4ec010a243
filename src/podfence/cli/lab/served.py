# SPDX-License-Identifier: Apache-2.0
"""What the commands have in common that do what kubectl does, by the API server of a lab."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from podfence.cli import errors, outputs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

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


def create(server: Rest, row: Resource, namespace: str, made: dict[str, Any], verb: str = "created") -> None:
    """Create an object, and print what was done. Raises RefusedError."""
    from podfence.lab import rest

    whole = {"apiVersion": row.api_version, "kind": row.kind, **made}
    stored = server.send("POST", rest.path(row, namespace), whole)
    outputs.write([f"{rest.printed(row, stored['metadata']['name'])} {verb}"])


def create_written(server: Rest, written: dict[str, Any], namespace: str) -> None:
    """Create an object of a manifest, in the version of its kind that is written there. Raises as `create` does."""
    from podfence.lab import rest

    row = rest.resource(written["kind"])._replace(api_version=written["apiVersion"])
    create(server, row, written["metadata"].get("namespace") or namespace, written)


def delete(server: Rest, target: Named, namespace: str) -> None:
    """Delete an object, and print what was done. Raises RefusedError."""
    from podfence.lab import rest

    server.send("DELETE", rest.path(target.row, namespace, target.name))
    what = rest.printed(target.row, "").removesuffix("/")
    outputs.write([f'{what} "{target.name}" deleted'])


def pairs(texts: Iterable[str], flag: str) -> dict[str, str]:
    """Return the texts ``KEY=VALUE``, which may be several with commas, as a mapping; raise a usage error."""
    found: dict[str, str] = {}
    for text in ",".join(texts).split(",") if texts else ():
        key, equals, value = text.partition("=")
        if not equals or not key:
            raise click.UsageError(f"{flag}: {text!r} is not KEY=VALUE", click.get_current_context())
        found[key] = value
    return found
