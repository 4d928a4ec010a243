# SPDX-License-Identifier: Apache-2.0
"""What was left out of the input, and where a policy may hide in it.

Nothing is dropped in silence: everything that is not read is counted by its reason. What could hold a policy is a
gap besides, and an answer with gaps is incomplete.
"""

from __future__ import annotations

import enum
import os
import re
import stat
from collections import defaultdict
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from mmap import mmap
    from typing import BinaryIO

PACKED: Final = ".tgz"
"""What the name of a packed chart ends with."""

_POLICY: Final = re.compile(rb"\bNetworkPolicy\b")
_FEW: Final = 3
_HIDDEN: Final = b"NetworkPolicy"
_TEMPLATE_SIZE: Final = 1024 * 1024
# A chart has a megabyte at most where helm keeps it, and a packed one is looked at no further than this.
_UNPACKED_SIZE: Final = 64 * 1024 * 1024


class Reason(enum.Enum):
    """Why something was left out; the value is what one of it is called, and what several are."""

    CHART = ("chart that is not rendered", "charts that are not rendered")
    TEMPLATE = ("template that is not rendered", "templates that are not rendered")
    PATCH = ("patch of a kustomization", "patches of kustomizations")
    NO_OBJECT = ("file or document without a Kubernetes object", "files or documents without a Kubernetes object")
    TOOLS = ("folder of tools", "folders of tools")
    LINK = ("link that was not followed", "links that were not followed")
    SPECIAL = ("file that is a pipe, a device or too large", "files that are pipes, devices or too large")
    EXCLUDED = ("excluded file or folder", "excluded files or folders")
    BROKEN = ("file that cannot be read", "files that cannot be read")
    REFUSED = ("refused object", "refused objects")


class LeftOut(NamedTuple):
    """One thing that was left out: a file, a folder, a place in a file or an object."""

    reason: Reason
    name: str


class Gap(NamedTuple):
    """A place where a policy may lie that nobody has read.

    `what` says where, in words that go after "incomplete:", and `remedy` what would complete the answer. It may
    say anything about the pods of `namespaces`, None being everywhere.
    """

    what: str
    remedy: str = ""
    namespaces: frozenset[str] | None = None

    def touches(self, namespaces: Iterable[str]) -> bool:
        """Return whether it could turn an answer about ends in these namespaces."""
        return self.namespaces is None or not self.namespaces.isdisjoint(namespaces)

    def __str__(self) -> str:
        """Return what is missing and what to do about it."""
        return f"{self.what} ({self.remedy})" if self.remedy else self.what


def may_hold_policy(text: str | mmap) -> bool:
    """Return whether a text that nobody reads, or a file in memory, holds the word that every policy holds."""
    return _POLICY.search(text.encode("utf-8", "replace") if isinstance(text, str) else text) is not None


def template_may_hold_policy(path: str) -> bool:
    """Return whether a file of a chart holds that word, or of a packed subchart any of its files."""
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):  # noqa: PTH116 - a text is quicker than a Path, and this is done for every file
            return False
        with open(path, "rb") as file:  # noqa: PTH123 - a text is quicker than a Path, and this is done for every file
            data = _unpacked(file) if path.endswith(PACKED) else file.read(_TEMPLATE_SIZE)
    except OSError:
        return False
    return may_hold_policy(data.decode("utf-8", "replace"))


def file_may_hold_policy(path: str, limit: int) -> bool:
    """Return whether a file of at most so many bytes holds that word; links are not followed."""
    from mmap import ACCESS_READ, mmap  # noqa: PLC0415  seldom needed

    try:
        status = os.lstat(path)
        if not stat.S_ISREG(status.st_mode) or not 0 < status.st_size <= limit:
            return False
        with open(path, "rb") as file, mmap(file.fileno(), 0, access=ACCESS_READ) as data:  # noqa: PTH123 - a text is quicker than a Path, and this is done for every file
            return may_hold_policy(data)
    except OSError:
        return False


def _unpacked(file: BinaryIO) -> bytes:
    """Return what is in a packed chart, as it lies there; what cannot be unpacked may hold a policy."""
    import gzip  # noqa: PLC0415  seldom needed
    import zlib  # noqa: PLC0415  seldom needed

    try:
        data = gzip.GzipFile(fileobj=file).read(_UNPACKED_SIZE)
    except (EOFError, gzip.BadGzipFile, zlib.error):
        return _HIDDEN
    return data if len(data) < _UNPACKED_SIZE else _HIDDEN


def summary(left_out: Iterable[LeftOut]) -> str:
    """Return one sentence that counts what was left out by its reason, with the first few names; "" for nothing."""
    parts: list[str] = []
    for reason, names in _by_reason(left_out).items():
        shown = ", ".join(names[:_FEW]) + (", …" if len(names) > _FEW else "")
        parts.append(f"{len(names)} {reason.value[len(names) > 1]} ({shown})")
    return f"left out: {'; '.join(parts)}" if parts else ""


def details(left_out: Iterable[LeftOut]) -> Iterator[str]:
    """Yield one sentence a reason that names everything."""
    for reason, names in _by_reason(left_out).items():
        yield f"left out, {reason.value[len(names) > 1]}: {', '.join(names)}"


def _by_reason(left_out: Iterable[LeftOut]) -> dict[Reason, list[str]]:
    found: defaultdict[Reason, dict[str, None]] = defaultdict(dict)
    for item in left_out:
        found[item.reason][item.name] = None
    return {reason: sorted(found[reason]) for reason in Reason if reason in found}
