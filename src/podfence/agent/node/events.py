# SPDX-License-Identifier: Apache-2.0
"""Fatal findings as Events of the Node, where `kubectl describe node` shows them, and policies that are too large.

Events of a Node are written as a kubelet writes its own: in namespace default, with the name of the Node as its uid. A
finding is an Event when it comes, another now and then for as long as it stays, and one when it is solved. None is
changed afterwards: who may change Events can change those of others.

A policy that is too large has an Event of its own: who wrote it may see no log of a node. Every node with a pod of the
namespace finds the same, so the name of the Event says what is in it, and the server keeps the first.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Final, Protocol

import msgspec

from podfence.agent.node.answer import timestamp
from podfence.kube.live.errors import ApiError, ConflictError, RefusedError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from podfence.agent.node.findings import NodeFinding
    from podfence.agent.reports import Refusal

PATH: Final = "/api/v1/namespaces/default/events"
"""Where Events about objects without a namespace are."""

AGAIN: Final = 60.0
"""Seconds between two requests about the same finding at least."""

CHANGED: Final = 600.0
"""Seconds after which a finding is told again whose message is another."""

STAYS: Final = 1800.0
"""Seconds after which a finding is told again that has stayed; servers keep an Event for an hour, by default."""

SOLVED: Final = "PodfenceSolved"
"""The reason of an Event that says that something is right again."""

TOLD: Final = frozenset({"boot-hold"})
"""Codes of warnings that are told too: somebody asked for something, and this node does not have it."""

MOST_REQUESTS: Final = 5
"""How many requests are sent in a minute at most: who writes many large policies must not have a whole cluster post."""

WAITING: Final = 100
"""How many wait to be told at most; of more, those of the namespace with the most are left out."""

TOO_LARGE: Final = "PodfencePolicyTooLarge"

_FINAL: Final = frozenset({400, 403, 404, 422})
"""Codes of HTTP by which a server refuses an Event whenever it is sent."""

_COMPONENT: Final = "podfence"
_LONGEST_NOTE: Final = 1024
"""Bytes that a message of an Event has at most."""


class Poster(Protocol):
    """What is needed of a session (`podfence.kube.live.session.Session`)."""

    async def post(self, path: str, body: bytes) -> bytes:
        """Create an object from JSON; return the server's answer."""


@dataclass(slots=True)
class _Told:
    """A finding, what was told of it last and when, and when that was last tried; "" and never for nothing."""

    message: str
    told: str = ""
    at: float = -STAYS
    tried: float = -AGAIN
    is_solved: bool = False

    def is_due(self, now: float) -> bool:
        """Return whether there is something to tell."""
        if now - self.tried < AGAIN:
            return False
        return self.is_solved or now - self.at >= (STAYS if self.message == self.told else CHANGED)


class NodeEvents:
    """The Events of one agent about its node."""

    def __init__(
        self,
        session: Poster,
        node: str,
        *,
        wall: Callable[[], float] = time.time,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Tell nothing yet; `wall` is the time of day and `clock` a time that nobody sets, both in seconds."""
        self._session = session
        self._node = node
        self._wall = wall
        self._clock = clock
        self._told: dict[str, _Told] = {}

    async def tell(self, findings: Iterable[NodeFinding]) -> None:
        """Have the fatal ones of all present findings, and those `TOLD`, in Events, and say which are solved.

        At most one request a minute is sent for each code; what could not be told then is told later, if it is
        still so. Raises ApiError for the last request that failed, after all were tried.
        """
        present = {item.code: item for item in findings if item.severity == "fatal" or item.code in TOLD}
        for code, item in present.items():
            told = self._told.setdefault(code, _Told(""))
            told.message, told.is_solved = str(item), False
        for code, told in self._told.items():
            told.is_solved = code not in present
        error: ApiError | None = None
        now = self._clock()
        for code, told in list(self._told.items()):
            if told.is_solved and not told.told:
                del self._told[code]
            elif told.is_due(now):
                told.tried = now
                try:
                    await self._tell(code, told)
                except ApiError as failure:
                    error = failure
        if error is not None:
            raise error

    async def _tell(self, code: str, told: _Told) -> None:
        if told.is_solved:
            text = f"solved: {told.message}"
            await self._session.post(PATH, self._event("Normal", SOLVED, text, f"{code}-solved"))
            del self._told[code]
            return
        await self._session.post(PATH, self._event("Warning", reason(code), told.message, code))
        told.told, told.at = told.message, told.tried

    def _event(self, kind: str, why: str, message: str, code: str) -> bytes:
        return event(
            f"{self._node}.podfence-{code}.{int(self._wall() * 1e9):x}",
            "default",
            {"kind": "Node", "name": self._node, "uid": self._node},
            (kind, why, message),
            self._node,
            self._wall(),
        )


class PolicyEvents:
    """The Events of one agent about policies, of one namespace after the other; `note` may be called in any thread."""

    def __init__(
        self,
        node: str,
        *,
        wall: Callable[[], float] = time.time,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Tell nothing yet; `wall` is the time of day and `clock` a time that nobody sets, both in seconds."""
        self._node = node
        self._wall = wall
        self._clock = clock
        self._lock = threading.Lock()
        self._waiting: dict[str, dict[str, Refusal]] = {}
        self._sent: deque[float] = deque(maxlen=MOST_REQUESTS)

    def note(self, refused: Iterable[Refusal]) -> None:
        """Have policies told of; of one that waits already, what was found last."""
        with self._lock:
            for item in refused:
                self._waiting.setdefault(item.namespace, {})[item.name] = item
            while sum(map(len, self._waiting.values())) > WAITING:
                most = max(self._waiting.values(), key=len)
                del most[next(iter(most))]
                self._waiting = {name: items for name, items in self._waiting.items() if items}

    async def tell(self, session: Poster) -> None:
        """Tell what waits, as far as there is room in this minute.

        What the server refuses for good is not tried again: the Event exists already, or its namespace goes. All else
        that failed waits again. Raises ApiError for the last request that failed.
        """
        error: ApiError | None = None
        while (refusal := self._next()) is not None:
            self._sent.append(self._clock())
            try:
                await self._post(session, refusal)
            except ConflictError:
                continue
            except ApiError as failure:
                error = failure
                if not (isinstance(failure, RefusedError) and failure.status in _FINAL):
                    self._return(refusal)
                    break
        if error is not None:
            raise error

    def _next(self) -> Refusal | None:
        """Take what waits longest in the namespace whose turn it is, if there is room in this minute."""
        if len(self._sent) == MOST_REQUESTS and self._clock() - self._sent[0] < 60:
            return None
        with self._lock:
            if not self._waiting:
                return None
            namespace, items = next(iter(self._waiting.items()))
            found = items.pop(next(iter(items)))
            del self._waiting[namespace]
            if items:
                self._waiting[namespace] = items
            return found

    def _return(self, refusal: Refusal) -> None:
        with self._lock:
            self._waiting.setdefault(refusal.namespace, {}).setdefault(refusal.name, refusal)

    async def _post(self, session: Poster, refusal: Refusal) -> None:
        namespace, name = refusal.namespace, refusal.name
        about = {
            "apiVersion": "networking.k8s.io/v1",
            "kind": "NetworkPolicy",
            "namespace": namespace,
            "name": name,
        }
        body = event(
            f"{name[:180]}.podfence-{sha256(str(refusal).encode()).hexdigest()[:16]}",
            namespace,
            about,
            ("Warning", TOO_LARGE, str(refusal)),
            self._node,
            self._wall(),
        )
        await session.post(f"/api/v1/namespaces/{namespace}/events", body)


def event(
    name: str, namespace: str, about: dict[str, str], what: tuple[str, str, str], node: str, wall: float
) -> bytes:
    """Return an Event as JSON.

    `about` is the object it is about, `what` its type, reason and message, `node` who says it, and `wall` the time of
    day in seconds.
    """
    kind, why, message = what
    return msgspec.json.encode(
        {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"name": name, "namespace": namespace},
            "involvedObject": about,
            "type": kind,
            "reason": why,
            "message": _cut(message),
            "firstTimestamp": timestamp(wall),
            "lastTimestamp": timestamp(wall),
            "count": 1,
            "source": {"component": _COMPONENT, "host": node},
            "reportingComponent": _COMPONENT,
            "reportingInstance": node,
        }
    )


def reason(code: str) -> str:
    """Return the reason of an Event for the code of a finding, such as PodfenceNftMissing for nft-missing."""
    return "Podfence" + "".join(part.capitalize() for part in code.split("-"))


def _cut(text: str) -> str:
    data = text.encode()
    return text if len(data) <= _LONGEST_NOTE else data[: _LONGEST_NOTE - 3].decode(errors="ignore") + "..."
