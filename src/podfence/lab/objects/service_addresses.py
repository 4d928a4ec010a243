# SPDX-License-Identifier: Apache-2.0
"""What the API server gives to Services: cluster addresses and node ports."""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING, Final

import msgspec

from podfence.errors import InputError
from podfence.kube.findings import Finding, Position
from podfence.lab.objects.allocation import Pool

if TYPE_CHECKING:
    from collections.abc import Iterable

    from podfence.kube.objects import Service, ServicePort
    from podfence.kube.source import Path
    from podfence.lab.addresses import Plan

# The lowest addresses are for Services that ask for one, as with the API server; .1 would be its own.
_FIRST: Final = 2
_FIRST_UNASKED: Final = 257
_NODE_PORTS: Final = range(30000, 32768)
_WITH_NODE_PORTS: Final = ("NodePort", "LoadBalancer")
_ADDRESS: Final[Path] = ("spec", "clusterIP")


class ServiceAddresses:
    """The cluster addresses and node ports of a lab, and which of them are taken."""

    def __init__(self, plan: Plan) -> None:
        """Start with nothing taken."""
        blocks = [plan.service_range(family) for family in plan.families]
        self._pools = {block: Pool(block, _FIRST, start=_FIRST_UNASKED) for block in blocks}
        self._ports: set[int] = set()
        self._next_port = _NODE_PORTS.start

    def assign(self, service: Service, before: Service | None) -> tuple[Service, list[str]]:
        """Return the Service with an address per family and with node ports, and notes.

        It keeps what `before`, the one it replaces, had. Raises InputError, with nothing changed, if it
        asks for what another one has, or for what cannot be had.
        """
        notes: list[str] = []
        if before is not None and before.headless and service.type != "ExternalName" and not service.addresses:
            service = msgspec.structs.replace(service, headless=True)
        self.release(before)
        try:
            addresses = self._choose_addresses(service, before, notes)
            ports = self._choose_ports(service, before)
        except InputError:
            if before is not None:
                self._take(before.addresses, before.ports)
            raise
        self._take(addresses, ports)
        if service.type == "LoadBalancer":
            notes.append("the lab has no load balancer; from outside, use the node port")
        return msgspec.structs.replace(service, addresses=addresses, ports=ports), notes

    def release(self, service: Service | None) -> None:
        """Give back what a Service had."""
        if service is not None:
            for text in service.addresses:
                self._pool(text).release(text)
            self._ports -= {port.node_port for port in service.ports}

    def _take(self, addresses: Iterable[str], ports: Iterable[ServicePort]) -> None:
        for text in addresses:
            self._pool(text).take(text)
        self._ports |= {port.node_port for port in ports if port.node_port}

    def _pool(self, text: str) -> Pool:
        return next(pool for pool in self._pools.values() if text in pool)

    def _choose_addresses(self, service: Service, before: Service | None, notes: list[str]) -> tuple[str, ...]:
        if service.type == "ExternalName":
            return ()
        had = before.addresses if before is not None else ()
        if service.headless:
            if had:
                raise _refusal(service, _ADDRESS, 'Invalid value: "None": may not change once set')
            return ()
        asked = [str(ipaddress.ip_address(text)) for text in service.addresses]
        notes += [
            f"{text} is not in {' or '.join(self._pools)}, so the Service gets another address"
            for text in asked
            if not any(text in pool for pool in self._pools.values())
        ]
        return tuple(self._choose_address(service, pool, asked, had) for pool in self._pools.values())

    def _choose_address(self, service: Service, pool: Pool, asked: Iterable[str], had: Iterable[str]) -> str:
        wanted = next((text for text in asked if text in pool), None)
        kept = next((text for text in had if text in pool), None)
        if wanted is not None and kept is not None and wanted != kept:
            raise _refusal(service, _ADDRESS, f'Invalid value: ["{wanted}"]: may not change once set')
        chosen = wanted or kept
        if chosen is None:
            chosen = pool.allocate()
            if chosen is None:
                raise _refusal(service, _ADDRESS, "Internal error: failed to allocate a serviceIP: range is full")
        elif not pool.take(chosen):
            message = f"failed to allocate IP {chosen}: provided IP is already allocated"
            raise _refusal(service, _ADDRESS, f'Invalid value: ["{chosen}"]: {message}')
        # It is taken together with the rest.
        pool.release(chosen)
        return chosen

    def _choose_ports(self, service: Service, before: Service | None) -> tuple[ServicePort, ...]:
        opened = service.type in _WITH_NODE_PORTS
        for index, port in enumerate(service.ports):
            if port.node_port:
                message = self._against(port.node_port, opened=opened)
                if message:
                    raise _refusal(service, ("spec", "ports", index, "nodePort"), message)
        if not opened:
            return service.ports
        had = {(port.protocol, port.port): port.node_port for port in before.ports} if before is not None else {}
        chosen = {port.node_port for port in service.ports if port.node_port}
        ports: list[ServicePort] = []
        for index, port in enumerate(service.ports):
            number = port.node_port or self._free_port(chosen, had.get((port.protocol, port.port), 0))
            if not number:
                message = "Internal error: failed to allocate a nodePort: range is full"
                raise _refusal(service, ("spec", "ports", index, "nodePort"), message)
            chosen.add(number)
            ports.append(msgspec.structs.replace(port, node_port=number))
        return tuple(ports)

    def _against(self, number: int, *, opened: bool) -> str:
        """Return what the API server has against a node port, "" if nothing."""
        if not opened:
            return "Forbidden: may not be used when `type` is 'ClusterIP'"
        if number not in _NODE_PORTS:
            valid = f"{_NODE_PORTS.start}-{_NODE_PORTS.stop - 1}"
            return (
                f"Invalid value: {number}: provided port is not in the valid range. The range of valid ports is {valid}"
            )
        if number in self._ports:
            return f"Invalid value: {number}: provided port is already allocated"
        return ""

    def _free_port(self, chosen: set[int], kept: int) -> int:
        """Return the node port a port had before, else the next free one, 0 if there is none."""
        taken = self._ports | chosen
        if kept and kept not in taken:
            return kept
        ahead = range(self._next_port, _NODE_PORTS.stop)
        number = next((number for number in (*ahead, *_NODE_PORTS) if number not in taken), 0)
        if number:
            self._next_port = number + 1
        return number


def _refusal(service: Service, place: Path, message: str) -> InputError:
    position = service.origin.at(*place) if service.origin is not None else Position(service.name)
    return InputError([Finding(position=position, path=place, message=message)])
