# SPDX-License-Identifier: Apache-2.0
"""Whether an agent runs on this node: one lock in the run directory, held for as long as the agent lives.

The kernel lets go of it when the process ends, however that happens, so a lock that is left behind by a killed
agent is none.
"""

from __future__ import annotations

import fcntl
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from podfence.errors import PodfenceError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

LOCK: Final = "agent.lock"
"""The file in the run directory."""

SOCKET: Final = "agent.sock"
"""The socket in the run directory on which an agent answers."""


class AgentRunsError(PodfenceError):
    """Another agent enforces on this node."""


@contextmanager
def claimed(run: Path) -> Iterator[None]:
    """Be the one agent of this node, or the one who cleans up after it, with the run directory made if needed.

    Raises AgentRunsError if there is another, PodfenceError if the directory cannot be used.
    """
    path = run / LOCK
    try:
        run.mkdir(mode=0o755, parents=True, exist_ok=True)
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        raise PodfenceError(f"{path}: {error.strerror} (an agent locks this file while it runs)") from error
    try:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise AgentRunsError(f"an agent already runs on this node: {path} is locked; stop it first") from None
        yield
    finally:
        os.close(file)
