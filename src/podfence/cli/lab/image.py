# SPDX-License-Identifier: Apache-2.0
"""``podfence lab image load``: real programs instead of stand-ins."""

from __future__ import annotations

import os

import click

from podfence.cli import outputs
from podfence.cli.commands import Command, Commands
from podfence.cli.lab import shared
from podfence.errors import PodfenceError

_EXAMPLES = "docker save example/shop-api:1 > api.tar\npodfence lab image load api.tar"


@click.group(
    "image",
    cls=Commands,
    table={"load": ("podfence.cli.lab.image:load", "Load an image archive into the lab")},
    examples=_EXAMPLES,
)
def command() -> None:
    """Run the real programs of images in a lab."""


@click.command(
    "load",
    cls=Command,
    examples=_EXAMPLES,
    exits="0  loaded\n2  the archive could not be read",
)
@click.argument("file", type=click.Path())
@shared.named
def load(*, file: str, name: str) -> int:
    """Load the images of an archive (from `docker save`, or an OCI layout as tar) into the lab.

    The lab restarts containers that use such an image, with the image's own program and files.
    """
    try:
        number = os.open(file, os.O_RDONLY)
    except OSError as error:
        raise PodfenceError(f"{file}: {error.strerror}") from error
    try:
        reply = shared.client(name).request("load", file=file, fds=(number,), progress=shared.teller(quiet=False))
    finally:
        os.close(number)
    outputs.write(f"loaded {image}" for image in reply["images"])
    return 0
