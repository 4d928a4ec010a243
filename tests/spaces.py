# SPDX-License-Identifier: Apache-2.0
"""Network namespaces that a test holds open; they are nowhere in the file system and end with the process."""

from __future__ import annotations

import ctypes
import json
import os
import subprocess
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_CLONE_NEWNET: Final = 0x40000000
_LIBC: Final = ctypes.CDLL(None, use_errno=True)
_PATIENCE: Final = 60.0
LINKS: Final = ("ip", "-details", "-json", "link")
"""What tells of the links of a namespace."""


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

    def has_links(self) -> bool:
        """Return whether all links that are up carry frames.

        The kernel lets the end of a cable that was up first, and a port of a bridge, carry frames a moment after `ip`
        has ended, by a work queue of the machine. What they are given before is lost.
        """
        with self.entered():
            return are_carrying(subprocess.run(LINKS, capture_output=True, check=True).stdout)

    def wait_for_links(self) -> None:
        """Return when all links that are up carry frames."""
        end = time.monotonic() + _PATIENCE
        while not self.has_links():
            assert time.monotonic() < end, "a link does not come up"

    def sysctl(self, values: Mapping[str, int]) -> None:
        """Set values below ``/proc/sys/net``."""
        with self.entered():
            for name, value in values.items():
                Path("/proc/sys/net", name).write_text(str(value), encoding="ascii")

    def close(self) -> None:
        os.close(self.fd)


def are_carrying(links: bytes | str) -> bool:
    """Return whether all links that are up carry frames, as `LINKS` tells of them."""
    return all(map(_carries, json.loads(links)))


def _carries(link: dict[str, Any]) -> bool:
    """Return whether a link carries frames, as `ip` tells of it; one that is down need not, nor a bridge without ports."""
    about = link.get("linkinfo", {})
    if "UP" not in link["flags"] or about.get("info_kind") == "bridge":
        return True
    port = about.get("info_slave_data", {}).get("state", "forwarding")
    return link["operstate"] in {"UP", "UNKNOWN"} and port == "forwarding"


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
