# SPDX-License-Identifier: Apache-2.0
"""The options of programs that run in a cluster for as long as it does: which cluster, and what they log."""

from __future__ import annotations

from typing import Final

import click

with_kubeconfig: Final = click.option(
    "--kubeconfig",
    metavar="PATH",
    default="",
    type=click.Path(),
    help="Kubeconfig file to use. The default is KUBECONFIG, then ~/.kube/config, then the pod's service account.",
)

with_log_format: Final = click.option(
    "--log-format", type=click.Choice(["text", "json"]), default="text", show_default=True, help="Format of log lines."
)

with_log_level: Final = click.option(
    "--log-level",
    type=click.Choice(["debug", "info", "warning", "error"]),
    default="info",
    show_default=True,
    help="Lowest level of log lines to write.",
)
