# SPDX-License-Identifier: Apache-2.0
"""Packets that are not those of the pod whose link they came by, told to people.

They are dropped before any policy is asked, or only told of; the kernel logs them with the reason as the prefix.
Whoever sends them may write anything into them, so each link has its own share of lines.
"""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Final, NamedTuple

from podfence.agent.denials import AGAIN, Names, Share, ends
from podfence.dataplane.drops import PREFIX, REASONS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from podfence.agent.nflog import Logged
    from podfence.dataplane.compiler import Compiler
    from podfence.dataplane.links import Links
    from podfence.dataplane.settings import Binding

MOST: Final = 20
"""How many lines a link has in that time."""

_TYPES: Final = {0x0800: "IPv4", 0x0806: "ARP", 0x86DD: "IPv6"}


class Stray(NamedTuple):
    """A packet as it is told; addresses and names are empty if they are not known.

    `verdict` is "dropped" or "passed". `interface` is the link that it came by, and `pod` whose that is. `protocol` is
    the one of IP, or else what kind of frame it is. As text it is a line for people.
    """

    verdict: str
    reason: str
    interface: str
    pod: str
    hardware: str
    source: str
    source_name: str
    destination: str
    destination_name: str
    protocol: str
    port: int | None

    def __str__(self) -> str:
        """Return ``dropped unknown-source by veth1 of shop/web: 10.0.0.9 -> shop/db (10.0.0.2) TCP 80``."""
        by = f"{self.verdict} {self.reason} by {self.interface}{f' of {self.pod}' if self.pod else ''}"
        source = f"{self.source_name} ({self.source})" if self.source_name else self.source or self.hardware
        target = f"{self.destination_name} ({self.destination})" if self.destination_name else self.destination
        port = "" if self.port is None else f" {self.port}"
        return f"{by}: {source}{f' -> {target}' if target else ''} {self.protocol}{port}"


class LeftOutStrays(NamedTuple):
    """How many packets of a link were not told of, because there were too many kinds of them."""

    interface: str
    packets: int

    def __str__(self) -> str:
        """Return the sentence."""
        return f"{self.packets} stray packets on {self.interface} were not logged"


class Strays:
    """Tells of packets, and leaves out what repeats."""

    def __init__(self, binding: Binding) -> None:
        """Start with nothing said; `binding` is the one of the settings, which says what became of the packets."""
        self._verdict = "dropped" if binding == "enforce" else "passed"
        self._names = Names()
        self._shares: dict[str, Share[Stray]] = {}
        self._told = 0.0

    def tell(
        self, found: Iterable[Logged], links: Links | None, compiler: Compiler, now: float
    ) -> list[Stray | LeftOutStrays]:
        """Return each packet that is no policy's, if nothing like it was told within the last minute.

        Packets that others logged are left out. `now` is in seconds. Names of interfaces are those in this thread's
        network namespace; safe while another thread changes the compiler's program.
        """
        self._names.follow(compiler.model.state)
        pods = {} if links is None else {link.interface: link.pod for link in links.pods}
        result: list[Stray | LeftOutStrays] = []
        for logged in found:
            item = self._stray(logged, pods, compiler)
            if item is None:
                continue
            if self._shares.setdefault(item.interface, Share(MOST)).spend(item, now):
                result.append(item)
        if now - self._told >= AGAIN:
            self._told = now
            for name, share in sorted(self._shares.items()):
                if share.left_out:
                    result.append(LeftOutStrays(name, share.left_out))
                    share.left_out = 0
            # Links come and go with their pods.
            self._shares = {name: share for name, share in self._shares.items() if not share.is_idle(now)}
        return result

    def _stray(self, logged: Logged, pods: Mapping[str, str], compiler: Compiler) -> Stray | None:
        reason = logged.prefix.removeprefix(PREFIX).rstrip().removesuffix(":")
        if not logged.prefix.startswith(PREFIX) or reason not in REASONS:
            return None
        interface = _name(logged.interface)
        head = self._verdict, reason, interface, pods.get(interface, ""), logged.hardware
        found = ends(logged.packet)
        if found is None:
            kind = _TYPES.get(logged.kind, f"frame {logged.kind:#06x}" if logged.kind else "frame")
            return Stray(*head, "", "", "", "", kind, None)
        return Stray(*(*head, *self._names.told(found, compiler)))


def _name(number: int) -> str:
    try:
        return socket.if_indextoname(number)
    except OSError:
        return f"interface {number}"
