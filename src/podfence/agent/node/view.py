# SPDX-License-Identifier: Apache-2.0
"""What metrics, probes and commands read of a running agent of a node, and nothing else of it."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from podfence.agent.node.answer import Moment, timestamp

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from concurrent.futures import Future

    from podfence.agent.loop import Agent
    from podfence.agent.node.answer import PodLinks, SourceName
    from podfence.agent.node.findings import NodeFinding
    from podfence.agent.node.settling import Settling
    from podfence.agent.reports import Report
    from podfence.dataplane.settings import Binding
    from podfence.kube.live.reflector import Health

_Answer = TypeVar("_Answer")


class Latest:
    """The last change and the last error of an agent's reports.

    Written by the loop's thread; reading an attribute from another one is safe.
    """

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        """Know of none yet; `clock` gives seconds since the epoch."""
        self._clock = clock
        self.change: Moment | None = None
        self.error: Moment | None = None
        self.enforced = False
        self.reached = 0

    def note(self, report: Report) -> None:
        """Take a report in; `enforced` is whether any so far said that the kernel has all that was delivered.

        `reached` is up to which mark it has, 0 while it has not all.
        """
        at = timestamp(self._clock())
        if report.records:
            last = report.records[-1]
            name = f"{last.kind} {last.namespace}/{last.name} {last.type.lower()}"
            self.change = Moment(at=at, what=f"{name}, in the kernel after {last.seconds * 1000:.1f} ms")
        if report.errors:
            self.error = Moment(at=at, what=report.errors[-1])
        self.enforced |= report.enforcing
        self.reached = (report.revision or 0) if report.enforcing else 0


@dataclass(frozen=True, slots=True)
class ObjectSource:
    """Where the objects come from at present, since when in seconds since the epoch, and how each watch is doing."""

    name: SourceName
    since: float
    watches: Sequence[Health]


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """A running agent; everything may be asked in any thread, and returns at once.

    `started` is when the agent began, in seconds since the epoch, and `latest` what the loop reported last. `wake` has
    the loop come round, and `beat` returns when it last did or got on, in seconds of the monotonic clock. `findings`
    returns what is wrong with the node, `links` how many of its pods are bound, and `source` whence the objects come.
    `settling` is for those who wait in the event loop until the kernel has something.
    """

    node: str
    started: float
    agent: Agent
    binding: Binding
    latest: Latest
    wake: Callable[[], None]
    beat: Callable[[], float]
    findings: Callable[[], Sequence[NodeFinding]]
    links: Callable[[], PodLinks]
    source: Callable[[], ObjectSource]
    settling: Settling

    def ask(self, question: Callable[[], _Answer]) -> Future[_Answer]:
        """Let the loop's thread answer."""
        answer = self.agent.ask(question)
        self.wake()
        return answer

    def obstacles(self) -> tuple[str, ...]:
        """Return why the agent is not ready, a sentence each; none if the kernel has all that was delivered."""
        found = [str(item) for item in self.findings() if item.severity == "fatal"]
        if self.agent.status().enforcing:
            return tuple(found)
        error, source = self.latest.error, self.source()
        if self.latest.enforced:
            found.append(error.what if error else "the kernel could not be programmed")
        elif source.name == "waiting":
            missing = ", ".join(item.kind for item in source.watches if not item.listed)
            found.append(f"waiting for the first complete list of {missing or 'objects'}")
            kinds: dict[str, list[str]] = {}
            for item in source.watches:
                kinds.setdefault(item.error, []).append(item.kind)
            found += [f"{', '.join(names)}: {why}" for why, names in kinds.items() if why]
        else:
            found.append(error.what if error else "the first complete list is not in the kernel yet")
        return tuple(found)
