# SPDX-License-Identifier: Apache-2.0
"""Nodes by name and by address, also those that only the pods on them tell of."""

from __future__ import annotations

from typing import TYPE_CHECKING

from podfence.sets.addresses import parse_address

if TYPE_CHECKING:
    from collections.abc import Iterable

    from podfence.cluster.state import ClusterState


def node_addresses(state: ClusterState) -> dict[str, tuple[int, ...]]:
    """Return the addresses of every node that is loaded or that a pod runs on, in ascending order.

    A loaded Node knows its own; of others the pods on them tell (`status.hostIPs`).
    """
    found = {node.name: set(numbers_of(node.addresses)) for node in state.nodes.values()}
    for pod in state.pods.values():
        name = pod.template.node
        if name and name not in state.nodes:
            found.setdefault(name, set()).update(numbers_of(pod.node_addresses))
    return {name: tuple(sorted(numbers)) for name, numbers in sorted(found.items())}


def numbers_of(texts: Iterable[str]) -> Iterable[int]:
    """Yield the addresses among texts as numbers; what is no address, such as a host name, is left out."""
    for text in texts:
        try:
            yield parse_address(text)
        except ValueError:
            continue
