# SPDX-License-Identifier: Apache-2.0
"""What a change opens and closes: the whole comparison, from two clusters to an answer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct
from msgspec.structs import replace

from podfence.analysis.diff import compare, objects, policies, unseen
from podfence.analysis.diff.absent import Absent
from podfence.analysis.diff.affected import affected
from podfence.analysis.diff.answer import Difference, GapChange, GapWord, Side
from podfence.analysis.diff.causes import Causes
from podfence.analysis.diff.told import Telling
from podfence.analysis.diff.units import units
from podfence.analysis.doubts import Doubts
from podfence.analysis.view import counts_of
from podfence.policy.reach import Reach

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from podfence.analysis.lines import Progress
    from podfence.cluster.classes import ClassIndex
    from podfence.kube.omissions import Gap
    from podfence.policy.engine import Engine


class Compared(Struct, frozen=True):
    """One side of a comparison: what judges it, what it is called, and where a policy may lie that was not read."""

    engine: Engine
    name: str
    gaps: tuple[Gap, ...]

    def side(self) -> Side:
        """Return the side as an answer tells it."""
        return Side(name=self.name, **counts_of(self.engine)._asdict())


def difference(old: Compared, new: Compared, index: ClassIndex | None, progress: Progress | None = None) -> Difference:
    """Return what differs between two sides; `index` is that of OLD, if there is one already, and stays as it is."""
    found = objects.pairs(old.engine.state, new.engine.state)
    engine = policies.engine_beside(old.engine, new.engine, found)
    said = policies.differing(old.engine, engine, found)
    spaces = {key.name for key in found if key.kind == "Namespace"}
    spaces |= old.engine.state.namespaces.keys() ^ new.engine.state.namespaces.keys()
    both = units(old.engine, engine, index, said.new, spaces)
    touched = {policy.key.namespace or policy.key.name for policy in (*said.old, *said.new)}
    before = Reach(both.old.engine, both.old.index)
    reaches = before, Reach(both.new.engine, both.new.index, before, touched | both.divided)
    doubts = Doubts(both.old, reaches[0]), Doubts(both.new, reaches[1])
    concerned = affected(both, reaches, doubts, said, spaces)
    causes = Causes(both, reaches, (doubts[0].scenarios, doubts[1].scenarios), said, found, concerned)
    telling = Telling(both, causes, tuple(dict.fromkeys((*old.gaps, *new.gaps))))
    for piece in compare.differing(both, reaches, doubts, concerned, progress):
        telling.take(piece)
    absent = Absent(both, reaches, causes)
    for item in absent.differing(concerned, touched):
        telling.take_absent(item)
    answer = Difference(
        old=old.side(),
        new=new.side(),
        connections=telling.connections(),
        absent=telling.absent(),
        objects=objects.changes(found),
        gaps=tuple(_gaps(old.gaps, new.gaps)),
        notes=tuple(_notes(old.engine, new.engine, causes)),
    )
    caused = {cause.object for item in answer.changes for cause in item.causes}
    return replace(answer, objects=unseen.marked(answer.objects, old.engine, engine, caused))


def _gaps(old: Iterable[Gap], new: Iterable[Gap]) -> Iterator[GapChange]:
    """Yield the gaps of both sides; one that may be about more namespaces than before is new."""
    before, after = ({gap.what: gap for gap in gaps} for gaps in (old, new))
    for what in dict.fromkeys((*before, *after)):
        earlier, gap = before.get(what), after.get(what)
        change: GapWord = "removed" if gap is None else "kept" if earlier and _covers(earlier, gap) else "added"
        told = gap or before[what]
        names = None if told.namespaces is None else tuple(sorted(told.namespaces))
        yield GapChange(change=change, what=what, remedy=told.remedy, namespaces=names)


def _covers(one: Gap, other: Gap) -> bool:
    return one.namespaces is None or (other.namespaces is not None and other.namespaces <= one.namespaces)


def _notes(old: Engine, new: Engine, causes: Causes) -> Iterator[str]:
    if old.options != new.options:
        yield "the two sides are judged with different options"
    if causes.is_exhausted:
        yield "too much changes to look for the causes of every difference"
