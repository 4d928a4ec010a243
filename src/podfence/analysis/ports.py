# SPDX-License-Identifier: Apache-2.0
"""Ports as people write them: ``80``, ``53/udp``, ``9000-9010/sctp``, ``metrics``, ``icmp``, or nothing."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from msgspec import Struct

from podfence.errors import EndpointError
from podfence.sets.ports import LAST_PORT, PROTOCOLS, PortSet

if TYPE_CHECKING:
    from collections.abc import Iterable

    from podfence.cluster.members import Member
    from podfence.kube.objects import ContainerPort, ServicePort

_NUMBERS = re.compile(r"(\d{1,6})(?:-(\d{1,6}))?", re.ASCII)
_NAME = re.compile(r"(?=.*[a-z])[a-z0-9]([a-z0-9-]*[a-z0-9])?")


class PortQuestion(Struct, frozen=True):
    """A set of ports asked about; `name` is set (and `ports` empty) for a named port, `protocol` limits it.

    `text` is how it is shown: ``TCP 5432``, ``UDP 53``, ``all ports``.
    """

    text: str
    ports: PortSet
    name: str = ""
    protocol: str = ""

    def names(self, port: ContainerPort | ServicePort) -> bool:
        """Return whether a port of a pod or Service has the name that is asked about."""
        return port.name == self.name and self.protocol in ("", port.protocol)

    def on(self, members: Iterable[Member]) -> PortSet:
        """Return the ports asked about on pods: a name means what each of them declares under it."""
        if not self.name:
            return self.ports
        declared = (port for member in members for port in member.ports if self.names(port))
        return PortSet.union(PortSet.single(port.protocol, port.number) for port in declared)


def parse_port(value: int | str | None) -> PortQuestion:
    """Return the ports a text or number asks about; None asks about every port of every protocol.

    Raises EndpointError saying what can be written.
    """
    if value is None or value == "":
        return PortQuestion("all ports", PortSet.ALL)
    text = str(value).strip()
    if text.lower() == "icmp":
        return PortQuestion("ICMP", PortSet.OTHER)
    left, separator, right = text.partition("/")
    protocol = right.upper() if separator else "TCP"
    if left.upper() in PROTOCOLS and not separator:
        return PortQuestion(f"all {left.upper()}", PortSet.whole(left.upper()))
    if protocol not in PROTOCOLS:
        raise EndpointError(f"port {text!r}: protocol {right!r} is not one of tcp, udp, sctp")
    numbers = _NUMBERS.fullmatch(left)
    if numbers:
        first = int(numbers[1])
        last = int(numbers[2] or first)
        if not (1 <= first <= last <= LAST_PORT):
            message = f"port {text!r}: ports run from 1 to {LAST_PORT}, and a range from its lower to its higher end"
            raise EndpointError(message)
        ports = PortSet.of(protocol, first, last)
        return PortQuestion(str(ports), ports)
    if not _NAME.fullmatch(left):
        message = (
            f"port {text!r}: write a number, a range (9000-9010), a port name, icmp, each with /tcp, /udp or /sctp"
        )
        raise EndpointError(message)
    return PortQuestion(
        f"{protocol + ' ' if separator else ''}{left}", PortSet.EMPTY, left, protocol if separator else ""
    )
