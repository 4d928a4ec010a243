# SPDX-License-Identifier: Apache-2.0
"""Lines of output with the time they were printed at: how a container's log holds them, and how they are read back.

The file has the form of the kubelet's logs (CRI): the time, the stream, whether the line is complete (``F``) or
goes on with the next entry (``P``), and the text. A log is in memory, so its writer gives back what is old: there is a
hole at the beginning of the file then, which readers skip.
"""

from __future__ import annotations

import os
import time
from collections import deque
from contextlib import closing
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

_BILLION: Final = 1_000_000_000
_LONGEST: Final = 16_384
"""Bytes of a line after which an entry of the log ends, as in the kubelet's logs."""
_READ: Final = 8 * _LONGEST
"""Bytes to read at once: no entry is as long."""

KEPT: Final = 10 * 1024 * 1024
"""Bytes that are kept of a log at least, as many as the kubelet keeps in one file."""

STEP: Final = 1024 * 1024
"""Bytes after which the writer of a log looks again whether something is to be given back."""


class Line(NamedTuple):
    """One line: when it was printed (nanoseconds since 1970), by what, and its text without the end of the line."""

    time: int
    source: str
    text: str


class Splitter:
    """Cuts what one stream of a container prints into the entries of its log."""

    def __init__(self, stream: str) -> None:
        """Start at the beginning of a line of `stream` (``stdout`` or ``stderr``)."""
        self.stream = stream
        self._rest = b""

    def entries(self, data: bytes) -> bytes:
        """Return the entries that `data` completes; what is no whole line yet waits for more."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        found = [self._entry(line) for line in lines]
        while len(self._rest) > _LONGEST:
            found.append(self._entry(self._rest[:_LONGEST], b"P"))
            self._rest = self._rest[_LONGEST:]
        return b"".join(found)

    def last(self) -> bytes:
        """Return the entry of a line that was not finished, b"" if there is none."""
        rest, self._rest = self._rest, b""
        return self._entry(rest, b"P") if rest else b""

    def _entry(self, line: bytes, tag: bytes = b"F") -> bytes:
        # A terminal ends lines with \r\n.
        text = line.removesuffix(b"\r")
        return b"%s %s %s %s\n" % (stamp(time.time_ns()).encode(), self.stream.encode(), tag, text)


def stamp(nanoseconds: int) -> str:
    """Return a time as Kubernetes writes it in logs: in UTC, with nine digits of the second."""
    seconds, rest = divmod(nanoseconds, _BILLION)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{rest:09}Z"


def nanoseconds(text: str) -> int:
    """Return the time that RFC 3339 writes as `text`, in nanoseconds since 1970. Raises ValueError."""
    seconds = datetime.fromisoformat(text).replace(microsecond=0).timestamp()
    _, point, rest = text.partition(".")
    digits = rest[: len(rest) - len(rest.lstrip("0123456789"))]
    if point and not digits:
        raise ValueError(f"{text!r} is not a time")
    return round(seconds) * _BILLION + int(f"{digits:0<9.9}")


class Entry(NamedTuple):
    """One entry of a container's log: a line, or a part of one unless it is `whole`."""

    time: int
    stream: str
    whole: bool
    text: bytes

    def printed(self, *, timestamps: bool = False) -> bytes:
        """Return what the container printed, after the time if that is wanted."""
        before = f"{stamp(self.time)} ".encode() if timestamps else b""
        return before + self.text + (b"\n" if self.whole else b"")


class LogReader:
    """Reads the entries of a container's log, those that come later too."""

    def __init__(self, path: Path) -> None:
        """Open the file; raise OSError if there is none."""
        self._path = path
        self._file = path.open("rb")
        self._rest = b""
        self._skip()

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    @property
    def is_latest(self) -> bool:
        """Whether the file is still the one of its name: when a container is started again, another one is."""
        try:
            return os.path.samestat(os.fstat(self._file.fileno()), self._path.stat())
        except FileNotFoundError:
            return False

    def entries(self) -> Iterator[Entry]:
        """Yield the entries that were not read yet, and are still there."""
        while data := self._file.readline(_READ):
            if self._is_cut(data):
                self._rest = b""
                self._skip()
                continue
            self._rest += data
            if self._rest.endswith(b"\n"):
                time_, stream, tag, text = self._rest[:-1].split(b" ", 3)
                self._rest = b""
                yield Entry(nanoseconds(time_.decode()), stream.decode(), tag == b"F", text)

    def _is_cut(self, data: bytes) -> bool:
        """Return whether something of what was just read had been given back, and reads as zeros."""
        if data[0] == 0 or len(data) == _READ:
            return True
        if b"\0" not in data:
            return False
        end = self._file.tell()
        return self._next(end - len(data), os.SEEK_HOLE) < end

    def _skip(self) -> None:
        """Go on at the first entry behind the hole if there is one here."""
        here = self._file.tell()
        there = self._next(here, os.SEEK_DATA)
        self._file.seek(there)
        while there > here and (data := self._file.readline(_READ)) and not data.endswith(b"\n"):
            pass

    def _next(self, place: int, what: int) -> int:
        """Return where the next hole begins, or the next data; the place itself at the end of the file."""
        number = self._file.fileno()
        # The question moves the file, and its buffer must not notice.
        before = os.lseek(number, 0, os.SEEK_CUR)
        try:
            return os.lseek(number, place, what)
        except OSError:
            return place
        finally:
            os.lseek(number, before, os.SEEK_SET)


def follow(path: Path, beat: float) -> Iterator[list[Line]]:
    """Yield the lines of a container's log, then new ones as they come; an empty list when `beat` seconds bring none.

    Raises OSError if there is no such file.
    """
    with closing(LogReader(path)) as reader:
        part = b""
        while True:
            lines = []
            for entry in reader.entries():
                part += entry.text
                if entry.whole:
                    lines.append(Line(entry.time, entry.stream, part.decode(errors="replace")))
                    part = b""
            yield lines
            if not lines:
                time.sleep(beat)


def chosen(entries: Iterable[Entry], *, since: int = 0, tail: int | None = None) -> list[Entry]:
    """Return the entries from a time on, and of these only the last `tail` lines unless that is None."""
    kept = (entry for entry in entries if entry.time >= since)
    if tail is None:
        return list(kept)
    lines: deque[list[Entry]] = deque(maxlen=tail)
    goes_on = False
    for entry in kept:
        if goes_on and lines:
            lines[-1].append(entry)
        elif not goes_on:
            lines.append([entry])
        goes_on = not entry.whole
    return [entry for line in lines for entry in line]
