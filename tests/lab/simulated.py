# SPDX-License-Identifier: Apache-2.0
"""A network in memory that passes what the slow twin allows, with servers that may be dead, and mistakes."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

from tests.twin.question import AddressEnd, Answer, Traffic
from tests.twin.twin import Twin

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Sequence

    from podfence.kube.objects import KubeObject
    from podfence.lab.processes.probing import Probe
    from podfence.lab.targets import Place
    from podfence.policy.options import Options

Way = tuple[str, str, str, int]
"""Source address, destination address, kind and port."""


class Network:
    """Answers probes as the twin says; `wrong` ways do the opposite, `lost` ones fail once, `dead` targets always."""

    def __init__(
        self,
        objects: Iterable[KubeObject],
        options: Options,
        *,
        wrong: Collection[Way] = (),
        lost: Collection[Way] = (),
        dead: Collection[tuple[str, str, int]] = (),
        open_ports: Collection[int] = (80,),
    ) -> None:
        self._twin = Twin(objects, options)
        self._wrong = set(wrong)
        self._lost = set(lost)
        self._dead = set(dead)
        self._open = open_ports
        self._lock = threading.Lock()
        self._known: dict[Way, bool] = {}
        self.enforced = True
        self.times_lifted = 0
        self.asked: list[tuple[Place, Probe]] = []
        self.asked_lifted: list[Way] = []

    @contextmanager
    def lifted(self) -> Iterator[None]:
        self.times_lifted += 1
        self.enforced = False
        yield
        self.enforced = True

    def probe(self, source: Place, probes: Sequence[Probe]) -> list[str]:
        with self._lock:
            self.asked += [(source, probe) for probe in probes]
            return [self._outcome(way_of(probe)) for probe in probes]

    def _outcome(self, way: Way) -> str:
        _, destination, kind, port = way
        if not self.enforced:
            self.asked_lifted.append(way)
        if way in self._lost:
            self._lost.discard(way)
            return "timeout"
        if (destination, kind, port) in self._dead or (self.enforced and self._allowed(way) is (way in self._wrong)):
            return "timeout"
        return "open" if kind == "icmp" or port in self._open else "refused"

    def _allowed(self, way: Way) -> bool:
        found = self._known.get(way)
        if found is None:
            source, destination, kind, port = way
            traffic = Traffic("ICMP") if kind == "icmp" else Traffic("TCP" if kind == "tcp" else "UDP", port)
            answer = self._twin.allowed(AddressEnd(source), AddressEnd(destination), traffic)
            found = self._known[way] = answer is Answer.YES
        return found


def way_of(probe: Probe) -> Way:
    return probe.source, probe.destination, probe.kind, probe.port
