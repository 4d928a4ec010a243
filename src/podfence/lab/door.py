# SPDX-License-Identifier: Apache-2.0
"""The API server of a lab, opened where this installation has what it needs."""

from __future__ import annotations

import secrets
from functools import partial
from typing import TYPE_CHECKING

from podfence.errors import PodfenceError
from podfence.lab.access import Access
from podfence.lab.errors import LabError

if TYPE_CHECKING:
    import socket

    from podfence.lab.supervisor import Supervisor


def open_door(lab: Supervisor, listener: socket.socket) -> Access:
    """Serve the objects and the pods of a lab on a socket, and return how to get in.

    Raises LabError, with what is missing, if that cannot be.
    """
    try:
        # A lab works without the packages that only this needs.
        from podfence.lab.apiserver import certificates  # noqa: PLC0415
        from podfence.lab.apiserver.serving import serve  # noqa: PLC0415
        from podfence.lab.apiserver.streams.answering import Streams  # noqa: PLC0415
        from podfence.lab.pod_streams import PodStreams  # noqa: PLC0415
    except ModuleNotFoundError as error:
        raise LabError(f"it needs {error.name}: pip install 'podfence[live]'") from error
    try:
        made = certificates.make()
    except PodfenceError as error:
        raise LabError(str(error)) from error
    access = Access(f"https://127.0.0.1:{listener.getsockname()[1]}", made.authority, secrets.token_urlsafe(32))
    store = lab.world.store
    serve(
        store,
        listener,
        token=access.token,
        certificates=made,
        stream=Streams(store, PodStreams(lab)).answer,
        complain=partial(lab.journal.say, "API server"),
        legacy=lab.options.legacy == "v1beta1",
    )
    return access
