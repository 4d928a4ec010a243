# SPDX-License-Identifier: Apache-2.0
"""``podfence agent cleanup``: take everything off this node that an agent left."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from podfence.cli.agent.options import in_run_directory, in_state_directory, with_root, with_sysctls
from podfence.cli.commands import Command

if TYPE_CHECKING:
    from pathlib import Path

_EXAMPLES = """
# Clean up a node after its agent has stopped
podfence agent cleanup
"""


@click.command(
    cls=Command,
    examples=_EXAMPLES,
    exits="0  nothing of podfence is left\n2  something is left; the message says what and why",
)
@in_state_directory
@in_run_directory
@with_sysctls
@with_root
def command(*, state_dir: Path, run_dir: Path, sysctl_root: Path, root: Path) -> int:
    """Delete podfence's tables, reset the settings that its agent changed, and remove its files and unit.

    Stop the agent of this node first. Until the cleanup, the kernel enforces policies even without an agent.
    After it, podfence denies nothing on this node. You can run the command again; that does no harm.
    """
    from podfence.agent.node.cleanup import cleanup

    cleanup(click.echo, run=run_dir, state=state_dir, sysctls=sysctl_root, root=root)
    return 0
