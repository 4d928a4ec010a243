# SPDX-License-Identifier: Apache-2.0
"""``podfence completion``: the completion script of a shell."""

from __future__ import annotations

import click

from podfence.cli import outputs
from podfence.cli.commands import COMPLETION_VARIABLE, PROGRAM, Command

_EXAMPLES = """
# Load the completion in this bash, and in every later one
source <(podfence completion bash)
podfence completion bash > ~/.local/share/bash-completion/completions/podfence

# For zsh, write it to a file in a folder of $fpath
podfence completion zsh > ~/.zfunc/_podfence

# For fish
podfence completion fish > ~/.config/fish/completions/podfence.fish
"""


@click.command(cls=Command, examples=_EXAMPLES)
@click.argument("shell", type=click.Choice(("bash", "zsh", "fish")))
@click.pass_context
def command(ctx: click.Context, shell: str) -> int:
    """Print a script that completes commands, options, endpoints and namespaces in a shell.

    The endpoints and namespaces come from the files that the command line names with -f.
    """
    from click.shell_completion import ShellComplete, get_completion_class

    kind = get_completion_class(shell) or ShellComplete
    # The base class's source() does not start the shell to ask for its version.
    script = ShellComplete.source(kind(ctx.find_root().command, {}, PROGRAM, COMPLETION_VARIABLE))
    outputs.write([script.strip()])
    return 0
