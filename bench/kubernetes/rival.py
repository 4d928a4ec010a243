# SPDX-License-Identifier: Apache-2.0
"""The same questions put to kube-router, which enforces policies by iptables, on the same bed and by the same means."""

from __future__ import annotations

import time
from contextlib import closing, contextmanager
from functools import partial
from threading import Event, Thread
from typing import TYPE_CHECKING, Final, NamedTuple

from bench.kubernetes.figures import percentile
from bench.kubernetes.places import spent
from bench.kubernetes.town import PODS, POLICIES, denial
from bench.kubernetes.town import pod as plain
from bench.kubernetes.traffic import Traffic
from bench.report import Section, duration, table

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from bench.kubernetes.server import Json
    from bench.kubernetes.town import Town

VERSION: Final = "2.1.0"
SIZES: Final = (1, 10, 100, 1_000)
_PORT: Final = 8000
_TARGET: Final = "near"
_NEW: Final = 20
_STEP: Final = 0.1
_SETTLED: Final = 3.0
_STARTED: Final = 120.0
_FLOWS: Final = 3
_BEST_OF: Final = 3
_TEXT: Final = (
    f"kube-router {VERSION} runs as a plain process on each node instead of podfence's agent, with its firewall "
    "alone. The other policies are for one pod, and do not admit a client on the same node. One more policy "
    "admits the client; the benchmark creates and deletes it again and again. A datagram every 2 ms, each with a "
    "new source port, shows when the client is admitted. New TCP connections are made one after another, the best "
    "of three times, and compared with those without any policy. The policy that changes ten times a second is "
    f"for the client, so the agent looks at the client's connections each time. {_NEW} new pods are denied all "
    "egress, and try to connect as soon as they start."
)


class Figures(NamedTuple):
    """What one enforcer did; seconds, and connections a second by the number of policies.

    `change` are the seconds of the processor for each change while there are ten a second.
    """

    closed: dict[int, list[float]]
    opened: dict[int, list[float]]
    busy: list[float]
    change: float
    flows_cut: int
    rates: dict[int, float]
    free: float
    passed: int


def compared(town: Town, *, sizes: Sequence[int] = SIZES, times: int, seconds: float) -> Section:
    """Return the comparison; podfence enforces before and after. Raises what scripts and the server raise."""
    bed = town.bed
    ours = _measured(town, sizes, times, seconds, town.nodes[0].agent())
    bed.clean_podfence()
    try:
        bed.script("kube-router.sh", "up")
        rival = town.nodes[0].agent("kube-router", "--run-firewall=true")
        theirs = _measured(town, sizes, times, seconds, rival)
    finally:
        bed.script("kube-router.sh", "down")
        bed.install_podfence()
    heads = ("", "podfence", f"kube-router {VERSION}")
    return Section(f"Compared with kube-router {VERSION}", _TEXT, table(heads, _rows(ours, theirs)))


def _measured(town: Town, sizes: Sequence[int], times: int, seconds: float, process: int) -> Figures:
    place = town.places[_TARGET]
    closed: dict[int, list[float]] = {}
    opened: dict[int, list[float]] = {}
    rates: dict[int, float] = {}
    busy: list[float] = []
    change = 0.0
    made: list[str] = []
    with (
        closing(Traffic(place.network)) as server,
        closing(Traffic(town.places["client"].network)) as client,
        closing(Traffic(town.places["client"].network)) as caller,
    ):
        server.ask("serve", _PORT)
        client.ask("probe", place.address, _PORT)
        client.ask("open")
        try:
            _admit(town)
            for size in sizes:
                for number in range(len(made), size):
                    town.server.do("POST", POLICIES, _other(number))
                    made.append(f"other-{number}")
                closed[size], opened[size] = _turns(town, client, times)
                if size == sizes[0]:
                    before = spent(process)
                    with _changing(town) as made_by:
                        busy, _ = _turns(town, client, times)
                    change = (spent(process) - before) / (len(made_by) + 2 * times)
            flows_cut = sum(_is_cut(town, client, place.address) for _ in range(_FLOWS))
            client.ask("rest")
            # Connections leave entries behind that whoever cuts flows has to look through: so they come last.
            for size in reversed(sizes):
                while len(made) > size:
                    town.server.do("DELETE", f"{POLICIES}/{made.pop()}")
                time.sleep(_SETTLED)
                rates[size] = _rate(caller, place.address, seconds)
        finally:
            for name in (*made, "admits"):
                town.server.request("DELETE", f"{POLICIES}/{name}")
        time.sleep(_SETTLED)
        free = _rate(caller, place.address, seconds)
        passed = _first_moments(town, server, place.address)
    return Figures(closed, opened, busy, change, flows_cut, rates, free, passed)


def _turns(town: Town, client: Traffic, times: int) -> tuple[list[float], list[float]]:
    """Return how long it takes until nothing passes, and until all does again, time after time."""
    closed, opened = [], []
    for _ in range(times):
        gone = town.server.do("DELETE", f"{POLICIES}/admits")
        closed.append(client.ask("closed") - gone.sent)
        admitted = _admit(town)
        opened.append(client.ask("open") - admitted)
        time.sleep(_STEP)
    return closed, opened


def _rate(caller: Traffic, address: str, seconds: float) -> float:
    """Return how many connections a second can be made, at the best of some times."""
    return max(float(caller.ask("connect", address, _PORT + 1, seconds)) for _ in range(_BEST_OF))


def _is_cut(town: Town, client: Traffic, address: str) -> bool:
    client.ask("flow", address, _PORT)
    town.server.do("DELETE", f"{POLICIES}/admits")
    try:
        client.ask("cut")
    except OSError:
        return False
    finally:
        _admit(town)
        client.ask("open")
    return True


def _first_moments(town: Town, server: Traffic, address: str) -> int:
    """Return how many of new pods that may not send anything have connected all the same."""
    before = set(server.ask("heard"))
    town.server.do("POST", POLICIES, _mute())
    names = [f"mute-{number}" for number in range(_NEW)]
    command = f"while :; do wget -q -T 1 -O- http://{address}:{_PORT}/; done"
    for number, name in enumerate(names):
        node = town.nodes[number % len(town.nodes)]
        town.server.do("POST", PODS, _caller(name, node.name, command))
    for name in names:
        town.wait_for(partial(_runs, town, name), _STARTED)
    time.sleep(_SETTLED)
    passed = set(server.ask("heard")) - before
    for name in names:
        town.server.do("DELETE", f"{PODS}/{name}?gracePeriodSeconds=0")
    town.server.do("DELETE", f"{POLICIES}/mute")
    return len(passed)


@contextmanager
def _changing(town: Town) -> Iterator[list[str]]:
    """Create or delete a policy of another pod of the node ten times a second meanwhile; yield what was done so far."""
    over = Event()
    done: list[str] = []

    steps = (("POST", POLICIES, denial("changing", "client")), ("DELETE", f"{POLICIES}/changing", None))

    def change() -> None:
        server = town.connect()
        while not over.is_set():
            for verb, path, body in steps:
                server.request(verb, path, body)
                done.append(verb)
                over.wait(_STEP)

    thread = Thread(target=change)
    thread.start()
    try:
        yield done
    finally:
        over.set()
        thread.join()


def _runs(town: Town, name: str) -> bool:
    return bool(town.server.do("GET", f"{PODS}/{name}").content["status"].get("phase") == "Running")


def _admit(town: Town) -> float:
    """Create the policy that admits the client; return when that was sent."""
    peer = {"podSelector": {"matchLabels": {"app": "client"}}}
    return town.server.do("POST", POLICIES, _admitting("admits", peer)).sent


def _other(number: int) -> Json:
    return _admitting(f"other-{number}", {"podSelector": {"matchLabels": {"app": f"other-{number}"}}})


def _admitting(name: str, peer: Json) -> Json:
    spec = {
        "podSelector": {"matchLabels": {"app": _TARGET}},
        "policyTypes": ["Ingress"],
        "ingress": [{"from": [peer]}],
    }
    return {"metadata": {"name": name}, "spec": spec}


def _mute() -> Json:
    spec = {"podSelector": {"matchLabels": {"app": "mute"}}, "policyTypes": ["Egress"], "egress": []}
    return {"metadata": {"name": "mute"}, "spec": spec}


def _caller(name: str, node: str, command: str) -> Json:
    made = plain(name, node, {"app": "mute"})
    (container,) = made["spec"]["containers"]
    container |= {"image": "busybox", "command": ["sh", "-c", command]}
    return made


def _rows(ours: Figures, theirs: Figures) -> Iterator[tuple[str, ...]]:
    both = (ours, theirs)
    for size in ours.closed:
        others = f"{size:,} other {'policies' if size > 1 else 'policy'}"
        yield (f"closed, {others}: p50, slowest", *(_times(one.closed[size]) for one in both))
        yield (f"open again, {others}: p50, slowest", *(_times(one.opened[size]) for one in both))
    yield (
        "closed, while another policy changes ten times a second: p50, slowest",
        *(_times(one.busy) for one in both),
    )
    yield ("of that: the processor's time for each change", *(duration(one.change) for one in both))
    yield ("established connections cut within 20 s", *(f"{one.flows_cut} of {_FLOWS}" for one in both))
    for size in reversed(ours.rates):
        what = f"new connections, {size:,} other {'policies' if size > 1 else 'policy'}, of those without any"
        yield (what, *(f"{one.rates[size] / one.free:.2f}" for one in both))
    yield (f"of {_NEW} new pods, connected against their policy", *(str(one.passed) for one in both))


def _times(seconds: Sequence[float]) -> str:
    return f"{duration(percentile(seconds, 50))}, {duration(max(seconds))}"
