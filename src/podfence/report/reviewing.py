# SPDX-License-Identifier: Apache-2.0
"""Remarks as tools for code review take them: SARIF 2.1.0, and what GitHub and GitLab read of a job."""

from __future__ import annotations

import urllib.parse
from collections import Counter
from importlib import metadata
from typing import TYPE_CHECKING, Any, Final

import msgspec

from podfence.report import remarks

if TYPE_CHECKING:
    from collections.abc import Iterator

    from podfence.report.remarks import Remark
    from podfence.report.style import Page

MOST: Final = 10
"""How many annotations of one kind GitHub takes from a step; it drops the rest without a word."""

_SCHEMA: Final = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
_ROOT: Final = "%SRCROOT%"
_COMMANDS: Final = {"error": "error", "warning": "warning", "note": "notice"}
_SEVERITIES: Final = {"error": "major", "warning": "minor", "note": "info"}
# GitLab takes no entry without a file.
_NO_FILE: Final = "."


def sarif(answer: object, page: Page) -> Iterator[str]:
    """Yield the remarks on an answer as one document of SARIF."""
    results = [_result(item) for item in remarks.of(answer, page)]
    used = dict.fromkeys(item["ruleId"] for item in results)
    driver = {
        "name": "podfence",
        "version": metadata.version("podfence"),
        "rules": [{"id": rule, "shortDescription": {"text": remarks.RULES[rule]}} for rule in used],
    }
    run = {"tool": {"driver": driver}, "columnKind": "unicodeCodePoints", "results": results}
    yield _document({"$schema": _SCHEMA, "version": "2.1.0", "runs": [run]})


def _result(item: Remark) -> dict[str, Any]:
    result: dict[str, Any] = {
        "ruleId": item.rule,
        "level": item.level,
        "message": {"text": item.message},
        "partialFingerprints": {"primaryLocationLineHash": f"{item.fingerprint}:1"},
    }
    if item.file:
        place = {
            "artifactLocation": {"uri": urllib.parse.quote(item.file, errors="surrogateescape"), "uriBaseId": _ROOT},
            "region": {"startLine": item.line, "startColumn": item.column},
        }
        result["locations"] = [{"physicalLocation": place}]
    return result


def gitlab(answer: object, page: Page) -> Iterator[str]:
    """Yield the remarks on an answer as a code quality report, which GitLab shows in a merge request."""
    yield _document(
        [
            {
                "description": item.message,
                "check_name": f"podfence-{item.rule}",
                "fingerprint": item.fingerprint,
                "severity": _SEVERITIES[item.level],
                "location": {"path": item.file or _NO_FILE, "lines": {"begin": item.line}},
            }
            for item in remarks.of(answer, page)
        ]
    )


def _document(value: object) -> str:
    return msgspec.json.format(msgspec.json.encode(value), indent=2).decode()


def github(answer: object, page: Page) -> Iterator[str]:
    """Yield one workflow command a remark, and the remarks beyond what GitHub takes as lines of the log.

    GitHub shows the commands as annotations at the lines of a pull request.
    """
    given: Counter[str] = Counter()
    for item in remarks.of(answer, page):
        command = _COMMANDS[item.level]
        given[command] += 1
        if given[command] > MOST:
            where = f"{item.file}:{item.line}: " if item.file else ""
            # No line of the log may be taken for a command.
            yield f"also: {command}: {where}{' '.join(item.message.split()).replace('##[', '## [')}"
            continue
        place = {"file": item.file, "line": item.line, "col": item.column} if item.file else {}
        fields = {**place, "title": f"podfence: {item.rule}"}
        properties = ",".join(f"{name}={_property(str(value))}" for name, value in fields.items())
        yield f"::{command} {properties}::{_data(item.message)}"


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
