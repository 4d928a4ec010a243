# SPDX-License-Identifier: Apache-2.0
"""The options that say what is read and shown, the same for every command that answers."""

from __future__ import annotations

import functools
import shlex
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from podfence.cli import complete, errors, live
from podfence.cli.commands import ARGUMENTS
from podfence.errors import InputError, PodfenceError
from podfence.report.counts import counted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from podfence.api import Cluster
    from podfence.kube.omissions import Gap


class Inputs(NamedTuple):
    """What the shared options of one command line say."""

    files: tuple[str, ...]
    recursive: bool
    kustomize: tuple[str, ...]
    exclude: tuple[str, ...]
    keep_going: bool
    live: live.Asked
    namespace: str | None
    all_namespaces: bool
    settings: tuple[str, ...]
    quiet: bool
    verbose: bool

    @property
    def own_namespace(self) -> str | None:
        """The namespace in which bare names are looked up, None for that of the context."""
        return self.namespace or None

    @property
    def shown(self) -> tuple[str, ...] | None:
        """The namespaces whose connections are shown, None for all."""
        return None if self.all_namespaces or not self.namespace else (self.namespace,)


class RefusedError(PodfenceError):
    """The input was refused and its problems are already printed."""


_OPTIONS = (
    click.option(
        "-f",
        "--filename",
        "files",
        metavar="PATH",
        multiple=True,
        type=click.Path(),
        help="File or folder to read in place of a live cluster, - for standard input; repeatable.",
    ),
    click.option("-R", "--recursive", is_flag=True, help="Read the subfolders of a folder too."),
    click.option(
        "-k",
        "--kustomize",
        metavar="DIR",
        multiple=True,
        type=click.Path(),
        help="Kustomization to render, by the kustomize or kubectl on PATH; repeatable.",
    ),
    click.option(
        "--exclude",
        metavar="GLOB",
        multiple=True,
        help="What to leave out of folders, as in a .gitignore there; repeatable.",
    ),
    click.option("--keep-going", is_flag=True, help="Answer without the files of folders that cannot be read."),
    click.option(
        "-n",
        "--namespace",
        metavar="NS",
        shell_complete=complete.namespaces,
        help="Namespace to show, of bare names, and of objects in files that name none; everything is read.",
    ),
    click.option("-A", "--all-namespaces", is_flag=True, help="Show all namespaces, as without -n."),
    click.option(
        "--set",
        "settings",
        metavar="OPTION=VALUE",
        multiple=True,
        shell_complete=complete.settings,
        help="Engine option, see `podfence options`; repeatable.",
    ),
    click.option("-q", "--quiet", is_flag=True, help="No warnings, notes and progress."),
    click.option("-v", "--verbose", is_flag=True, help="Count what was read, and what was ignored."),
    *live.OPTIONS,
)


def reads_cluster(function: Callable[..., int]) -> Callable[..., int]:
    """Add the shared options to a command; `function` gets them as its argument `inputs`."""

    @functools.wraps(function)
    def command(**values: Any) -> int:  # noqa: ANN401 - whatever the command and the options declare
        asked = live.Asked(**{name: values.pop(name) for name in live.Asked._fields})
        rest = {name: values.pop(name) for name in Inputs._fields if name != "live"}
        return function(inputs=Inputs(live=asked, **rest), **values)

    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def load(inputs: Inputs) -> Cluster:
    """Read the files of `inputs`, or else the live cluster, and print what there is to say about it.

    Raises PodfenceError when there is nothing to read, when an option is unknown, and when the input is refused.
    """
    from_files = bool(inputs.files or inputs.kustomize)
    if from_files:
        live.refuse_with_files(inputs.live, "-f" if inputs.files else "-k")
    else:
        wanted = {"-R": inputs.recursive, "--exclude": inputs.exclude, "--keep-going": inputs.keep_going}
        for flag, given in wanted.items():
            if given:
                raise click.UsageError(f"{flag} needs a folder to read; give one with -f", click.get_current_context())
    import podfence

    options = podfence.Options.parse(inputs.settings)
    with reading(quiet=inputs.quiet, outcome="nothing was answered", in_files=from_files) as progress:
        if from_files:
            cluster = podfence.load(
                *inputs.files,
                recursive=inputs.recursive,
                kustomize=inputs.kustomize,
                exclude=inputs.exclude,
                keep_going=inputs.keep_going,
                namespace=inputs.own_namespace or "",
                stdin=sys.stdin.buffer if "-" in inputs.files else None,
                options=options,
                progress=progress,
            )
        else:
            cluster = live.load(inputs.live, options, progress, hint=_pipe())
    if not inputs.quiet:
        _tell(cluster, verbose=inputs.verbose)
    return cluster


@contextmanager
def reading(*, quiet: bool, outcome: str, in_files: bool = True) -> Iterator[Callable[[float, int], None] | None]:
    """Give the function that shows the progress of reading, None if nobody would see it.

    Input that is refused meanwhile becomes RefusedError, with every problem printed; `outcome` says what came of it,
    and `in_files` whether it is files that are counted with the errors.
    """
    from podfence.cli.progress import shown

    try:
        with shown(sys.stderr, "reading", quiet=quiet) as progress:
            yield progress
    except InputError as error:
        raise RefusedError(_refusal(error, quiet=quiet, outcome=outcome, in_files=in_files)) from error


def incomplete(gaps: Sequence[Gap]) -> list[str]:
    """Return the line that comes before an answer which a policy that was not read might turn; none without gaps."""
    more = f", and {len(gaps) - 1} more places like this" if len(gaps) > 1 else ""
    return [f"incomplete: {gaps[0]}{more}"] if gaps else []


def note(inputs: Inputs, text: str) -> None:
    """Print a note to standard error, unless notes are not wanted."""
    if not inputs.quiet:
        errors.complain(f"note: {text}")


def _tell(cluster: Cluster, *, verbose: bool) -> None:
    lines = [str(problem) for problem in cluster.warnings] + [f"note: {text}" for text in cluster.notes]
    if verbose:
        lines += [f"note: {text}" for text in cluster.details]
    if verbose and cluster.ignored:
        counts = ", ".join(f"{number} {kind}" for kind, number in sorted(cluster.ignored.items()))
        lines.append(f"note: ignored {counts}")
    if lines:
        errors.complain("\n".join(lines))


def _refusal(error: InputError, *, quiet: bool, outcome: str, in_files: bool) -> str:
    """Print all problems (only errors if `quiet`) and return the closing line of the message, with the `outcome`."""
    wrong = [problem for problem in error.problems if problem.severity == "error"]
    shown = wrong if quiet else error.problems
    if shown:
        errors.complain("\n".join(map(str, shown)))
    where = f" in {counted(len({problem.position.file for problem in wrong}), 'file')}" if in_files else ""
    return f"{counted(len(wrong), 'error')}{where}; {outcome}"


def _pipe() -> str:
    """Return how this command gets a cluster that only kubectl reaches."""
    from podfence.kube.registry import KINDS, Need, needed

    kinds = ",".join(KINDS[name].word for name in needed(Need.LIVE))
    root = click.get_current_context().find_root()
    command = f"{root.command_path} {shlex.join(root.meta[ARGUMENTS])}"
    return f"Where kubectl reaches the cluster, pipe it in:\n  kubectl get {kinds} -A -o yaml | {command} -f -"
