# SPDX-License-Identifier: Apache-2.0
"""What an agent uses of its node's kernel; what the kernel lacks is said in words, and the rest goes on without it."""

from __future__ import annotations

import gc
import threading
import time
from typing import TYPE_CHECKING

from msgspec.structs import replace

from podfence.agent.denials import Denials, parse
from podfence.agent.nflog import LogGroup
from podfence.agent.reports import Report
from podfence.agent.watch import KernelWatch
from podfence.dataplane.conntrack import KernelConntrack
from podfence.netlink.asking import NetlinkError
from podfence.nft.direct import DirectRunner
from podfence.nft.errors import NftError
from podfence.nft.probe import probe

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from podfence.agent.denials import DeniedFlow, LeftOut
    from podfence.agent.loop import Agent
    from podfence.agent.watch import Watch
    from podfence.dataplane.conntrack import Conntrack
    from podfence.dataplane.settings import Settings
    from podfence.nft.runner import Runner


class NodeKernel:
    """The kernel of the network namespace that this is made in: `runner`, `conntrack` and `watch` for an Agent."""

    def __init__(
        self, node: str, settings: Settings, tell: Callable[[Report], None], runner: Runner | None = None
    ) -> None:
        """Open what can be opened, and `tell` what cannot.

        Without a `runner` the kernel is spoken to directly where that is possible, which is faster than nft; it is
        tried first what nft and the kernel can do.
        """
        self._node = node
        self._settings = settings
        self._tell = tell
        self.conntrack: Conntrack | None = self._conntrack()
        self.runner: Runner = runner or self._probed(DirectRunner())
        self.watch: Watch | None = self._watch()

    def listen(self, agent: Agent, denied: Callable[[Sequence[DeniedFlow | LeftOut]], None]) -> None:
        """Have `denied` told of flows, in a thread, for as long as the process lives, if the settings say so."""
        group = self._settings.log_group
        if group is not None:
            threading.Thread(target=self._listen, args=(group, agent, denied), name="denials", daemon=True).start()

    def _complain(self, text: str) -> None:
        self._tell(Report(node=self._node, enforcing=False, errors=(text,)))

    def _probed(self, runner: Runner) -> Runner:
        """Say what nft and the kernel lack, in words, before the first transaction fails for it."""
        try:
            probe(runner).require()
        except NftError as error:
            self._complain(f"node {self._node} cannot be enforced: {error}")
        return runner

    def _conntrack(self) -> KernelConntrack | None:
        try:
            return KernelConntrack(self._settings.label)
        except OSError as error:
            what = f"node {self._node} does not cut established flows"
            self._complain(f"{what}: its kernel's connection tracking cannot be reached: {error}")
            return None

    def _watch(self) -> KernelWatch | None:
        try:
            return KernelWatch()
        except OSError as error:
            what = f"what others change in the table of node {self._node} is found only once a minute"
            self._complain(f"{what}: {error}")
            return None

    def _listen(self, group: int, agent: Agent, denied: Callable[[Sequence[DeniedFlow | LeftOut]], None]) -> None:
        denials = Denials()
        try:
            with LogGroup(group) as logged:
                while True:
                    found = [item for one in logged.receive() if (item := parse(one)) is not None]
                    enforcer = agent.enforcer
                    if enforcer is None:
                        continue
                    if told := denials.tell(found, enforcer.compiler, time.monotonic()):
                        denied(told)
        except (NetlinkError, OSError) as error:
            text = f"denied flows of node {self._node} are not written down: {error}"
            self._tell(replace(agent.status(), errors=(text,)))


def settling(tell: Callable[[Report], None]) -> Callable[[Report], None]:
    """Return `tell`, with what is there at the first report that the kernel has all left to itself from then on.

    Thousands of objects stay for as long as the agent; to go through them took the collector 150 ms, now and then.
    """
    settled = False

    def report(item: Report) -> None:
        nonlocal settled
        tell(item)
        if item.enforcing and not settled:
            settled = True
            gc.collect()
            gc.freeze()

    return report
