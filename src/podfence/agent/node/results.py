# SPDX-License-Identifier: Apache-2.0
"""What network plugins say they made for pods: the results that libcni keeps on each node.

A container runtime calls the plugins by libcni, which writes each result into a file of its cache before the pod's
first container starts, and removes it when the pod's network is taken down. The files are root's and no pod reaches
them. They are read here and never written; whatever one holds, the others are read.
"""

from __future__ import annotations

import os
import re
import stat
import time
from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec

from podfence.sets.addresses import parse_address

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

INTERFACE: Final = "eth0"
"""The interface of a pod's primary network: container runtimes call it so; secondary networks have other names."""

LARGEST: Final = 1 << 20
"""Bytes that a result has at most; those of plugins have some thousand."""

GRACE: Final = 5.0
"""Seconds that a file may be unreadable before that is told: libcni does not write it in one step."""

_KIND: Final = "cniCacheV1"
_MAC: Final = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}")
_NO_MAC: Final = "00:00:00:00:00:00"


class Attachment(NamedTuple):
    """A pod's primary network as its plugin made it.

    `pod` is ``namespace/name``, "" where the runtime is too old to say so. `mac` is the hardware address of the pod's
    end, "" if the plugin does not tell. `addresses` and `gateways` are numbers as in `podfence.sets`. `links` are the
    names of what the plugin made or used on the node: ends of cables, bridges, and what shapes bandwidth, in no order
    to rely on. `written` is when, in nanoseconds since the epoch.
    """

    pod: str
    mac: str
    addresses: tuple[int, ...]
    gateways: tuple[int, ...]
    links: tuple[str, ...]
    written: int = 0


class _Interface(msgspec.Struct):
    name: str = ""
    mac: str = ""
    sandbox: str = ""


class _Address(msgspec.Struct):
    address: str = ""
    gateway: str = ""
    interface: int | None = None


class _OldAddress(msgspec.Struct):
    ip: str = ""
    gateway: str = ""


class _Result(msgspec.Struct):
    """A result of any version from 0.1.0 to 1.1.0; versions before 0.3.0 have one address of each family."""

    interfaces: list[_Interface] | None = None
    ips: list[_Address] | None = None
    ip4: _OldAddress | None = None
    ip6: _OldAddress | None = None


class _Cached(msgspec.Struct, rename="camel"):
    kind: str = ""
    if_name: str = ""
    cni_args: list[tuple[str, str]] | None = None
    result: _Result | None = None


_CACHED: Final = msgspec.json.Decoder(_Cached)
_RESULTS: Final = msgspec.json.Decoder(_Result)


class _File(NamedTuple):
    """What a file was when it was read, and what came of it: an attachment, a problem, or neither."""

    stamp: tuple[int, int, int]
    attachment: Attachment | None
    problem: str = ""


class Results:
    """The results in one directory; only files that are new or have changed are read again."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.problem = ""
        """Why the directory cannot be read, "" if it can."""
        self._files: dict[str, _File] = {}

    def read(self) -> Sequence[Attachment]:
        """Return the attachments to primary networks, in the order of their files' names; never raises."""
        before, self._files = self._files, {}
        try:
            # A container keeps a directory that was mounted into it, also when the node has another of its name.
            deleted = not self.directory.stat().st_nlink
            with os.scandir(self.directory) as entries:
                for entry in sorted(entries, key=lambda item: item.name):
                    self._files[entry.name] = self._file(entry, before.get(entry.name))
        except OSError as error:
            self.problem = f"{self.directory}: {error.strerror}"
        else:
            self.problem = f"{self.directory} was deleted after the agent started" if deleted else ""
        return [item.attachment for item in self._files.values() if item.attachment is not None]

    def unreadable(self) -> dict[str, str]:
        """Return why files cannot be read, by their names; those that may be half written are left out."""
        latest = (time.time() - GRACE) * 1e9
        return {
            os.fsencode(name).decode("utf-8", "replace"): item.problem
            for name, item in self._files.items()
            if item.problem and item.stamp[1] < latest
        }

    def _file(self, entry: os.DirEntry[str], before: _File | None) -> _File:
        try:
            stamp = _stamp(entry.stat(follow_symlinks=False))
            if before is not None and before.stamp == stamp:
                return before
            # Never a link to a file elsewhere, and never waiting for who writes into a pipe.
            number = os.open(entry.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError as error:
            return _File((0, 0, 0), None, str(error.strerror))
        try:
            found = os.fstat(number)
            stamp = _stamp(found)
            if not stat.S_ISREG(found.st_mode):
                return _File(stamp, None, "it is not a regular file")
            if found.st_size > LARGEST:
                return _File(stamp, None, f"it is larger than {LARGEST} bytes")
            return _File(stamp, decode(os.read(number, LARGEST), entry.name, found.st_mtime_ns))
        except (OSError, ValueError) as error:
            # Who writes a file anew empties it first. Its pod stays bound meanwhile.
            earlier = before.attachment if before is not None and before.stamp[0] == stamp[0] else None
            return _File(stamp, earlier, str(error))
        finally:
            os.close(number)


def _stamp(found: os.stat_result) -> tuple[int, int, int]:
    return found.st_ino, found.st_mtime_ns, found.st_size


def decode(data: bytes, name: str, written: int = 0) -> Attachment | None:
    """Return what a file of libcni's cache says, None if it is not about the primary network of a pod.

    `name` is that of the file, ``network-container-interface``, which old ones need to be understood.
    Raises ValueError if it is no result.
    """
    cached = _CACHED.decode(data)
    if cached.kind == _KIND:
        found, interface = cached.result or _Result(), cached.if_name
    else:
        # libcni before 0.8 kept the result alone.
        found, interface = _RESULTS.decode(data), name.rpartition("-")[2]
    if interface != INTERFACE:
        return None
    known = dict(cached.cni_args or ())
    namespace, pod = known.get("K8S_POD_NAMESPACE", ""), known.get("K8S_POD_NAME", "")
    interfaces = found.interfaces or []
    addresses = list(_addresses(found, interfaces))
    mac = next((_mac(item.mac) for item in interfaces if item.sandbox and item.name == interface), "")
    return Attachment(
        f"{namespace}/{pod}" if namespace and pod else "",
        mac,
        tuple(dict.fromkeys(address for address, _ in addresses)),
        tuple(dict.fromkeys(parse_address(gateway) for _, gateway in addresses if gateway)),
        tuple(item.name for item in interfaces if not item.sandbox),
        written,
    )


def _addresses(found: _Result, interfaces: list[_Interface]) -> Iterator[tuple[int, str]]:
    """Yield each address of the pod's primary interface, and the text of its gateway. Raises ValueError."""
    for old in (found.ip4, found.ip6):
        if old is not None and old.ip:
            yield parse_address(old.ip.partition("/")[0]), old.gateway
    for item in found.ips or ():
        place = item.interface
        owner = interfaces[place] if place is not None and 0 <= place < len(interfaces) else None
        # A plugin that makes several interfaces in a pod says which one an address is for; some say nothing.
        if owner is None or not owner.sandbox or owner.name == INTERFACE:
            yield parse_address(item.address.partition("/")[0]), item.gateway


def _mac(text: str) -> str:
    """Return a hardware address in lower case, "" for what is none: plugins keep other things there, too."""
    lower = text.lower()
    return lower if _MAC.fullmatch(lower) and lower != _NO_MAC else ""
