# SPDX-License-Identifier: Apache-2.0
"""``podfence lab get`` and ``podfence lab describe``: objects as kubectl shows them."""

from __future__ import annotations

import sys
from functools import partial
from typing import TYPE_CHECKING, Any

import click

from podfence.cli import errors, outputs
from podfence.cli.commands import Command, added
from podfence.cli.lab import shared

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from podfence.lab.rest import Named, Rest

_EXAMPLES = """
podfence lab get pods -o wide
podfence lab get svc,networkpolicies -n shop
podfence lab get pods -A -l app=web
"""

_EXITS = "0  shown\n1  the server refused it, or there is no such object\n2  no lab"


_chooses = added(
    click.argument("words", nargs=-1, required=True, metavar="KIND [NAME...]|KIND/NAME..."),
    click.option("-A", "--all-namespaces", is_flag=True, help="Show the objects of all namespaces."),
    click.option("-l", "--selector", default="", metavar="SELECTOR", help="Show only objects with these labels."),
    shared.in_lab,
)
"""Adds which objects are shown, for `_chosen`."""


def _chosen(words: Sequence[str], namespace: str, selector: str, *, everywhere: bool) -> list[tuple[Named, str]]:
    """Return what is to be shown, each with the path to ask for it."""
    from podfence.lab import rest

    targets = rest.named(words)
    if any(target.name for target in targets) and (everywhere or selector):
        raise click.UsageError("names, -A and -l exclude each other")
    query = {"labelSelector": selector} if selector else {}
    where = "" if everywhere else namespace
    return [(target, rest.path(target.row, where, target.name, query)) for target in targets]


@click.command(cls=Command, examples=_EXAMPLES, exits=_EXITS)
@_chooses
@outputs.of_formats("table", "wide", "name", "json", "yaml")
def command(
    *, words: tuple[str, ...], all_namespaces: bool, selector: str, form: str, namespace: str, name: str
) -> int:
    """Show objects of a lab as `kubectl get` does, where there is no kubectl."""
    from podfence.lab import rest

    chosen = _chosen(words, namespace, selector, everywhere=all_namespaces)
    server = shared.rest(name)
    where = "" if all_namespaces else namespace
    several = len({target.row.key for target, _ in chosen}) > 1
    if form in ("json", "yaml"):
        return shared.refusals(lambda: _show_whole(server, chosen, form))
    shown: list[bool] = []

    def show(target: Named, path: str) -> None:
        table = server.send("GET", path, accept=rest.TABLE)
        if form == "name":
            outputs.write(rest.printed(target.row, item["object"]["metadata"]["name"]) for item in table["rows"])
        elif table["rows"]:
            kind, everywhere = rest.printed(target.row, "") if several else "", not where and target.row.namespaced
            cells = list(_cells(table, kind, wide=form == "wide", everywhere=everywhere))
            outputs.write([*([""] if any(shown) else []), *_aligned(cells)])
        shown.append(bool(table["rows"]))
        sys.stdout.flush()

    code = shared.refusals(*(partial(show, *item) for item in chosen))
    if shown and not any(shown):
        scope = f" in {where} namespace" if where and any(target.row.namespaced for target, _ in chosen) else ""
        errors.complain(f"No resources found{scope}.")
    return code


@click.command(
    "describe",
    cls=Command,
    examples="podfence lab describe networkpolicy web-allow\npodfence lab describe pods -n shop",
    exits=_EXITS,
)
@_chooses
def describe(*, words: tuple[str, ...], all_namespaces: bool, selector: str, namespace: str, name: str) -> int:
    """Describe objects of a lab where there is no kubectl.

    NetworkPolicies are described as `kubectl describe` does, and other kinds as it describes custom resources: with
    all of their fields.
    """
    from podfence.report import description

    chosen = _chosen(words, namespace, selector, everywhere=all_namespaces)
    server = shared.rest(name)
    found: list[dict[str, Any]] = []

    def ask(target: Named, path: str) -> None:
        found.extend(_objects(server, target, path))

    code = shared.refusals(*(partial(ask, *item) for item in chosen))
    for number, item in enumerate(found):
        # kubectl leaves two lines between objects.
        outputs.write([*(["", ""] if number else []), *description.lines(item)])
    if not found and not code:
        errors.complain(f"No resources found{'' if all_namespaces else f' in {namespace} namespace'}.")
    return code


def _objects(server: Rest, target: Named, path: str) -> list[dict[str, Any]]:
    """Return the objects at a path, each with its kind, which the items of a list lack."""
    answer = server.send("GET", path)
    kind = {"apiVersion": target.row.api_version, "kind": target.row.kind}
    return [answer] if target.name else [kind | item for item in answer["items"]]


def _show_whole(server: Rest, chosen: Sequence[tuple[Named, str]], form: str) -> None:
    """Print objects with all their fields; all but one that is named become a List, as with kubectl."""
    import msgspec

    from podfence.report import yaml_text

    items = [item for each in chosen for item in _objects(server, *each)]
    is_one = len(chosen) == 1 and chosen[0][0].name
    found = {"apiVersion": "v1", "items": items, "kind": "List", "metadata": {"resourceVersion": ""}}
    shown = items[0] if is_one else found
    text = msgspec.json.format(msgspec.json.encode(shown), indent=4).decode()
    outputs.write([text] if form == "json" else yaml_text.lines(shown))


def _cells(table: dict[str, Any], kind: str, *, wide: bool, everywhere: bool) -> Iterator[list[str]]:
    """Yield the header and the rows of a table, with the `kind` before names, and the namespace if they are of all."""
    shown = [number for number, column in enumerate(table["columnDefinitions"]) if wide or not column["priority"]]
    header = [table["columnDefinitions"][number]["name"].upper() for number in shown]
    yield ["NAMESPACE", *header] if everywhere else header
    for item in table["rows"]:
        cells = [str(item["cells"][number]) for number in shown]
        cells[0] = kind + cells[0]
        yield [item["object"]["metadata"]["namespace"], *cells] if everywhere else cells


def _aligned(rows: list[list[str]]) -> Iterator[str]:
    """Yield rows as kubectl does: three spaces between columns."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        yield "   ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
