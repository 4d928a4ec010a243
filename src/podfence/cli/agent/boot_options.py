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
            message = f"{value!r} is no name of an interface, nor the beginning of one with * at its end"
            raise click.BadParameter(message, ctx, param)
    return values


with_boot_hold: Final = click.option(
    "--boot-hold",
    metavar="TIME",
    callback=limit,
    help="Keep what `podfence agent boot-unit` loads after a boot: pods are held until this agent judges them, and for "
    "this time at most, such as 5m.",
)

with_boot_ranges: Final = click.option(
    "--boot-range",
    "boot_ranges",
    metavar="CIDR",
    multiple=True,
    callback=_networks,
    help="A range of the pods' addresses that is held after a boot, with the podCIDRs of the Node; repeatable.",
)

with_boot_links: Final = click.option(
    "--boot-link",
    "boot_links",
    metavar="INTERFACE",
    multiple=True,
    callback=_links,
    help="Name of interfaces that pods are behind after a boot, or the beginning of names with * at its end; "
    "repeatable. cni0 and veth* unless given.",
)
