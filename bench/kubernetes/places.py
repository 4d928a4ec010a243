# SPDX-License-Identifier: Apache-2.0
"""The network namespaces of a bed, seen from this machine: the control plane's, the nodes', the pods'."""

from __future__ import annotations

import ctypes
import fcntl
import os
import socket
import struct
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.kubernetes.harness import Bed

_CLONE_NEWNET: Final = 0x40000000
_SIOCGIFADDR: Final = 0x8915


@contextmanager
def inside(namespace: Path) -> Iterator[None]:
    """Let this thread be in a network namespace; sockets that are made there stay there. Raises OSError."""
    own = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    try:
        _join(os.open(namespace, os.O_RDONLY))
        yield
    finally:
        _join(own)


def _join(descriptor: int) -> None:
    try:
        if ctypes.CDLL(None, use_errno=True).setns(descriptor, _CLONE_NEWNET) != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), "setns")
    finally:
        os.close(descriptor)


class Node:
    """A node of a bed; `name` is what Kubernetes calls it."""

    def __init__(self, bed: Bed, number: int) -> None:
        """Find its first process, which all its namespaces are reached by. Raises OSError."""
        self.name = f"n{number}"
        holder = (bed.work / f"run/{self.name}.holder").read_text(encoding="utf-8").strip()
        self.network = Path("/proc", holder, "ns/net")
        self._root = Path("/proc", holder, "root")

    def pod(self, address: str) -> Path:
        """Return the network namespace of the pod that has an address; raises LookupError if none has."""
        for path in (self._root / "run/netns").glob("cni-*"):
            with suppress(OSError), inside(path), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as item:
                answer = fcntl.ioctl(item, _SIOCGIFADDR, struct.pack("256s", b"eth0"))
                if socket.inet_ntoa(answer[20:24]) == address:
                    return path
        message = f"no pod of {self.name} has the address {address}"
        raise LookupError(message)

    def assigned(self, address: str) -> float:
        """Return when the CNI plugin `host-local` gave an address to a pod, in seconds of the wall clock."""
        return (self._root / "var/lib/cni/networks/pods" / address).stat().st_mtime

    def agent(self, program: str = "podfence", first: str = "agent") -> int:
        """Return the process id of the node's agent, or of another program that has this as its first argument.

        Raises LookupError if there is none.
        """
        network = self.network.stat()
        found: dict[int, int] = {}
        for process in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                words = (process / "cmdline").read_text(encoding="utf-8").split("\0")
                pairs = zip((Path(word).name for word in words), words[1:], strict=False)
                if (program, first) in pairs and os.path.samestat((process / "ns/net").stat(), network):
                    found[int(process.name)] = int((process / "statm").read_text(encoding="utf-8").split()[1])
        if not found:
            message = f"no {program} runs on {self.name}"
            raise LookupError(message)
        # Programs that start it have the same words, and are small.
        return max(found, key=lambda number: found[number])


def spent(process: int) -> float:
    """Return the seconds that the processor has worked for a process. Raises OSError if it has ended."""
    fields = Path("/proc", str(process), "stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
