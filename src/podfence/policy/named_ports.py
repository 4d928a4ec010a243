# SPDX-License-Identifier: Apache-2.0
"""Names of ports, looked up on the pod that is the destination (semantics 5.4 to 5.6, 5.8)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from podfence.sets import PortSet

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

    from podfence.policy.options import Options

PortName = tuple[str, str]
"""A port's name and protocol."""

DeclaredPort = tuple[str, str, int, bool]
"""A port as a pod declares it: name, protocol, number, and whether it is one of a sidecar, as in `PodClass.ports`."""


def meant(declared: Iterable[DeclaredPort], names: Collection[PortName], options: Options) -> Iterator[DeclaredPort]:
    """Yield the ports of a pod that have one of the names under its protocol; those of sidecars by option (5.8)."""
    containers_only = options.init_ports == "containers"
    for port in declared:
        if port[:2] in names and not (containers_only and port[3]):
            yield port


def named_ports(declared: Iterable[DeclaredPort], names: Collection[PortName], options: Options) -> PortSet:
    """Return the numbers that names of ports have on a pod; a name may have several, or none (semantics 5.4, 5.5)."""
    return PortSet.union(PortSet.single(protocol, number) for _, protocol, number, _ in meant(declared, names, options))
