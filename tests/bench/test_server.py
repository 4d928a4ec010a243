# SPDX-License-Identifier: Apache-2.0
"""The API server of a lab is measured over its own socket."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench import server

if TYPE_CHECKING:
    from pathlib import Path


def test_lists_watches_and_memory_are_measured(tmp_path: Path) -> None:
    section = server.section(tmp_path, quick=True)

    assert [line.split("|")[1].strip() for line in section.lines[2:]] == [
        "list 1,000 pods as a table",
        "list 1,000 pods as JSON",
        "tell 50 watches of a change",
        "tell 100 watches of a change",
        "memory with 5,000 pods",
        "memory after 1,000 other pods",
    ]
    assert section.lines[-1].endswith("yes |")
