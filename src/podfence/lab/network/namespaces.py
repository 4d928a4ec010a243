# SPDX-License-Identifier: Apache-2.0
"""Settings and `ip` commands inside the network namespace of another process."""

from __future__ import annotations

import os
import re
import subprocess
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from podfence.errors import PodfenceError
from podfence.lab import kernel

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

_SETTINGS: Final = Path("/proc/sys/net")
_FAILED: Final = re.compile(r"Command failed -:(\d+)")
_TIMEOUT: Final = 60.0
_LOOK: Final = 0.001
# What two tables of the kernel have as flags (linux/if_addr.h, linux/ipv6_route.h).
_NO_DAD: Final = 0x02
_TO_THIS_MACHINE: Final = 0x80000000


class NetworkError(PodfenceError):
    """A step of wiring the lab's network failed; the text names the step and what the kernel said."""


@contextmanager
def inside(pid: int, name: str = "") -> Iterator[None]:
    """Have this thread, and the programs it starts, in the network namespace of a process.

    Raises NetworkError if the process is gone or may not be joined, with the `name` of what it holds if that is given.
    """
    with Path("/proc/thread-self/ns/net").open("rb") as own:
        try:
            with Path(f"/proc/{pid}/ns/net").open("rb") as other:
                kernel.join(other.fileno(), kernel.NEW_NET)
        except FileNotFoundError as error:
            message = f"{name or f'process {pid}'} has ended; `podfence lab down` ends the rest of the lab"
            raise NetworkError(message) from error
        except OSError as error:
            raise NetworkError(f"cannot enter the network namespace of process {pid}: {error.strerror}") from error
        try:
            yield
        finally:
            kernel.join(own.fileno(), kernel.NEW_NET)


def write_settings(settings: Mapping[str, str]) -> None:
    """Write settings by their path below `net`, in the network namespace of this thread.

    One that this kernel does not have is left out: each only turns a default off that is absent there too.
    Raises NetworkError if one cannot be written.
    """
    for name, value in settings.items():
        try:
            (_SETTINGS / name).write_text(value)
        except FileNotFoundError:
            continue
        except OSError as error:
            raise NetworkError(f"net/{name} cannot be set to {value}: {error.strerror}") from error


def ip(lines: Sequence[str]) -> dict[int, str]:
    """Carry out commands of `ip`, all of them whatever becomes of each; return what `ip` said of those it refused.

    They are counted from 0. Addresses that are added with `nodad` can be used when it returns. Raises NetworkError if
    the program is missing, hangs or ends before it has tried them all.
    """
    if not lines:
        return {}
    try:
        done = subprocess.run(
            ("ip", "-force", "-batch", "-"),
            input="".join(f"{line}\n" for line in lines),
            capture_output=True,
            text=True,
            timeout=_TIMEOUT,
            env={**os.environ, "LC_ALL": "C"},
            check=False,
        )
    except OSError as error:
        raise NetworkError(f"ip cannot be started: {error.strerror}; install iproute2") from error
    except subprocess.TimeoutExpired as error:
        raise NetworkError(f"ip did not answer within {_TIMEOUT:.0f} s") from error
    failures: dict[int, str] = {}
    said: list[str] = []
    for text in done.stderr.splitlines():
        if found := _FAILED.match(text):
            failures[int(found[1]) - 1] = " ".join(said) or "refused"
            said = []
        else:
            said.append(text.strip())
    if done.returncode and not failures:
        raise NetworkError(f"ip failed: {done.stderr.strip() or f'exit code {done.returncode}'}")
    if any(line.endswith(" nodad") for line in lines):
        _await_routes()
    return failures


def _await_routes() -> None:
    """Return when the kernel takes in packets to all addresses added with `nodad`: a moment after it shows them."""
    deadline = time.monotonic() + _TIMEOUT
    while _known("if_inet6", 4, _NO_DAD) - _known("ipv6_route", 8, _TO_THIS_MACHINE):
        if time.monotonic() > deadline:
            raise NetworkError(f"the kernel did not route to its own addresses of IPv6 within {_TIMEOUT:.0f} s")
        time.sleep(_LOOK)


def _known(table: str, column: int, flag: int) -> set[tuple[str, str]]:
    """Return the addresses with their links, in a table of this thread's network namespace, that have a flag."""
    place = Path("/proc/thread-self/net", table)
    rows = [line.split() for line in place.read_text().splitlines()] if place.exists() else []
    return {(row[0], row[-1]) for row in rows if int(row[column], 16) & flag}


def require(step: str, lines: Sequence[str]) -> None:
    """Carry out commands of `ip` that must all succeed; raise NetworkError naming the step and the first refused."""
    for line, text in ip(lines).items():
        raise NetworkError(f"{step}: ip {lines[line]}: {text}")
