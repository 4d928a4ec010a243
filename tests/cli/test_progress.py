# SPDX-License-Identifier: Apache-2.0
"""The progress bar."""

from __future__ import annotations

import io

import pytest

from podfence.cli.progress import PATIENCE, Bar, shown


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_bar_with_counts_appears_only_after_a_second_and_goes_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    now = 0.0
    stream = Terminal()
    bar = Bar(stream, "reading", clock=lambda: now)

    bar.advance(1, 400)
    now = PATIENCE / 2
    bar.advance(2, 400)
    assert stream.getvalue() == ""

    now = PATIENCE + 0.1
    bar.advance(300, 400)
    bar.close()
    assert "reading" in stream.getvalue()
    assert "300/400" in stream.getvalue()
    shown_as = stream.getvalue()
    assert shown_as.endswith("\n\x1b[1A\x1b[2K")
    assert shown_as.count("\n") == 1


@pytest.mark.parametrize(("stream", "quiet"), [(io.StringIO(), False), (Terminal(), True)])
def test_there_is_no_bar_where_nobody_would_look(stream: io.StringIO, quiet: bool) -> None:
    with shown(stream, "reading", quiet=quiet) as progress:
        assert progress is None
