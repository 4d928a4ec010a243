# SPDX-License-Identifier: Apache-2.0
"""Every state that a partial cluster may be, as far as a connection can tell (semantics 13): one of each kind.

A label that is not known is absent, or has a value that a selector names, or another one; an address lies in one of
the ranges that blocks tell apart; a node is one that is known, or another.
"""

from __future__ import annotations

import ipaddress
from itertools import product
from typing import TYPE_CHECKING

import msgspec

from podfence.cluster.controllers import UNKNOWN
from podfence.kube.objects import Namespace, NetworkPolicy, Node, Pod

from .addresses import in_block, parse_address, parse_network
from .boundaries import block_cuts, rules
from .question import AddressEnd, NodeEnd, PodEnd
from .twin import ASSUMED_FAMILIES, NAME_LABEL, is_live

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from podfence.kube.objects import IPBlock, KubeObject, Labels
    from podfence.policy.options import Options

    from .addresses import Address
    from .question import End

BORN_WITH = ("default", "kube-public", "kube-node-lease")
RANGES = {
    4: [ipaddress.ip_network(text) for text in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10")],
    6: [ipaddress.ip_network("::/0")],
}
ORDINARY = {4: ("10.77.0.7", "172.31.7.7", "192.168.77.7", "100.100.7.7"), 6: ("fd77::7", "2a00:77::7")}
FRESH_NODE = "another-node"
STEPS = (*range(1, 9), *range(-8, 0))


def completions(
    objects: Sequence[KubeObject], source: End, destination: End, options: Options
) -> list[list[list[KubeObject]]]:
    """Return for each thing that is not known of two ends its values, each as the objects that say it."""
    found = [*_spaces(objects, (source, destination)), *_pods(objects, source, destination, options)]
    return [*found, *_nodes(objects, (source, destination), options)]


def completed(objects: Sequence[KubeObject], choices: list[list[list[KubeObject]]]) -> Iterator[list[KubeObject]]:
    """Yield the completions: a value chosen of each thing, in every combination that gives no address to two ends."""
    for chosen in product(*choices):
        present = {item.key: item for item in objects}
        for items in chosen:
            for item in items:
                known = present.get(item.key)
                present[item.key] = _both(known, item) if isinstance(known, Pod) and isinstance(item, Pod) else item
        there = list(present.values())
        given = [text for items in chosen for item in items if isinstance(item, Pod | Node) for text in item.addresses]
        if len(given) == len(set(given)):
            yield there


def _both(known: Pod, item: Pod) -> Pod:
    """Return a pod with what two choices say of it: its addresses, its node and its labels."""
    node = item.template.node or known.template.node
    one, other = known.template.labels, item.template.labels
    labels = {key: other[key] if value == UNKNOWN else value for key, value in one.items()}
    return msgspec.structs.replace(
        known,
        addresses=known.addresses or item.addresses,
        template=msgspec.structs.replace(known.template, node=node, labels=labels),
    )


def _named(objects: Sequence[KubeObject], end: End) -> Pod | None:
    if not isinstance(end, PodEnd):
        return None
    return next(
        item
        for item in reversed(objects)
        if isinstance(item, Pod) and is_live(item) and (item.namespace, item.name) == (end.namespace, end.name)
    )


# Labels of namespaces


def _spaces(objects: Sequence[KubeObject], ends: Sequence[End]) -> Iterator[list[list[KubeObject]]]:
    known = {item.name for item in objects if isinstance(item, Namespace)} | set(BORN_WITH)
    for name in sorted({end.namespace for end in ends if isinstance(end, PodEnd)} - known):
        yield [[Namespace(name=name, labels=labels)] for labels in _labels(objects, name)]


def label_values(objects: Sequence[KubeObject]) -> dict[str, list[str | None]]:
    """Return what a label of a namespace can be by its key, as far as a selector can tell; None is its absence."""
    asked: dict[str, set[str]] = {}
    for rule in rules(objects):
        for peer in rule.peers:
            for term in peer.namespace_selector.requirements if peer.namespace_selector else ():
                if term.key != NAME_LABEL:
                    asked.setdefault(term.key, set()).update(term.values)
    return {key: [None, "something-else", *sorted(values)] for key, values in asked.items()}


def _labels(objects: Sequence[KubeObject], name: str) -> Iterator[Labels]:
    cells = label_values(objects)
    for chosen in product(*cells.values()):
        labels = {key: value for key, value in zip(cells, chosen, strict=True) if value is not None}
        yield {**labels, NAME_LABEL: name}


# Addresses and nodes of pods


def _pods(
    objects: Sequence[KubeObject], source: End, destination: End, options: Options
) -> Iterator[list[list[KubeObject]]]:
    for slot, (end, other) in enumerate(((source, destination), (destination, source))):
        pod = _named(objects, end)
        if pod is None:
            continue
        if UNKNOWN in pod.template.labels.values():
            yield [[_with_value(pod, value)] for value in pod_values(objects)]
        part_of_node = pod.template.host_network and options.host_network == "node"
        if not pod.addresses and not part_of_node:
            yield [
                [msgspec.structs.replace(pod, addresses=addresses)]
                for addresses in _addresses(objects, (source, destination), options, slot)
            ]
        if not pod.template.node and (part_of_node or _is_node(objects, other, options)):
            yield [
                [_on(pod, name), *fresh]
                for name in _node_names(objects)
                for fresh in _fresh(objects, name, (source, destination), options)
            ]


def _with_value(pod: Pod, chosen: str) -> Pod:
    labels = {key: chosen if value == UNKNOWN else value for key, value in pod.template.labels.items()}
    return msgspec.structs.replace(pod, template=msgspec.structs.replace(pod.template, labels=labels))


def pod_values(objects: Sequence[KubeObject]) -> list[str]:
    """Return the values that a label of a pod can have, as far as a selector can tell."""
    selectors = [item.pod_selector for item in objects if isinstance(item, NetworkPolicy)]
    selectors += [peer.pod_selector for rule in rules(objects) for peer in rule.peers if peer.pod_selector]
    values = {value for selector in selectors for term in selector.requirements for value in term.values}
    return [*sorted(values), "something-else"]


def _on(pod: Pod, node: str) -> Pod:
    return msgspec.structs.replace(pod, template=msgspec.structs.replace(pod.template, node=node))


def _is_node(objects: Sequence[KubeObject], end: End, options: Options) -> bool:
    pod = _named(objects, end)
    if pod is None:
        texts = {text for item in objects if isinstance(item, Node) for text in item.addresses}
        texts |= {text for item in objects if isinstance(item, Pod) for text in item.node_addresses}
        return isinstance(end, NodeEnd) or (isinstance(end, AddressEnd) and end.address in texts)
    return pod.template.host_network and options.host_network == "node"


def _node_names(objects: Sequence[KubeObject]) -> list[str]:
    names = {item.name for item in objects if isinstance(item, Node)}
    names |= {item.template.node for item in objects if isinstance(item, Pod) and item.template.node}
    return [*sorted(names), FRESH_NODE]


def _fresh(
    objects: Sequence[KubeObject], name: str, ends: Sequence[End], options: Options
) -> Iterator[list[KubeObject]]:
    if name != FRESH_NODE:
        yield []
        return
    for addresses in _addresses(objects, ends, options, 2, of_node=True):
        yield [Node(name=name, labels={}, addresses=addresses)]


def _nodes(objects: Sequence[KubeObject], ends: Sequence[End], options: Options) -> Iterator[list[list[KubeObject]]]:
    """Yield the addresses of nodes of which none is known."""
    pods = [pod for end in ends if (pod := _named(objects, end)) is not None]
    free = [pod for pod in pods if pod.template.host_network and not pod.template.node]
    asked = {end.name for end in ends if isinstance(end, NodeEnd)}
    asked |= {pod.template.node for pod in pods if pod.template.host_network and pod.template.node}
    if free:
        asked |= set(_node_names(objects)) - {FRESH_NODE}
    there = {item.name: item for item in objects if isinstance(item, Node)}
    for slot, name in enumerate(sorted(asked), 3):
        told = [
            text
            for item in objects
            if isinstance(item, Pod) and item.template.node == name and name not in there
            for text in item.node_addresses
        ]
        node = there.get(name, Node(name=name, labels={}, addresses=tuple(told)))
        if not node.addresses and options.host_network == "node":
            yield [
                [msgspec.structs.replace(node, addresses=addresses)]
                for addresses in _addresses(objects, ends, options, slot, of_node=True)
            ]


def _addresses(
    objects: Sequence[KubeObject], ends: Sequence[End], options: Options, slot: int, *, of_node: bool = False
) -> list[tuple[str, ...]]:
    """Return addresses that an end may have, one of each family that is assumed, one of each kind.

    Only that of a node is one that a policy names alone.
    Of several of a kind ends at other slots have others.
    """
    blocks = [peer.ip_block for rule in rules(objects) for peer in rule.peers if peer.ip_block is not None]
    taken = {parse_address(end.address) for end in ends if isinstance(end, AddressEnd)}
    for item in objects:
        if isinstance(item, Pod | Node):
            taken.update(map(parse_address, item.addresses))
        if isinstance(item, Pod):
            taken.update(map(parse_address, item.node_addresses))
    taken |= set() if of_node else set(single_addresses(objects))
    by_family = [
        [several[slot % len(several)] for several in address_kinds(family, blocks, taken)]
        for family in ASSUMED_FAMILIES[options.pod_families]
    ]
    return [tuple(map(str, chosen)) for chosen in product(*by_family)]


def single_addresses(objects: Sequence[KubeObject]) -> Iterator[Address]:
    """Yield the addresses that policies name one by one."""
    for item in objects:
        if isinstance(item, NetworkPolicy):
            for rule in (*item.ingress, *item.egress):
                for peer in rule.peers:
                    for text in (peer.ip_block.cidr, *peer.ip_block.excepts) if peer.ip_block else ():
                        network = parse_network(text)
                        if network.num_addresses == 1:
                            yield network.network_address


def address_kinds(family: int, blocks: list[IPBlock], taken: set[Address]) -> list[list[Address]]:
    """Return some of the addresses that a pod may have, those together that no block tells apart."""
    found: dict[tuple[bool, ...], dict[Address, None]] = {}
    near = [cut for block in blocks for cut in block_cuts(block) if cut.version == family]
    # What lies between two cuts is also next to one of those that are taken.
    near += [cut + step for cut in near for step in STEPS if 0 <= int(cut) + step < 2**cut.max_prefixlen]
    ordinary = [parse_address(text) + step for text in ORDINARY[family] for step in range(8)]
    for address in (*ordinary, *near):
        if address in taken or not any(address in network for network in RANGES[family]):
            continue
        if address.is_loopback or address.is_multicast or address.is_unspecified or address.is_link_local:
            continue
        found.setdefault(tuple(in_block(address, block) for block in blocks), {})[address] = None
    return [list(several) for several in found.values()]
