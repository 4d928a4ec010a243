# SPDX-License-Identifier: Apache-2.0
"""An agent as a process of its own: arguments are the number of its socket, and a log group and ``direct`` if wanted.

Notices come over the socket in lists, and reports go back, as `multiprocessing` sends them.
"""

from __future__ import annotations

import signal
import sys
import threading
from multiprocessing.connection import Connection
from queue import SimpleQueue
from typing import TYPE_CHECKING

from msgspec.structs import replace

from podfence.agent.kernel import NodeKernel, settling
from podfence.agent.loop import Agent
from podfence.agent.node.inbox import QueueSource
from podfence.dataplane.settings import Settings
from podfence.nft.direct import DirectRunner
from podfence.nft.process import NftRunner
from podfence.policy.options import Options

if TYPE_CHECKING:
    from podfence.agent.reports import Report


def feed(connection: Connection, source: QueueSource) -> None:
    try:
        while True:
            source.put(connection.recv())
    except (EOFError, OSError):
        source.close()


def send(connection: Connection, reports: SimpleQueue[Report | None]) -> None:
    while (report := reports.get()) is not None:
        connection.send(report)


def main(connection: Connection, settings: Settings, *, direct: bool) -> None:
    reports: SimpleQueue[Report | None] = SimpleQueue()
    # Most tests stand between the agent and nft, where they see all that is programmed.
    kernel = NodeKernel("n1", settings, reports.put, DirectRunner() if direct else NftRunner())
    source = QueueSource(kernel.watch)
    agent = Agent(
        source,
        "n1",
        kernel.runner,
        Options(),
        settings,
        settling(reports.put),
        conntrack=kernel.conntrack,
        watch=kernel.watch,
    )

    def stop(_number: int, _where: object) -> None:
        agent.stop()
        source.wake()

    signal.signal(signal.SIGTERM, stop)
    sender = threading.Thread(target=send, args=(connection, reports), daemon=True)
    sender.start()
    threading.Thread(target=feed, args=(connection, source), daemon=True).start()
    kernel.listen(agent, lambda told: reports.put(replace(agent.status(), errors=tuple(map(str, told)))))
    agent.run()
    reports.put(None)
    sender.join(1.0)


if __name__ == "__main__":
    main(
        Connection(int(sys.argv[1])),
        Settings(log_group=next((int(word) for word in sys.argv[2:] if word.isdigit()), None)),
        direct="direct" in sys.argv,
    )
