# SPDX-License-Identifier: Apache-2.0
"""How long one tenant waits while another one applies the dearest policies there are, and then changes them for ever.

python -m bench.fair PODS CHANGES     in a network namespace of its own
"""

from __future__ import annotations

import json
import resource
import sys
import time
from collections import deque
from random import Random
from typing import TYPE_CHECKING, Final

from bench.hostile import NAMESPACE, NODE, SHAPES, different_pods, some_pods
from bench.policies import NAME_LABEL, labelled
from podfence.agent.loop import Agent
from podfence.agent.source import Bookmark, SourceClosed, Synced
from podfence.agent.watch import KernelWatch
from podfence.cluster.state import Event, EventType
from podfence.dataplane.settings import Settings
from podfence.kube.objects import (
    IPBlock,
    Namespace,
    NetworkPolicy,
    Peer,
    Pod,
    PodTemplate,
    PolicyPort,
    Rule,
    Selector,
)
from podfence.nft.direct import DirectRunner
from podfence.policy.options import Options

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from podfence.agent.reports import Report
    from podfence.agent.source import Notice
    from podfence.kube.objects import KubeObject

NEIGHBOUR: Final = "neighbour"
PAUSE: Final = 0.05
_LOCAL: Final = 30
_PHASES: Final = ("quiet", "applied", "flapping")
_SIZES: Final = {
    "nested": (75, 160),
    "excepts": (20, 40),
    "same-port": (20, 40),
    "subsets": (20, 40),
    "overlapping-ports": (20, 40),
    "many-ports": (10, 100),
    "selectors": (10, 10),
    "values": (40, 49),
    "excluded-pods": (100, 1),
}


class _Source:
    """Notices by the seconds at which they come, and the clock of an agent on a machine with nothing else to do.

    The clock goes on while the loop works, by the time of the processor, and jumps to what it waits for. `steps` are
    when the loop came back, and for how long it was busy before; `waits` when changes of the neighbour came, and how
    long they took.
    """

    def __init__(self) -> None:
        self._script: deque[tuple[float, list[Notice]]] = deque()
        self._waited = -time.thread_time()
        self._since = 0.0
        self._open: dict[str, list[float]] = {}
        self.steps: list[tuple[float, float]] = []
        self.waits: list[tuple[float, float]] = []

    def now(self) -> float:
        """Return the seconds since the start."""
        return self._waited + time.thread_time()

    def put(self, when: float, *notices: Notice) -> None:
        """Let notices come, in order of time."""
        self._script.append((when, list(notices)))

    def receive(self, timeout: float | None) -> Sequence[Notice]:
        """Return what has come, as a source does."""
        now = self.now()
        self.steps.append((now, now - self._since))
        if not self._script:
            raise SourceClosed
        until = self._script[0][0] if timeout is None else min(self._script[0][0], now + timeout)
        self._waited += max(0.0, until - now)
        found: list[Notice] = []
        while self._script and self._script[0][0] <= until + max(0.0, now - until):
            when, notices = self._script.popleft()
            found += notices
            for notice in notices:
                if isinstance(notice, Event) and notice.object.key.namespace == NEIGHBOUR:
                    self._open.setdefault(notice.object.key.name, []).append(when)
        self._since = self.now()
        return found

    def told(self, report: Report) -> None:
        """Note what has become real, with all changes before of the same object."""
        now = self.now()
        for record in report.records:
            if record.namespace == NEIGHBOUR:
                self.waits += ((when, now - when) for when in self._open.pop(record.name, ()))


def cluster(pods: int) -> Iterator[KubeObject]:
    """Yield a namespace whose owner means harm, with pods that differ as much as they can, and that of a neighbour."""
    for name in (NAMESPACE, NEIGHBOUR):
        yield Namespace(name=name, labels={NAME_LABEL: name})
    for number in range(_LOCAL):
        yield _pod(NAMESPACE, f"z{number}", f"10.244.1.{20 + number}", n=str(number))
        yield _policy(f"own{number}", [Rule((), (PolicyPort("TCP", 500 + number),))], labelled(n=str(number)))
    yield from different_pods(pods)
    yield _pod(NEIGHBOUR, "v", "10.244.9.9", app="v")


def hostile() -> Iterator[NetworkPolicy]:
    """Yield 20 policies of one namespace, of all shapes; some are refused, because the budget is used up."""
    random = Random(1)
    for shape, (rules, count) in _SIZES.items():
        policy = SHAPES[shape](rules, count)[-1]
        assert isinstance(policy, NetworkPolicy)
        yield _policy(f"h-{shape}", policy.egress)
    for number in range(20 - len(_SIZES)):
        yield _policy(
            f"i-{number}",
            [
                Rule(
                    tuple(Peer(some_pods(random), Selector()) for _ in range(2)),
                    (PolicyPort("TCP", 1000 + 100 * number + port),),
                )
                for port in range(70)
            ],
        )


def changed(policy: NetworkPolicy, number: int) -> NetworkPolicy:
    """Return another version of a policy, different for each number."""
    first = Rule((), (PolicyPort("TCP", 40_000 + number % 20_000),))
    return _policy(policy.name, [first, *policy.egress[1:]])


def _pod(namespace: str, name: str, address: str, **labels: str) -> Pod:
    template = PodTemplate(labels=labels, node=NODE)
    return Pod(namespace=namespace, name=name, template=template, addresses=(address,), phase="Running")


def _policy(name: str, rules: Sequence[Rule], subject: Selector | None = None, space: str = NAMESPACE) -> NetworkPolicy:
    return NetworkPolicy(
        namespace=space,
        name=name,
        pod_selector=subject or Selector(),
        egress=tuple(rules),
        policy_types=("Egress",),
    )


def _neighbours(number: int) -> NetworkPolicy:
    block = Peer(ip_block=IPBlock(f"192.0.{number // 256}.{number % 256}/32"))
    return _policy(f"n{number % 5}", [Rule((block,), (PolicyPort("TCP", 80),))], space=NEIGHBOUR)


def _times(found: Sequence[float]) -> dict[str, float]:
    ordered = sorted(found)
    return {
        "changes": len(ordered),
        "median": ordered[len(ordered) // 2],
        "p99": ordered[int(len(ordered) * 0.99)],
        "worst": ordered[-1],
    }


def _write(source: _Source, pods: int, changes: int) -> list[float]:
    """Put into a source what happens in all phases; return when they begin."""
    source.put(0.0, *(Event(EventType.ADDED, item) for item in cluster(pods)), Bookmark(1), Synced())
    attack = list(hostile())
    marks: list[float] = []
    number, now = 0, 20.0
    for phase in _PHASES:
        marks.append(now)
        if phase == "applied":
            source.put(now, *(Event(EventType.ADDED, item) for item in attack))
        for _ in range(changes):
            if phase == "flapping":
                source.put(now, *(Event(EventType.MODIFIED, changed(item, number)) for item in attack))
            source.put(now, Event(EventType.MODIFIED if number > 4 else EventType.ADDED, _neighbours(number)))
            number += 1
            now += PAUSE
    return marks


def main() -> None:
    """Print as JSON, by phase, how many seconds the neighbour's changes took, and what that cost.

    First all is quiet, then the hostile policies are applied at once, and in the end each changes twenty times a
    second. `steps` are the longest that the loop was busy at a time.
    """
    pods, changes = map(int, sys.argv[1:3])
    source = _Source()
    marks = _write(source, pods, changes)
    with DirectRunner() as runner:
        agent = Agent(source, NODE, runner, Options(), Settings(), source.told, watch=KernelWatch(), clock=source.now)
        agent.run()
    phases: dict[str, dict[str, object]] = {}
    for phase, begin, end in zip(_PHASES, marks, [*marks[1:], float("inf")], strict=True):
        busy = sorted((round(busy, 3) for at, busy in source.steps if begin <= at < end), reverse=True)
        phases[phase] = {**_times([seconds for at, seconds in source.waits if begin <= at < end]), "steps": busy[:5]}
    print(
        json.dumps(
            {
                **phases,
                "cpu": time.process_time(),
                "mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
            }
        )
    )


if __name__ == "__main__":
    main()
