# SPDX-License-Identifier: Apache-2.0
"""The options of a request: its query, and for a delete its body."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, NamedTuple

from podfence.kube.validation.findings import go_quote
from podfence.lab.apiserver.status import bad_request, invalid_fields, no_fault

if TYPE_CHECKING:
    from collections.abc import Mapping

_WHOLE: Final = re.compile(r"[+-]?[0-9]+")
_MOST_DIGITS: Final = 100
_VALIDATION: Final = ("", "Ignore", "Strict", "Warn")
_TRUE: Final = ("1", "t", "T", "true", "TRUE", "True")


class WriteOptions(NamedTuple):
    """How something is written: only tried, with which complaints about unknown fields, and whether by force."""

    dry_run: bool
    validation: str
    force: bool


def write_options(query: Mapping[str, str], dry: list[str], kind: str) -> WriteOptions:
    """Return the options of a create, update or patch, whose `dry` values were given. Raises RefusedError."""
    wrong: list[tuple[str, str]] = []
    validation = query.get("fieldValidation", "")
    if wrong_dry := dry_run_complaint(dry):
        wrong.append(("dryRun", wrong_dry))
    if len(query.get("fieldManager", "")) > 128:
        wrong.append(("fieldManager", "Too long: may not be more than 128 bytes"))
    if validation not in _VALIDATION:
        known = ", ".join(map(go_quote, _VALIDATION))
        wrong.append(("fieldValidation", f"Unsupported value: {go_quote(validation)}: supported values: {known}"))
    if wrong:
        raise invalid_fields("meta.k8s.io", kind, "", wrong)
    return WriteOptions(dry == ["All"], validation or "Warn", is_true(query, "force"))


def dry_run_complaint(values: list[str]) -> str:
    """Return what is wrong with the values of dryRun, "" if nothing is."""
    if values in ([], ["All"]):
        return ""
    shown = ",".join(map(go_quote, values))
    return f'Unsupported value: [{shown}]: supported values: "All"'


def is_true(query: Mapping[str, str], key: str) -> bool:
    """Return whether a switch of a query is on, as Go reads it."""
    return query.get(key, "") in _TRUE or (key in query and query[key] == "")


class ListOptions(NamedTuple):
    """What a list or a watch is to give. `revision` is None if the request names none."""

    labels: str
    fields: str
    limit: int
    token: str
    revision: int | None
    bookmarks: bool
    initial: bool
    timeout: float
    match: str


def list_options(query: Mapping[str, str], *, watch: bool) -> ListOptions:
    """Return the options of a list or a watch. Raises RefusedError."""
    limit = _number(query, "limit")
    timeout = _number(query, "timeoutSeconds")
    match = query.get("resourceVersionMatch", "")
    initial = is_true(query, "sendInitialEvents")
    revision = _revision(query.get("resourceVersion", ""), watch=watch)
    if reason := _forbidden(query, match, initial=initial, watch=watch):
        raise invalid_fields("meta.k8s.io", "ListOptions", "", [reason])
    return ListOptions(
        query.get("labelSelector", ""),
        query.get("fieldSelector", ""),
        max(0, limit),
        query.get("continue", ""),
        revision,
        is_true(query, "allowWatchBookmarks"),
        initial,
        float(timeout),
        match,
    )


def _forbidden(query: Mapping[str, str], match: str, *, initial: bool, watch: bool) -> tuple[str, str] | None:
    field = "resourceVersionMatch"
    if "sendInitialEvents" in query and not watch:
        return ("sendInitialEvents", "Forbidden: sendInitialEvents is forbidden for list")
    if initial and match != "NotOlderThan":
        return (field, "Forbidden: sendInitialEvents requires setting resourceVersionMatch to NotOlderThan")
    if match and watch and "sendInitialEvents" not in query:
        return (field, "Forbidden: resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided")
    if match and not watch and not query.get("resourceVersion"):
        return (field, "Forbidden: resourceVersionMatch is forbidden unless resourceVersion is provided")
    if match not in ("", "Exact", "NotOlderThan"):
        return (field, f'Unsupported value: {go_quote(match)}: supported values: "Exact", "NotOlderThan", ""')
    return None


def whole_number(text: str) -> int | None:
    """Return the number that a text is in decimal digits, None for every other text."""
    # Python reads no more than some thousand digits, and no number here has a hundred.
    return int(text[:_MOST_DIGITS]) if _WHOLE.fullmatch(text) else None


def _number(query: Mapping[str, str], key: str) -> int:
    text = query.get(key, "")
    if not text:
        return 0
    value = whole_number(text)
    if value is None or not -(2**63) <= value < 2**63:
        problem = "invalid syntax" if value is None else "value out of range"
        raise bad_request(f"strconv.ParseInt: parsing {go_quote(text)}: {problem}")
    return value


def _revision(text: str, *, watch: bool) -> int | None:
    if not text:
        return None
    number = whole_number(text)
    if number is not None and text[0] not in "+-" and number < 2**64:
        return number
    message = (
        f"resourceVersion: Invalid value: {go_quote(text)}: strconv.ParseUint: parsing {go_quote(text)}: invalid syntax"
    )
    if watch:
        raise no_fault(message)
    raise bad_request(f"invalid resource version: {message}")
