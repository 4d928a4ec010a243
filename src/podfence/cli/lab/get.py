# SPDX-License-Identifier: Apache-2.0
"""``podfence lab get``: objects as kubectl shows them."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click

from podfence.cli import errors, outputs
from podfence.cli.commands import Command
from podfence.cli.lab import served, shared

if TYPE_CHECKING:
    from collections.abc import Iterator

    from podfence.lab.rest import Rest
    from podfence.lab.store.resources import Resource

_EXAMPLES = """
podfence lab get pods -o wide
podfence lab get networkpolicies -n shop
podfence lab get pods -A -l app=web
"""


@click.command(
    cls=Command, examples=_EXAMPLES, exits="0  shown\n1  the server refused it, or there is no such object\n2  no lab"
)
@click.argument("kind", metavar="KIND")
@click.argument("names", nargs=-1, metavar="[NAME...]")
@click.option("-A", "--all-namespaces", is_flag=True, help="Show the objects of all namespaces.")
@click.option("-l", "--selector", default="", metavar="SELECTOR", help="Show only objects with these labels.")
@outputs.of_formats("table", "wide", "name", "json", "yaml")
@shared.in_namespace
@shared.named
def command(
    *,
    kind: str,
    names: tuple[str, ...],
    all_namespaces: bool,
    selector: str,
    form: str,
    namespace: str,
    name: str,
) -> int:
    """Show objects of a lab as `kubectl get` does, where there is no kubectl."""
    from podfence.lab import rest

    if names and (all_namespaces or selector):
        raise click.UsageError("names, -A and -l exclude each other")
    row = rest.resource(kind)
    server = served.rest(name)
    where = "" if all_namespaces else namespace
    query = {"labelSelector": selector} if selector else {}
    paths = [rest.path(row, where, item) for item in names] or [rest.path(row, where, query=query)]
    return served.refusals(*(lambda path=path: _show(server, row, path, form, where) for path in paths))


def _show(server: Rest, row: Resource, path: str, form: str, namespace: str) -> None:
    from podfence.lab import rest
    from podfence.report import yaml

    if form in ("json", "yaml"):
        import msgspec

        found = server.send("GET", path)
        text = [msgspec.json.format(msgspec.json.encode(found), indent=4).decode()]
        outputs.write(text if form == "json" else yaml.lines(found))
        return
    table = server.send("GET", path, accept=rest.TABLE)
    if not table["rows"]:
        where = f" in {namespace} namespace" if namespace and row.namespaced else ""
        errors.complain(f"No resources found{where}.")
    elif form == "name":
        outputs.write(rest.printed(row, item["object"]["metadata"]["name"]) for item in table["rows"])
    else:
        outputs.write(_aligned(list(_cells(table, wide=form == "wide", everywhere=not namespace and row.namespaced))))
    sys.stdout.flush()


def _cells(table: dict[str, Any], *, wide: bool, everywhere: bool) -> Iterator[list[str]]:
    """Yield the header and the rows of a server's table, with the namespace in front if they are of all."""
    shown = [number for number, column in enumerate(table["columnDefinitions"]) if wide or not column["priority"]]
    header = [table["columnDefinitions"][number]["name"].upper() for number in shown]
    yield ["NAMESPACE", *header] if everywhere else header
    for item in table["rows"]:
        cells = [str(item["cells"][number]) for number in shown]
        yield [item["object"]["metadata"]["namespace"], *cells] if everywhere else cells


def _aligned(rows: list[list[str]]) -> Iterator[str]:
    """Yield rows as kubectl does: three spaces between columns."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        yield "   ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
