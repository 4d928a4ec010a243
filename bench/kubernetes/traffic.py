# SPDX-License-Identifier: Apache-2.0
"""The traffic of pods, as processes in their network namespaces."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

from tests.kubernetes.harness import CHECKOUT

if TYPE_CHECKING:
    from pathlib import Path


class Traffic:
    """A process of `bench.kubernetes.endpoint` in a network namespace."""

    def __init__(self, network: Path) -> None:
        """Start it. Raises OSError."""
        self._process = subprocess.Popen(
            ["nsenter", f"--net={network}", sys.executable, "-m", "bench.kubernetes.endpoint"],
            cwd=CHECKOUT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == "ready\n"

    def close(self) -> None:
        """End it."""
        self._process.communicate()

    def ask(self, *command: object) -> Any:  # noqa: ANN401  (what JSON can hold)
        """Return the answer to a command; raises OSError for what it could not do."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(command) + "\n")
        self._process.stdin.flush()
        answer = json.loads(self._process.stdout.readline() or '{"error": "the process ended"}')
        if isinstance(answer, dict):
            raise OSError(answer["error"])
        return answer
