# SPDX-License-Identifier: Apache-2.0
"""Policy ports as section 5 of the specification defines them."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from podfence.kube.objects import ContainerPort, Pod, PolicyPort
    from podfence.policy.options import Options

    from .question import Traffic


def named_ports(pod: Pod, options: Options) -> tuple[ContainerPort, ...]:
    """Return the ports whose names count: sidecars' too, or containers' only (semantics 5.8)."""
    if options.init_ports == "containers":
        return tuple(port for port in pod.template.ports if not port.sidecar)
    return pod.template.ports


def name_matches(name: str, traffic: Traffic, pod: Pod, options: Options) -> bool:
    """Return whether the pod has a port of that name, that protocol and that number (semantics 5.4, 5.5)."""
    return any(
        port.name == name and port.protocol == traffic.protocol and port.number == traffic.port
        for port in named_ports(pod, options)
    )


def number_matches(first: int, end_port: int | None, traffic: Traffic, options: Options) -> bool:
    """Return whether the port is in first..endPort, or is the first if endPort is not honoured (semantics 5.3)."""
    last = first if end_port is None or options.end_port == "first" else end_port
    return traffic.port is not None and first <= traffic.port <= last


def item_matches(item: PolicyPort, traffic: Traffic, resolve_on: Pod | None, options: Options) -> bool:
    """Return whether one item of `ports` matches: the protocol, and the port if there is one (semantics 5.1).

    `resolve_on` is the pod on which a name is looked up, None if it can resolve on nothing (5.7).
    """
    if item.protocol != traffic.protocol:
        return False
    if item.port is None:
        return True
    if isinstance(item.port, str):
        return resolve_on is not None and name_matches(item.port, traffic, resolve_on, options)
    return number_matches(item.port, item.end_port, traffic, options)
