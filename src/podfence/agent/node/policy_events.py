# SPDX-License-Identifier: Apache-2.0
"""Policies that are too large, as Events of theirs: who wrote one may see no log of a node.

Every node with a pod of the namespace finds the same, so the name of the Event says what is in it, and the server
keeps the first.
"""

from __future__ import annotations

import time
from collections import deque
from contextlib import suppress
from hashlib import sha256
from typing import TYPE_CHECKING, Final

from podfence.agent.node.events import event
from podfence.kube.live.errors import ConflictError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from podfence.agent.node.events import Poster
    from podfence.agent.reports import Refusal

MOST: Final = 5
"""How many requests are sent in a minute at most: who writes many large policies must not have a whole cluster post."""

WAITING: Final = 100
"""How many wait to be told at most; the log has the others."""

REASON: Final = "PodfencePolicyTooLarge"


class PolicyEvents:
    """The Events of one agent about policies; `note` may be called in any thread."""

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
        self._waiting: deque[Refusal] = deque(maxlen=WAITING)
        self._sent: deque[float] = deque(maxlen=MOST)

    def note(self, refused: Iterable[Refusal]) -> None:
        """Have policies told of."""
        self._waiting.extend(refused)

    async def tell(self, session: Poster) -> None:
        """Tell what waits, as far as there is room in this minute. Raises ApiError; what failed is not tried again."""
        while self._waiting:
            now = self._clock()
            if len(self._sent) == MOST and now - self._sent[0] < 60:
                return
            self._sent.append(now)
            with suppress(ConflictError):
                await self._post(session, self._waiting.popleft())

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
            ("Warning", REASON, str(refusal)),
            self._node,
            self._wall(),
        )
        await session.post(f"/api/v1/namespaces/{namespace}/events", body)
