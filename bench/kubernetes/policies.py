# SPDX-License-Identifier: Apache-2.0
"""From a policy on the API server to packets: when connections are refused, and when they are cut."""

from __future__ import annotations

import time
from contextlib import closing
from random import uniform
from typing import TYPE_CHECKING, Final

from bench.kubernetes.figures import SOON, Times, times_table
from bench.kubernetes.server import Events
from bench.kubernetes.town import POLICIES, denial
from bench.kubernetes.traffic import Traffic
from bench.report import Section

if TYPE_CHECKING:
    from bench.kubernetes.server import Json
    from bench.kubernetes.town import Town

CUT: Final = (1.0, 1.0)
_PORT: Final = 8000
_PAUSE: Final = (0.3, 0.5)
_POLICY_TEXT: Final = (
    "Every 2 ms a pod sends a datagram from a new port to a pod that answers. "
    "The time begins just before the request that creates a policy, which denies all connections to that pod. It ends "
    "when the pod sends the first datagram after which none is answered. "
    "The time includes that of the API server. The table shows when the server has answered the request, and when a "
    "plain watch has received the event. An agent cannot act before it receives the event."
)
_CUT_TEXT: Final = (
    "Every 5 ms, a byte goes over a connection and comes back. "
    "The time begins just before the request that creates a policy, which denies the connection. It ends with the "
    "connection: at the reset, or at the last byte that came back."
)


def enforced(town: Town, *, times: int) -> Section:
    """Return how long policies take from the API server to packets, on the node of the sender and on another."""
    rows: list[Times] = []
    for name, target in (("from a pod of the same node", "near"), ("from a pod of another node", "far")):
        rows += _enforced(town, name, target, times)
    return Section(
        "A policy is created → enforced",
        _POLICY_TEXT,
        times_table("time from the request that creates a policy", rows),
        sum(row.missed for row in rows),
    )


def _enforced(town: Town, name: str, target: str, times: int) -> list[Times]:
    seen: dict[str, float] = {}

    def note(now: float, kind: str, item: Json) -> None:
        if kind == "ADDED":
            seen[item["metadata"]["name"]] = now

    created: dict[str, float] = {}
    answered, closed, opened = [], [], []
    place = town.places[target]
    with (
        closing(Traffic(place.network)) as server,
        closing(Traffic(town.places["client"].network)) as client,
        closing(Events(town.server, POLICIES, note)),
    ):
        server.ask("serve", _PORT)
        client.ask("probe", place.address, _PORT)
        client.ask("open")
        for number in range(times):
            policy = f"{target}-{number}"
            # What the agent does after the last change is over by then, as between changes that people make.
            time.sleep(uniform(*_PAUSE))
            made = town.server.do("POST", POLICIES, denial(policy, target))
            created[policy] = made.sent
            closed.append(client.ask("closed") - made.sent)
            answered.append(made.answered - made.sent)
            gone = town.server.do("DELETE", f"{POLICIES}/{policy}")
            opened.append(client.ask("open") - gone.sent)
        client.ask("rest")
        town.wait_for(lambda: len(seen) == times)
    watched = [seen[policy] - sent for policy, sent in created.items()]
    return [
        Times(f"enforced, {name}", closed, SOON),
        Times("of that: the API server has answered", answered),
        Times("of that: a bare watch has the event", watched),
        Times("a policy is deleted → connections are open again", opened),
    ]


def cut(town: Town, *, times: int) -> Section:
    """Return how long established flows outlive a policy that forbids them."""
    rows = []
    for name, target in (("to a pod of the same node", "near"), ("to a pod of another node", "far")):
        seconds, resets = _cut(town, target, times)
        rows.append(Times(f"a connection {name}, {resets} of {times} with a reset", seconds, CUT))
    return Section(
        "An established connection is forbidden → cut",
        _CUT_TEXT,
        times_table("time from the request that creates the policy", rows),
        sum(row.missed for row in rows),
    )


def _cut(town: Town, target: str, times: int) -> tuple[list[float], int]:
    found: list[float] = []
    resets = 0
    place = town.places[target]
    with (
        closing(Traffic(place.network)) as server,
        closing(Traffic(town.places["client"].network)) as client,
    ):
        server.ask("serve", _PORT)
        for number in range(times):
            client.ask("flow", place.address, _PORT)
            policy = f"cut-{target}-{number}"
            made = town.server.do("POST", POLICIES, denial(policy, target))
            how, when = client.ask("cut")
            found.append(when - made.sent)
            resets += how == "reset"
            town.server.do("DELETE", f"{POLICIES}/{policy}")
            client.ask("probe", place.address, _PORT)
            client.ask("open")
            client.ask("rest")
    return found, resets
