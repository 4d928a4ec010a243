# SPDX-License-Identifier: Apache-2.0
"""``podfence diff``: what a change opens and closes."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Final

import click

from podfence.cli import errors, live, outputs, sides
from podfence.cli.commands import Command
from podfence.cli.inputs import RefusedError, note, reads_two, tell
from podfence.errors import PodfenceError

if TYPE_CHECKING:
    from podfence.analysis.diff.review import Allowance
    from podfence.cli.inputs import Inputs
    from podfence.cli.sides import Reader, Side
    from podfence.report.style import When

_HELP = """
Compare OLD with NEW: which connections a change opens and closes, and which objects cause it.

\b
OLD and NEW:
  manifests/             a file or a folder
  git:main               the path of the other side, or this folder, as it is in a commit
  git:main:manifests     a path in a commit, from the root of the repository
  git:merge-base         the commit where HEAD left the branch that it will be merged into
  live                   the live cluster. As OLD, NEW is the live cluster after `kubectl apply`
  lab                    the lab on this machine, likewise
  -                      standard input

With -f, -k and --helm, OLD and NEW are folders or commits, and these flags give paths in each of them.
"""

_EXAMPLES = """
# Show what a branch opens and closes, before it is merged
podfence diff git:merge-base manifests/ -R

# Compare two commits, rendered with kustomize
podfence diff git:v1.2.0 git:HEAD -k overlays/production

# Show what `kubectl apply -f manifests/` would open and close in the live cluster
podfence diff live manifests/

# In CI, fail only if the change opens something, and write a comment
podfence diff git:merge-base manifests/ -R --fail-on opened,unknown,incomplete -o md
"""

_EXITS = """
0  no connection changes, or nothing that --fail-on names
1  connections change, or something that --fail-on names
2  no answer
"""

_NONE: Final = "none"


def _kinds(_ctx: click.Context, _param: click.Parameter, value: str | None) -> tuple[str, ...] | None:
    """Return the kinds of differences that an option names. Raises BadParameter."""
    if value is None:
        return None
    from podfence.analysis.diff.review import KINDS

    words = tuple(word.strip() for word in value.split(","))
    for word in words:
        if word not in {*KINDS, _NONE}:
            raise click.BadParameter(f"{word!r} is not one of {', '.join(KINDS)}, {_NONE}")
    if _NONE in words and len(words) > 1:
        raise click.BadParameter(f"{_NONE} stands alone")
    return () if _NONE in words else words


@click.command(cls=Command, help=_HELP, examples=_EXAMPLES, exits=_EXITS)
@click.argument("old", metavar="OLD")
@click.argument("new", metavar="NEW")
@click.option(
    "--fail-on",
    metavar="KINDS",
    callback=_kinds,
    help="Kinds of differences, separated by commas, for which the exit code is 1: opened, closed, added, removed, "
    "unknown, known, internet, cross-namespace, unseen, incomplete, complete, or none.",
)
@click.option(
    "--accept", metavar="FILE", type=click.Path(), help="File of accepted differences, with reasons and last days."
)
@click.option("--base", metavar="BRANCH", default="", help="Branch that HEAD will be merged into, for git:merge-base.")
@click.option("--prune", is_flag=True, help="With OLD live or lab: also delete what NEW does not have.")
@click.option("--title", metavar="TEXT", default="", help="Title of the comment that -o md writes.")
@reads_two
@outputs.also_written("Difference")
@outputs.formatted("Difference")
@outputs.coloured
def command(
    *,
    inputs: Inputs,
    config: str | None,
    no_config: bool,
    old: str,
    new: str,
    fail_on: tuple[str, ...] | None,
    accept: str | None,
    base: str,
    prune: bool,
    title: str,
    also: list[tuple[str, str]],
    form: str,
    colour: When,
) -> int:
    """Print what differs and return the exit code."""
    import podfence
    from podfence.analysis.diff.review import remaining, reviewed

    one, other = sides.sides(old, new)
    _refuse_idle_flags(inputs, one, other, base=base, prune=prune)
    try:
        reader = sides.Reader(inputs, one, other, base)
        inputs = reader.configured(asked=config, wanted=not no_config)
        accepted = _accepted(inputs, reader, accept, one.text)
        before, after = reader.read(podfence.Options.parse(inputs.settings))
    except PodfenceError as error:
        from podfence.report.remarks import Refusal

        problems = error.problems if isinstance(error, RefusedError) else ()
        outputs.write_refusal(form, Refusal(str(error), problems), title, also)
        raise
    if one.is_running and not other.is_running:
        after = before.with_applied(after, prune=prune)
    # Of OLD something is said only if somebody wants to know everything.
    tell(inputs, *([before] if inputs.verbose else []), after)
    from podfence.cli.progress import shown

    with shown(sys.stderr, "comparing", quiet=inputs.quiet) as progress:
        found = podfence.diff(before, after, names=(one.text, other.text), progress=progress)
    answer = reviewed(found, fail_on=fail_on or (), allowed=accepted)
    findings = tuple(item for item in after.warnings if item not in before.warnings)
    outputs.write_as("Difference", form, answer, colour, findings=findings, title=title, also=also)
    refused = any(remaining(answer)) if fail_on is None else bool(answer.fails)
    return 1 if refused else 0


def _refuse_idle_flags(inputs: Inputs, old: Side, new: Side, *, base: str, prune: bool) -> None:
    """Raise a usage error for a flag that says how to read what is not read."""
    for flags, word in (
        (inputs.live._replace(lab=""), sides.LIVE),
        (live.Asked(lab=inputs.live.lab), sides.LAB),
    ):
        if word not in {old.text, new.text}:
            live.refuse(flags, f"{old.text} and {new.text} are compared; write {word} for OLD or NEW")
    if prune and not (old.is_running and not new.is_running):
        raise click.UsageError("--prune needs OLD to be live or lab, and NEW manifests")
    if base and "merge-base" not in {old.revision, new.revision}:
        raise click.UsageError("--base needs git:merge-base")
    if sides.STDIN in inputs.files:
        raise click.UsageError("-f - excludes OLD and NEW; give - for one of them")
    for flag, given in (("-f", inputs.files), ("-k", inputs.kustomize), ("--helm", inputs.helm)):
        for side in (old, new):
            if given and side.text == sides.STDIN:
                raise click.UsageError(f"{flag} needs folders or commits to read in, not standard input")


def _accepted(inputs: Inputs, reader: Reader, path: str | None, old: str) -> tuple[Allowance, ...]:
    """Return what the file of ``--accept`` accepts, and say what of it has expired."""
    if path is None:
        return ()
    import datetime as dt

    from podfence.cli import accepted

    data, name = reader.file(path)
    if data is None:
        note(inputs, f"{path} is not in {old}, so it does not count")
        return ()
    found = accepted.read(name, data)
    today = dt.datetime.now(tz=dt.UTC).date()
    for item in found:
        if item.is_expired(today):
            errors.complain(f"{item.place}: warning: expired on {item.expires}, so it accepts nothing: {item.reason}")
    return found
