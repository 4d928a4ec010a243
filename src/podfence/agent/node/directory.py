# SPDX-License-Identifier: Apache-2.0
"""A directory that tells when files in it were written, came or went (inotify(7))."""

from __future__ import annotations

import ctypes
import os
from contextlib import suppress
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pathlib import Path

_CLOSE_WRITE, _MOVED_FROM, _MOVED_TO, _DELETE = 0x8, 0x40, 0x80, 0x200
_ONLY_DIRECTORIES: Final = 0x0100_0000
_MASK: Final = _CLOSE_WRITE | _MOVED_FROM | _MOVED_TO | _DELETE | _ONLY_DIRECTORIES
_BUFFER: Final = 1 << 16


class DirectoryWatch:
    """Becomes readable when something in a directory has changed; what it was is for whoever looks."""

    def __init__(self, directory: Path) -> None:
        """Watch nothing yet. Raises OSError if the kernel has no more such watches."""
        self._directory = directory
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._number: int = self._libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        if self._number < 0:
            found = ctypes.get_errno()
            raise OSError(found, os.strerror(found))

    def fileno(self) -> int:
        """Return what to wait for."""
        return self._number

    def renew(self) -> bool:
        """Watch the directory that has the name now, which may not have been there before; return whether that is so.

        Watching the same directory twice is once.
        """
        return bool(self._libc.inotify_add_watch(self._number, os.fsencode(self._directory), _MASK) >= 0)

    def clear(self) -> None:
        """Take what it has to tell, so that only later changes are told."""
        with suppress(BlockingIOError):
            while os.read(self._number, _BUFFER):
                pass

    def close(self) -> None:
        """Watch no more."""
        os.close(self._number)
