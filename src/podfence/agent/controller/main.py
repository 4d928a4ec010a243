# SPDX-License-Identifier: Apache-2.0
"""The process of the controller: one event loop, a log, and an end by signal."""

from __future__ import annotations

import asyncio
import os
import signal
from typing import TYPE_CHECKING, Final

from podfence.agent.controller.taint import TaintController
from podfence.agent.node.logs import Log
from podfence.kube.access.credentials import Credentials
from podfence.kube.access.load import load
from podfence.kube.live.session import Session

if TYPE_CHECKING:
    from podfence.agent.node.logs import Form, Level
    from podfence.kube.access.access import Access, Choice

REQUEST_TIMEOUT: Final = 30.0
"""Seconds that a request, other than a watch, may take."""


def run(choice: Choice, namespace: str, log_form: Form, log_level: Level) -> None:
    """Free nodes until SIGTERM or SIGINT comes. Raises PodfenceError if there is no way to a cluster at all."""
    access = load(choice, os.environ)
    with Log(log_form, log_level) as log:
        asyncio.run(_live(access, namespace, log))


async def _live(access: Access, namespace: str, log: Log) -> None:
    logger = log.logger
    async with Session(access, Credentials(access, os.environ), timeout=REQUEST_TIMEOUT) as session:
        controller = TaintController(
            session,
            namespace,
            lambda node: logger.info("the agent is ready: removed the taint from the node", node=node),
            lambda why: logger.warning("nodes could not be checked; trying again", error=why),
        )
        task = asyncio.create_task(controller.run())
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, task.cancel)
        logger.info("starting", server=access.server.url, namespace=namespace)
        try:
            await task
        except asyncio.CancelledError:
            logger.info("stopped")
