# SPDX-License-Identifier: Apache-2.0
"""How long one tenant waits while another one applies the dearest policies there are, all at once.

python -m bench.fair PODS CHANGES     in a network namespace of its own
"""

from __future__ import annotations

import json
import queue
import resource
import sys
import threading
import time
from random import Random
from typing import TYPE_CHECKING, Final

from bench.hostile import NAMESPACE, NODE, SHAPES, different_pods, some_pods
from bench.policies import NAME_LABEL, labelled
from podfence.agent.loop import Agent
from podfence.agent.source import Bookmark, SourceClosed, Synced
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

PAUSE: Final = 0.05
_LOCAL: Final = 30
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
    """A queue of notices, until it is closed."""

    def __init__(self) -> None:
        self._queue: queue.SimpleQueue[Notice | None] = queue.SimpleQueue()
        self._since = time.thread_time()
        self.steps: list[tuple[float, float]] = []

    def put(self, *notices: Notice | None) -> None:
        for notice in notices:
            self._queue.put(notice)

    def receive(self, timeout: float | None) -> Sequence[Notice]:
        """Return what has come, as a source does; `steps` has when, and for how long the loop was busy before."""
        self.steps.append((time.monotonic(), time.thread_time() - self._since))
        try:
            return self._receive(timeout)
        finally:
            self._since = time.thread_time()

    def _receive(self, timeout: float | None) -> Sequence[Notice]:
        found: list[Notice] = []
        try:
            item = self._queue.get(timeout=timeout)
            while item is not None:
                found.append(item)
                item = self._queue.get_nowait()
        except queue.Empty:
            return found
        raise SourceClosed


def cluster(pods: int) -> Iterator[KubeObject]:
    """Yield a namespace whose owner means harm, with pods that differ as much as they can, and that of a neighbour."""
    for name in (NAMESPACE, "neighbour"):
        yield Namespace(name=name, labels={NAME_LABEL: name})
    for number in range(_LOCAL):
        yield _pod(NAMESPACE, f"z{number}", f"10.244.1.{20 + number}", n=str(number))
        yield _policy(f"own{number}", [Rule((), (PolicyPort("TCP", 500 + number),))], labelled(n=str(number)))
    yield from different_pods(pods)
    yield _pod("neighbour", "v", "10.244.9.9", app="v")


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
    return _policy(f"n{number % 5}", [Rule((block,), (PolicyPort("TCP", 80),))], space="neighbour")


def main() -> None:
    """Print as JSON: seconds that the neighbour's changes took, quiet and under attack, and what that cost.

    `steps` are the longest that the loop was busy at a time, in seconds of the processor: on an idle machine nobody
    waits much longer.
    """
    pods, changes = map(int, sys.argv[1:3])
    source = _Source()
    taken: list[tuple[float, float]] = []

    def report(told: Report) -> None:
        now = time.monotonic()
        taken.extend((now, record.seconds) for record in told.records if record.namespace == "neighbour")

    def feed() -> None:
        source.put(*(Event(EventType.ADDED, item) for item in cluster(pods)), Bookmark(1), Synced())
        number = 0
        for phase in range(2):
            if phase:
                marks.append(time.monotonic())
                source.put(*(Event(EventType.ADDED, item) for item in hostile()))
            for _ in range(changes):
                source.put(Event(EventType.MODIFIED if number > 4 else EventType.ADDED, _neighbours(number)))
                number += 1
                time.sleep(PAUSE)
        source.put(None)

    marks: list[float] = []
    with DirectRunner() as runner:
        agent = Agent(source, NODE, runner, Options(), Settings(), report)
        threading.Thread(target=feed, daemon=True).start()
        agent.run()
        behind = agent.enforcer is None or agent.enforcer.is_behind
    quiet = sorted(seconds for at, seconds in taken if at < marks[0])
    under = sorted(seconds for at, seconds in taken if at >= marks[0])
    print(
        json.dumps(
            {
                "quiet": [quiet[len(quiet) // 2], quiet[-1]],
                "median": under[len(under) // 2],
                "p99": under[int(len(under) * 0.99)],
                "worst": under[-1],
                "changes": len(under),
                "steps": sorted((round(busy, 3) for at, busy in source.steps if at >= marks[0]), reverse=True)[:5],
                "behind": behind,
                "cpu": time.process_time(),
                "mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
            }
        )
    )


if __name__ == "__main__":
    main()
