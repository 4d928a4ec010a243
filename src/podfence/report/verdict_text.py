# SPDX-License-Identifier: Apache-2.0
"""A verdict in one line, and as the chain of its decision."""

from __future__ import annotations

from typing import TYPE_CHECKING

from podfence.errors import counted
from podfence.policy.verdict import Decision, Direction, Matter, Tier, told
from podfence.report.style import PAGE, PLAIN

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from podfence.analysis.mending import Mended
    from podfence.policy.verdict import Dependency, Line, Meaning, Reason, RuleRef, Verdict
    from podfence.report.style import Page, Style

_TIER_WIDTH = max(len(tier) for tier in Tier)

_MOST = 10
_LONG = 24
_BEGIN = 8

_RULE_TITLES = {
    Decision.ALLOWED: "  Admitted by",
    Decision.DENIED: "  Denied by",
    Decision.DEPENDS: "  Admitted or not by",
}


def brief(verdict: Verdict, page: Page = PAGE) -> Iterator[str]:
    """Yield the decision in one line and, when it depends, those of its parts indented below."""
    style = page.style
    text = str(verdict)
    word = verdict.decision.value
    yield style.decision(word, word) + text.removeprefix(word)
    for part in verdict.parts:
        for line in brief(part, page):
            yield "  " + line


def chain(verdict: Verdict, page: Page = PAGE) -> Iterator[str]:
    """Yield the decision and how it came about, in both directions, or for every part when it depends."""
    style = page.style
    word = verdict.decision.value
    yield f"{style.decision(word, word)}  {question(verdict)}"
    if verdict.translation:
        yield verdict.translation
    if verdict.depends_on:
        yield f"depends on {told(verdict.depends_on)}"
        if not (verdict.parts or _sides_told(verdict)):
            yield from _indented(_meanings(verdict.depends_on, style))
    if verdict.parts and verdict.decision is Decision.DENIED:
        yield "each part needs a change of its own"
    for part in verdict.parts:
        yield ""
        yield from _indented(chain(part, page))
    if not verdict.parts:
        for reason, end in ((verdict.egress, verdict.source), (verdict.ingress, verdict.destination)):
            yield ""
            yield from _direction(reason, end, style)
            if _sides_told(verdict):
                yield from _indented(_meanings(reason.depends_on, style))
    if verdict.notes:
        yield ""
        yield style.strong("Notes")
        yield from (f"  {note}" for note in verdict.notes)


def markdown(verdict: Verdict, page: Page = PAGE) -> Iterator[str]:
    """Yield the decision, and its chain folded below it."""
    from podfence.report.markdown import code, folded  # noqa: PLC0415  other formats need no Markdown

    yield f"**{verdict.decision.value}** {code(question(verdict))}"
    yield ""
    lines = (line.replace("`" * 3, "'" * 3) for line in chain(verdict, page._replace(width=None, style=PLAIN)))
    yield from folded("Why", ("```text", *lines, "```"))


def remedies(found: Iterable[Mended]) -> Iterator[str]:
    """Yield policies after changes as documents to apply, with the changes in comments; others are comments alone."""
    from podfence.policy.changes import manifest  # noqa: PLC0415  few ask for the policies themselves
    from podfence.report import yaml_text  # noqa: PLC0415  as above

    for number, item in enumerate(found):
        if number:
            yield "---"
        yield from (f"# {text}" for text in item.texts)
        if item.policy is not None:
            yield from yaml_text.lines(manifest(item.policy))


def _sides_told(verdict: Verdict) -> bool:
    """Return whether both directions depend, so that what a value means is told of each."""
    return not verdict.parts and verdict.egress.decision is verdict.ingress.decision is Decision.DEPENDS


def _meanings(unknown: tuple[Dependency, ...], style: Style) -> Iterator[str]:
    """Yield what each value of what is not known would mean, under what it is if there are several."""
    several = [item for item in unknown if item.values]
    for item in several:
        if len(several) > 1:
            yield f"{item.text}:"
        for meaning in item.values:
            decided = style.decision(meaning.decision.value, meaning.decision.value)
            yield f"{'  ' if len(several) > 1 else ''}{_supposed(item, meaning)}: {decided}"


def _supposed(item: Dependency, meaning: Meaning) -> str:
    """Return ``with role=edge``, ``with an address in 10.0.0.0/8``, ``on the same node``, or ``otherwise``."""
    if meaning is item.values[-1]:
        return "otherwise"
    match item.what:
        case Matter.ADDRESS:
            return f"with an address in {meaning.value}"
        case Matter.NODE:
            return f"on {meaning.value}"
    return f"with {meaning.value}"


def question(verdict: Verdict) -> str:
    """Return ``shop/web -> shop/db TCP 5432``."""
    return f"{verdict.source} -> {verdict.destination} {verdict.port}".rstrip()


def _direction(reason: Reason, end: str, style: Style) -> Iterator[str]:
    side = "Egress from" if reason.direction is Direction.EGRESS else "Ingress to"
    word = reason.decision.value
    yield f"{style.strong(f'{side} {end}')}: {style.decision(word, word)}"
    yield from _indented(_tiers(reason, style))
    if reason.policies:
        yield "  Isolated by"
        yield from (f"    {policy}" for policy in reason.policies[:_MOST])
        if len(reason.policies) > _MOST:
            yield style.faint(f"    and {len(reason.policies) - _MOST} more")
    if reason.rule:
        yield _RULE_TITLES[reason.decision]
        yield from _indented(_rule(reason.rule, style), 4)
        if reason.match:
            yield f"    {reason.match}"
    if reason.nearest:
        yield "  Nearest rule"
        yield from _indented(_rule(reason.nearest.rule, style), 4)
        yield f"    admits {reason.nearest.admits}"
        yield f"    but {reason.nearest.gap}"
    if reason.remedies:
        yield "  Smallest change that would admit it"
        first, *others = reason.remedies
        yield f"    {first.text}"
        yield from (f"    or {item.text}" for item in others)
    rules = ([f"`podfence semantics {reason.semantics}`"] if reason.semantics else []) + [
        f"option {option}" for option in reason.options
    ]
    if rules:
        yield style.faint(f"  See {', '.join(rules)}")


def _tiers(reason: Reason, style: Style) -> Iterator[str]:
    """Yield a line per tier, in the order they are asked; what comes after the deciding one is not asked."""
    decided = False
    for tier in Tier:
        if tier is reason.tier:
            decided = True
            word = reason.decision.value
            # The nearest rule has a section of its own here.
            summary = reason.summary.partition("; nearest: ")[0]
            text = style.decision(word, word)
            text += summary.removeprefix(word) if summary.startswith(word) else f": {summary}"
        else:
            text = style.faint("not asked" if decided else "no policy decides")
        yield f"{tier.value.ljust(_TIER_WIDTH)}  {text}"


def _rule(rule: RuleRef, style: Style) -> Iterator[str]:
    yield str(rule)
    shown = _telling(rule)
    width = max((len(str(line.number)) for line in shown), default=0)
    before = 0
    for line in shown:
        if before and line.number > before + 1:
            yield style.faint(f"  … {counted(line.number - before - 1, 'line')}")
        yield f"{style.faint(f'  {str(line.number).rjust(width)} |')} {line.text}".rstrip()
        before = line.number
    if shown and rule.excerpt[-1].number > before:
        yield style.faint(f"  … {counted(rule.excerpt[-1].number - before, 'line')}")


def _telling(rule: RuleRef) -> tuple[Line, ...]:
    """Return the lines of a rule; of a long one the first, and those of the item that matters."""
    if len(rule.excerpt) <= _LONG:
        return rule.excerpt
    numbers = {line.number for line in (*rule.excerpt[:_BEGIN], *rule.item[:_BEGIN])}
    return tuple(line for line in rule.excerpt if line.number in numbers)


def _indented(lines: Iterator[str], by: int = 2) -> Iterator[str]:
    return (" " * by + line if line else line for line in lines)
