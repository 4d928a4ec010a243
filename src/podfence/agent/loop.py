# SPDX-License-Identifier: Apache-2.0
"""The loop of one node's agent: events into the model, the model into the kernel, and what that took into reports.

There is one thread, and nothing is on the disk. What the loop waits for is always both: the next notice, and
the next thing that is due by the monotonic clock.
"""

from __future__ import annotations

import time
from itertools import compress
from random import SystemRandom
from typing import TYPE_CHECKING, Final, TypeVar

from podfence.agent.acceptance import accept
from podfence.agent.pace import Pace, Step
from podfence.agent.questions import Questions
from podfence.agent.received import Received
from podfence.agent.source import Attached, Bookmark, SourceClosed, Synced, Unreadable, Verify, together
from podfence.agent.telling import HOPELESS, REFUSALS, Telling
from podfence.agent.turns import Turns
from podfence.agent.watch import accounted
from podfence.cluster.state import ClusterState, Event
from podfence.dataplane.enforceable import check_options
from podfence.dataplane.enforcer import Enforcer
from podfence.netlink.asking import NetlinkError
from podfence.nft.errors import MissingFeatureError
from podfence.policy.engine import Engine
from podfence.policy.model import Model

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from concurrent.futures import Future

    from podfence.agent.reports import Report
    from podfence.agent.source import Notice, Source
    from podfence.agent.watch import Watch
    from podfence.dataplane.conntrack import Conntrack
    from podfence.dataplane.links import Links, PodLink
    from podfence.dataplane.settings import Settings
    from podfence.nft.runner import Runner
    from podfence.policy.model import Change
    from podfence.policy.options import Options

MOST_CHANGES: Final = 256
"""How many changes are kept at most while the kernel cannot be programmed."""

_Answer = TypeVar("_Answer")

_CHANCE: Final = SystemRandom().random


class Agent:
    """Keeps one node's kernel in step with a source of events.

    Nothing in the kernel changes before the source is in sync, and nothing when the agent ends: the table stays
    and goes on enforcing, and the next agent adopts it.
    """

    def __init__(
        self,
        source: Source,
        node: str,
        runner: Runner,
        options: Options,
        settings: Settings,
        report: Callable[[Report], None],
        *,
        conntrack: Conntrack | None = None,
        watch: Watch | None = None,
        clock: Callable[[], float] = time.monotonic,
        effort: Callable[[], float] = time.thread_time,
        chance: Callable[[], float] = _CHANCE,
    ) -> None:
        """Start nothing yet. Raises OptionError if an option's value cannot be enforced.

        `report` is called in the loop, which waits for it. Without a `conntrack`, established flows are not looked
        at when policies change. Without a `watch`, changes of the table by others are found once a minute; the
        source has to return when it has something to tell. `clock` gives seconds and never goes back, and `effort`
        those that the processor has worked for the loop; `chance` gives numbers from 0 to 1, so that agents that
        failed together do not try again together.
        """
        check_options(options)
        self.enforcer: Enforcer | None = None
        self.links: Links | None = None
        self._source = source
        self._node = node
        self._runner = runner
        self._options = options
        self._settings = settings
        self._telling = Telling(node, report, clock)
        self._conntrack = conntrack
        self._watch = watch
        self._clock = clock
        self._effort = effort
        self._turns = Turns(node, clock)
        self._pace = Pace(clock, chance, self._turns)
        self._questions = Questions()
        self._state = ClusterState()
        self._model: Model | None = None
        self._stopped = False
        self._received = Received(node)
        self._changes: list[Change] = []
        self._later: set[str] = set()
        self._is_attached = True
        self._bound: frozenset[PodLink] = frozenset()
        self._revision: int | None = None
        self._adopted = False
        self._steps: dict[Step, Callable[[Enforcer], None]] = {
            Step.PROGRAM: self._program,
            Step.TURN: self._turn,
            Step.LOOK: self._look,
            Step.REVIEW: self._review,
            Step.VERIFY: self._verify,
            Step.FORGET: self._forget,
            Step.CATCH_UP: self._catch_up,
        }

    def run(self) -> None:
        """Follow the source until it ends, or until `stop`."""
        try:
            while not self._stopped:
                # Whoever asks may know of notices that are received only now: what is asked later waits for them.
                asked = self._questions.note()
                patience = self._pace.patience(self._forget_at, begun=self._model is not None, behind=self._is_behind)
                try:
                    notices = self._source.receive(0 if asked else patience)
                except SourceClosed:
                    return
                self._take(notices)
                self._look_out()
                if not self._stopped:
                    self._work(quiet=not notices)
                    # What others did while we worked is noticed then, and nothing wakes us for it later.
                    self._look_out()
                    if not self._pace.is_waiting or self._model is None or self._pace.has_failed:
                        self._questions.answer()
        finally:
            self._questions.close()

    def stop(self) -> None:
        """Let `run` return when the source next does; safe to call from a signal handler or another thread."""
        self._stopped = True

    def status(self) -> Report:
        """Return how things are, without anything that just happened; safe to call from another thread."""
        return self._telling.status()

    def ask(self, question: Callable[[], _Answer]) -> Future[_Answer]:
        """Have the loop's thread call `question`, where nothing changes meanwhile; safe to call from another thread.

        It is called after the step that programs what waits, so that model and kernel agree then, if the kernel
        takes it. Whoever asks has to let the source return. The future is cancelled if the loop has ended.
        """
        return self._questions.put(question)

    @property
    def _forget_at(self) -> float | None:
        return None if self.enforcer is None else self.enforcer.forget_at

    @property
    def _is_behind(self) -> bool:
        return self.enforcer is not None and self._adopted and self.enforcer.is_behind

    def _work(self, *, quiet: bool) -> None:
        """Do the one thing that is most due. `quiet` says that nothing more is on its way just now."""
        if self.enforcer is None:
            return
        step = self._pace.next(self._forget_at, quiet=quiet, behind=self._is_behind)
        if step is not None:
            try:
                self._steps[step](self.enforcer)
            except REFUSALS as error:
                self._fail(error)

    def _look_out(self) -> None:
        """Plan a comparison if somebody else has changed the table."""
        if self._watch is not None and self._watch.look():
            self._pace.compare_soon()

    # Notices

    def _take(self, notices: Sequence[Notice]) -> None:
        now = self._clock()
        for notice in together(notices):
            match notice:
                case list():
                    self._take_events(notice, now)
                case Bookmark(revision):
                    self._revision = revision
                    self._pace.wait()
                case Synced():
                    self._begin()
                case Verify():
                    self._pace.compare_now()
                case Attached(links):
                    self.links, self._is_attached = links, False
                    self._pace.wait()
                case Unreadable(reason):
                    self._telling.complain(reason)

    def _take_events(self, events: list[Event], now: float) -> None:
        if self._model is not None:
            for event in events:
                self._take_in(self._turns.before(event), now)
            kept = [self._turns.keep(event, (change.event for change in self._changes)) for event in events]
            for event in compress(events, kept):
                self._received.note(event, now)
            events = [event for event, is_kept in zip(events, kept, strict=True) if not is_kept]
        self._take_in(events, now)

    def _take_in(self, events: Iterable[Event], now: float) -> None:
        """Take in an event, or changes of policies together: each alone would cost as much as all of its namespace."""
        accepted: list[Event] = []
        for event in events:
            found, problem = accept(event, self._options)
            if problem:
                self._telling.complain(problem)
            if found is not None:
                self._received.note(found, now)
                accepted.append(found)
        if self._model is None:
            for event in accepted:
                self._state.apply(event)
        elif accepted:
            change = self._model.apply(*accepted)
            self._changes.append(change)
            self._pace.wait()
            spaces = {key.namespace for key in change.policies}
            spaces.update(event.object.key.namespace for event in accepted if event.object.key in self._received.pods)
            self._telling.too_large(self._model.engine, spaces, self._received.pods)
            is_stuck = self._pace.has_failed or not self._adopted
            if is_stuck and self.enforcer is not None and len(self._changes) >= MOST_CHANGES:
                # The kernel cannot be programmed, and may not be for hours; the objects in the changes would stay.
                self.enforcer.follow(*self._changes)
                self._changes, self._later = [], set()

    def _begin(self) -> None:
        if self._model is None:
            self._model = Model(Engine(self._state, self._options))
            self.enforcer = Enforcer(
                self._runner,
                self._node,
                self._model,
                self._settings,
                self._conntrack,
                clock=self._clock,
                effort=self._effort,
            )
            self._pace.wait()
            self._telling.too_large(self._model.engine, self._received.namespaces, self._received.pods)

    # The kernel

    def _turn(self, _: Enforcer) -> None:
        """Take in changes that waited for others; they are programmed in slices."""
        begun, events = self._effort(), self._turns.take()
        self._take_in(events, self._clock())
        self._later.update(event.object.key.namespace for event in events)
        self._turns.turn_took(events, self._effort() - begun)

    def _program(self, enforcer: Enforcer) -> None:
        if not self._adopted:
            enforcer.follow(*self._changes)
            self._changes, self._later = [], set()
            # A slice is compiled if the table of an earlier agent is in force meanwhile.
            if not enforcer.prepare():
                return
        changes, again, begun = self._changes, self._pace.has_failed, self._effort()
        is_alone = not self._later
        touched = bool(changes) or again or not (self._adopted and self._is_attached)
        cut = 0
        try:
            self._attach(enforcer, programmed=not (self._adopted and (changes or again)))
        finally:
            # Policies do not wait for links.
            if not self._adopted:
                cut += self._looking(enforcer, enforcer.start)
                self._adopted = True
            if changes or again:
                # The compiler has followed them also when this raises, and the next call programs them too.
                self._changes, later, self._later = [], self._later, set()
                with accounted(self._watch, enforcer):
                    enforcer.program(*changes, later=later)
        self._attach(enforcer, programmed=True)
        self._pace.programmed(touched=touched)
        if is_alone:
            self._turns.took([change.event for change in changes], self._effort() - begun)
        self._telling.enforcing = True
        self._tell_programmed(enforcer, cut=cut)

    def _catch_up(self, enforcer: Enforcer) -> None:
        """Program a slice of what was too large to go with its change, after what the compiler has to follow first."""
        self._pace.slicing()
        if self._changes:
            self._program(enforcer)
        begun = self._effort()
        with accounted(self._watch, enforcer):
            enforcer.catch_up()
        self._pace.sliced()
        self._turns.slice_took(self._effort() - begun)
        if not enforcer.is_behind:
            self._tell_programmed(enforcer)

    def _tell_programmed(self, enforcer: Enforcer, *, cut: int = 0) -> None:
        waiting = self._turns.waiting
        if not enforcer.is_behind:
            self._turns.ended()
            if not waiting:
                self._telling.revision = self._revision
        self._telling.report(
            records=self._received.programmed(self._clock(), enforcer.compiler.late() | waiting), cut=cut
        )

    def _attach(self, enforcer: Enforcer, *, programmed: bool) -> None:
        """Bind the links that were told last; before the enforcer has started, they wait for that.

        Those that are new are held until what is known of their pods is `programmed`: where pods have addresses
        outside the nodes' ranges, a pod that is let out before would be taken for somebody outside.
        """
        if self.links is None or self._is_attached:
            return
        links = self.links if programmed else self.links.held_but(self._bound)
        try:
            with accounted(self._watch, enforcer):
                enforcer.attach(links)
        except MissingFeatureError as error:
            # What the kernel lacks today it lacks in a minute: all else is bound, and goes on.
            self._telling.complain(f"node {self._node}: {error}")
        self._bound, self._is_attached = frozenset(links.pods), programmed

    def _looking(self, enforcer: Enforcer, step: Callable[[], object]) -> int:
        """Take a step that looks at established flows after it has programmed the rules; return how many it cut.

        If the kernel does not let it look, that is said, and tried again.
        """
        try:
            with accounted(self._watch, enforcer):
                step()
        except NetlinkError as error:
            # The rules are in the kernel, and the next review looks at the same flows again.
            self._pace.look_failed()
            self._telling.unread(error)
            return 0
        if enforcer.reviewed.unable:
            self._telling.uncut(enforcer.reviewed.unable)
        return enforcer.reviewed.cut

    def _fail(self, error: Exception) -> None:
        """Say why the kernel could not be programmed, and when it is tried again."""
        delay = self._pace.refused(hopeless=isinstance(error, HOPELESS))
        gone = self.enforcer is not None and self.enforcer.is_gone
        self._telling.refused(error, delay, gone=gone, adopted=self._adopted)

    def _look(self, enforcer: Enforcer) -> None:
        """Look at established flows only now: whoever waits for the rules does not wait for that too."""
        self._pace.looking()
        self._cut(enforcer, enforcer.look)

    def _review(self, enforcer: Enforcer) -> None:
        settled = self._pace.reviewing()
        self._cut(enforcer, lambda: enforcer.review(settled=settled))

    def _forget(self, enforcer: Enforcer) -> None:
        if cut := self._looking(enforcer, enforcer.forget):
            self._telling.report(cut=cut)

    def _cut(self, enforcer: Enforcer, step: Callable[[], object]) -> None:
        """Take a step that looks at established flows, and report how many it cut."""
        begun = self._effort()
        if cut := self._looking(enforcer, step):
            self._telling.report(cut=cut)
        self._pace.looked(self._effort() - begun)

    def _verify(self, enforcer: Enforcer) -> None:
        found: list[tuple[str, ...]] = []
        begun = self._effort()
        self._looking(enforcer, lambda: found.append(enforcer.verify()))
        drift = found[0] if found else None
        # Who is told of changes by others can leave more time between comparisons that take long.
        self._pace.compared(repaired=bool(drift), seconds=0.0 if self._watch is None else self._effort() - begun)
        self._telling.report(drift=drift)
