# SPDX-License-Identifier: Apache-2.0
"""A reflector that runs against a server of a test, and what it has delivered."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any

from podfence.kube.access.credentials import Credentials
from podfence.kube.live.reflector import Listed, Malformed, Notification, Reflector, Removed, Stored
from podfence.kube.live.resources import RESOURCES
from podfence.kube.live.session import Session
from tests.kube.access.kubeconfigs import of, single

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence
    from pathlib import Path

    from podfence.kube.access.access import Access
    from tests.kube.live.api import Api

DEADLINE = 120.0


def access_to(folder: Path, port: int, **choice: Any) -> Access:  # noqa: ANN401  as Choice takes them
    return of(single(folder / "config", cluster={"server": f"http://127.0.0.1:{port}"}), **choice)


def session_to(folder: Path, port: int, *, timeout: float | None = None) -> Session:
    access = access_to(folder, port)
    return Session(access, Credentials(access, {}), timeout=timeout)


async def until(condition: Callable[[], bool]) -> None:
    """Wait for what must come."""
    async with asyncio.timeout(DEADLINE):
        while not condition():  # noqa: ASYNC110  a condition of any kind
            await asyncio.sleep(0.002)


class Following:
    """What was delivered, as short texts, and how long the pauses would have been."""

    def __init__(self, session: Session, kind: str, known: dict[Any, str] | None) -> None:
        self.notifications: list[Notification] = []
        self.pauses: list[float] = []
        self.now = 0.0
        self.reflector = Reflector(
            session,
            RESOURCES[kind],
            self.deliver,
            known=known,
            pause=self.pause,
            uniform=lambda _low, high: high,
            clock=lambda: self.now,
        )

    def deliver(self, found: Sequence[Notification]) -> None:
        assert found
        self.notifications += found

    async def pause(self, seconds: float) -> None:
        self.pauses.append(seconds)
        await asyncio.sleep(0.002)

    @property
    def texts(self) -> list[str]:
        return [_text(item) for item in self.notifications]

    async def have(self, *texts: str) -> None:
        """Wait until these and no others were delivered, and forget them."""
        with suppress(TimeoutError):
            await until(lambda: len(self.notifications) >= len(texts))
        assert self.texts == list(texts)
        self.notifications.clear()


def _text(item: Notification) -> str:
    match item:
        case Stored(stored, revision):
            return f"{stored.key.name}@{revision}"
        case Removed(key, last):
            return f"-{key.name}" + ("" if last is not None else " (gone)")
        case Listed(kind):
            return f"listed {kind}"
        case Malformed(key, revision, _):
            return f"!{key.name}@{revision}"
    raise AssertionError(item)


@asynccontextmanager
async def following(
    api: Api, folder: Path, kind: str = "Pod", known: dict[Any, str] | None = None
) -> AsyncIterator[Following]:
    async with session_to(folder, api.port) as session:
        made = Following(session, kind, known)
        task = asyncio.create_task(made.reflector.run())
        try:
            yield made
        finally:
            task.cancel()
            done = await asyncio.gather(task, return_exceptions=True)
            assert isinstance(done[0], asyncio.CancelledError), done
