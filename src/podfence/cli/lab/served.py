# SPDX-License-Identifier: Apache-2.0
"""What the commands have in common that do what kubectl does, by the API server of a lab."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from podfence.cli import errors

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from podfence.lab.rest import Rest


def rest(lab: str) -> Rest:
    """Return the API server of a lab. Raises LabError."""
    from podfence.lab.client import Client
    from podfence.lab.rest import Rest

    return Rest(Client(lab).access())


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


def pairs(texts: Iterable[str], flag: str) -> dict[str, str]:
    """Return the texts ``KEY=VALUE``, which may be several with commas, as a mapping; raise a usage error."""
    found: dict[str, str] = {}
    for text in ",".join(texts).split(",") if texts else ():
        key, equals, value = text.partition("=")
        if not equals or not key:
            raise click.UsageError(f"{flag}: {text!r} is not KEY=VALUE", click.get_current_context())
        found[key] = value
    return found
