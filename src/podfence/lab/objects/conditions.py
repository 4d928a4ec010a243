# SPDX-License-Identifier: Apache-2.0
"""Conditions: the statements of a status, each with the time since when it holds."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable

    from podfence.lab.store.metadata import Raw


class Condition(NamedTuple):
    """One statement; `reason` and `message` say why it does not hold, or does."""

    type: str
    holds: bool
    reason: str = ""
    message: str = ""


def condition(obj: Raw, kind: str, status: str) -> Raw:
    """Return the condition of a type that an object has, if it has that status; {} if not."""
    found = (obj.get("status") or {}).get("conditions") or ()
    return next((item for item in found if (item["type"], item["status"]) == (kind, status)), {})


def conditions(before: Raw, now: str, found: Iterable[Condition], *, updated: bool = False) -> list[Raw]:
    """Return conditions as a status has them; those that held `before` too keep their time.

    `updated` adds the time of the last update, as Deployments have it.
    """
    known = {item["type"]: item for item in before.get("conditions") or ()}
    return [_written(item, known.get(item.type) or {}, now, updated=updated) for item in found]


def _written(item: Condition, known: Raw, now: str, *, updated: bool) -> Raw:
    written = {"type": item.type, "status": "True" if item.holds else "False"}
    written |= {"reason": item.reason} if item.reason else {}
    written |= {"message": item.message} if item.message else {}
    held = known.get("status") == written["status"]
    times = {"lastTransitionTime": known["lastTransitionTime"] if held else now}
    if updated:
        alike = all(known.get(key) == text for key, text in written.items())
        times["lastUpdateTime"] = known.get("lastUpdateTime", now) if alike else now
    return {**written, **times}
