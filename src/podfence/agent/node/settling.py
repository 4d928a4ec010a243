# SPDX-License-Identifier: Apache-2.0
"""Whether the kernel has all that an API server had stored at some moment, for those who wait for that."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from podfence.agent.source import Bookmark
from podfence.kube.live.reflector import is_later

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from podfence.agent.node.view import Latest
    from podfence.agent.source import Notice

_LOOK: Final = 0.005
"""Seconds between two looks while somebody waits."""


class Settling:
    """Follows revisions from the watches to the kernel; all of it is for the event loop of the watches."""

    def __init__(
        self,
        latest: Latest,
        revisions: Callable[[], Mapping[str, str]],
        attach: Callable[[], None],
        put: Callable[[Iterable[Notice]], None],
    ) -> None:
        """Wait for nothing yet.

        `latest` has what the loop reported last. `revisions` returns up to where each kind was delivered. `attach`
        tells the loop by which links pods come now, and `put` hands notices to the loop.
        """
        self._latest = latest
        self._revisions = revisions
        self._attach = attach
        self._put = put
        self._mark = 0

    async def reached(self, wanted: Mapping[str, int]) -> None:
        """Return when the kernel has what was stored up to the `wanted` revision of each kind.

        It has the links of the pods that are there now, too.
        """
        await _until(lambda: self._has_come_to(wanted))
        self._attach()
        self._mark = mark = self._mark + 1
        self._put([Bookmark(mark)])
        await _until(lambda: self._latest.reached >= mark)

    def _has_come_to(self, wanted: Mapping[str, int]) -> bool:
        known = self._revisions()
        return all((at := known.get(kind)) and not is_later(str(least), at) for kind, least in wanted.items())


async def _until(met: Callable[[], bool]) -> None:
    while not met():  # noqa: ASYNC110 - what is waited for happens in two threads, and nobody waits for long
        await asyncio.sleep(_LOOK)
