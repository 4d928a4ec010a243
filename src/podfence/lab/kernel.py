# SPDX-License-Identifier: Apache-2.0
"""System calls about namespaces and mounts that Python's standard library has only from 3.12 on, or never."""

from __future__ import annotations

import ctypes
import os
import struct
from typing import Final

NEW_MOUNT: Final = 0x00020000
NEW_UTS: Final = 0x04000000
NEW_IPC: Final = 0x08000000
NEW_PID: Final = 0x20000000
NEW_NET: Final = 0x40000000

READ_ONLY: Final = 0x1
NO_SUID: Final = 0x2
NO_DEVICES: Final = 0x4
NO_PROGRAMS: Final = 0x8
BIND: Final = 0x1000
RECURSIVE: Final = 0x4000
PRIVATE: Final = 0x40000

_SYS_MOUNT_SETATTR: Final = 442
_AT_FDCWD: Final = -100
_AT_RECURSIVE: Final = 0x8000
_DETACH: Final = 2

_KEEP_SIZE: Final = 0x1
_PUNCH_HOLE: Final = 0x2

_libc = ctypes.CDLL(None, use_errno=True)


def unshare(flags: int) -> None:
    """Move this process (its children, for NEW_PID) into new namespaces. Raises OSError."""
    _check(_libc.unshare(flags), "unshare")


def join(namespace: int, kind: int) -> None:
    """Enter the namespace of this kind that an open file stands for. Raises OSError."""
    _check(_libc.setns(namespace, kind), "setns")


def make_hole(file: int, end: int) -> None:
    """Give back what a file holds before a place; it keeps its length. Raises OSError."""
    flags = ctypes.c_int(_KEEP_SIZE | _PUNCH_HOLE)
    _check(_libc.fallocate(ctypes.c_int(file), flags, ctypes.c_longlong(0), ctypes.c_longlong(end)), "fallocate")


def mount(source: str, target: str, kind: str = "", flags: int = 0, options: str = "") -> None:
    """Mount a file system, or bind a folder or file to another place. Raises OSError naming the target."""
    done = _libc.mount(
        os.fsencode(source), os.fsencode(target), kind.encode(), ctypes.c_ulong(flags), options.encode() or None
    )
    _check(done, target)


def make_read_only(path: str) -> None:
    """Make the mount at a path and all below it read-only in this mount namespace; Linux before 5.12 raises OSError."""
    attributes = struct.pack("=4Q", READ_ONLY, 0, 0, 0)
    done = _libc.syscall(
        ctypes.c_long(_SYS_MOUNT_SETATTR),
        ctypes.c_int(_AT_FDCWD),
        os.fsencode(path),
        ctypes.c_uint(_AT_RECURSIVE),
        attributes,
        ctypes.c_size_t(len(attributes)),
    )
    _check(done, path)


def change_root(path: str) -> None:
    """Make a mount point the root of this mount namespace, and let go of the old one. Raises OSError."""
    os.chdir(path)
    # The old root lands on top of the new one, so that no folder in it is needed (see pivot_root(2)).
    _check(_libc.pivot_root(b".", b"."), path)
    _check(_libc.umount2(b".", _DETACH), path)
    os.chdir("/")


def _check(result: int, what: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), what)
