# SPDX-License-Identifier: Apache-2.0
"""A limit of memory for what is measured, as a container has one: a control group of version 1 where that can be."""

from __future__ import annotations

import os
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_ROOT: Final = Path("/sys/fs/cgroup/memory")
_MEBIBYTE: Final = 1 << 20


class Limit:
    """A control group; `peak` is what was in it at its most, in MiB, with what the kernel holds for it."""

    def __init__(self, group: Path) -> None:
        """Take a group that exists."""
        self._group = group

    def command(self, command: Sequence[str | Path]) -> list[str | Path]:
        """Return what runs a command in the group."""
        return ["sh", "-c", f'echo $$ > {self._group}/cgroup.procs; exec "$@"', "sh", *command]

    @property
    def peak(self) -> int:
        """The most memory so far, in MiB."""
        return int((self._group / "memory.max_usage_in_bytes").read_text()) // _MEBIBYTE


@contextmanager
def limited(mebibytes: int) -> Iterator[Limit | None]:
    """Make a group with a limit, and take it away again; None if none can be made."""
    group = _ROOT / f"podfence-bench-{os.getpid()}"
    try:
        group.mkdir()
    except OSError:
        yield None
        return
    try:
        (group / "memory.limit_in_bytes").write_text(str(mebibytes * _MEBIBYTE))
        yield Limit(group)
    finally:
        group.rmdir()
