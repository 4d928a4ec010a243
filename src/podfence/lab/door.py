# SPDX-License-Identifier: Apache-2.0
"""The API server of a lab: on the user's loopback address for kubectl, and on that of each node for its agent."""

from __future__ import annotations

import secrets
import socket
from functools import partial
from typing import TYPE_CHECKING

from podfence.lab.access import Access
from podfence.lab.apiserver.rules import Policies
from podfence.lab.apiserver.serving import serve
from podfence.lab.apiserver.streams.answering import Streams
from podfence.lab.network.namespaces import inside
from podfence.lab.pod_streams import PodStreams

if TYPE_CHECKING:
    from podfence.lab.apiserver.certificates import Certificates
    from podfence.lab.supervisor import Supervisor

_LOOPBACK = "127.0.0.1"


def open_door(lab: Supervisor, listener: socket.socket, certificates: Certificates) -> Access:
    """Serve the objects and the pods of a lab on a socket and on its nodes, and return how to get in.

    Raises NetworkError if a node has ended.
    """
    port = listener.getsockname()[1]
    access = Access(f"https://{_LOOPBACK}:{port}", certificates.authority, secrets.token_urlsafe(32))
    listeners = [listener]
    for node in lab.nodes.values():
        with inside(node.pid):
            listeners.append(socket.create_server((_LOOPBACK, port)))
    store = lab.world.store
    serve(
        store,
        *listeners,
        token=access.token,
        certificates=certificates,
        stream=Streams(store, PodStreams(lab)).answer,
        complain=partial(lab.journal.say, "API server"),
        policies=Policies(lab.options.validation == "lax", lab.options.legacy == "v1beta1"),
    )
    return access
