# SPDX-License-Identifier: Apache-2.0
"""The lines of a container's log: cut out of what is printed, kept with their time, and read back."""

from __future__ import annotations

import os
import select
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest

from podfence.lab import kernel
from podfence.lab.lines import KEPT, STEP, Entry, LogReader, Splitter, chosen, follow, nanoseconds, stamp
from podfence.lab.processes.console import Console
from podfence.lab.processes.program import Program

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1970-01-01T00:00:01Z", 1_000_000_000),
        ("1970-01-01T00:00:01.5Z", 1_500_000_000),
        ("1970-01-01T00:00:00.000000007Z", 7),
        ("1970-01-01T02:00:00.25+02:00", 250_000_000),
    ],
)
def test_a_time_is_read_to_the_nanosecond(text: str, expected: int) -> None:
    assert nanoseconds(text) == expected


@pytest.mark.parametrize("text", ["", "now", "1970-01-01T00:00:00.Z", "1970-13-01T00:00:00Z", "5"])
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"time|isoformat|month"):
        nanoseconds(text)


def test_a_time_is_written_as_it_is_read() -> None:
    assert stamp(1_764_432_615_000_000_042) == "2025-11-29T16:10:15.000000042Z"
    assert nanoseconds(stamp(1_764_432_615_000_000_042)) == 1_764_432_615_000_000_042


@pytest.mark.parametrize(
    ("pieces", "expected"),
    [
        ([b"one\ntwo\n"], b"one\ntwo\n"),
        ([b"o", b"ne\nt", b"wo"], b"one\ntwo"),
        ([b"\n\n"], b"\n\n"),
        ([b"from a terminal\r\n"], b"from a terminal\n"),
        ([b"x" * 40_000], b"x" * 40_000),
        ([b"no text: \xff\n"], b"no text: \xff\n"),
        ([b""], b""),
    ],
)
def test_the_log_gives_back_what_was_printed(pieces: list[bytes], expected: bytes, tmp_path: Path) -> None:
    splitter = Splitter("stdout")
    log = tmp_path / "log"
    log.write_bytes(b"".join(map(splitter.entries, pieces)) + splitter.last())

    reader = LogReader(log)
    assert b"".join(entry.printed() for entry in reader.entries()) == expected
    reader.close()


def test_an_entry_that_is_still_being_written_is_read_when_it_is_complete(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_bytes(b"1970-01-01T00:00:01.000000000Z std")
    reader = LogReader(log)
    assert list(reader.entries()) == []
    with log.open("ab") as more:
        more.write(b"err F text\n")
    assert list(reader.entries()) == [Entry(1_000_000_000, "stderr", whole=True, text=b"text")]
    reader.close()


def test_following_puts_the_parts_of_a_long_line_together(tmp_path: Path) -> None:
    splitter = Splitter("stdout")
    log = tmp_path / "log"
    log.write_bytes(splitter.entries(b"x" * 40_000 + b"\nshort\n"))
    lines = next(follow(log, 0))
    assert [(len(line.text), line.source) for line in lines] == [(40_000, "stdout"), (5, "stdout")]


@pytest.mark.parametrize("cut", [1, 100, 4096, 50_000, 99_999])
def test_what_a_log_has_given_back_is_skipped_line_by_line(cut: int, tmp_path: Path) -> None:
    log = tmp_path / "log"
    printed = b"".join(b"1970-01-01T00:00:01.000000000Z stdout F line %06d\n" % number for number in range(4000))
    log.write_bytes(printed)
    behind = LogReader(log)
    first = next(behind.entries())
    with log.open("ab") as writer:
        kernel.make_hole(writer.fileno(), cut)
    fresh = LogReader(log)
    for reader, before in ((fresh, []), (behind, [first])):
        numbers = [int(entry.text.split()[1]) for entry in (*before, *reader.entries())]
        assert numbers[-1] == 3999
        # Who has read on keeps what he has; what is left of the line at the edge is no line.
        assert sum(later != number + 1 for number, later in pairwise(numbers)) <= len(before)
        reader.close()


def test_a_log_keeps_its_last_megabytes_however_much_a_container_prints(tmp_path: Path) -> None:
    log = os.open(tmp_path / "log", os.O_RDWR | os.O_CREAT | os.O_APPEND)
    console = Console(Program("true"), log)
    stdout, _stderr = (number for number, kind in console.files.items() if kind == select.POLLIN)
    line = b"x" * 999 + b"\n"
    for _ in range((KEPT + 3 * STEP) // len(line) // 50):
        os.write(console.ends.stdout, line * 50)
        console.read(stdout)
    status = (tmp_path / "log").stat()
    assert status.st_size > KEPT + 2 * STEP
    assert KEPT <= status.st_blocks * 512 < KEPT + 2 * STEP
    reader = LogReader(tmp_path / "log")
    assert {len(entry.text) for entry in reader.entries()} == {999}
    reader.close()
    console.close_ends()
    console.finish(0)
    os.close(log)


LINES = [
    Entry(1, "stdout", whole=True, text=b"a"),
    Entry(2, "stdout", whole=False, text=b"b"),
    Entry(3, "stdout", whole=True, text=b"c"),
    Entry(4, "stderr", whole=True, text=b"d"),
]


@pytest.mark.parametrize(
    ("since", "tail", "expected"),
    [(0, None, b"abcd"), (3, None, b"cd"), (0, 1, b"d"), (0, 2, b"bcd"), (0, 0, b""), (0, 9, b"abcd"), (9, None, b"")],
)
def test_since_and_tail_choose_lines(since: int, tail: int | None, expected: bytes) -> None:
    assert b"".join(entry.text for entry in chosen(LINES, since=since, tail=tail)) == expected
