# SPDX-License-Identifier: Apache-2.0
"""The options of programs that run in a cluster for as long as it does: which cluster, and what they log."""

from __future__ import annotations

from typing import Final

import click

from podfence.cli import complete

with_kubeconfig: Final = click.option(
    "--kubeconfig",
    metavar="PATH",
    default="",
    type=click.Path(),
    help="Kubeconfig to read; unless given, KUBECONFIG's, ~/.kube/config, or the pod's service account.",
)

with_context: Final = click.option(
    "--context",
    metavar="NAME",
    default="",
    shell_complete=complete.contexts,
    help="Context of the kubeconfig, in place of its current one.",
)

with_log_format: Final = click.option(
    "--log-format", type=click.Choice(["text", "json"]), default="text", show_default=True, help="How log lines look."
)

with_log_level: Final = click.option(
    "--log-level",
    type=click.Choice(["debug", "info", "warning", "error"]),
    default="info",
    show_default=True,
    help="Which log lines are written.",
)
