# SPDX-License-Identifier: Apache-2.0
"""The options that say where an agent has its files, the same for those that run and those that clean up."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import click

in_state_directory: Final = click.option(
    "--state-dir",
    type=click.Path(path_type=Path),
    default=Path("/var/lib/podfence"),
    show_default=True,
    help="Directory of the last known state of the cluster.",
)

in_run_directory: Final = click.option(
    "--run-dir",
    type=click.Path(path_type=Path),
    default=Path("/run/podfence"),
    show_default=True,
    help="Directory of the socket that `podfence agent status` and `podfence why` connect to.",
)

with_sysctls: Final = click.option(
    "--sysctl-root",
    type=click.Path(path_type=Path),
    default=Path("/proc/sys/net"),
    show_default=True,
    help="Directory of the node's network settings, if /proc/sys is read-only.",
)

with_root: Final = click.option(
    "--root",
    type=click.Path(path_type=Path),
    default=Path("/"),
    show_default=True,
    help="Root directory of the node, as mounted in a container.",
)
