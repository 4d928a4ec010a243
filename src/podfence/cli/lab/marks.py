# SPDX-License-Identifier: Apache-2.0
"""``podfence lab label`` and ``podfence lab annotate``: change the labels and annotations of objects."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import click

from podfence.cli import outputs
from podfence.cli.commands import Command
from podfence.cli.lab import shared

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from podfence.lab.rest import Named


def _command(verb: str, field: str, examples: str) -> click.Command:
    """Return the command that changes one field of `metadata`."""

    @click.command(
        verb,
        cls=Command,
        examples=examples,
        exits=shared.EXITS,
        help=f"Set {field} of objects (KEY=VALUE), or remove them (KEY-), as `kubectl {verb}` does.",
    )
    @click.argument("words", nargs=-1, required=True, metavar="KIND NAME...|KIND/NAME... KEY=VALUE|KEY-...")
    @click.option("--overwrite", is_flag=True, help="Also change a key that has another value.")
    @shared.in_lab
    def command(*, words: tuple[str, ...], overwrite: bool, namespace: str, name: str) -> int:
        first = next((number for number, word in enumerate(words) if _is_change(word)), len(words))
        wanted = _changes(words[first:])
        targets = shared.objects(words[:first] or words)
        server = shared.rest(name)

        def change(target: Named) -> None:
            from podfence.lab import rest

            where = rest.path(target.row, namespace, target.name)
            had = server.send("GET", where)["metadata"].get(field) or {}
            for key, value in wanted.items():
                if not overwrite and value is not None and had.get(key, value) != value:
                    raise rest.RefusedError(f"error: '{key}' already has a value ({had[key]}); --overwrite changes it")
            server.send("PATCH", where, {"metadata": {field: wanted}}, content=rest.MERGE)
            outputs.write([f"{rest.printed(target.row, target.name)} {_done(verb, had, wanted)}"])

        return shared.changes(name, *(partial(change, target) for target in targets))

    return command


label = _command(
    "label",
    "labels",
    "podfence lab label namespace/prod purpose=production\npodfence lab label pod client role=monitoring app-",
)
annotate = _command(
    "annotate",
    "annotations",
    "podfence lab annotate ns default example.org/owner=shop\npodfence lab annotate pod client example.org/note-",
)


def _is_change(word: str) -> bool:
    return "=" in word or word.endswith("-")


def _changes(words: Sequence[str]) -> dict[str, str | None]:
    """Return what ``KEY=VALUE`` and ``KEY-`` say, None for what is to go; raise a usage error for anything else."""
    wanted: dict[str, str | None] = {}
    for word in words:
        key, equals, value = word.partition("=")
        if not _is_change(word) or key in ("", "-"):
            raise click.UsageError(f"{word!r} is neither KEY=VALUE nor KEY-")
        wanted[key if equals else word[:-1]] = value if equals else None
    if not wanted:
        raise click.UsageError("say what is to change: KEY=VALUE, or KEY-")
    return wanted


def _done(verb: str, had: Mapping[str, str], wanted: Mapping[str, str | None]) -> str:
    """Return what kubectl says that was done."""
    if verb == "annotate":
        return "annotated"
    if all(had.get(key) == value for key, value in wanted.items()):
        return "not labeled"
    return "labeled" if any(wanted.values()) or "" in wanted.values() else "unlabeled"
