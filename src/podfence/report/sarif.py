# SPDX-License-Identifier: Apache-2.0
"""Remarks as SARIF 2.1.0, which code scanning reads."""

from __future__ import annotations

import urllib.parse
from importlib import metadata
from typing import TYPE_CHECKING, Any, Final

import msgspec

from podfence.report import remarks

if TYPE_CHECKING:
    from collections.abc import Iterator

    from podfence.report.remarks import Remark
    from podfence.report.style import Page

_SCHEMA: Final = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
_ROOT: Final = "%SRCROOT%"


def log(answer: object, page: Page) -> Iterator[str]:
    """Yield the remarks on an answer as one document."""
    results = [_result(item) for item in remarks.of(answer, page)]
    used = dict.fromkeys(item["ruleId"] for item in results)
    driver = {
        "name": "podfence",
        "version": metadata.version("podfence"),
        "rules": [{"id": rule, "shortDescription": {"text": remarks.RULES[rule]}} for rule in used],
    }
    run = {"tool": {"driver": driver}, "columnKind": "unicodeCodePoints", "results": results}
    log = {"$schema": _SCHEMA, "version": "2.1.0", "runs": [run]}
    yield msgspec.json.format(msgspec.json.encode(log), indent=2).decode()


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
