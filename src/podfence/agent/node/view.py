# SPDX-License-Identifier: Apache-2.0
"""What metrics, probes and commands read of a running agent of a node, and nothing else of it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Literal, NamedTuple, Protocol, TypeVar

from podfence.agent.reports import Record

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from concurrent.futures import Future

    from podfence.agent.loop import Agent
    from podfence.agent.node.attaching import Attachments
    from podfence.agent.node.findings import Finding
    from podfence.agent.reports import Report
    from podfence.dataplane.settings import Binding

_Answer = TypeVar("_Answer")

SourceState = Literal["waiting", "live", "kept"]
"""`waiting` for the first complete lists, `live` from the API server, or from the state `kept` on disk without it."""


class HealthView(Protocol):
    """How the watch of one kind of objects is doing."""

    @property
    def kind(self) -> str:
        """The kind of objects."""
        ...

    @property
    def listed(self) -> bool:
        """Whether the first complete list has come."""
        ...

    @property
    def connected(self) -> bool:
        """Whether the API server answers."""
        ...

    @property
    def error(self) -> str:
        """Why it is not connected, empty if it is."""
        ...

    @property
    def failures(self) -> int:
        """How many requests failed so far."""
        ...

    @property
    def relists(self) -> int:
        """How often everything was listed again so far."""
        ...

    @property
    def events(self) -> int:
        """How many events came so far."""
        ...


class View(Protocol):
    """A running agent; everything may be read from any thread, and returns at once."""

    @property
    def node(self) -> str:
        """The name of the node."""
        ...

    @property
    def started(self) -> float:
        """When the agent began, in seconds since the epoch."""
        ...

    @property
    def agent(self) -> Agent:
        """The loop."""
        ...

    @property
    def beat(self) -> float:
        """When the loop last came round or got on, in seconds of the monotonic clock."""
        ...

    @property
    def latest(self) -> Latest:
        """What the loop reported last; whoever makes the loop gives it all reports."""
        ...

    @property
    def findings(self) -> Sequence[Finding]:
        """What is wrong with the node at present."""
        ...

    @property
    def binding(self) -> Binding:
        """What becomes of packets that are not those of the pod whose link they come by."""
        ...

    @property
    def attachments(self) -> Attachments:
        """How many pods of the node are bound to their links."""
        ...

    @property
    def health(self) -> Sequence[HealthView]:
        """How each watch is doing."""
        ...

    @property
    def source_state(self) -> SourceState:
        """Where the objects come from at present."""
        ...

    @property
    def source_since(self) -> float:
        """Since when, in seconds since the epoch."""
        ...

    def ask(self, question: Callable[[], _Answer]) -> Future[_Answer]:
        """Let the loop's thread answer: `Agent.ask`, and then the source is made to return."""
        ...


class LatestChange(NamedTuple):
    """The change that became real last, and when that was, in seconds since the epoch."""

    record: Record
    at: float


class LatestError(NamedTuple):
    """What went wrong last, and when that was, in seconds since the epoch."""

    text: str
    at: float


class Latest:
    """The last change and the last error of an agent's reports.

    Written by the loop's thread; reading an attribute from another one is safe.
    """

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        """Know of none yet; `clock` gives seconds since the epoch."""
        self._clock = clock
        self.change: LatestChange | None = None
        self.error: LatestError | None = None
        self.enforced = False

    def note(self, report: Report) -> None:
        """Take a report in; `enforced` is whether any so far said that the kernel has all that was delivered."""
        if report.records:
            self.change = LatestChange(report.records[-1], self._clock())
        if report.errors:
            self.error = LatestError(report.errors[-1], self._clock())
        self.enforced |= report.enforcing


def obstacles(view: View) -> tuple[str, ...]:
    """Return why the agent is not ready, a sentence each; none if the kernel has all that was delivered."""
    found = [str(item) for item in view.findings if item.severity == "fatal"]
    if view.agent.status().enforcing:
        return tuple(found)
    error = view.latest.error
    if view.latest.enforced:
        found.append(error.text if error else "the kernel could not be programmed")
    elif view.source_state == "waiting":
        missing = ", ".join(item.kind for item in view.health if not item.listed)
        found.append(f"waiting for the first complete list of {missing or 'objects'}")
        kinds: dict[str, list[str]] = {}
        for item in view.health:
            kinds.setdefault(item.error, []).append(item.kind)
        found += [f"{', '.join(names)}: {error}" for error, names in kinds.items() if error]
    else:
        found.append(error.text if error else "the first complete list is not in the kernel yet")
    return tuple(found)
