# SPDX-License-Identifier: Apache-2.0
"""Changes under traffic: who might connect at what time, worked out afterwards from records of both.

A connection that was under way while tables changed is judged by all states it may have met. What two
nodes decide is judged by each node alone, because they do not change in the same moment.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from bisect import bisect_right
from collections import Counter
from contextlib import ExitStack
from itertools import accumulate
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Final, NamedTuple, Self

from podfence.api import Cluster
from podfence.dataplane.enforcer import Enforcer
from podfence.kube.objects import Node
from podfence.policy.engine import Bound
from podfence.policy.options import Options
from podfence.policy.verdict import Direction
from podfence.sets import PortSet
from podfence.sets.addresses import parse_address
from tests.dataplane.drawing import Drawing
from tests.dataplane.fabric import NODE_OF, NODES, Fabric, places
from tests.dataplane.prober import PLACE_OF, TCP_PORTS, UDP_PORTS, Probe
from tests.dataplane.test_against_engine import end_at
from tests.dataplane.traffic import AGAIN, ARRIVED, CONNECTED, RECORD, REFUSED, SENT, SILENT
from tests.dataplane.trial import EVERY_PROBE

if TYPE_CHECKING:
    from collections.abc import Sequence

PROGRAM: Final = Path(__file__).with_name("traffic.py")
FLOWS: Final = tuple(probe for probe in EVERY_PROBE if probe.kind != "icmp")
CLIENTS: Final = 2
IN_FLIGHT: Final = 1200
LONGEST: Final = 300.0
MOMENT: Final = 0.005


class Try(NamedTuple):
    """One that went wrong: what came of it (see `traffic`), and the numbers of the states it may have met."""

    probe: Probe
    result: int
    first: int
    last: int


class Seen(NamedTuple):
    """What was tried and what went wrong.

    `allowed` counts connections, `forbidden` connections and datagrams, on which all states they met agreed.
    `during` are those of `allowed` that were under way while a table changed. `lost` were allowed and not answered at once, `passed` were forbidden and passed.
    """

    seconds: float
    changes: int
    connections: int
    datagrams: int
    allowed: int
    during: int
    forbidden: int
    lost: tuple[Try, ...]
    passed: tuple[Try, ...]

    def __str__(self) -> str:
        """Return it as one line."""
        return (
            f"{self.seconds:.1f} s: {self.changes} changes under {self.connections:,} connections and {self.datagrams:,} "
            f"datagrams; {self.allowed:,} connections allowed throughout ({self.during:,} of them while tables changed), {len(self.lost)} of them lost; "
            f"{self.forbidden:,} tries forbidden throughout, {len(self.passed)} of them passed"
        )


def run(folder: Path, *, seed: int, changes: int, connections: int) -> Seen:
    """Apply so many random changes while so many connections are made, spread evenly, and judge them."""
    drawing = Drawing(Random(seed), held=False)
    cluster = Cluster.from_objects(drawing.start(), Options(world="closed"))
    history = History(cluster)
    with Fabric() as fabric:
        runners = {node: fabric.direct(node) for node in NODES}
        enforcers = [Enforcer(runner, node, cluster.model) for node, runner in runners.items()]
        for enforcer in enforcers:
            enforcer.start()
        fabric.forget_soon()
        began = time.monotonic()
        with Traffic(fabric, folder) as traffic:
            events = (event for _ in range(100 * changes) for event in drawing.step().events)
            for number in range(1, changes + 1):
                event = next(event for event in events if not isinstance(event.object, Node))
                change = cluster.apply(event)
                history.begin()
                for enforcer in enforcers:
                    enforcer.apply(change)
                history.end()
                traffic.wait_for(connections * number // changes)
        for enforcer in enforcers:
            assert enforcer.verify() == ()
        for runner in runners.values():
            runner.close()
    return history.judge(traffic.records(), time.monotonic() - began)


class History:
    """What each state of a cluster allowed on every flow, and when it came to be."""

    def __init__(self, cluster: Cluster) -> None:
        """Begin with the state that is there."""
        self._cluster = cluster
        self._begun: list[float] = []
        self._ended: list[float] = []
        self._states = [self._look()]

    def begin(self) -> None:
        """Note that tables are about to change to what the cluster is now."""
        self._begun.append(time.monotonic())

    def end(self) -> None:
        """Note that they have."""
        self._ended.append(time.monotonic())
        self._states.append(self._look())

    def _look(self) -> list[tuple[bool, bool]]:
        """Return what egress and ingress allow, for each flow."""
        engine = self._cluster.model.engine
        ends = {address: end_at(self._cluster, parse_address(address)) for address in PLACE_OF}
        known: dict[tuple[str, str], tuple[PortSet, PortSet]] = {}
        found = []
        for probe in FLOWS:
            pair = probe.source, probe.destination
            if pair not in known:
                left, right = ends[probe.source], ends[probe.destination]
                known[pair] = (
                    engine.admitted(Direction.EGRESS, left, right, Bound.OPTIMISTIC),
                    engine.admitted(Direction.INGRESS, left, right, Bound.OPTIMISTIC),
                )
            point = PortSet.single(probe.kind.upper(), probe.port)
            found.append((point <= known[pair][0], point <= known[pair][1]))
        return found

    def judge(self, records: Sequence[tuple[int, int, float, float]], seconds: float) -> Seen:
        """Return which of the tries went wrong."""
        sums = [_Sums([state[number] for state in self._states], probe) for number, probe in enumerate(FLOWS)]
        counts = Counter(record[0] for record in records)
        lost, passed = [], []
        allowed = during = forbidden = 0
        for result, number, began, ended in records:
            flow, answered = sums[number], result in (CONNECTED, AGAIN, ARRIVED)
            first, last = bisect_right(self._ended, began), bisect_right(self._begun, ended)
            if result in (CONNECTED, AGAIN, REFUSED, SILENT) and flow.always(first, last):
                allowed += 1
                during += first < last
                if result != CONNECTED:
                    lost.append(Try(FLOWS[number], result, first, last))
            if answered and flow.never(first, last):
                passed.append(Try(FLOWS[number], result, first, last))
            # Whatever came of it later: a first packet is judged within moments.
            if result != ARRIVED and flow.never(first, bisect_right(self._begun, began + MOMENT)):
                forbidden += 1
        return Seen(
            seconds,
            len(self._begun),
            sum(counts[result] for result in (CONNECTED, AGAIN, REFUSED, SILENT)),
            counts[SENT],
            allowed,
            during,
            forbidden,
            tuple(lost),
            tuple(passed),
        )


class _Sums:
    """In how many of the first n states a flow was allowed, by each of the parts that decide it."""

    def __init__(self, states: Sequence[tuple[bool, bool]], probe: Probe) -> None:
        one_node = NODE_OF.get(probe.source) == NODE_OF.get(probe.destination)
        parts = [[a and b for a, b in states]] if one_node else list(zip(*states, strict=True))
        self._parts = [[0, *accumulate(part)] for part in parts]

    def always(self, first: int, last: int) -> bool:
        return all(part[last + 1] - part[first] == last + 1 - first for part in self._parts)

    def never(self, first: int, last: int) -> bool:
        return any(part[last + 1] == part[first] for part in self._parts)


class Traffic:
    """One process that serves everywhere and some that connect, for as long as this is entered."""

    def __init__(self, fabric: Fabric, folder: Path) -> None:
        """Start them."""
        self._folder = folder
        self._stack = ExitStack()
        self._clients: list[Path] = []
        fds = {name: space.fd for name, space in fabric.spaces.items()}
        served = [[fds[name], address, TCP_PORTS, UDP_PORTS] for name, some in places().items() for address in some]
        with ExitStack() as stack:
            stack.callback(self._stack.close)
            self._start("server", {"serve": served}, tuple(fds.values()))
            for client in range(CLIENTS):
                mine = [
                    [number, fds[PLACE_OF[probe.source]], *probe]
                    for number, probe in enumerate(FLOWS)
                    if tuple(PLACE_OF).index(probe.source) % CLIENTS == client
                ]
                wanted = {"connect": mine, "in_flight": IN_FLIGHT}
                self._clients.append(self._start(f"client{client}", wanted, tuple(fds.values())))
            stack.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def _start(self, name: str, wanted: object, fds: tuple[int, ...]) -> Path:
        path = self._folder / name
        process = subprocess.Popen(
            [sys.executable, "-I", str(PROGRAM), str(path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            pass_fds=fds,
        )
        self._stack.callback(process.communicate)
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(json.dumps(wanted) + "\n")
        process.stdin.flush()
        assert process.stdout.readline() == "ready\n"
        return path

    def wait_for(self, connections: int) -> None:
        """Return when so many connections have been tried."""
        end = time.monotonic() + LONGEST
        # A third of the tries are datagrams, and what is still in flight is not told yet.
        tries = connections * len(FLOWS) // sum(probe.kind == "tcp" for probe in FLOWS) + CLIENTS * IN_FLIGHT
        while sum(path.stat().st_size for path in self._clients) < tries * RECORD.size:
            assert time.monotonic() < end, "traffic stopped"
            time.sleep(0.002)

    def records(self) -> list[tuple[int, int, float, float]]:
        """Return all tries, when the processes have ended."""
        return [item for path in self._folder.iterdir() for item in RECORD.iter_unpack(path.read_bytes())]
