# SPDX-License-Identifier: Apache-2.0
"""Where an agent's events come from: a list of all objects, then changes of them, with marks in between."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

from podfence.cluster.state import Event
from podfence.dataplane.links import Links
from podfence.kube.objects import NetworkPolicy

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


class Bookmark(NamedTuple):
    """Everything up to this revision of the cluster was delivered."""

    revision: int


class Synced(NamedTuple):
    """The first complete list was delivered; what was not in it does not exist."""


class Verify(NamedTuple):
    """Somebody asks for the kernel to be compared with what it should hold, now."""


class Attached(NamedTuple):
    """By these links the packets of local pods come from now on: all of them, not a difference.

    It comes before the event that gives a pod the address, so that a pod is bound when it is admitted.
    """

    links: Links


class Unreadable(NamedTuple):
    """Something was delivered that is no event; `reason` says what and why."""

    reason: str


Notice = Event | Bookmark | Synced | Verify | Attached | Unreadable


class SourceClosed(Exception):  # noqa: N818 - an end, not an error
    """Nothing will come any more."""


class Source(Protocol):
    """A stream of notices, for one reader."""

    def receive(self, timeout: float | None) -> Sequence[Notice]:
        """Return what has arrived, waiting for the first of it; nothing after `timeout` seconds (None: for ever).

        Raises SourceClosed when nothing will come any more and all that came was returned.
        """
        ...


def together(notices: Sequence[Notice]) -> Iterator[Notice | list[Event]]:
    """Yield notices, with events in lists: the policies of a namespace that come with nothing but policies in between.

    Of the changes of one policy, only the last counts. So who changes a large policy, or many, all the time has them
    taken in once a round, and not once for each change.
    """
    last = {
        notice.object.key: place
        for place, notice in enumerate(notices)
        if isinstance(notice, Event) and isinstance(notice.object, NetworkPolicy)
    }
    policies: dict[str, list[Event]] = {}
    for place, notice in enumerate(notices):
        if isinstance(notice, Event) and notice.object.key in last:
            if last[notice.object.key] == place:
                policies.setdefault(notice.object.key.namespace, []).append(notice)
            continue
        yield from policies.values()
        policies.clear()
        yield [notice] if isinstance(notice, Event) else notice
    yield from policies.values()
