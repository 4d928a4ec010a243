# SPDX-License-Identifier: Apache-2.0
"""``podfence agent cleanup``: take everything off this node that an agent left."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from podfence.cli import outputs
from podfence.cli.agent.places import in_run_directory, in_state_directory, with_root, with_sysctls
from podfence.cli.commands import Command

if TYPE_CHECKING:
    from pathlib import Path

_EXAMPLES = """
# On a node, when no agent runs there any more
podfence agent cleanup
"""


@click.command(cls=Command, examples=_EXAMPLES, exits="0  nothing of podfence is left\n2  something is, and why")
@in_state_directory
@in_run_directory
@with_sysctls
@with_root
def command(*, state_dir: Path, run_dir: Path, sysctl_root: Path, root: Path) -> int:
    """Delete the tables of podfence, set back what its agent changed on this node, and remove its files and unit.

    Until then the kernel enforces, also without an agent; from then on nothing is forbidden here.
    An agent that still runs has to be stopped first. Doing it twice does no harm.
    """
    from podfence.agent.node.cleanup import cleanup

    cleanup(lambda text: outputs.write([text]), run=run_dir, state=state_dir, sysctls=sysctl_root, root=root)
    return 0
