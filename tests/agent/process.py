# SPDX-License-Identifier: Apache-2.0
"""An agent as a process of its own: the number of its socket is the argument, and the log group if there is one."""

from __future__ import annotations

import socket
import sys

from podfence.dataplane.chains import Settings
from podfence.lab.node_agent import main
from podfence.policy.options import Options

if __name__ == "__main__":
    main(
        socket.socket(fileno=int(sys.argv[1])),
        "n1",
        Options(),
        Settings(log_group=int(sys.argv[2]) if len(sys.argv) > 2 else None),
    )
