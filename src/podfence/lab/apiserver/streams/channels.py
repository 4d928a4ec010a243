# SPDX-License-Identifier: Apache-2.0
"""The remote command protocol over WebSocket: what frames mean, as kubectl and an API server speak it.

Each frame begins with the number of its channel. Version 5 differs from 4 in one thing: the client can end its input.
"""

from __future__ import annotations

import json
from typing import Final

STDIN: Final = 0
STDOUT: Final = 1
STDERR: Final = 2
STATUS: Final = 3
RESIZE: Final = 4
CLOSE: Final = 255

PROTOCOLS: Final = ("v5.channel.k8s.io", "v4.channel.k8s.io")
"""The versions that are spoken, the better one first."""

OUTPUTS: Final = {"stdout": STDOUT, "stderr": STDERR}
"""The channel of each stream of output."""


def frame(channel: int, data: bytes = b"") -> bytes:
    """Return a frame for a channel."""
    return bytes((channel,)) + data


def size(data: bytes) -> tuple[int, int] | None:
    """Return the columns and rows that a client's terminal has now, None for what is no size."""
    try:
        found = json.loads(data)
        columns, rows = int(found["Width"]), int(found["Height"])
    except (ArithmeticError, ValueError, TypeError, KeyError, RecursionError):
        return None
    return (columns, rows) if 0 < columns < 0x10000 and 0 < rows < 0x10000 else None


def ended(code: int) -> bytes:
    """Return the last frame of a command: the Status with its exit code."""
    if not code:
        return _status("Success")
    return _status(
        "Failure",
        message=f"command terminated with non-zero exit code: command terminated with exit code {code}",
        reason="NonZeroExitCode",
        details={"causes": [{"reason": "ExitCode", "message": str(code)}]},
    )


def failed(message: str) -> bytes:
    """Return the last frame of a command that could not be started."""
    causes = {"causes": [{"message": message}]}
    text = f"Internal error occurred: {message}"
    return _status("Failure", message=text, reason="InternalError", details=causes, code=500)


def _status(word: str, **details: object) -> bytes:
    found = {"metadata": {}, "status": word, **details}
    return frame(STATUS, json.dumps(found, separators=(",", ":")).encode())
