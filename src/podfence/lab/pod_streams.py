# SPDX-License-Identifier: Apache-2.0
"""The running pods of a lab, as the streams of its API server ask for them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from podfence.kube.objects import Key
from podfence.lab.errors import LabError
from podfence.lab.processes import session

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from podfence.lab.apiserver.streams.containers import ContainerPlace
    from podfence.lab.processes.session import Session
    from podfence.lab.supervisor import Supervisor

_TERMINAL: Final[Mapping[str, str]] = {"TERM": "xterm"}
"""What a command with a terminal finds in its environment, as with containerd."""


class PodStreams:
    """Commands, main processes and logs of a lab's pods."""

    def __init__(self, lab: Supervisor) -> None:
        """Serve the pods of a lab."""
        self._lab = lab

    def execute(self, place: ContainerPlace, command: Sequence[str], *, stdin: bool, tty: bool) -> Session:
        """Start a command in a container. Raises LabError if the pod does not run."""
        environment = _TERMINAL if tty else {}
        return session.execute(
            self._lab.holder(_key(place)), command, container=place.container, stdin=stdin, tty=tty, env=environment
        )

    def attach(self, place: ContainerPlace, *, stdin: bool) -> Session:
        """Join the main process of a container. Raises LabError if it does not run."""
        return session.attach(self._lab.holder(_key(place)), place.container, stdin=stdin)

    def log(self, place: ContainerPlace, *, previous: bool) -> Path | None:
        """Return the file of a container's output since its last start, or before that; None if there is none."""
        try:
            log = self._lab.pods.log(_key(place), place.container, previous=previous)
        except LabError:
            return None
        return log if log.exists() else None

    def is_running(self, place: ContainerPlace) -> bool:
        """Return whether the main process of a container runs."""
        item = self._lab.pods.running.get(_key(place))
        state = item.holder.containers().get(place.container) if item and item.holder else None
        return state is not None and state.exit is None


def _key(place: ContainerPlace) -> Key:
    return Key("Pod", place.namespace, place.pod)
