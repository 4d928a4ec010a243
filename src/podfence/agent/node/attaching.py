# SPDX-License-Identifier: Apache-2.0
"""The links of a node's pods, kept up to date for the loop, and what is wrong with them."""

from __future__ import annotations

import asyncio
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING, Final, Literal, TypeVar

from podfence.agent.node.answer import PodLinks
from podfence.agent.node.directory import DirectoryWatch
from podfence.agent.node.findings import NodeFinding, some
from podfence.agent.node.interfaces import LinkWatch, has_own_route, links, own_addresses, way
from podfence.agent.node.matching import Granted, Kernel, Matched, match
from podfence.agent.node.results import Results
from podfence.agent.source import Attached
from podfence.cluster.nodes import numbers_of
from podfence.netlink.asking import NetlinkError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from collections.abc import Set as AbstractSet
    from pathlib import Path

    from podfence.agent.node.interfaces import Link, Place
    from podfence.agent.source import Notice
    from podfence.dataplane.links import Links
    from podfence.dataplane.settings import Binding

EVERY: Final = 60.0
"""Seconds between two looks at everything."""

EVERY_IN_DOUBT: Final = 10.0
"""The same while something is unproven; what is so for that long is told, and what goes away by itself is not."""

EVERY_UNTOLD: Final = 2.0
"""The same where the kernel does not tell of changes, such as in a directory that is not there yet."""

SETTLE: Final = 0.005
"""Seconds after which is looked at what has changed: several things change together."""

GAP, LONGEST_GAP = 0.03, 0.5
"""Seconds between two such looks at least, and at most: with 250 pods one takes ten milliseconds of a core.

A look that finds nothing doubles the time until the next one, since a pod may have its link go up and down for ever.
"""


_Watch = TypeVar("_Watch", DirectoryWatch, LinkWatch)


class Lasting:
    """What goes on being so: names, and since when; `known` is empty if there are none."""

    def __init__(self) -> None:
        self.known: dict[str, float] = {}

    def since(self, names: AbstractSet[str], now: float, age: float) -> AbstractSet[str]:
        """Take in which are so now, and return those that have been so for `age` seconds."""
        self.known = {name: self.known.get(name, now) for name in names}
        return {name for name, at in self.known.items() if now - at >= age}


class Attaching:
    """Tells the loop by which links pods come; its methods are for one thread at a time.

    `findings` and `bound` are as of the last look, and may be read from any thread.
    """

    def __init__(
        self,
        pods: Callable[[], Mapping[str, tuple[str, ...]]],
        tell: Callable[[Iterable[Notice]], None],
        binding: Binding,
        results: Path,
        granted: Granted,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Look at nothing yet.

        `pods` returns the addresses in the statuses of the node's pods, which are named as ``namespace/name``. `tell`
        is given notices for the loop. `results` is the directory where libcni keeps them. `clock` gives seconds and
        never goes back.
        """
        self.findings: tuple[NodeFinding, ...] = ()
        self.bound = PodLinks()
        self._pods = pods
        self._tell = tell
        self._severity: Literal["fatal", "warning"] = "fatal" if binding == "enforce" else "warning"
        self._is_off = binding == "off"
        self._results = Results(results)
        self._granted = granted
        self._clock = clock
        self._began = clock()
        self._seen: Mapping[str, tuple[str, ...]] | None = None
        self._told: Links | None = None
        self._bridges: set[tuple[int, str]] = set()
        self._unproven = Lasting()
        self._strangers = Lasting()
        self._ways: dict[int, Place] = {}
        self._is_due = False
        self._gap, self._not_before = GAP, 0.0

    async def run(self) -> None:
        """Look for ever: at once when results or links change, and at everything once a minute."""
        if self._is_off:
            return
        with ExitStack() as stack:
            results = self._opened(stack, lambda: DirectoryWatch(self._results.directory))
            is_told = self._opened(stack, LinkWatch) is not None
            while True:
                every = EVERY if is_told and results is not None and results.renew() else EVERY_UNTOLD
                self.look(thorough=True)
                in_doubt = self._unproven.known or self._strangers.known
                await asyncio.sleep(min(every, EVERY_IN_DOUBT) if in_doubt else every)

    def _opened(self, stack: ExitStack, opened: Callable[[], _Watch]) -> _Watch | None:
        """Return a watch that makes this look again, None if the kernel has no more of them."""
        try:
            watch = opened()
        except OSError:
            return None
        loop = asyncio.get_running_loop()
        stack.callback(watch.close)
        loop.add_reader(watch, self._soon, watch)
        stack.callback(loop.remove_reader, watch)
        return watch

    def follow(self) -> None:
        """Look if the node's pods are others, or have other addresses, than when this last looked."""
        if not self._is_off and self._pods() != self._seen:
            self.look()

    def look(self, *, thorough: bool = False) -> None:
        """Look now, and tell the loop if something has changed; a thorough look believes nothing of the ones before."""
        if self._is_off:
            return
        if thorough:
            self._ways.clear()
        self._seen = self._pods()
        try:
            matched = self._match()
        except (NetlinkError, OSError) as error:
            unknown = NodeFinding(
                self._severity,
                "links-unknown",
                f"the kernel does not say which interfaces the node has, so new pods are not bound to links: {error}",
                "give the agent the capability NET_ADMIN and the node's network (hostNetwork: true)",
            )
            self.findings = (unknown,)
            return
        self._judge(matched, self._clock())
        if matched.links != self._told:
            self._told = matched.links
            self._tell([Attached(matched.links)])

    def _soon(self, watch: DirectoryWatch | LinkWatch) -> None:
        """Look in a moment, once for all that changes until then."""
        watch.clear()
        if not self._is_due:
            self._is_due = True
            loop = asyncio.get_running_loop()
            if loop.time() > self._not_before + LONGEST_GAP:
                self._gap = GAP
            loop.call_at(max(loop.time() + SETTLE, self._not_before), self._look_again)

    def _look_again(self) -> None:
        self._is_due = False
        before = self._told
        self.look()
        self._gap = GAP if self._told is not before else min(2 * self._gap, LONGEST_GAP)
        self._not_before = asyncio.get_running_loop().time() + self._gap

    def _match(self) -> Matched:
        known = links()
        names = {link.name for link in known.values()}
        # A plugin takes the link of a pod away before the cluster forgets the pod.
        self._ways = {address: place for address, place in self._ways.items() if place.interface in names}
        # An interface that is made anew has another number.
        self._bridges = {(number, name) for number, name in self._bridges if number in known}
        matched = match(
            self._results.read(),
            {pod: tuple(numbers_of(texts)) for pod, texts in (self._seen or {}).items()},
            Kernel(known, own_addresses(), lambda address: self._way(address, known), has_own_route),
            self._granted,
            [number for number, _ in self._bridges],
        )
        self._bridges = {(number, link.name) for number, link in known.items() if link.name in matched.links.bridges}
        return matched

    def _way(self, address: int, known: Mapping[int, Link]) -> Place:
        """Return where an address is attached; a way that led somewhere is not asked for again for a while."""
        place = self._ways.get(address)
        if place is None:
            place = way(address, known)
            if place.kind == "routed":
                self._ways[address] = place
        return place

    def _judge(self, matched: Matched, now: float) -> None:
        """Say what is wrong, and count."""
        pods = {link.pod: link.exempt for link in matched.links.pods}
        exempt = sum(pods.values())
        unbound = len(matched.unproven.keys() | matched.astray.keys())
        self.bound = PodLinks(bound=len(pods) - exempt, unbound=unbound, exempt=exempt)
        # What is unproven when an agent starts has been so for a while, and whoever updates agents waits for that.
        age = 0.0 if now < self._began + EVERY_IN_DOUBT else EVERY_IN_DOUBT
        lasting = self._unproven.since(matched.unproven.keys() | matched.astray.keys(), now, age)
        strangers = self._strangers.since(matched.links.held, now, EVERY)
        self.findings = tuple(self._findings(matched, lasting, sorted(strangers)))

    def _findings(self, matched: Matched, lasting: AbstractSet[str], strangers: list[str]) -> Iterator[NodeFinding]:
        if pods := [f"{pod} ({reason})" for pod, reason in matched.unproven.items() if pod in lasting]:
            yield NodeFinding(
                self._severity,
                "pod-unbound",
                f"nothing proves which link the packets of pod {some(pods)} come by",
                "let the agent read the results of the CNI plugin (--cni-results), or exempt the namespace "
                "(--unbound-namespace), or turn binding off (--binding off)",
            )
        if pods := [f"{pod} ({reason})" for pod, reason in matched.astray.items() if pod in lasting]:
            yield NodeFinding(
                self._severity,
                "no-way-back",
                f"the packets of pod {some(pods)} cannot be bound to its link",
                "add a route to the pod that applies to all packets, not only to those from an interface, with a mark "
                "or within a VRF; or exempt the namespace (--unbound-namespace), or turn binding off (--binding off)",
            )
        if strangers:
            yield NodeFinding(
                "warning",
                "port-unknown",
                f"port {some(strangers)} of the pods' bridge belongs to no pod of the cluster, and is treated as the "
                "port of a pod that is being created",
                "if it leads away from the node, name it with --uplink",
            )
        if self._results.problem:
            yield NodeFinding(
                "warning",
                "cni-results",
                f"the results of the CNI plugin cannot be read: {self._results.problem}",
                "set their directory with --cni-results (/var/lib/cni/results; with cri-dockerd "
                "/var/lib/cni/cache/results), and restart the agent",
            )
        if unreadable := self._results.unreadable():
            files = some([f"{name} ({reason})" for name, reason in unreadable.items()])
            yield NodeFinding(
                "warning",
                "cni-result-damaged",
                f"these results of the CNI plugin in {self._results.directory} cannot be read: {files}",
                "delete the pod that such a file is about, so that it is created again; delete files about no pod",
            )
