# SPDX-License-Identifier: Apache-2.0
"""The first process of a lab's PID namespace: it takes in orphans, and its end is the end of everything in there."""

from __future__ import annotations

import os
import socket
import sys


def main() -> None:
    """Start the supervisor with the sockets whose numbers are the arguments, and end when it does."""
    listener, api = (socket.socket(fileno=int(number)) for number in sys.argv[1:])
    supervisor = os.fork()
    if supervisor == 0:
        from podfence.lab.server import serve  # noqa: PLC0415 - the first process, which stays, stays small

        serve(listener, api)
        return
    listener.close()
    api.close()
    while True:
        # A process of its own for this: the supervisor waits for each of its children by name.
        ended, status = os.wait()
        if ended == supervisor:
            sys.exit(os.waitstatus_to_exitcode(status) & 0xFF)


main()
