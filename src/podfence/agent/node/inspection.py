# SPDX-License-Identifier: Apache-2.0
"""The node looked at again and again: whether policies can be enforced there, and bridges that have to be told to."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from podfence.agent.node import bridging
from podfence.agent.node.findings import NodeFinding
from podfence.agent.node.interfaces import locate
from podfence.agent.node.preflight import NodeFacts, inspect
from podfence.netlink.asking import NetlinkError
from podfence.nft.process import NftRunner

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from podfence.agent.node.intake import Intake
    from podfence.dataplane.settings import Settings

EVERY: Final = 60.0
"""Seconds between two complete inspections."""

FIRST_LISTS: Final = 5.0
"""Seconds that the first inspection waits for the first lists, which say what the node is."""

_LOOK: Final = 0.1

SETTLE: Final = 0.05
"""Seconds after which new pods are looked for on bridges: several come together."""


class Inspection:
    """What is wrong with a node: `findings`, as of the last look, and whether there was one.

    All methods are for the event loop's thread.
    """

    def __init__(self, node: str, intake: Intake, settings: Settings, state: Path, sysctls: Path) -> None:
        """Look at nothing yet; `state` is the state directory, and `sysctls` where settings can be written."""
        self.findings: tuple[NodeFinding, ...] = ()
        self.has_looked = False
        self._node = node
        self._intake = intake
        self._settings = settings
        self._state = state
        self._sysctls = sysctls
        self._runner = NftRunner()
        self._inspected: tuple[NodeFinding, ...] = ()
        self._bridges: tuple[NodeFinding, ...] = ()
        self._soon = asyncio.Event()

    def soon(self) -> None:
        """Let pods be looked for on bridges now: some came."""
        self._soon.set()

    async def run(self, say: Callable[[str], None]) -> None:
        """Look for ever; what a look changes on the node is told to `say`, a sentence each."""
        loop = asyncio.get_running_loop()
        due = loop.time()
        while not self._intake.is_synced and loop.time() < due + FIRST_LISTS:  # noqa: ASYNC110 - once, at the start
            await asyncio.sleep(_LOOK)
        looked: NodeFacts | None = None
        while True:
            if loop.time() >= due:
                looked, due = None, loop.time() + EVERY
                self._inspected = await asyncio.to_thread(inspect, self._runner, self._settings, self._facts())
            self._soon.clear()
            facts = self._facts()
            # In a large cluster most pods that come are others' pods, and mean nothing here.
            if facts != looked or self._bridges:
                looked = facts
                # A bridge of the node's own range is found before its first pod is.
                ensured = await asyncio.to_thread(self._ensure, [*facts.pods, *facts.pod_cidrs])
                self._bridges = ensured.findings
                self.findings = (*self._bridges, *self._inspected)
                self.has_looked = True
                for text in ensured.changes:
                    say(text)
            try:
                async with asyncio.timeout(max(0.0, due - loop.time())):
                    await self._soon.wait()
                    await asyncio.sleep(SETTLE)
            except TimeoutError:
                pass

    def _facts(self) -> NodeFacts:
        node = self._intake.node(self._node)
        return NodeFacts(
            name=self._node,
            is_known=node is not None or not self._intake.is_synced,
            pod_cidrs=node.pod_cidrs if node is not None else (),
            pods={text: pod for pod, texts in self._intake.pods_on(self._node).items() for text in texts},
            is_listening=True,
        )

    def _ensure(self, addresses: list[str]) -> bridging.Ensured:
        try:
            places = locate(addresses)
        except (NetlinkError, OSError) as error:
            unknown = NodeFinding(
                "warning",
                "places-unknown",
                f"the kernel does not say which interfaces lead to pods: {error}",
                "give the agent the capability NET_ADMIN and the node's network (hostNetwork: true)",
            )
            return bridging.Ensured((unknown,), ())
        return bridging.ensure(places, state=self._state, sysctls=self._sysctls)
