# SPDX-License-Identifier: Apache-2.0
"""The options that say what is read and shown, the same for every command that answers."""

from __future__ import annotations

import functools
import gc
import os
import shlex
import sys
from collections import Counter
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from podfence.cli import complete, errors, live, outputs, settings
from podfence.cli.commands import ARGUMENTS, added
from podfence.cli.settings import Settings
from podfence.errors import InputError, PodfenceError, counted
from podfence.report import formats

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from podfence.api import Cluster
    from podfence.kube.findings import Finding
    from podfence.kube.parsed import Parsed
    from podfence.kube.rendering import Chart
    from podfence.policy.options import Options

_FEW = 3
"""How many warnings of one kind are shown; a repository of examples and fixtures has hundreds that say the same."""

_SELDOM = 200_000
"""After how many new objects to look for garbage that refers to itself, of which there is next to none."""


class Inputs(NamedTuple):
    """What the shared options of one command line say."""

    files: tuple[str, ...]
    recursive: bool
    kustomize: tuple[str, ...]
    helm: tuple[str, ...]
    values: tuple[str, ...]
    helm_settings: tuple[str, ...]
    release: str
    kube_version: str
    api_versions: tuple[str, ...]
    exclude: tuple[str, ...]
    keep_going: bool
    config: Settings
    live: live.Asked
    namespace: str | None
    all_namespaces: bool
    settings: tuple[str, ...]
    quiet: bool
    verbose: bool

    @property
    def are_manifests(self) -> bool:
        """Whether manifests are named, and so no cluster is read that runs."""
        return bool(self.files or self.kustomize or self.helm)

    @property
    def own_namespace(self) -> str | None:
        """The namespace in which bare names are looked up, None for that of the context."""
        return self.namespace or self.config.namespace or None

    @property
    def shown(self) -> tuple[str, ...] | None:
        """The namespaces whose connections are shown, None for all."""
        return None if self.all_namespaces or not self.namespace else (self.namespace,)


class RefusedError(PodfenceError):
    """The input was refused and its problems are already printed; `problems` are all of them."""

    def __init__(self, text: str, problems: tuple[Finding, ...]) -> None:
        """Say in one line what came of it."""
        super().__init__(text)
        self.problems = problems


with_engine_options = click.option(
    "--set",
    "settings",
    metavar="OPTION=VALUE",
    multiple=True,
    shell_complete=complete.settings,
    help="Engine option. See `podfence options`. Repeatable.",
)
"""Adds ``--set``."""

_paths = functools.partial(click.option, multiple=True, type=click.Path())

_with_options = added(
    _paths(
        "-f",
        "--filename",
        "files",
        metavar="PATH",
        help="File or folder to read instead of a live cluster. Use - for standard input. Repeatable.",
    ),
    click.option("-R", "--recursive", is_flag=True, help="Also read the subfolders of each folder."),
    _paths(
        "-k",
        "--kustomize",
        metavar="DIR",
        help="Kustomization to render with the kustomize or kubectl on PATH. Repeatable.",
    ),
    _paths("--helm", metavar="CHART", help="Chart (folder or package) to render with the helm on PATH. Repeatable."),
    _paths("--values", metavar="FILE", help="Values file for --helm. Repeatable."),
    click.option(
        "--helm-set", "helm_settings", metavar="KEY=VALUE", multiple=True, help="Value for --helm. Repeatable."
    ),
    click.option("--release", metavar="NAME", default="", help="Release name for --helm."),
    click.option("--kube-version", metavar="VERSION", default="", help="Kubernetes version to render --helm for."),
    click.option(
        "--api-versions",
        metavar="GROUP/VERSION",
        multiple=True,
        help="Additional API version that --helm may use. Repeatable.",
    ),
    click.option(
        "--exclude",
        metavar="GLOB",
        multiple=True,
        help="Pattern of files to skip in folders, as in a .gitignore there. Repeatable.",
    ),
    click.option(
        "--keep-going",
        is_flag=True,
        help="Skip files in folders that cannot be read, and refused objects. The answer is then incomplete.",
    ),
    click.option(
        "-n",
        "--namespace",
        metavar="NS",
        shell_complete=complete.namespaces,
        help="Namespace to show, and default namespace of names and of objects in files. All namespaces are read.",
    ),
    click.option("-A", "--all-namespaces", is_flag=True, help="Show all namespaces, even if -n is given."),
    with_engine_options,
    click.option("-q", "--quiet", is_flag=True, help="Print no warnings, notes or progress."),
    click.option(
        "-v", "--verbose", is_flag=True, help="Print every warning, and name everything that was skipped or ignored."
    ),
    *live.OPTIONS,
)


def reads_two(function: Callable[..., int]) -> Callable[..., int]:
    """Add the shared options to a command that compares two inputs.

    `function` gets what they say without a configuration, and ``config`` and ``no_config`` besides.
    """

    @functools.wraps(function)
    def command(**values: Any) -> int:  # noqa: ANN401 - whatever the command and the options declare
        asked = live.Asked(**{name: values.pop(name) for name in live.Asked._fields})
        rest = {name: values.pop(name) for name in Inputs._fields if name not in ("live", "config")}
        return function(inputs=Inputs(live=asked, config=Settings(), **rest), **values)

    return settings.chosen(_with_options(command))


def reads_cluster(function: Callable[..., int]) -> Callable[..., int]:
    """Add the shared options to a command; `function` gets them, with the configuration, as its argument `inputs`."""

    @functools.wraps(function)
    def command(*, inputs: Inputs, config: str | None, no_config: bool, **values: Any) -> int:  # noqa: ANN401 - as above
        found = settings.find(config, os.environ, wanted=not no_config)
        return function(inputs=_with_config(inputs._replace(config=found)), **values)

    return reads_two(command)


def _with_config(inputs: Inputs) -> Inputs:
    """Return what a command line says, and the configuration where it says nothing."""
    config = inputs.config
    named = inputs.are_manifests or any(inputs.live)
    if not named and config.filename:
        inputs = inputs._replace(files=config.filename, recursive=inputs.recursive or config.recursive)
    else:
        config = config._replace(filename=())
    if not (named and not any(inputs.live)) and not config.filename:
        # A live cluster has namespaces of its own.
        config = config._replace(namespace="")
    if inputs.live.lab:
        # A lab has options of its own, too.
        config = config._replace(options=())
    return inputs._replace(config=config, settings=(*config.options, *inputs.settings))


def load(inputs: Inputs, form: str = "") -> Cluster:
    """Read the files of `inputs`, or else the live cluster, and print what there is to say about it.

    Problems that refuse it are written to standard output too if the format `form` has remarks. Raises PodfenceError
    when there is nothing to read, when an option is unknown, and when the input is refused.
    """
    _refuse_idle_flags(inputs)
    if inputs.are_manifests:
        flag = "-f" if inputs.files else "-k" if inputs.kustomize else "--helm"
        live.refuse(inputs.live, f"{flag} reads manifests in its place; give one or the other")
    from podfence.kube.collection import uncollected
    from podfence.policy.options import Options

    options = Options.parse(inputs.settings)
    # What is read stays to the end of the command, and looking for garbage in it takes a tenth of the time.
    gc.set_threshold(_SELDOM)
    with uncollected():
        with reading(quiet=inputs.quiet, outcome="nothing was answered", inputs=inputs, form=form) as progress:
            if inputs.are_manifests:
                cluster = load_manifests(inputs, options, progress, folder=inputs.config.folder)
            elif inputs.live.lab:
                cluster = live.load_lab(inputs.live, inputs.settings)
            else:
                cluster = live.load(inputs.live, options, progress, hint=pipe_hint())
        # So all that is there now counts as old, without a look at it.
        gc.freeze()
        gc.unfreeze()
    tell(inputs, cluster)
    return cluster


def load_manifests(
    inputs: Inputs,
    options: Options,
    progress: Callable[[float, int], None] | None,
    *,
    folder: str,
    at: Callable[[str], str] = str,
    base: str = "",
    parsed: Parsed | None = None,
) -> Cluster:
    """Return the cluster that the manifests of `inputs` describe.

    `at` returns where a path of theirs is, `folder` is that of the configuration, for what it excludes, and the others
    are as for `podfence.load`, which raises the same.
    """
    import podfence
    from podfence.kube.folders import Exclusion

    files = [*map(at, inputs.files)]
    return podfence.load(
        *files,
        recursive=inputs.recursive,
        kustomize=[*map(at, inputs.kustomize)],
        charts=_charts(inputs, at),
        exclude=[Exclusion(inputs.exclude), Exclusion(inputs.config.exclude, folder)],
        keep_going=inputs.keep_going,
        namespace=inputs.own_namespace or "",
        stdin=sys.stdin.buffer if "-" in files else None,
        base=base,
        parsed=parsed,
        options=options,
        progress=progress,
    )


def _refuse_idle_flags(inputs: Inputs) -> None:
    """Raise a usage error for a flag that says how to read what is not read."""
    of_charts = ("values", "helm_settings", "release", "kube_version", "api_versions")
    for names, is_met, needed in (
        (of_charts, inputs.helm, "a chart; give one with --helm"),
        (("recursive", "exclude", "keep_going"), inputs.are_manifests, "a folder to read; give one with -f"),
    ):
        if not is_met and (flags := live.written({name: getattr(inputs, name) for name in names})):
            raise click.UsageError(f"{flags[0]} needs {needed}")


def _charts(inputs: Inputs, at: Callable[[str], str]) -> list[Chart]:
    """Return the charts to render, with what the options say of all of them."""
    if not inputs.helm:
        return []
    from podfence.kube.rendering import RELEASE, Chart

    every = Chart(
        path="",
        release=inputs.release or RELEASE,
        namespace=inputs.own_namespace or "",
        values=tuple(map(at, inputs.values)),
        settings=inputs.helm_settings,
        kube_version=inputs.kube_version,
        api_versions=inputs.api_versions,
    )
    return [every._replace(path=at(path)) for path in inputs.helm]


@contextmanager
def reading(
    *, quiet: bool, outcome: str, inputs: Inputs | None = None, form: str = ""
) -> Iterator[Callable[[float, int], None] | None]:
    """Give the function that shows the progress of reading, None if nobody would see it.

    Input that is refused meanwhile becomes RefusedError, with every error printed; `outcome` says what came of it.
    `inputs` are what an answer is read from, None for what a lab is given, and `form` is the format of the answer.
    """
    from podfence.cli.progress import shown

    try:
        with errors.ended_by_signals(), shown(sys.stderr, "reading", quiet=quiet) as progress:
            yield progress
    except InputError as error:
        closing = _refusal(error, quiet=quiet, outcome=outcome, inputs=inputs)
        if form in formats.REMARKS:
            from podfence.report.remarks import Refusal

            outputs.write_refusal(form, Refusal(closing, error.problems))
        raise RefusedError(closing, error.problems) from error


def note(inputs: Inputs, text: str) -> None:
    """Print a note to standard error, unless notes are not wanted."""
    if not inputs.quiet:
        errors.complain(f"note: {text}")


def tell(inputs: Inputs, *clusters: Cluster) -> None:
    """Print the warnings and notes of what was read, unless they are not wanted."""
    if inputs.quiet:
        return
    for text in inputs.config.notes(files=bool(inputs.config.filename)):
        note(inputs, text)
    for cluster in clusters:
        _tell(cluster, verbose=inputs.verbose)


def _tell(cluster: Cluster, *, verbose: bool) -> None:
    lines = [*_shown(cluster.warnings, verbose=verbose), *(f"note: {text}" for text in cluster.notes)]
    if verbose:
        lines += [f"note: {text}" for text in cluster.details]
        lines += [f"note: incomplete: {gap}" for gap in cluster.gaps]
    if verbose and cluster.ignored:
        counts = ", ".join(f"{number} {kind}" for kind, number in sorted(cluster.ignored.items()))
        lines.append(f"note: ignored {counts}")
    if lines:
        errors.complain("\n".join(lines))


def _shown(problems: Sequence[Finding], *, verbose: bool) -> Iterator[str]:
    """Yield problems as lines; unless `verbose`, of dispensable warnings of one kind only the first few."""
    seen: Counter[str] = Counter()
    for problem in problems:
        seen[problem.code] += problem.is_dispensable
        if verbose or not problem.is_dispensable or seen[problem.code] <= _FEW:
            yield str(problem)
    more = 0 if verbose else sum(max(0, number - _FEW) for number in seen.values())
    if more:
        yield f"note: {counted(more, 'more warning')} like these; -v shows them all"


def _refusal(error: InputError, *, quiet: bool, outcome: str, inputs: Inputs | None) -> str:
    """Print the problems (only errors if `quiet`) and return the closing line of the message, with the `outcome`."""
    wrong = [problem for problem in error.problems if problem.severity == "error"]
    shown = list(_shown(wrong if quiet else error.problems, verbose=inputs is None or inputs.verbose))
    if shown:
        errors.complain("\n".join(shown))
    files = {problem.position.file for problem in wrong}
    where = f" in {counted(len(files), 'file')}" if inputs is None or inputs.are_manifests else ""
    remedy = ""
    if inputs is not None and not inputs.keep_going and all(_is_found(file, inputs.files) for file in files):
        remedy = " (--keep-going answers without what is wrong, --exclude leaves files out)"
    return f"{counted(len(wrong), 'error')}{where}; {outcome}{remedy}"


def _is_found(file: str, inputs: Sequence[str]) -> bool:
    """Return whether a file was not named, but found in a folder that was."""
    return any(file.startswith(f"{path.rstrip('/')}/") for path in inputs)


def pipe_hint() -> str:
    """Return how this command gets a cluster that only kubectl reaches."""
    from podfence.kube.registry import KINDS, Need, needed

    kinds = ",".join(KINDS[name].word for name in needed(Need.LIVE))
    root = click.get_current_context().find_root()
    command = f"{root.command_path} {shlex.join(root.meta[ARGUMENTS])}"
    return f"If kubectl reaches the cluster, pipe its output:\n  kubectl get {kinds} -A -o yaml | {command} -f -"
