# SPDX-License-Identifier: Apache-2.0
"""The API server of a lab: where it listens, for kubectl and for agents, and how it finds the pods that run."""

from __future__ import annotations

import secrets
import socket
from functools import partial
from typing import TYPE_CHECKING

from podfence.kube.objects import Key
from podfence.lab.access import Access
from podfence.lab.apiserver.application import Server
from podfence.lab.apiserver.rules import Policies
from podfence.lab.apiserver.serving import Serving
from podfence.lab.apiserver.streams.answering import Streams
from podfence.lab.errors import LabError
from podfence.lab.network.namespaces import inside
from podfence.lab.objects.limits import limits_of
from podfence.lab.processes import session

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from podfence.lab.apiserver.certificates import Certificates
    from podfence.lab.apiserver.streams.containers import ContainerPlace
    from podfence.lab.processes.session import Session
    from podfence.lab.supervisor import Supervisor

_LOOPBACK = "127.0.0.1"


def open_door(lab: Supervisor, listener: socket.socket, certificates: Certificates) -> Access:
    """Serve the objects and the pods of a lab, and return how to get in.

    That is on a socket, for kubectl, and on the loopback address of each node, for its agent. Raises NetworkError if a
    node has ended.
    """
    port = listener.getsockname()[1]
    access = Access(f"https://{_LOOPBACK}:{port}", certificates.authority, secrets.token_urlsafe(32))
    listeners = [listener]
    for node in lab.nodes.values():
        with inside(node.pid):
            listeners.append(socket.create_server((_LOOPBACK, port)))
    store = lab.world.store
    server = Server(
        store,
        token=access.token,
        port=port,
        stream=Streams(store, PodStreams(lab)).answer,
        complain=partial(lab.journal.say, "API server"),
        limits=limits_of(store),
        policies=Policies(lab.options.validation == "lax", lab.options.legacy == "v1beta1"),
    )
    Serving(server, certificates, *listeners)
    return access


class PodStreams:
    """Commands, main processes and logs of a lab's pods."""

    def __init__(self, lab: Supervisor) -> None:
        self._lab = lab

    def execute(self, place: ContainerPlace, command: Sequence[str], *, stdin: bool, tty: bool) -> Session:
        """Start a command in a container. Raises LabError if the pod does not run."""
        holder = self._lab.holder(_key(place))
        return session.execute(holder, command, container=place.container, stdin=stdin, tty=tty)

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
