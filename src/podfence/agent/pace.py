# SPDX-License-Identifier: Apache-2.0
"""When the loop of an agent does what, by a clock that never goes back.

Changes go to the kernel first and soon. What follows them, looks at flows and comparisons of the whole table, waits
for them a while, and while the kernel refuses changes nothing else is tried.
"""

from __future__ import annotations

from enum import Enum, auto
from typing import TYPE_CHECKING, Final

from podfence.backoff import Backoff

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from podfence.agent.turns import Turns

SHORTEST_GAP: Final = 0.010
"""Seconds between the end of a transaction and the next one: what comes meanwhile goes together."""

LONGEST_GAP: Final = 0.050
"""Seconds that a change waits at most while others keep coming, unless the kernel refuses it."""

REVIEW_AFTER: Final = 0.100
"""Seconds after a transaction at which flows are looked at again that were on their way meanwhile."""

REVIEW_BY: Final = 0.500
"""Seconds that this is put off at most while transactions follow each other."""

REVIEW_AGAIN: Final = 1.0
"""Seconds after which flows are looked at again that the kernel did not let us look at."""

LOOK_REST: Final = 20.0
"""How many times as long as a look at flows took it is until the next first look after a change."""

LONGEST_LOOK_REST: Final = 0.2
"""The most seconds until then; flows that a change forbids may go on for as long."""

VERIFY_EVERY: Final = 60.0
"""Seconds between two comparisons of the whole table with what it should hold."""

VERIFY_REST: Final = 100.0
"""How many times as long as a comparison took it is until the next one, if that is more than `VERIFY_EVERY`."""

VERIFY_SURELY: Final = 600.0
"""Seconds after which there is a comparison however long it takes."""

VERIFY_AGAIN: Final = 1.0
"""Seconds between two comparisons at least when somebody else changes the table; one of a large table takes long."""

VERIFY_BY: Final = 0.5
"""Seconds that a comparison is put off at most while changes wait to be programmed."""

SLICE_BY: Final = 0.1
"""Seconds after a slice of a large change at which the next one comes at most, while changes of others keep coming."""

TURN_BY: Final = 0.25
"""Seconds that other changes have to wait before a costly change of a policy goes together with them."""

FIRST_RETRY: Final = 0.100
"""Seconds after which what the kernel refused is tried again; the time doubles with each refusal."""

LAST_RETRY: Final = 30.0
"""The most seconds between two tries, and between all tries when only a person can help."""


class Step(Enum):
    """What the loop does next."""

    PROGRAM = auto()
    LOOK = auto()
    REVIEW = auto()
    VERIFY = auto()
    FORGET = auto()
    TURN = auto()
    CATCH_UP = auto()


class Pace:
    """What is due, and when; told of everything that happens."""

    def __init__(self, clock: Callable[[], float], chance: Callable[[], float], turns: Turns) -> None:
        """Have nothing due. `clock` gives seconds, `chance` numbers from 0 to 1; `turns` has the costly changes."""
        self._clock = clock
        self._turns = turns
        self._backoff = Backoff(FIRST_RETRY, LAST_RETRY, lambda least, most: least + (most - least) * chance())
        self._waiting_since: float | None = None
        self._not_before = self._changed_at = clock()
        self._sliced_at = self._not_before
        self._look_at: float | None = None
        self._rested_at = self._not_before
        self._review_at: float | None = None
        self._review_by = 0.0
        self._verify_at: float | None = None
        self._verified_at: float | None = None

    @property
    def is_waiting(self) -> bool:
        """Whether something waits for the kernel."""
        return self._waiting_since is not None

    @property
    def has_failed(self) -> bool:
        """Whether the kernel refused what waits, when it was tried last."""
        return self._backoff.has_failed

    # What is due

    def patience(self, forget_at: float | None, *, begun: bool, behind: bool = False) -> float | None:
        """Return in how many seconds something is due, None if nothing is.

        `forget_at` is when entries of cut flows are to be deleted; nothing is programmed before it has `begun`.
        `behind` says that there are slices of large changes to be programmed.
        """
        due = [at for _, at in self._due(forget_at, behind=behind)]
        if self._waiting_since is not None and begun:
            due.append(self._not_before)
        return max(0.0, min(due) - self._clock()) if due else None

    def next(self, forget_at: float | None, *, quiet: bool, behind: bool = False) -> Step | None:
        """Return what is most due now, if anything is; `quiet` says that nothing more is on its way just now.

        Slices of large changes, of which there are some if it is `behind`, come last but for turns of costly ones, and
        changes that wait go first.
        """
        now = self._clock()
        waiting = self._waiting_since
        if waiting is not None and now >= self._not_before and (quiet or now >= waiting + LONGEST_GAP):
            return Step.PROGRAM
        return next((step for step, at in self._due(forget_at, behind=behind) if now >= at), None)

    def _due(self, forget_at: float | None, *, behind: bool) -> Iterator[tuple[Step, float]]:
        """Yield what is due when, the most urgent first; changes that wait go before most of it, for a while."""
        if self.has_failed:
            return
        # A second look is also the first one at what changed last.
        if self._review_at is not None:
            yield Step.REVIEW, self._review_at
        if self._look_at is not None:
            yield Step.LOOK, self._put_off(max(self._look_at, self._rested_at), LONGEST_GAP)
        if self._verify_at is not None:
            yield Step.VERIFY, self._put_off(self._verify_at, VERIFY_BY)
        if forget_at is not None:
            yield Step.FORGET, forget_at
        if behind:
            yield Step.CATCH_UP, self._put_off(self._sliced_at, SLICE_BY)
        if (at := self._turns.at) is not None:
            yield Step.TURN, at if self._waiting_since is None else max(at, self._waiting_since + TURN_BY)

    def _put_off(self, at: float, seconds: float) -> float:
        """Return when something is due that changes which wait put off."""
        return at if self._waiting_since is None else at + seconds

    # What happens

    def wait(self) -> None:
        """Note that something waits for the kernel, if nothing did before."""
        if self._waiting_since is None:
            self._waiting_since = self._clock()

    def programmed(self, *, touched: bool) -> None:
        """Note that the kernel has all that waited; `touched` says that it may have changed."""
        now = self._clock()
        self._backoff.worked()
        self._waiting_since = None
        if touched:
            self._not_before = now + SHORTEST_GAP
            self._changed(now)
            self._look_soon(now)
        if self._verify_at is None:
            self._verify_at = now + VERIFY_EVERY

    def refused(self, *, hopeless: bool) -> float:
        """Note that the kernel refused what waits, and return in how many seconds that is tried again.

        `hopeless` says that only a person can help.
        """
        self.wait()
        delay = self._backoff.failed(hopeless=hopeless)
        self._not_before = self._clock() + delay
        return delay

    def slicing(self) -> None:
        """Note that a slice of a large change is programmed now."""
        self._sliced_at = self._clock()

    def sliced(self) -> None:
        """Note that the kernel has the slice, so that flows are to be looked at."""
        now = self._clock()
        self._changed(now)
        self._look_soon(now)

    def looking(self) -> None:
        """Note that flows are looked at now."""
        self._look_at = None

    def reviewing(self) -> bool:
        """Note that flows are looked at again now; return whether the last change is old enough for it to be final."""
        now = self._clock()
        settled = now >= self._changed_at + REVIEW_AFTER
        self._review_at = None
        if not settled:
            # What was changed only just now was not on its way for long enough.
            self._review_at, self._review_by = self._changed_at + REVIEW_AFTER, now + REVIEW_BY
        return settled

    def looked(self, seconds: float) -> None:
        """Note that flows were looked at, for the first time or again, which took `seconds` of the processor.

        If a policy with thousands of flows changes again and again, they are looked at once for several changes.
        """
        self._rested_at = self._clock() + min(LOOK_REST * seconds, LONGEST_LOOK_REST)

    def look_failed(self) -> None:
        """Note that the kernel did not let flows be looked at."""
        self._review_at = self._review_by = self._clock() + REVIEW_AGAIN

    def compare_now(self) -> None:
        """Plan a comparison for now: somebody asks for it."""
        self._verify_at = self._clock()

    def compare_soon(self) -> None:
        """Plan a comparison because somebody else changed the table, if one is planned at all."""
        if self._verify_at is not None:
            now = self._clock()
            earliest = now if self._verified_at is None else max(now, self._verified_at + VERIFY_AGAIN)
            self._verify_at = min(self._verify_at, earliest)

    def compared(self, *, repaired: bool, seconds: float = 0.0) -> None:
        """Note that the table was compared with what it should hold, and whether it was `repaired`.

        That took `seconds` of the processor, which others waited for.
        """
        now = self._clock()
        self._verified_at = now
        self._verify_at = now + max(VERIFY_EVERY, min(VERIFY_REST * seconds, VERIFY_SURELY))
        if repaired:
            self._changed(now)

    def _look_soon(self, now: float) -> None:
        if self._look_at is None:
            self._look_at = now

    def _changed(self, now: float) -> None:
        """Plan what follows a transaction."""
        self._changed_at = now
        if self._review_at is None:
            self._review_by = now + REVIEW_BY
        self._review_at = min(now + REVIEW_AFTER, self._review_by)
