# SPDX-License-Identifier: Apache-2.0
"""What an agent uses of its node's kernel; what the kernel lacks is said in words, and the rest goes on without it."""

from __future__ import annotations

import gc
import threading
import time
from contextlib import closing
from typing import TYPE_CHECKING, TypeVar

from msgspec.structs import replace

from podfence.agent.denials import Denials, DeniedFlow, LeftOut, parse
from podfence.agent.nflog import LogGroup
from podfence.agent.reports import Report
from podfence.agent.strays import LeftOutStrays, Stray, Strays
from podfence.agent.watch import KernelWatch
from podfence.dataplane.conntrack import KernelConntrack
from podfence.netlink.asking import NetlinkError
from podfence.nft.direct import DirectRunner
from podfence.nft.errors import NftError
from podfence.nft.probe import probe

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from podfence.agent.loop import Agent
    from podfence.agent.watch import Watch
    from podfence.dataplane.conntrack import Conntrack
    from podfence.dataplane.settings import Settings
    from podfence.nft.runner import Runner

_Part = TypeVar("_Part")

Told = DeniedFlow | LeftOut | Stray | LeftOutStrays
"""What comes of packets that the kernel logged; as text each is a line for people."""


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
        self.conntrack: Conntrack | None = self._opened(
            lambda: KernelConntrack(settings.label),
            f"node {node} does not cut established flows: its kernel's connection tracking cannot be reached",
        )
        self.runner: Runner = runner or self._probed(DirectRunner())
        self.watch: Watch | None = self._opened(
            KernelWatch, f"changes of other programs to the table of node {node} are found only once a minute"
        )

    def listen(self, agent: Agent, denied: Callable[[Sequence[Told]], None]) -> None:
        """Have `denied` told of flows and stray packets, in a thread that lives as long as the process does.

        Nothing is told if the settings name no group of the log.
        """
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
            self._complain(f"policies cannot be enforced on node {self._node}: {error}")
        return runner

    def _opened(self, opened: Callable[[], _Part], without: str) -> _Part | None:
        """Return a part of the kernel; if it cannot be opened, say what it is like `without`."""
        try:
            return opened()
        except OSError as error:
            self._complain(f"{without}: {error}")
            return None

    def _listen(self, group: int, agent: Agent, denied: Callable[[Sequence[Told]], None]) -> None:
        denials, strays = Denials(), Strays(self._settings.binding)
        try:
            with closing(LogGroup(group)) as logged:
                while True:
                    packets, enforcer, now = logged.receive(), agent.enforcer, time.monotonic()
                    if enforcer is None:
                        continue
                    found = [item for one in packets if (item := parse(one)) is not None]
                    told: list[Told] = [*denials.tell(found, enforcer.compiler, now)]
                    told += strays.tell(packets, agent.links, enforcer.compiler, now)
                    if told:
                        denied(told)
        except (NetlinkError, OSError) as error:
            text = f"denied flows of node {self._node} are not logged: {error}"
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
