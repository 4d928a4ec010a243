# SPDX-License-Identifier: Apache-2.0
"""An API server over real pods without a lab."""

from __future__ import annotations

import secrets
import socket
from contextlib import contextmanager
from typing import TYPE_CHECKING

from podfence.lab.access import Access
from podfence.lab.apiserver import certificates
from podfence.lab.apiserver.application import Server
from podfence.lab.apiserver.serving import Serving
from podfence.lab.apiserver.streams.answering import Streams
from podfence.lab.processes import session
from podfence.lab.processes.holder import previous
from podfence.lab.processes.program import Program
from podfence.lab.store.store import Store
from tests.lab.pods import spec

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from podfence.lab.apiserver.streams.containers import ContainerPlace
    from podfence.lab.processes.holder import Holder
    from podfence.lab.processes.session import Session
    from podfence.lab.processes.spawner import Spawner


class Running:
    """Pods of namespace `shop` that run one container, `main`, each; and the store that has their objects."""

    def __init__(self, spawner: Spawner, folder: Path) -> None:
        self._spawner = spawner
        self.folder = folder
        self._held: dict[str, Holder] = {}
        self.store = Store()
        self.store.create("namespaces", {"kind": "Namespace", "metadata": {"name": "shop"}})

    def start(self, name: str, script: str, *, stdin: bool = False, once: bool = False, tty: bool = False) -> None:
        """Start a pod that runs a script."""
        containers = [{"name": "main", "image": "busybox", "stdin": stdin, "stdinOnce": once, "tty": tty}]
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": "shop"}, "spec": {"containers": containers}}  # fmt: skip
        self.store.create("pods", pod)
        self.set_phase(name, "Running")
        self._held[name] = self._spawner.pod(spec(name))
        self.restart(name, script, stdin=stdin, once=once, tty=tty)

    def restart(self, name: str, script: str, *, stdin: bool = False, once: bool = False, tty: bool = False) -> None:
        """Start the container of a pod again."""
        program = Program("test", argv=("sh", "-c", script), stdin=stdin, stdin_once=once, tty=tty)
        self._held[name].start_container("main", program, self.folder / name)

    def set_phase(self, name: str, phase: str) -> None:
        """Say in the object how far a pod is."""
        pod = self.store.get("pods", "shop", name)
        self.store.update("pods", {**pod, "status": {"phase": phase}}, status=True)

    def close(self) -> None:
        """End all pods."""
        for holder in self._held.values():
            holder.close()

    # What streams ask

    def execute(self, place: ContainerPlace, command: Sequence[str], *, stdin: bool, tty: bool) -> Session:
        return session.execute(self._held[place.pod], command, container=place.container, stdin=stdin, tty=tty)

    def attach(self, place: ContainerPlace, *, stdin: bool) -> Session:
        return session.attach(self._held[place.pod], place.container, stdin=stdin)

    def log(self, place: ContainerPlace, *, previous: bool) -> Path | None:
        log = self.folder / place.pod
        found = _previous(log) if previous else log
        return found if found.exists() else None

    def is_running(self, place: ContainerPlace) -> bool:
        return self._held[place.pod].containers()[place.container].exit is None


_previous = previous


@contextmanager
def serving(pods: Running) -> Iterator[Access]:
    """Serve the pods of a store with their streams, and give the way to the server."""
    made = certificates.make()
    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    access = Access(f"https://127.0.0.1:{port}", made.authority, secrets.token_urlsafe())
    stream = Streams(pods.store, pods).answer
    served = Serving(Server(pods.store, token=access.token, port=port, stream=stream), made, listener)
    try:
        yield access
    finally:
        served.stop()
