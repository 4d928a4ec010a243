# SPDX-License-Identifier: Apache-2.0
"""``podfence agent boot-unit``: the unit that holds pods after a boot until an agent judges them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, get_args

import click

from podfence.cli import outputs
from podfence.cli.agent.options import in_state_directory, with_root
from podfence.cli.commands import Command

if TYPE_CHECKING:
    from pathlib import Path

Action = Literal["install", "remove", "show"]

_EXAMPLES = """
# Print the unit
podfence agent boot-unit show

# Install the unit for the next boot, on a node whose agent runs with --boot-hold
podfence agent boot-unit install
"""

_EXITS = """
0  done
2  this node cannot have the unit, or it cannot be removed; the message says why
"""


@click.command(cls=Command, examples=_EXAMPLES, exits=_EXITS)
@click.argument("action", type=click.Choice(get_args(Action)))
@in_state_directory
@with_root
@click.option(
    "--leave-to-agent",
    is_flag=True,
    help="Exit with 0 even if this node cannot have the unit, and let the agent report why. For init containers.",
)
def command(*, action: Action, state_dir: Path, root: Path, leave_to_agent: bool) -> int:
    """Install, remove or show a systemd unit that blocks the pods of this node from boot until an agent is ready.

    The unit loads the files that an agent with `--boot-hold` keeps. Without these files it does nothing. It blocks
    pods no longer than the time of `--boot-hold`, even if no agent becomes ready.
    """
    from podfence.agent.node import boot_unit

    if action == "show":
        outputs.write(boot_unit.text(state_dir).splitlines())
    elif action == "remove":
        boot_unit.remove(root, click.echo)
    elif leave_to_agent:
        boot_unit.install_or_note(root, state_dir, click.echo)
    else:
        boot_unit.install(root, state_dir, click.echo)
    return 0
