# SPDX-License-Identifier: Apache-2.0
"""Remarks as a code quality report, which GitLab shows in a merge request."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from podfence.report import remarks

if TYPE_CHECKING:
    from collections.abc import Iterator

    from podfence.report.style import Page

_SEVERITIES: Final = {"error": "major", "warning": "minor", "note": "info"}
# GitLab takes no entry without a file.
_NO_FILE: Final = "."


def report(answer: object, page: Page) -> Iterator[str]:
    """Yield the remarks on an answer as one document."""
    entries = [
        {
            "description": item.message,
            "check_name": f"podfence-{item.rule}",
            "fingerprint": item.fingerprint,
            "severity": _SEVERITIES[item.level],
            "location": {"path": item.file or _NO_FILE, "lines": {"begin": item.line}},
        }
        for item in remarks.of(answer, page)
    ]
    yield msgspec.json.format(msgspec.json.encode(entries), indent=2).decode()
