# SPDX-License-Identifier: Apache-2.0
"""Network namespaces that a test holds open; they are nowhere in the file system and end with the process."""

from __future__ import annotations

import ctypes
import os
import subprocess
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_CLONE_NEWNET: Final = 0x40000000
_LIBC: Final = ctypes.CDLL(None, use_errno=True)


class Space:
    """A network namespace, alive while this object holds it."""

    def __init__(self) -> None:
        """Make it; the calling thread stays where it is."""
        with _home():
            _check(_LIBC.unshare(_CLONE_NEWNET))
            self.fd = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)

    @property
    def path(self) -> str:
        """What another process can open to enter it."""
        return f"/proc/{os.getpid()}/fd/{self.fd}"

    @contextmanager
    def entered(self) -> Iterator[None]:
        """Be in it, sockets and processes that are made meanwhile too."""
        with _home():
            _check(_LIBC.setns(self.fd, _CLONE_NEWNET))
            yield

    def ip(self, *lines: str) -> None:
        """Run lines of `ip`."""
        with self.entered():
            subprocess.run(["ip", "-batch", "-"], input="\n".join(lines), text=True, check=True)

    def sysctl(self, values: Mapping[str, int]) -> None:
        """Set values below ``/proc/sys/net``."""
        with self.entered():
            for name, value in values.items():
                Path("/proc/sys/net", name).write_text(str(value), encoding="ascii")

    def close(self) -> None:
        os.close(self.fd)


@contextmanager
def _home() -> Iterator[None]:
    """Bring the thread back to the namespace that it is in now."""
    before = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        yield
    finally:
        _check(_LIBC.setns(before, _CLONE_NEWNET))
        os.close(before)


def _check(code: int) -> None:
    if code:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
