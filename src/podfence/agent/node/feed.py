# SPDX-License-Identifier: Apache-2.0
"""What the watches deliver, on its way to the loop and to the disk; runs in the thread of the event loop."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Final

from podfence.agent.node.intake import KINDS
from podfence.agent.node.kept import KeptError
from podfence.kube.live.reflector import Reflector
from podfence.kube.live.resources import RESOURCES

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from podfence.agent.node.answer import SourceName
    from podfence.agent.node.inbox import QueueSource
    from podfence.agent.node.intake import Change, Intake
    from podfence.agent.node.kept import Kept
    from podfence.kube.live.reflector import Health, Notification
    from podfence.kube.live.resources import Resource
    from podfence.kube.live.session import Session

KEPT_AFTER: Final = 10.0
"""Seconds without a complete list of everything after which the state on the disk is enforced."""

KEPT_AFTER_FAILURE: Final = 2.0
"""The same when a watch has failed already, so that the API server is known not to answer."""

AGAIN_AFTER: Final = 60.0
"""Seconds after which it is tried again to keep the state, with the next change."""

_LOOK: Final = 0.25
_NOT_KEPT: Final = "the state of the cluster cannot be kept on the disk for a time without an API server"


class Feed:
    """Keeps a source filled from the API server, or from the disk while there is none."""

    def __init__(
        self,
        intake: Intake,
        source: QueueSource,
        kept: Kept,
        complain: Callable[[str], None],
        before: Callable[[], None],
        local: Callable[[], None],
        resources: Mapping[str, Resource] = RESOURCES,
    ) -> None:
        """Fill `source` by way of `intake`; `complain` is told a sentence when the state cannot be kept.

        `before` is called when pods are known to have changed, before the loop is told of it: it may tell the loop
        something that has to come first. `local` is called when pods came, so that somebody may look after them.
        `resources` says in which version each kind is followed.
        """
        self.intake = intake
        self.since = time.time()
        self._source = source
        self._kept = kept
        self._complain = complain
        self._before = before
        self._local = local
        self._resources = resources
        self._keeps = True
        self._again_at = 0.0
        self._compacting: asyncio.Task[None] | None = None
        self._reflectors: tuple[Reflector, ...] = ()

    @property
    def state(self) -> SourceName:
        """Where the objects come from at present."""
        intake = self.intake
        if intake.is_live:
            return "live"
        return "kept" if intake.is_synced else "waiting"

    @property
    def health(self) -> Sequence[Health]:
        """How each watch is doing."""
        return [reflector.health for reflector in self._reflectors]

    @property
    def revisions(self) -> Mapping[str, str]:
        """Up to which revision each kind was delivered."""
        return {reflector.health.kind: reflector.revision for reflector in self._reflectors}

    def restore(self) -> None:
        """Take what was kept on the disk, and begin to keep what comes."""
        try:
            held = self._kept.load()
            notices = self.intake.restore(held)
            self._before()
            self._source.put(notices)
            self._kept.start(held)
        except KeptError as error:
            # What is there is the last state until something changes, and stays so long.
            self._keeps = False
            self._complain(f"{_NOT_KEPT}: {error}; the state on the disk stays until something changes")

    async def run(self, session: Session) -> None:
        """Follow the API server for ever; raises what a programmer has done wrong, and nothing else."""
        self._reflectors = tuple(
            Reflector(session, self._resources[kind], self._deliver, known=self.intake.known(kind)) for kind in KINDS
        )
        async with asyncio.TaskGroup() as group:
            for reflector in self._reflectors:
                group.create_task(reflector.run())
            group.create_task(self._go_on_with_kept())

    def close(self) -> None:
        """Close the files; what came until now is in them."""
        self._kept.close()

    def _deliver(self, delivered: Sequence[Notification]) -> None:
        was = self.state
        taken = self.intake.take(delivered)
        if taken.changes:
            if self._keeps:
                self._keep(taken.changes)
            else:
                self._begin_again()
        pods = any(item.key.kind == "Pod" for _, item, _ in taken.changes)
        if pods:
            self._before()
        self._source.put(taken.notices)
        if self.state != was:
            self.since = time.time()
        if pods:
            self._local()

    def _keep(self, changes: Sequence[Change]) -> None:
        try:
            self._kept.note(changes)
            if self._kept.is_long() and (self._compacting is None or self._compacting.done()):
                number = self._kept.next_generation()
                self._compacting = asyncio.get_running_loop().create_task(self._compact(number))
        except KeptError as error:
            self._give_up(error)

    def _begin_again(self) -> None:
        """Keep all that is known now, if that is possible again; otherwise forget what is not the last state."""
        now = time.monotonic()
        if now < self._again_at:
            return
        try:
            self._kept.start(self.intake.held)
        except KeptError as error:
            self._give_up(error)
        else:
            self._keeps = True

    async def _compact(self, number: int) -> None:
        state = dict(self.intake.held)
        try:
            await asyncio.to_thread(self._kept.write_base, number, state)
        except KeptError as error:
            self._give_up(error)

    def _give_up(self, error: KeptError) -> None:
        """Go on without the disk: a state with a gap would be worse than none."""
        self._keeps = False
        self._again_at = time.monotonic() + AGAIN_AFTER
        self._kept.discard()
        self._complain(f"{_NOT_KEPT}: {error}")

    async def _go_on_with_kept(self) -> None:
        began = time.monotonic()
        while not self.intake.is_synced:
            await asyncio.sleep(_LOOK)
            patience = KEPT_AFTER_FAILURE if any(item.failures for item in self.health) else KEPT_AFTER
            if time.monotonic() - began >= patience:
                if notices := self.intake.go_on_with_kept():
                    self.since = time.time()
                    self._source.put(notices)
                return
