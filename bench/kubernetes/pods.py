# SPDX-License-Identifier: Apache-2.0
"""From the address of a new pod to its policies in the kernel of its node."""

from __future__ import annotations

import time
from contextlib import ExitStack, closing, suppress
from typing import TYPE_CHECKING, Final

from bench.kubernetes.elements import Programmed
from bench.kubernetes.figures import SOON, Times, times_table
from bench.kubernetes.server import Events
from bench.kubernetes.town import PODS, POLICIES, denial, pod
from bench.report import Section

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.kubernetes.places import Node
    from bench.kubernetes.server import Json
    from bench.kubernetes.town import Town

_APP: Final = "new"
_PATIENCE: Final = 20.0
_LONGEST_START: Final = 120.0
_TEXT: Final = (
    "The time begins when a plain watch receives a pod's address. It ends when the kernel of the node reports that the "
    "pod's address leads to the rules of its policies. "
    "The agent and the watch receive the address at the same moment, so an agent may be faster than the watch. Then "
    "the time is 0. "
    "The table also has the time from the moment when the network plugin assigns the address. It can be a second or "
    "more, because the kubelet reports an address only after the pod was started."
)

Address = tuple[str, float]
"""An address of a pod, and when a watch had it."""


def programmed(town: Town, *, single: int, rounds: int, at_once: int) -> Section:
    """Return how long pods take, `single` one after the other, and `rounds` times many at once."""
    town.server.do("POST", POLICIES, denial("new", _APP))
    had: dict[str, Address] = {}

    def note(now: float, _: str, item: Json) -> None:
        address = item.get("status", {}).get("podIP")
        if address and item["metadata"]["name"] not in had:
            had[item["metadata"]["name"]] = address, now

    rows: list[Times] = []
    with ExitStack() as stack:
        stack.enter_context(closing(Events(town.server, PODS, note)))
        kernels = {node.name: stack.enter_context(closing(Programmed(node.network))) for node in town.nodes}
        for name, count, times in (
            ("a pod alone", 1, single),
            (f"{at_once} pods at once, half on each node", at_once, rounds),
        ):
            found: list[tuple[float, float | None]] = []
            for number in range(times):
                names = [f"new-{count}-{number}-{place}" for place in range(count)]
                found += _round(town, kernels, had, names)
            rows += _rows(name, found)
    town.server.do("DELETE", f"{POLICIES}/new")
    return Section(
        "A pod gets its address → its policies are in the kernel",
        _TEXT,
        times_table("time from the address", rows),
        sum(row.missed for row in rows),
    )


def _round(
    town: Town, kernels: dict[str, Programmed], had: dict[str, Address], names: Sequence[str]
) -> list[tuple[float, float | None]]:
    """Return, for each of some pods, the time from the watch and the time from the assignment."""
    nodes = {name: town.nodes[number % len(town.nodes)] for number, name in enumerate(names)}
    begun = time.monotonic()
    for name, node in nodes.items():
        town.server.do("POST", PODS, pod(name, node.name, {"app": _APP}))
    town.wait_for(lambda: had.keys() >= set(names), _LONGEST_START)
    found: list[tuple[float, float | None]] = []
    for name, node in nodes.items():
        address, moment = had[name]
        in_kernel = kernels[node.name].since(address, begun, _PATIENCE)
        if in_kernel is None:
            message = f"the kernel of {node.name} did not get {address} within {_PATIENCE:.0f} s"
            raise TimeoutError(message)
        assigned = _assigned(node, address)
        found.append((in_kernel - moment, None if assigned is None else in_kernel - assigned))
    for name in names:
        town.server.do("DELETE", f"{PODS}/{name}?gracePeriodSeconds=0")
    return found


def _assigned(node: Node, address: str) -> float | None:
    """Return when an address was assigned, by the monotonic clock, if the network plugin has left that."""
    with suppress(OSError):
        return node.assigned(address) - time.time() + time.monotonic()
    return None


def _rows(name: str, found: Sequence[tuple[float, float | None]]) -> list[Times]:
    sooner = sum(seconds < 0 for seconds, _ in found)
    return [
        Times(f"{name}; {sooner} of {len(found)} sooner than the watch", [max(0.0, item) for item, _ in found], SOON),
        Times("from the network plugin's assignment", [item for _, item in found if item is not None]),
    ]
