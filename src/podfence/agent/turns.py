# SPDX-License-Identifier: Apache-2.0
"""Changes of policies that wait until others have gone first, because they are large, or those before took long.

If a costly policy changes again and again, its latest version is taken in now and then. In between, the loop is idle
for changes of others.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from podfence.cluster.state import EventType
from podfence.kube.objects import Namespace, NetworkPolicy, Pod

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable

    from podfence.cluster.state import Event
    from podfence.kube.objects import Key, Rule

LONG: Final = 0.1
"""Seconds of the processor that a step takes at least after which policies of its namespaces wait for turns."""

ENOUGH: Final = 0.15
"""Seconds of the processor that a turn may take: the next one takes in fewer changes if it took longer, or more."""

REST: Final = 3.0
"""How many times as long as a long turn took it is until the next one."""

LONGEST_REST: Final = 5.0
"""Seconds after which a change waits for others, but not for that they have rested."""

LONGEST_WAIT: Final = 10.0
"""Seconds after which a change does not wait any longer, whatever it takes."""

LARGE: Final = 100
"""How many peers, exceptions and ports a policy has at least that waits for a turn, whatever those before took."""

_AT_FIRST: Final = 8
_MOST_KNOWN: Final = 1024


class Turns:
    """Keeps the latest change of each policy that waits.

    A turn is of one namespace, so that it is seen how long its changes take. Those of whom that is not known yet, or
    who were only in a long step together with others, do not rest.
    """

    def __init__(self, node: str, clock: Callable[[], float]) -> None:
        """Let nobody wait yet. `clock` gives seconds and never goes back."""
        self._node = node
        self._clock = clock
        self._costly: dict[str, bool] = {}
        self._waiting: dict[str, dict[Key, tuple[float, Event]]] = {}
        self._not_before = clock()
        self._at_once = _AT_FIRST
        self._turn: tuple[Collection[Event], float] = (), 0.0

    @property
    def waiting(self) -> set[Key]:
        """The policies whose latest change waits."""
        return {key for space in self._waiting.values() for key in space}

    @property
    def at(self) -> float | None:
        """By the clock, when the next turn is; None if nobody waits."""
        return min(map(self._due, self._waiting), default=None)

    def keep(self, event: Event, with_these: Iterable[Event] = ()) -> bool:
        """Return whether a change has to wait for its turn; it is kept then, in the place of an earlier one.

        It does not have to if something that it must not come after (see `before`) is among the changes that are
        programmed next, which it goes with.
        """
        policy = event.object
        if not isinstance(policy, NetworkPolicy):
            return False
        space = self._waiting.get(policy.namespace, {})
        since, _ = space.get(policy.key, (None, None))
        if since is None:
            if policy.namespace not in self._costly and _parts(policy) < LARGE:
                return False
            if any(self._starts(other) == policy.namespace for other in with_these):
                return False
            since = self._clock()
        space[policy.key] = since, event
        self._waiting[policy.namespace] = space
        return True

    def before(self, event: Event) -> list[Event]:
        """Return the changes that have to be taken in before another one, whatever they take.

        Those are what waits in the namespace of a pod of the node that comes or changes: it must not be let out by
        policies that were others already. So it is with a namespace.
        """
        return [kept for _, kept in self._waiting.pop(self._starts(event), {}).values()]

    def _starts(self, event: Event) -> str:
        """Return the namespace whose policies must not be late for what comes or changes, "" if there is none."""
        item = event.object
        if isinstance(item, Namespace):
            return item.name
        if isinstance(item, Pod) and item.template.node == self._node and event.type is not EventType.DELETED:
            return item.namespace
        return ""

    def take(self) -> list[Event]:
        """Return the changes whose turn it is: some of one namespace, and whatever has waited for too long.

        Of the namespace there are as many as should not take too long, but new policies come alone: of them nothing is
        in the kernel yet. It comes after the others then.
        """
        late = self._clock() - LONGEST_WAIT
        keys = [key for space in self._waiting.values() for key, (since, _) in space.items() if since <= late]
        if not keys:
            space = self._waiting[min(self._waiting, key=lambda name: (self._costly.get(name, False), self._due(name)))]
            keys = list(space)[: self._at_once]
            new = [place for place, key in enumerate(keys) if space[key][1].type is EventType.ADDED]
            if len(keys) > 1 and new:
                keys = keys[: max(1, new[0])]
        result: list[Event] = []
        for key in keys:
            space = self._waiting.pop(key.namespace)
            result.append(space.pop(key)[1])
            if space:
                self._waiting[key.namespace] = space
        return result

    def took(self, events: Iterable[Event], seconds: float) -> None:
        """Note what a step took with some changes."""
        spaces = _spaces(events)
        if seconds > LONG:
            for space in spaces:
                self._costly[space] = self._costly.get(space, False) or len(spaces) == 1
            while len(self._costly) > _MOST_KNOWN:
                del self._costly[next(iter(self._costly))]

    def turn_took(self, events: Collection[Event], seconds: float) -> None:
        """Note what a turn took with the changes of the last `take`, without its slices."""
        if seconds <= ENOUGH:
            self._at_once = max(self._at_once, 2 * len(events))
        self._note_turn(events, seconds, seconds)

    def slice_took(self, seconds: float) -> None:
        """Note what a slice took, if it is one of the last turn."""
        events, before = self._turn
        if events:
            self._note_turn(events, before + seconds, seconds)

    def _note_turn(self, events: Collection[Event], whole: float, part: float) -> None:
        """Note what a whole turn took so far, and the last part of it."""
        self._turn = events, whole
        if part > ENOUGH:
            self._at_once = max(1, int(len(events) * ENOUGH / part))
        if whole > LONG:
            self.took(events, whole)
            self._not_before = self._clock() + REST * whole

    def ended(self) -> None:
        """Note that nothing of the last turn is left; if it did not take long, its namespace does not wait."""
        events, seconds = self._turn
        self._turn = (), 0.0
        if seconds <= LONG:
            for space in _spaces(events):
                self._costly.pop(space, None)

    def _due(self, space: str) -> float:
        since, _ = next(iter(self._waiting[space].values()))
        return min(max(since, self._not_before), since + LONGEST_REST) if self._costly.get(space) else since


def _spaces(events: Iterable[Event]) -> set[str]:
    return {event.object.namespace for event in events if isinstance(event.object, NetworkPolicy)}


def _parts(policy: NetworkPolicy) -> int:
    return sum(map(_parts_of_rule, (*policy.ingress, *policy.egress)))


def _parts_of_rule(rule: Rule) -> int:
    excepts = sum(len(peer.ip_block.excepts) for peer in rule.peers if peer.ip_block is not None)
    return len(rule.peers) + excepts + len(rule.ports)
