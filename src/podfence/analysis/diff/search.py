# SPDX-License-Identifier: Apache-2.0
"""Which changes bring back what OLD says if they are undone: each alone, or else the fewest together."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from podfence.analysis.diff.undo import CLUSTER, Undo
from podfence.sets import PortSet

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from podfence.analysis.diff.bearing import Bearing

    Undone = Callable[[Sequence[Undo]], PortSet]
    """Returns the ports on which NEW with some changes undone says what OLD says."""

    Parts = Callable[[Undo], Sequence[Undo]]
    """Returns what differs inside of an object, in parts that can be undone alone."""


class Found(NamedTuple):
    """Changes that bring back some ports: each alone does, or all together do (`joint`)."""

    ports: PortSet
    undone: tuple[Undo, ...]
    joint: bool


def search(
    whole: Sequence[Undo], parts: Parts, undone: Undone, changed: PortSet, seen: Bearing | None
) -> Iterator[Found]:
    """Yield what brings back the ports that changed, each port once; a part of an object rather than all of it.

    `seen` is what is known of changes without a trial, None for nothing.
    """
    alone: list[tuple[Undo, PortSet]] = []
    for undo in whole:
        if seen is not None and not seen.ports(undo) & changed:
            continue
        # What a policy does by being there, its rules do not do.
        inner = [(part, (undone((part,)) & changed) - undone((part.bare,))) for part in parts(undo)]
        alone += [item for item in inner if item[1]]
        if rest := (undone((undo,)) & changed) - PortSet.union(ports for _, ports in inner):
            alone.append((undo, rest))
    rest = changed
    for ports, several in _atoms(alone):
        rest -= ports
        yield Found(ports, several, joint=False)
    while rest:
        found = _together(list(whole), parts, undone, rest, seen)
        rest -= found.ports
        yield found


def _together(needed: list[Undo], parts: Parts, undone: Undone, wanted: PortSet, seen: Bearing | None) -> Found:
    """Return the fewest changes that must be undone together, at least for some of the ports."""
    ports = undone(needed) & wanted
    if not ports:
        needed = [*needed, Undo(CLUSTER)]
        ports = undone(needed) & wanted
    if not ports:
        return Found(wanted, tuple(needed), joint=True)
    # Of what is like a change that is necessary nothing has to be tried, as long as all else stays as it is.
    kind = seen.kind if seen is not None and Undo(CLUSTER) not in needed else lambda undo: undo
    necessary: set[object] = set()
    for undo in reversed(tuple(needed)):
        fewer = [item for item in needed if item != undo]
        if kind(undo) in necessary or not ports <= undone(fewer):
            necessary.add(kind(undo))
        else:
            needed = fewer
            necessary.clear()
    whole: set[object] = set()
    for place, undo in enumerate(tuple(needed)):
        several = ([*needed[:place], part, *needed[place + 1 :]] for part in parts(undo))
        narrower = None if kind(undo) in whole else next((item for item in several if ports <= undone(item)), None)
        if narrower is None:
            whole.add(kind(undo))
        else:
            needed = narrower
            whole.clear()
    return Found(ports, tuple(needed), joint=len(needed) > 1)


def _atoms(alone: Iterable[tuple[Undo, PortSet]]) -> Iterator[tuple[PortSet, tuple[Undo, ...]]]:
    """Yield disjoint ports with all changes of which each alone brings them back."""
    blocks: list[tuple[PortSet, tuple[Undo, ...]]] = []
    for undo, ports in alone:
        rest = ports
        refined: list[tuple[PortSet, tuple[Undo, ...]]] = []
        for block, several in blocks:
            if inside := block & rest:
                refined.append((inside, (*several, undo)))
            if outside := block - rest:
                refined.append((outside, several))
            rest -= block
        blocks = [*refined, (rest, (undo,))] if rest else refined
    yield from blocks
