# SPDX-License-Identifier: Apache-2.0
"""``podfence lab image``: image archives."""

from __future__ import annotations

import click

from podfence.cli.commands import Commands

_EXAMPLES = "docker save example/shop-api:1 > api.tar\npodfence lab image load api.tar"


@click.group(
    "image",
    cls=Commands,
    table={"load": ("podfence.cli.lab.image_load", "Load an image archive into the lab")},
    examples=_EXAMPLES,
)
def command() -> None:
    """Run the real programs of images in a lab."""
