# SPDX-License-Identifier: Apache-2.0
"""Sockets of other network namespaces, held by the test itself: a socket stays where it was made."""

from __future__ import annotations

import ctypes
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")
CLONE_NEWNET = 0x40000000


def inside(pid: int, make: Callable[[], T]) -> T:
    """Return what `make` returns in the network namespace of a process."""

    def enter() -> T:
        with open(f"/proc/{pid}/ns/net", "rb") as namespace:  # noqa: PTH123  (a descriptor is wanted, not a path)
            libc = ctypes.CDLL(None, use_errno=True)
            if libc.setns(namespace.fileno(), CLONE_NEWNET):
                raise OSError(ctypes.get_errno(), "setns")
        return make()

    # A thread of its own, which ends and takes its namespace with it.
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(enter).result()
