# SPDX-License-Identifier: Apache-2.0
"""The options that say what is held after a boot."""

from __future__ import annotations

import re
from ipaddress import ip_network
from typing import TYPE_CHECKING, Final

import click

from podfence.cli.duration import limit

if TYPE_CHECKING:
    from podfence.agent.node.hold import Network

_LINK: Final = re.compile(r"[A-Za-z0-9_.-]{1,15}|[A-Za-z0-9_.-]{1,14}\*")


def _networks(ctx: click.Context, param: click.Parameter, values: tuple[str, ...]) -> tuple[Network, ...]:
    """Return ranges of addresses. Raises click.BadParameter for what is none."""
    try:
        return tuple(ip_network(value) for value in values)
    except ValueError as error:
        raise click.BadParameter(str(error), ctx, param) from None


def _links(ctx: click.Context, param: click.Parameter, values: tuple[str, ...]) -> tuple[str, ...]:
    """Return names of interfaces. Raises click.BadParameter for what is none."""
    for value in values:
        if not _LINK.fullmatch(value):
            message = f"{value!r} is not the name of an interface, or the beginning of one followed by *"
            raise click.BadParameter(message, ctx, param)
    return values


with_boot_hold: Final = click.option(
    "--boot-hold",
    metavar="TIME",
    callback=limit,
    help="Keep the files that the unit of `podfence agent boot-unit` loads after a boot. Their rules block pods until "
    "this agent is ready, but no longer than this time, such as 5m.",
)

with_boot_ranges: Final = click.option(
    "--boot-range",
    "boot_ranges",
    metavar="CIDR",
    multiple=True,
    callback=_networks,
    help="Range of pod addresses to block after a boot, in addition to the podCIDRs of the Node. Repeatable.",
)

with_boot_links: Final = click.option(
    "--boot-link",
    "boot_links",
    metavar="INTERFACE",
    multiple=True,
    callback=_links,
    help="Name of an interface that pods are behind, or the beginning of names followed by *, to block after a boot. "
    "Repeatable. The default is cni0 and veth*.",
)
