# SPDX-License-Identifier: Apache-2.0
"""What streams need of whoever runs the pods."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from podfence.lab.processes.session import Session


class Place(NamedTuple):
    """A container of a pod."""

    namespace: str
    pod: str
    container: str


class Pods(Protocol):
    """The running pods. Its methods may be called from any thread."""

    def execute(self, place: Place, command: Sequence[str], *, stdin: bool, tty: bool) -> Session:
        """Start a command in a container. Raises LabError if the pod does not run."""

    def attach(self, place: Place, *, stdin: bool) -> Session:
        """Join the main process of a container. Raises LabError if it does not run."""

    def log(self, place: Place, *, previous: bool) -> Path | None:
        """Return the file of a container's output since its last start, or before that; None if there is none."""

    def is_running(self, place: Place) -> bool:
        """Return whether the main process of a container runs."""
