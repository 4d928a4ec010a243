# SPDX-License-Identifier: Apache-2.0
"""An agent as a process of its own: arguments are the number of its socket, and a log group and ``direct`` if wanted."""

from __future__ import annotations

import socket
import sys

from podfence.dataplane.settings import Settings
from podfence.lab.node_agent import main
from podfence.nft.direct import DirectRunner
from podfence.nft.process import NftRunner
from podfence.policy.options import Options

if __name__ == "__main__":
    main(
        socket.socket(fileno=int(sys.argv[1])),
        "n1",
        Options(),
        Settings(log_group=next((int(word) for word in sys.argv[2:] if word.isdigit()), None)),
        # Most tests stand between the agent and nft, where they see all that is programmed.
        DirectRunner() if "direct" in sys.argv else NftRunner(),
    )
