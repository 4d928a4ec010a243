# SPDX-License-Identifier: Apache-2.0
"""Send frames at random from pods of a guarded node, and judge whatever arrives anywhere: a part of `make fuzz-packets`.

Each frame has a seed; `--start SEED --frames 1` tries one again. What is found is told as little as it can be: with as
few changes as still show it, and as hexadecimal digits, as it was sent and as it arrived.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
import tempfile
import time
from collections import defaultdict
from contextlib import ExitStack, closing
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from tests.attacks import plain
from tests.attacks.bed import HELD, Bed
from tests.attacks.drawing import Plan, drawn, plan
from tests.attacks.judging import honest_word
from tests.attacks.oracle import WATCHED, Oracle
from tests.attacks.plain import ARRIVES
from tests.attacks.wiring import NETWORKS, Network

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterable, Iterator, Sequence


TOGETHER: Final = 64
"""How many frames are sent before anybody looks what has arrived."""

EVERY: Final = 30.0
_LOST: Final = 5.0
"""Seconds after which something allowed is said to be lost, and is tried again."""
_TOKEN: Final = re.compile(rb"<token \d{6,}>")
_ALWAYS: Final = ("udp", "tcp", "echo", "udp-to-any-port")


class Found(NamedTuple):
    """A frame that is where it may not be, or is not where it must be."""

    network: Network
    plan: Plan
    sender: str
    place: str
    why: str
    sent: bytes
    arrived: bytes

    def __str__(self) -> str:
        """Return it as lines."""
        return (
            f"seed {self.plan.seed} on the network {self.network}: from {self.sender}, at {self.place}: {self.why}\n"
            f"  changes  {' '.join(change.name for change in self.plan.changes) or 'none'}\n"
            f"  sent     {self.sent.hex()}\n"
            f"  arrived  {self.arrived.hex() or 'nothing'}"
        )


class Sent(NamedTuple):
    """A frame on its way."""

    plan: Plan
    sender: str
    receiver: str
    base: str
    frame: bytes


class Fuzzer:
    """Sends and judges on one guarded bed."""

    def __init__(self, bed: Bed, stack: ExitStack) -> None:
        """Listen at the node too, on the port that most frames are for."""
        self.bed = bed
        self.oracle = Oracle(bed)
        self.sent = self.arrived = 0
        self._node: list[socket.socket] = [
            stack.enter_context(closing(plain.listening(bed, "n1", plain.DATAGRAM, 5353, family))) for family in (4, 6)
        ]

    def run(self, plans: Iterable[Plan]) -> list[Found]:
        """Send frames together; return what was wrong with what arrived, and with what did not."""
        for name in WATCHED:
            self.bed.port(name).forget()
        ways: dict[bytes, Sent] = {}
        for wanted in plans:
            token = self.bed.token()
            draw, frame = drawn(self.bed, wanted, token)
            ways[token] = Sent(wanted, draw.sender.name, draw.receiver.name, draw.base, frame)
            self.oracle.sent(draw.sender.name, frame)
            self.bed.port(draw.sender.name).send(frame)
        self.sent += len(ways)
        places: dict[bytes, set[str]] = defaultdict(set)
        found = []
        for name, frame in self._heard():
            for token in set(_TOKEN.findall(frame)) & ways.keys():
                way = ways[token]
                if name != way.sender:
                    self.arrived += 1
                    places[token].add(name)
                    why = self.oracle.why_not(way.sender, name, frame)
                    found += [self._found(way, name, why, frame)] if why else []
        found += self._at_the_node(ways)
        missing = [way for token, way in ways.items() if self._must_arrive(way) and way.receiver not in places[token]]
        if len(ways) == 1:
            return found + [self._found(way, way.receiver, "it is allowed and does not arrive", b"") for way in missing]
        # This, too, may be because the bridge has lost the way to a pod.
        for way in missing:
            self.bed.restore()
            found += self.run([way.plan])
        return found

    def _heard(self) -> Iterator[tuple[str, bytes]]:
        """Give what has come to each place, up to something that was sent there afterwards and is allowed."""
        for name in WATCHED:
            # Only its node may send to a pod that is not known yet, unless that pod has told it another place.
            if name != HELD and not self._comes_through(name, _LOST):
                # A frame for the bridge itself can make it lose the way to a pod for a while, as SECURITY.md says.
                self.bed.restore()
                assert self._comes_through(name, ARRIVES), f"what others may send to {name} does not arrive"
            self.bed.port(name).first(lambda _: False, 0.01)
            yield from ((name, frame) for frame in self.bed.port(name).passed)

    def _comes_through(self, name: str, patience: float) -> bool:
        """Return whether something allowed comes to a place; by then all that was sent before it has come."""
        return self.bed.port(name).hears(honest_word(self.bed, name), patience) is not None

    def _at_the_node(self, ways: dict[bytes, Sent]) -> Iterator[Found]:
        for item in self._node:
            while plain.ready(item, 0):
                data, address = item.recvfrom(2048)
                for token in set(_TOKEN.findall(data)) & ways.keys():
                    self.arrived += 1
                    why = self.oracle.at_the_node(
                        ways[token].sender, address[0].partition("%")[0].removeprefix("::ffff:")
                    )
                    if why:
                        yield self._found(ways[token], "a program of n1", why, data)

    def _must_arrive(self, way: Sent) -> bool:
        """Return whether a frame that nobody changed is allowed."""
        if way.plan.changes or way.base not in _ALWAYS or way.receiver not in WATCHED:
            return False
        return self.oracle.must_arrive(way.sender, way.receiver, way.frame)

    def _found(self, way: Sent, place: str, why: str, arrived: bytes) -> Found:
        return Found(self.bed.network, way.plan, way.sender, place, why, way.frame, arrived)

    def reduced(self, found: Found) -> Found:
        """Return the same with as few changes as still show it, when it is sent alone."""
        smaller = True
        while smaller:
            smaller = False
            for place in range(len(found.plan.changes)):
                changes = found.plan.changes[:place] + found.plan.changes[place + 1 :]
                again = [item for item in self.run([found.plan._replace(changes=changes)]) if item.place == found.place]
                if again:
                    found, smaller = again[0], True
                    break
        return found


def work(network: Network, seeds: Iterator[int], end: float, directory: Path) -> Iterator[Fuzzer | Found]:
    """Try seeds on a network until the time is over or they are; give what is found, and the fuzzer after each lot."""
    with Bed(network, directory, guarded=True) as bed, ExitStack() as stack:
        fuzzer = Fuzzer(bed, stack)
        while time.monotonic() < end:
            lot = [plan(seed) for _, seed in zip(range(TOGETHER), seeds, strict=False)]
            if not lot:
                return
            for found in fuzzer.run(lot):
                yield fuzzer.reduced(found)
            bed.restore()
            yield fuzzer


def main(arguments: Sequence[str] | None = None) -> int:
    """Run it; return 1 if anything was found."""
    parser = argparse.ArgumentParser(prog="python -m tests.attacks.fuzz", description=__doc__)
    parser.add_argument("--seconds", type=float, default=float(os.environ.get("PODFENCE_FUZZ_SECONDS", "60")))
    parser.add_argument("--start", type=int, default=1_000_000, help="the first seed")
    parser.add_argument("--frames", type=int, default=sys.maxsize // 2, help="stop after this many on each network")
    chosen = parser.parse_args(arguments)
    worst = 0
    for network in NETWORKS:
        seeds = iter(range(chosen.start, chosen.start + chosen.frames))
        began = told = time.monotonic()
        count, fuzzer = 0, None
        with tempfile.TemporaryDirectory() as folder:
            for item in work(network, seeds, began + chosen.seconds / len(NETWORKS), Path(folder)):
                if isinstance(item, Found):
                    count += 1
                    print(f"\n{item}\n", flush=True)  # noqa: T201
                    continue
                fuzzer = item
                if time.monotonic() - told > EVERY:
                    told = time.monotonic()
                    print(summary(fuzzer, began, chosen.start, count), flush=True)  # noqa: T201
        if fuzzer is not None:
            print(summary(fuzzer, began, chosen.start, count), flush=True)  # noqa: T201
        worst = max(worst, count)
    return 1 if worst else 0


def summary(fuzzer: Fuzzer, began: float, start: int, count: int) -> str:
    """Return sums as one line."""
    return (
        f"{time.monotonic() - began:,.0f} s on the network {fuzzer.bed.network}: {fuzzer.sent:,} frames from seed {start}, "
        f"{fuzzer.arrived:,} arrived somewhere, {count} that may not or should"
    )


if __name__ == "__main__":
    sys.exit(main())
