# SPDX-License-Identifier: Apache-2.0
"""The API server of a lab, opened where this installation has what it needs."""

from __future__ import annotations

import secrets
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING

from podfence.errors import PodfenceError
from podfence.lab.access import Access
from podfence.lab.errors import LabError

if TYPE_CHECKING:
    import socket

    from podfence.lab.apiserver.certificates import Certificates
    from podfence.lab.supervisor import Supervisor


class Door:
    """The API server of a lab. It is made ready in a thread, since a lab that starts mostly waits for its processes."""

    def __init__(self, listener: socket.socket) -> None:
        """Begin to make it ready; it is to serve on a listening socket."""
        self._listener = listener
        worker = ThreadPoolExecutor(1, "door")
        self._certificates = worker.submit(_ready)
        worker.shutdown(wait=False)

    def open(self, lab: Supervisor) -> Access:
        """Serve the objects and the pods of a lab, and return how to get in.

        Raises LabError, with what is missing, if that cannot be. The socket is closed then.
        """
        try:
            made = self._certificates.result()
        except PodfenceError as error:
            self._listener.close()
            raise LabError(str(error)) from error
        # A lab works without the packages that only this needs.
        from podfence.lab.apiserver.serving import serve  # noqa: PLC0415
        from podfence.lab.apiserver.streams.answering import Streams  # noqa: PLC0415
        from podfence.lab.pod_streams import PodStreams  # noqa: PLC0415

        address = f"https://127.0.0.1:{self._listener.getsockname()[1]}"
        access = Access(address, made.authority, secrets.token_urlsafe(32))
        store = lab.world.store
        serve(
            store,
            self._listener,
            token=access.token,
            certificates=made,
            stream=Streams(store, PodStreams(lab)).answer,
            complain=partial(lab.journal.say, "API server"),
            legacy=lab.options.legacy == "v1beta1",
        )
        return access


def _ready() -> Certificates:
    """Load what the server needs, and return its certificates. Raises PodfenceError."""
    try:
        from podfence.lab import pod_streams  # noqa: F401, PLC0415
        from podfence.lab.apiserver import certificates, serving  # noqa: F401, PLC0415
        from podfence.lab.apiserver.streams import answering  # noqa: F401, PLC0415
    except ModuleNotFoundError as error:
        raise LabError(f"it needs {error.name}: pip install 'podfence[live]'") from error
    return certificates.make()
