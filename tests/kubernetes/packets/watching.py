# SPDX-License-Identifier: Apache-2.0
"""Connections without pause from many places, while something is done to the cluster; and what became of them."""

from __future__ import annotations

import socket
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from tests.kubernetes.packets.places import Spot
from tests.kubernetes.packets.traffic import records

if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Self

    from tests.kubernetes.packets.places import Servers

_READY: Final = 30.0


class Flow(NamedTuple):
    """Connections from one place to one address and port: "allowed", "forbidden", or "kept", one that stays."""

    name: str
    spot: Spot
    kind: str
    source: str
    address: str
    port: int


@dataclass
class Seen:
    """What was seen of one flow: what happened, with the time on the monotonic clock, and how many tries there were."""

    flow: Flow
    events: list[tuple[float, str]] = field(default_factory=list)
    tries: int = 0
    longest: float = 0.0


class Watch:
    """A context in which connections are made all the time; `seen` tells of them afterwards."""

    def __init__(self, servers: Servers, flows: Iterable[Flow]) -> None:
        self._servers = servers
        self.seen = {flow.name: Seen(flow) for flow in flows}
        self._threads: list[threading.Thread] = []
        self._connections: list[socket.socket] = []
        self._ready: list[threading.Event] = []
        self.began = 0.0

    def __enter__(self) -> Self:
        by_spot: dict[Spot, list[Seen]] = {}
        for seen in self.seen.values():
            by_spot.setdefault(seen.flow.spot, []).append(seen)
        for spot, own in by_spot.items():
            connection = self._servers.traffic(spot, [seen.flow[2:] for seen in own])
            ready = threading.Event()
            thread = threading.Thread(target=self._read, args=(connection, own, ready), daemon=True)
            thread.start()
            self._connections.append(connection)
            self._threads.append(thread)
            self._ready.append(ready)
        for ready in self._ready:
            assert ready.wait(_READY), f"traffic did not begin: {self.wrong()}"
        self.began = time.monotonic()
        return self

    def __exit__(self, *_: object) -> None:
        for connection in self._connections:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_WR)
        for thread in self._threads:
            thread.join(10)
        for connection in self._connections:
            connection.close()

    def _read(self, connection: socket.socket, own: list[Seen], ready: threading.Event) -> None:
        try:
            with connection.makefile("rb") as file:
                for record in records(file):
                    self._take(record, own, ready)
        except (OSError, ValueError):
            return

    @staticmethod
    def _take(record: dict[str, Any], own: list[Seen], ready: threading.Event) -> None:
        if "flow" in record:
            own[record["flow"]].events.append((record["at"], record["what"]))
        elif "counts" in record:
            for seen, tries, longest in zip(own, record["counts"], record["longest"], strict=True):
                seen.tries, seen.longest = tries, longest
        elif "error" in record:
            own[0].events.append((time.monotonic(), f"lost: {record['error']}"))
        else:
            ready.set()

    def wrong(self, kinds: Iterable[str] = ("allowed", "forbidden", "kept")) -> list[str]:
        """Return everything that should not have happened to flows of some kinds, one line each, first ones only."""
        wanted = set(kinds)
        return [
            f"{at - self.began:.2f} s after the beginning: {name}: {what} ({len(seen.events)} such of {seen.tries})"
            for name, seen in self.seen.items()
            if seen.flow.kind in wanted
            for at, what in seen.events[:3]
        ]

    def summary(self) -> str:
        """Return how many connections there were of each kind, and how long the slowest took, for a person."""
        lines = []
        for kind in ("allowed", "forbidden", "kept"):
            own = [seen for seen in self.seen.values() if seen.flow.kind == kind]
            tries, longest = sum(seen.tries for seen in own), max((seen.longest for seen in own), default=0.0)
            lines.append(f"{kind}: {len(own)} flows, {tries} tries, slowest answer {longest:.3f} s")
        return "; ".join(lines)
