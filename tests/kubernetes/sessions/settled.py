# SPDX-License-Identifier: Apache-2.0
"""Whether what was printed is what a page shows, apart from what is another in each cluster or each time."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

_ESCAPES: Final = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\x1b[=>]|\x07")

_VARYING: Final = (
    (re.compile(r"\b\d{1,3}(?:\.\d{1,3}){3}\b"), "ADDRESS"),
    (re.compile(r"\[?\b[0-9a-f]{1,4}(?::[0-9a-f]{0,4}){2,7}\b\]?"), "ADDRESS"),
    (re.compile(r"\b(\d+:)\d{5}/TCP"), r"\1PORT/TCP"),
    (re.compile(r"(?<=[ \t])(?:\d+[dhms])+(?=\s|$)"), "AGE"),
    (re.compile(r"\btest-\d+\b"), "test-NUMBER"),
    (re.compile(r"\b([a-z]+)-[a-z0-9]{8,10}-[a-z0-9]{5}\b"), r"\1-POD"),
    (re.compile(r"^((?:http|go)\.\w+)=\d+$"), r"\1=NUMBER"),
    (re.compile(r"\btime=[\d.]+ ms|\bttl=\d+|(?<=min/avg/max = ).*"), "SOME"),
    # Images differ in their C library.
    (re.compile(r"\bConnection timed out$"), "Operation timed out"),
    # Clients since 1.34 say from where.
    (re.compile(r"( deleted) from \S+ namespace$"), r"\1"),
    (re.compile(r"\b(?:force )?deleted$"), "deleted"),
    (re.compile(r"^Error: (?=unknown )"), "error: "),
    # Images differ in their netcat.
    (re.compile(r"^nc: \S+ \(ADDRESS:\d+\): Operation timed out$"), "nc: timed out"),
)
"""What differs between clusters, clients and runs, and what is compared in its place."""

_REMARKS: Final = (
    re.compile(r"^If you don't see a command prompt, try pressing enter\."),
    re.compile(r"^All commands and output from this session will be recorded in container logs"),
    re.compile(r"^[Ww]arning: couldn't attach to pod"),
    re.compile(r"^Warning: Immediate deletion does not wait"),
    # Only labs say this.
    re.compile(r"^Warning: metadata\.annotations\[net\.beta\.kubernetes\.io/network-policy\]: "),
    re.compile(r"^pod \S+ terminated \(Error\)$"),
    re.compile(r'^pod "test-NUMBER" deleted$'),
    re.compile(r"^command terminated with exit code \d+$"),
    re.compile(r"^Session ended, resume using"),
    # nc says "punt!" to it.
    re.compile(r"^\^C"),
)
"""What kubectl says about its own doings, in words that change from one release to the next."""


def plain(text: str) -> str:
    """Return what a terminal would leave on paper: no control sequences, one kind of line end."""
    return _ESCAPES.sub("", text).replace("\r\n", "\n").replace("\r", "")


def settled(lines: Sequence[str]) -> list[str]:
    """Return lines without what varies: values replaced, runs of blanks made one, empty lines and remarks left out."""
    found = []
    for line in lines:
        text = line.strip()
        for pattern, instead in _VARYING:
            text = pattern.sub(instead, text)
        text = re.sub(r"\s+", " ", text)
        if text and not any(remark.match(text) for remark in _REMARKS):
            found.append(text)
    return found


def agrees(shown: Sequence[str], printed: str) -> bool:
    """Return whether what was printed is what is shown, where a line of three dots stands for any lines."""
    expected = settled(shown)
    pattern = "".join(r"(?:.*\n)*?" if line == "..." else re.escape(line) + r"\n" for line in expected)
    return re.fullmatch(pattern, "".join(f"{line}\n" for line in settled(printed.splitlines()))) is not None


def lost_output(command: str, shown: Sequence[str], printed: str) -> bool:
    """Return whether `kubectl run` printed nothing of what its pod did: it had attached after the pod's last word."""
    return command.startswith("kubectl run ") and bool(settled(shown)) and not settled(printed.splitlines())
