# SPDX-License-Identifier: Apache-2.0
"""Addresses and address blocks as section 6 of the specification defines them."""

from __future__ import annotations

import ipaddress
from functools import lru_cache
from typing import TYPE_CHECKING

from .question import Answer, answer

if TYPE_CHECKING:
    from podfence.kube.objects import IPBlock

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

MAPPED_PREFIX = 96

# The same few texts are asked for at every boundary of every connection.
_remembered = lru_cache(maxsize=1 << 14)


@_remembered
def parse_address(text: str) -> Address:
    """Return the address; an IPv4-mapped IPv6 address is the IPv4 address (semantics 6.5)."""
    address = ipaddress.ip_address(text)
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address


@_remembered
def parse_network(text: str) -> Network:
    """Return the block, masked (semantics 6.4); an IPv4-mapped block is the IPv4 block (6.5)."""
    network = ipaddress.ip_network(text, strict=False)
    mapped = network.network_address.ipv4_mapped if isinstance(network, ipaddress.IPv6Network) else None
    if mapped is not None and network.prefixlen >= MAPPED_PREFIX:
        return ipaddress.IPv4Network((mapped, network.prefixlen - MAPPED_PREFIX))
    return network


def in_network(address: Address, network: Network) -> bool:
    """Return whether the block has the address: only ever one of its own family (semantics 6.3)."""
    return address.version == network.version and address in network


@_remembered
def in_block(address: Address, block: IPBlock) -> bool:
    """Return whether the address is in `cidr` and in none of that item's `except` (semantics 6.1)."""
    return in_network(address, parse_network(block.cidr)) and not any(
        in_network(address, parse_network(text)) for text in block.excepts
    )


def block_has_unknown(family: int, block: IPBlock) -> Answer:
    """Return whether the block has the address of an end that has none in a closed world (semantics 8.6).

    YES for the whole family, without exceptions or with exceptions of the other, otherwise NO.
    """
    network = parse_network(block.cidr)
    inside = [text for text in block.excepts if parse_network(text).version == family]
    return answer(network.version == family and network.prefixlen == 0 and not inside)


def block_has(address: Address | None, family: int, block: IPBlock) -> Answer:
    """Return whether the block has the address, or one that is not known (None) of the family."""
    if address is None:
        return block_has_unknown(family, block)
    return answer(in_block(address, block))


def is_loopback(address: Address | None) -> bool:
    """Return whether the address never leaves the pod: 127.0.0.0/8 and ::1 (semantics 7.1)."""
    return address is not None and address.is_loopback
