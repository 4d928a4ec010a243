# SPDX-License-Identifier: Apache-2.0
"""The options that say where an agent has its files, the same for those that run and those that clean up."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Final

import click

with_path: Final = partial(click.option, type=click.Path(path_type=Path), show_default=True)
"""Adds an option that is a path, with its name, default and help."""

in_state_directory: Final = with_path(
    "--state-dir", default=Path("/var/lib/podfence"), help="Directory of the last known state of the cluster."
)

in_run_directory: Final = with_path(
    "--run-dir",
    default=Path("/run/podfence"),
    help="Directory of the socket that `podfence agent status` and `podfence why` connect to.",
)

with_sysctls: Final = with_path(
    "--sysctl-root",
    default=Path("/proc/sys/net"),
    help="Directory of the node's network settings, if /proc/sys is read-only.",
)

with_root: Final = with_path("--root", default=Path("/"), help="Root directory of the node, as mounted in a container.")
