# SPDX-License-Identifier: Apache-2.0
"""The last state of the cluster on the disk, so that an agent enforces it while no API server can be reached.

Generations of two files: ``base-N`` holds all objects at one instant, ``log-N`` what changed since, with a mark at
its end once another log goes on. Each change is appended before it is acted upon, so what is on the disk is never
older than what the kernel has. When a log has become long, the changes go on in ``log-N+1``, a thread writes
``base-N+1``, and then the old generation goes. Nothing is forced to the platter: when a machine loses its power, its
kernel loses the table too, and logs are read up to the first hole: what comes after one would be on top of a state
that never was.

The head of each file says who decoded the objects. Another version may read more in the same object, so it enforces
what was kept, but has everything told again as soon as an API server can.
"""

from __future__ import annotations

import re
import struct
import zlib
from contextlib import suppress
from typing import TYPE_CHECKING, BinaryIO, Final, NamedTuple

import msgspec

from podfence.agent.wire import decode_event, encode_event
from podfence.cluster.state import Event, EventType
from podfence.errors import PodfenceError
from podfence.kube.objects import KubeObject

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

    from podfence.kube.objects import Key

FORMAT: Final = b"podfence state 2\n"
LONGEST_LOG: Final = 4 << 20
"""Bytes after which a log is replaced by a new base, unless the base itself is larger."""

_NAME: Final = re.compile(r"(base|log)-(\d+)")
_FRAME: Final = struct.Struct("!II")


class KeptError(PodfenceError):
    """The state cannot be kept on the disk."""


class Held(NamedTuple):
    """An object and the revision of it."""

    object: KubeObject
    revision: str


class Kept:
    """The files in one directory, used by one agent; all but `write_base` is called by one thread."""

    def __init__(self, directory: Path, identity: str, decoder: str) -> None:
        """Open nothing yet.

        `identity` tells clusters and nodes apart, whose states are none of each other's; `decoder` is another where
        the same object of the API may be read in another way.
        """
        self._directory = directory
        self._identity = identity.encode()
        self._decoder = decoder.encode()
        self._void = 0
        self._log: BinaryIO | None = None
        self._generation = 0
        self._written = 0
        self._base_size = 0

    def load(self) -> dict[Key, Held]:
        """Return what was kept, nothing if that is of another cluster or was never whole.

        What another decoder read has no revisions, so that nothing is taken for known. Raises KeptError if the
        directory cannot be read.
        """
        files = self._files()
        bases = sorted(number for name, number in files if name == "base")
        while bases:
            found: dict[Key, Held] = {}
            number = bases.pop()
            if self._read(f"base-{number}", found):
                while self._read(f"log-{number}", found):
                    number += 1
                return found
        return {}

    def start(self, state: Mapping[Key, Held]) -> None:
        """Begin a generation with `state` in it; earlier ones go. Raises KeptError, and they stay then."""
        files = self._files()
        number = self._generation = max((number for _, number in files), default=self._void) + 1
        try:
            self._open()
            self.write_base(number, state)
        except KeptError:
            self.close()
            for name in (f"log-{number}", f"base-{number}", f"base-{number}.partial"):
                with suppress(OSError):
                    (self._directory / name).unlink(missing_ok=True)
            raise

    def note(self, changes: Iterable[tuple[EventType, KubeObject, str]]) -> None:
        """Append changes, each with the revision of its object. Raises KeptError; the next call tries again."""
        self._append(b"".join(_framed(kind, item, revision) for kind, item, revision in changes))

    def _append(self, data: bytes) -> None:
        if self._log is None:
            raise KeptError(f"{self._directory}: the log of changes is not open")
        try:
            self._log.write(data)
            self._log.flush()
        except OSError as error:
            raise KeptError(f"{self._directory}: {error.strerror}") from error
        self._written += len(data)

    def is_long(self) -> bool:
        """Return whether the log is to be replaced by a new base."""
        return self._written > max(LONGEST_LOG, self._base_size)

    def next_generation(self) -> int:
        """Let changes go into the next log, and return its number, for `write_base`. Raises KeptError."""
        self._append(_FRAME.pack(0, 0))
        self._generation += 1
        self._open()
        return self._generation

    def write_base(self, number: int, state: Mapping[Key, Held]) -> None:
        """Write a base, then forget the generations before it; may be called in another thread. Raises KeptError.

        `state` must not change meanwhile, and be what it was when the log of that number was begun.
        """
        path = self._directory / f"base-{number}"
        partial = path.with_suffix(".partial")
        try:
            with partial.open("wb") as file:
                file.write(self._head() + _checked(self._decoder))
                for held in state.values():
                    file.write(_framed(EventType.ADDED, held.object, held.revision))
                file.write(_FRAME.pack(0, 0))
                self._base_size = file.tell()
            partial.replace(path)
            if number <= self._void:
                path.unlink(missing_ok=True)
        except OSError as error:
            raise KeptError(f"{partial}: {error.strerror}") from error
        for name, older in self._files():
            if older < number:
                with suppress(OSError):
                    (self._directory / f"{name}-{older}").unlink()

    def discard(self) -> None:
        """Forget everything: what has a gap must not be taken for the last state. Never raises.

        A base that is being written is not forgotten yet, and will be by who writes it.
        """
        self.close()
        self._void = self._generation
        with suppress(KeptError, OSError):
            for name, number in self._files():
                (self._directory / f"{name}-{number}").unlink(missing_ok=True)

    def close(self) -> None:
        """Close the log; what was noted is there for the next agent."""
        if self._log is not None:
            with suppress(OSError):
                self._log.close()
            self._log = None

    def _open(self) -> None:
        self.close()
        path = self._directory / f"log-{self._generation}"
        try:
            self._log = path.open("wb")
            self._log.write(self._head() + _checked(self._decoder))
            self._log.flush()
        except OSError as error:
            raise KeptError(f"{path}: {error.strerror}") from error
        self._written = 0

    def _files(self) -> list[tuple[str, int]]:
        try:
            self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            names = [path.name for path in self._directory.iterdir()]
        except OSError as error:
            raise KeptError(
                f"{self._directory}: {error.strerror} (the agent keeps the last state of the cluster there)"
            ) from error
        return [(match[1], int(match[2])) for name in names if (match := _NAME.fullmatch(name))]

    def _head(self) -> bytes:
        return FORMAT + _checked(self._identity)

    def _read(self, name: str, found: dict[Key, Held]) -> bool:
        """Take a file's changes into `found`, as far as it is whole; return whether it is, and of this cluster."""
        try:
            data = (self._directory / name).read_bytes()
        except OSError:
            return False
        head = self._head()
        if not data.startswith(head):
            return False
        decoder = _checked(self._decoder)
        is_ours = data.startswith(decoder, len(head))
        for kind, held in _frames(data, _after(data, len(head))):
            if held is None:
                return True
            if kind is EventType.DELETED:
                found.pop(held.object.key, None)
            else:
                found[held.object.key] = held if is_ours else held._replace(revision="")
        return False


def _checked(text: bytes) -> bytes:
    return _FRAME.pack(len(text), zlib.crc32(text)) + text


def _after(data: bytes, start: int) -> int:
    """Return where what `_checked` made ends, the end of all if that is not whole."""
    if start + _FRAME.size > len(data):
        return len(data)
    length, check = _FRAME.unpack_from(data, start)
    start += _FRAME.size
    end = start + int(length)
    return end if zlib.crc32(data[start:end]) == check else len(data)


def _framed(kind: EventType, item: KubeObject, revision: str) -> bytes:
    content = msgspec.msgpack.encode((revision, encode_event(Event(kind, item))))
    return _FRAME.pack(len(content), zlib.crc32(content)) + content


def _frames(data: bytes, start: int) -> Iterator[tuple[EventType, Held | None]]:
    """Return changes as far as they are whole; the end of a base is one without an object."""
    while start + _FRAME.size <= len(data):
        length, check = _FRAME.unpack_from(data, start)
        content = data[start + _FRAME.size : start + _FRAME.size + length]
        start += _FRAME.size + length
        if zlib.crc32(content) != check:
            return
        if not length:
            yield EventType.ADDED, None
            return
        try:
            revision, encoded = _CONTENT.decode(content)
            event = decode_event(encoded)
        except (msgspec.DecodeError, ValueError):
            return
        yield event.type, Held(event.object, revision)


_CONTENT: Final = msgspec.msgpack.Decoder(tuple[str, bytes])
