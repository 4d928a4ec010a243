# SPDX-License-Identifier: Apache-2.0
"""The commands about podfence itself: version, options, semantics, schema, config and completion."""

from __future__ import annotations

import os
import platform
from importlib import metadata
from typing import TYPE_CHECKING

import click

from podfence.cli import complete, outputs, settings
from podfence.cli.commands import COMPLETION_VARIABLE, PROGRAM, Command
from podfence.report import formats

if TYPE_CHECKING:
    from podfence.report.style import When


def number() -> str:
    """Return ``1.2.3``."""
    return metadata.version("podfence")


@click.command(cls=Command, examples="podfence version\npodfence version -o json")
@outputs.of_formats("text", *formats.names("Version"))
def version(form: str) -> int:
    """Print the version of podfence."""
    if form == "text":
        outputs.write([f"{PROGRAM} {number()}"])
    else:
        from podfence.report.about import Version

        answer = Version(version=number(), python=platform.python_version())
        outputs.write_as("Version", form, answer, "never")
    return 0


_OPTIONS = """
# List all options
podfence options

# Apply policies to the connections of a pod to itself
podfence check shop/web shop/web 80 --set self-traffic=policy -f manifests/
"""


@click.command(cls=Command, examples=_OPTIONS)
@outputs.formatted("Options")
@outputs.coloured
def options(form: str, colour: When) -> int:
    """List the questions that the Kubernetes documentation leaves open, with the default answer and the others.

    RULE is the number of the rule in the specification. Use `--set OPTION=VALUE` to choose another value.
    """
    from podfence.policy.options import describe
    from podfence.report import about

    outputs.write_as("Options", form, about.options(describe()), colour)
    return 0


_SEMANTICS = """
# Print the rule that a reason cites as "semantics 2.2"
podfence semantics 2.2

# Print all rules about Services, nodes and other special ends
podfence semantics 7
"""


@click.command(cls=Command, examples=_SEMANTICS)
@click.argument("number", metavar="[RULE]", required=False)
@outputs.coloured
def rules(number: str | None, colour: When) -> int:
    """Print one rule of the specification, or all rules of a section. Without RULE, list the sections."""
    from podfence.report import semantics

    page = outputs.page(colour)
    outputs.write(semantics.contents(page) if number is None else semantics.text(number, page))
    return 0


_SCHEMA = """
# List the kinds of documents
podfence schema

# Print the schema of the output of `podfence check -o json`
podfence schema Verdict
"""


@click.command(cls=Command, examples=_SCHEMA)
@click.argument("kind", metavar="[KIND]", required=False, shell_complete=complete.kinds)
def schemas(kind: str | None) -> int:
    """Print the JSON Schema of a kind of document that -o json and -o yaml print. Without KIND, list all kinds."""
    from podfence.report import documents, schema

    outputs.write(documents.KINDS if kind is None else [schema.text(kind)])
    return 0


_CONFIG = """
# Print what commands in this directory read without flags
podfence config

# Print the settings of another configuration file
podfence config --config ../podfence.toml

# Print the settings as JSON
podfence config -o json
"""


@click.command(cls=Command, examples=_CONFIG)
@settings.chosen
@outputs.formatted("Config")
def configuration(*, config: str | None, no_config: bool, form: str) -> int:
    """Print the settings of podfence.toml, or of the table tool.podfence in pyproject.toml, that apply here.

    podfence uses the nearest file in the working directory or above it, up to the root of the repository.
    """
    from podfence.report.about import Config

    found = settings.find(config, os.environ, wanted=not no_config)
    chosen = dict(setting.split("=", 1) for setting in found.options)
    named = ("filename", "recursive", "exclude", "namespace")
    answer = Config(
        file=found.file,
        filename=found.filename,
        recursive=found.recursive,
        exclude=found.exclude,
        namespace=found.namespace or "default",
        options=chosen,
        given=(*(name for name in named if getattr(found, name)), *(f"options.{name}" for name in chosen)),
    )
    outputs.write_as("Config", form, answer, "never")
    return 0


_COMPLETION = """
# Load the completion in this bash, and in every later one
source <(podfence completion bash)
podfence completion bash > ~/.local/share/bash-completion/completions/podfence

# For zsh, write it to a file in a folder of $fpath
podfence completion zsh > ~/.zfunc/_podfence

# For fish
podfence completion fish > ~/.config/fish/completions/podfence.fish
"""


@click.command(cls=Command, examples=_COMPLETION)
@click.argument("shell", type=click.Choice(("bash", "zsh", "fish")))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> int:
    """Print a script that completes commands, options, endpoints and namespaces in a shell.

    The endpoints and namespaces come from the files that the command line names with -f.
    """
    from click.shell_completion import ShellComplete, get_completion_class

    kind = get_completion_class(shell) or ShellComplete
    # The base class's source() does not start the shell to ask for its version.
    script = ShellComplete.source(kind(ctx.find_root().command, {}, PROGRAM, COMPLETION_VARIABLE))
    outputs.write([script.strip()])
    return 0
