# SPDX-License-Identifier: Apache-2.0
"""How much there is in a policy, counted one thing after the other (semantics 2.8)."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address
from typing import TYPE_CHECKING

from podfence.policy.budget import BUDGETS, Size

from .addresses import in_block, parse_network

if TYPE_CHECKING:
    from collections.abc import Sequence

    from podfence.kube.objects import NetworkPolicy, Rule, Selector

    from .addresses import Address


def too_large(policies: Sequence[NetworkPolicy], budget: str) -> set[str]:
    """Return the names of the policies of one namespace that admit nothing because of their size."""
    limits = BUDGETS[budget]
    if limits is None:
        return set()
    refused = set()
    counted: list[Size] = []
    for policy in sorted(policies, key=lambda policy: policy.name):
        size = measure(policy)
        together = [sum(column) for column in zip(*counted, size, strict=True)]
        if any(one > most for one, most in zip(size, limits.policy, strict=True)) or any(
            one > most for one, most in zip(together, limits.namespace, strict=True)
        ):
            refused.add(policy.name)
        else:
            counted.append(size)
    return refused


def measure(policy: NetworkPolicy) -> Size:
    """Return each measure of a policy."""
    rules = blocks = ports = selectors = selected = names = 0
    values = in_selector(policy.pod_selector)
    for rule in [*policy.ingress, *policy.egress]:
        rules += 1
        ports += ports_of(rule)
        names += len([port for port in rule.ports if isinstance(port.port, str)])
        selects_pods = False
        for peer in rule.peers:
            if peer.ip_block is not None:
                blocks += 1 + len(peer.ip_block.excepts)
                continue
            selects_pods = True
            selectors += 1
            for selector in (peer.pod_selector, peer.namespace_selector):
                if selector is not None:
                    values += in_selector(selector)
        if selects_pods:
            selected += ports_of(rule)
    overlapping = overlaps(policy.ingress) + overlaps(policy.egress)
    return Size(rules, blocks, ports, selectors, values, selected, names, overlapping)


def ports_of(rule: Rule) -> int:
    return len(rule.ports) or 1


def in_selector(selector: Selector) -> int:
    return sum(1 + len(item.values) for item in selector.requirements)


def overlaps(rules: Sequence[Rule]) -> int:
    """Return the ports at each range of addresses between two where some rule begins or ceases to have a block."""
    cuts = sorted({cut for rule in rules for cut in edges(rule)})
    return sum(ports_of(rule) for start in cuts[:-1] for rule in rules if has(rule, start))


def edges(rule: Rule) -> set[int]:
    """Return the addresses, as numbers, that the blocks of a rule have and the one before not, or the other way."""
    texts = [text for peer in rule.peers if peer.ip_block for text in (peer.ip_block.cidr, *peer.ip_block.excepts)]
    ends = {
        number
        for text in texts
        for number in (number_of(parse_network(text)[0]), number_of(parse_network(text)[-1]) + 1)
    }
    return {number for number in ends if has(rule, number) != has(rule, number - 1)}


def has(rule: Rule, number: int) -> bool:
    address = address_of(number)
    return address is not None and any(peer.ip_block and in_block(address, peer.ip_block) for peer in rule.peers)


def number_of(address: Address) -> int:
    """Return a number for an address, in order, and with a gap between the families."""
    return int(address) if address.version == 4 else int(address) + (1 << 130)


def address_of(number: int) -> Address | None:
    if 0 <= number < 1 << 32:
        return IPv4Address(number)
    return IPv6Address(number - (1 << 130)) if 0 <= number - (1 << 130) < 1 << 128 else None
