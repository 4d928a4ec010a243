# SPDX-License-Identifier: Apache-2.0
"""Answers as remarks on lines of files, which is what tools for code review show: SARIF, GitHub, GitLab.

A remark is about one place. Problems of the input, verdicts that are not "allowed", and what a change opens and closes
are remarks; connections that just are there are none.
"""

from __future__ import annotations

import hashlib
import os
import re
from typing import TYPE_CHECKING, Final, Literal, NamedTuple

from podfence.analysis.diff.answer import AbsentChange, Difference
from podfence.analysis.diff.review import kinds
from podfence.cluster.members import display_name
from podfence.kube.objects import Key
from podfence.policy.verdict import Decision, Verdict

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from podfence.analysis.diff.answer import Cause, ConnectionChange
    from podfence.kube.findings import (
        Finding,  # noqa: TC004 - nobody evaluates the annotation
        Position,
    )
    from podfence.report.style import Page

Level = Literal["error", "warning", "note"]
_Grouped = tuple[str, Level, "tuple[Cause, ...]", bool, "Position | None"]

RULES: Final = {
    "input": "A manifest that an API server refuses, or that probably does not mean what its author intended",
    "incomplete": "There may be a policy that was not read",
    "denied": "A connection that the policies deny",
    "depends": "A connection for which the answer depends on something",
    "opened": "The change allows connections that were denied",
    "closed": "The change denies connections that were allowed",
    "unknown": 'The answer for connections is "depends" after the change',
    "known": 'The answer for connections was "depends" before the change',
    "unseen": "The change is about pods that are not in the input",
    "complete": "Files that were not read before are read now",
}
"""What a remark can be about, and the sentence that says so."""

_FEW: Final = 5
# What a name has around it that is not the path of a file in the repository.
_REVISION: Final = re.compile(r"git:[^:]*:")
_RENDERED: Final = " (rendered)"
_NO_FILE: Final = re.compile(r"<.*>| \((?:kustomize|helm)\)$")
# Names of files and numbers of lines change without the thing itself.
_PLACES: Final = re.compile(r" ?\([^()]*:\d+\)")


class Remark(NamedTuple):
    """A remark on a line of a file, which counts from 1; `file` is "" where there is none in the repository.

    `rule` is a key of `RULES`, `identity` what stays the same when lines move.
    """

    level: Level
    rule: str
    message: str
    file: str = ""
    line: int = 1
    column: int = 1
    identity: str = ""

    @property
    def fingerprint(self) -> str:
        """A text that is the same for the same remark on another line, and another one for every other remark."""
        told = "\0".join((self.rule, self.file, self.identity or self.message))
        return hashlib.sha256(told.encode("utf-8", "surrogateescape")).hexdigest()[:32]


class Refusal(NamedTuple):
    """What stands in place of an answer: why there is none, and the problems of the input, if it is for those."""

    text: str
    problems: tuple[Finding, ...] = ()


def of(answer: object, page: Page) -> Iterator[Remark]:
    """Yield the problems of the input, where it is incomplete, and what the answer is to be remarked for."""
    if isinstance(answer, Refusal):
        page = page._replace(findings=answer.problems)
        if not answer.problems:
            yield Remark("error", "input", answer.text)
    for item in page.findings:
        yield _of_finding(item, page)
    for text in page.gaps:
        yield Remark("warning", "incomplete", f"incomplete: {text}", identity=text)
    if isinstance(answer, Verdict):
        yield from _of_verdict(answer, page)
    elif isinstance(answer, Difference):
        yield from _of_difference(answer, page)


def _of_verdict(answer: Verdict, page: Page) -> Iterator[Remark]:
    """Yield what is to be said of a connection that is not allowed, at the policies that decide it."""
    if answer.decision is Decision.ALLOWED:
        return
    level: Level = "error" if answer.decision is Decision.DENIED else "warning"
    at: dict[Position | None, str] = {}
    for reason in (answer.egress, answer.ingress):
        if reason.decision is not Decision.ALLOWED:
            for place in (reason.rule, reason.nearest.rule if reason.nearest else None, *reason.policies):
                if place is not None and place.position is not None:
                    remedy = f"; to admit it, {reason.remedy}" if reason.remedy else ""
                    at.setdefault(place.position, f"{answer}{remedy}")
                    break
    identity = f"{answer.source} {answer.destination} {answer.port}"
    for position, message in at.items() or [(None, str(answer))]:
        yield _placed(Remark(level, answer.decision.value, message, identity=identity), position, page)


def _of_difference(answer: Difference, page: Page) -> Iterator[Remark]:
    """Yield what a change opens and closes, one remark for each cause and kind of change, at its line in NEW."""
    from podfence.report.difference import because, doing, row, told_gap  # noqa: PLC0415 - comparisons alone need it

    apart = {
        display_name(Key(item.kind, item.namespace, item.name)): item.new or item.old
        for item in answer.objects
        if item.change in {"added", "removed"}
    }
    together: dict[_Grouped, list[ConnectionChange | AbsentChange]] = {}
    for item in answer.changes:
        if not item.allowed:
            ends = (name for name in _workloads(item) if item.ends != "kept" and apart.get(name))
            place = _place(item.causes) or apart.get(next(ends, ""))
            together.setdefault((item.change, _level(item, answer), item.causes, item.joint, place), []).append(item)
    for (change, level, causes, _, place), items in together.items():
        lines = [f"{source} {arrow} {destination} {ports}" for source, arrow, destination, ports, *_ in map(row, items)]
        shown = "; ".join(lines[:_FEW]) + (f"; and {len(lines) - _FEW} more" if len(lines) > _FEW else "")
        message = f"{doing(change, len(lines))}: {shown}: {because(causes, items)}"
        identity = _PLACES.sub("", "\n".join((change, *lines, *map(str, causes))))
        yield _placed(Remark(level, change, message, identity=identity), place, page)
    for thing in answer.objects:
        if thing.unseen:
            worst: Level = "error" if kinds(thing) & set(answer.fails) else "warning"
            message = f"{thing} was {thing.change}, and {thing.unseen}"
            remark = Remark(worst, "unseen", message, identity=f"{thing} {thing.change} {' '.join(thing.what)}")
            yield _placed(remark, thing.new or thing.old, page)
    for gap in answer.gaps:
        if gap.change != "kept":
            rule, text = told_gap(gap)
            failing: Level = "error" if kinds(gap) & set(answer.fails) else "warning"
            yield Remark(failing if rule == "incomplete" else "note", rule, f"{rule}: {text}", identity=gap.what)


def _level(item: ConnectionChange | AbsentChange, answer: Difference) -> Level:
    if kinds(item) & set(answer.fails):
        return "error"
    return "warning" if item.change in {"opened", "unknown"} else "note"


def _workloads(item: ConnectionChange | AbsentChange) -> Iterator[str]:
    """Yield the names of the workloads of a change."""
    ends = (item.connection.subjects,) if isinstance(item, AbsentChange) else (item.sources, item.destinations)
    yield from (name.partition("[")[0] for end in ends for name in end.workloads)


def _place(causes: Iterable[Cause]) -> Position | None:
    """Return the first line of a cause in NEW, or else in OLD."""
    found = [*(cause.new for cause in causes), *(cause.old for cause in causes)]
    return next((place for place in found if place is not None), None)


def _of_finding(item: Finding, page: Page) -> Remark:
    field = f"{item.field}: " if item.field else ""
    remedy = f" ({item.remedy})" if item.remedy else ""
    about = f"{item.object}\n" if item.object else ""
    remark = Remark(
        "error" if item.severity == "error" else "warning",
        "input",
        f"{field}{item.message}{remedy}",
        identity=f"{item.code}\n{about}{field}{_PLACES.sub('', item.message)}",
    )
    return _placed(remark, item.position, page)


def _placed(remark: Remark, position: Position | None, page: Page) -> Remark:
    """Return a remark at a position, as far as that is a line of a file of the repository."""
    if position is None or _NO_FILE.search(position.file):
        return remark
    file = position.file.removesuffix(_RENDERED)
    # The lines of what a chart renders are not those of its template.
    line, column = (position.line, position.column) if file == position.file else (1, 1)
    return remark._replace(file=in_repository(file, page.root), line=max(line, 1), column=max(column, 1))


def in_repository(file: str, root: str) -> str:
    """Return the path of a file from the root of its repository.

    `root` is the path of the working directory from there; "" if it is the root, or in no repository.
    """
    inside = _REVISION.match(file)
    if inside:
        return file[inside.end() :]
    path = os.path.relpath(file) if file.startswith("/") else file
    return os.path.normpath(f"{root}/{path}" if root else path)
