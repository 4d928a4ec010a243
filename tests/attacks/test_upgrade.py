# SPDX-License-Identifier: Apache-2.0
"""An agent that binds links takes over the table of the last one that bound none, while everybody talks to everybody."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

import pytest

from tests.attacks import plain
from tests.attacks.bed import Bed
from tests.attacks.plain import ARRIVES
from tests.attacks.wiring import NETWORKS
from tests.dataplane import traffic

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterator

    from tests.attacks.wiring import Network

BEFORE: Final = Path(__file__).with_name("unbound.nft")
ENDS: Final = ("a", "t", "c", "x", "d", "r", "outside", "n1")
PORTS: Final = (("tcp", 80), ("tcp", 81), ("udp", 5353), ("udp", 5354))
IN_FLIGHT: Final = 60
ROUNDS: Final = 3
"""How often each flow is tried before the next step: often enough, since each try is one of hundreds."""


class Flow(NamedTuple):
    """Who sends to whom, and by what."""

    sender: str
    receiver: str
    kind: str
    port: int
    family: int

    @property
    def may(self) -> bool:
        """Whether the policies of the bed allow it."""
        if self.sender == "x":
            return False
        if self.receiver != "t" or self.sender == "n1":
            return True
        return self.sender in ("c", "r") and (self.kind, self.port) in (("tcp", 80), ("udp", 5353))


FLOWS: Final = tuple(
    Flow(sender, receiver, kind, port, family)
    for sender in ENDS
    for receiver in ENDS
    for kind, port in PORTS
    for family in (4, 6)
    # What does not come by n1 is none of its business.
    if sender != receiver and not {sender, receiver} <= {"d", "r", "outside"}
)


class Traffic:
    """A process that serves everywhere and one that tries all flows, again and again."""

    def __init__(self, bed: Bed, folder: Path, stack: ExitStack) -> None:
        """Start them; they end with the stack."""
        self._folder = folder
        fds = {name: bed[name].space.fd for name in ENDS}
        ports = {kind: [port for each, port in PORTS if each == kind] for kind, _ in PORTS}
        served = [
            [fds[name], bed[name].address(family), ports["tcp"], ports["udp"]] for name in ENDS for family in (4, 6)
        ]
        tried = [
            [
                number,
                fds[flow.sender],
                flow.kind,
                bed[flow.sender].address(flow.family),
                bed[flow.receiver].address(flow.family),
                flow.port,
            ]
            for number, flow in enumerate(FLOWS)
        ]
        for name, wanted in (("server", {"serve": served}), ("client", {"connect": tried, "in_flight": IN_FLIGHT})):
            stack.enter_context(_process(folder / name, wanted, tuple(fds.values())))

    def until_tried(self, bed: Bed) -> None:
        """Return when every flow has been tried a few times more."""
        wanted = self._size() + ROUNDS * len(FLOWS) * traffic.RECORD.size
        bed.until(lambda: self._size() >= wanted, "every flow was tried")

    def _size(self) -> int:
        return (self._folder / "client").stat().st_size

    def results(self) -> dict[int, Counter[int]]:
        """Return for each number of a flow how often each result came of it."""
        found: dict[int, Counter[int]] = {number: Counter() for number in range(len(FLOWS))}
        for name in ("server", "client"):
            for result, number, _, _ in traffic.RECORD.iter_unpack((self._folder / name).read_bytes()):
                found[number][result] += 1
        return found


@contextmanager
def _process(path: Path, wanted: object, fds: tuple[int, ...]) -> Iterator[None]:
    command = [sys.executable, "-I", traffic.__file__, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, pass_fds=fds) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(json.dumps(wanted) + "\n")
        process.stdin.flush()
        assert process.stdout.readline() == "ready\n"
        yield
        process.communicate()


class Line:
    """A connection that both ends keep speaking on."""

    def __init__(self, bed: Bed, flow: Flow, stack: ExitStack) -> None:
        """Open it."""
        self._flow = flow
        address = bed[flow.receiver].address(flow.family)
        port = bed.number()
        if flow.receiver == "t":
            port = flow.port
        with closing(plain.listening(bed, flow.receiver, plain.STREAM, port, flow.family)) as listening:
            self._one = stack.enter_context(closing(plain.opened(bed, flow.sender, plain.STREAM, flow.family)))
            self._one.connect_ex((address, port))
            assert plain.ready(listening, ARRIVES), flow
            self._other: socket.socket = stack.enter_context(closing(listening.accept()[0]))

    def speak(self) -> None:
        """Let each end say something, and the other hear it."""
        for one, other in ((self._one, self._other), (self._other, self._one)):
            one.sendall(b"words")
            assert plain.ready(other, ARRIVES), self._flow
            assert other.recv(64) == b"words", self._flow


@pytest.mark.parametrize("network", NETWORKS)
def test_nothing_that_is_allowed_is_lost_and_nothing_else_passes_while_links_become_bound(
    network: Network, tmp_path: Path
) -> None:
    folder = tmp_path / "traffic"
    folder.mkdir()
    bed = Bed(network, tmp_path, guarded=True)
    bed.run("n1", "sysctl", "-qw", *(f"net.bridge.bridge-nf-call-{each}=1" for each in ("iptables", "ip6tables")))
    assert not bed.run("n1", "nft", "-f", str(BEFORE))
    lines_of = {(flow.sender, flow.receiver, flow.family): flow for flow in FLOWS if flow.may and flow.port == 80}
    with ExitStack() as stack:
        bed.until(bed.is_wired, "all addresses can be used")
        lines = [Line(bed, flow, stack) for flow in lines_of.values()]
        work = ExitStack()
        with work:
            talk = Traffic(bed, folder, work)
            talk.until_tried(bed)
            with bed:
                for _ in range(ROUNDS):
                    talk.until_tried(bed)
                    for line in lines:
                        line.speak()
                work.close()
                assert "pairs4" in bed.run("n1", "nft", "list table inet podfence")
        results = talk.results()
    for number, flow in enumerate(FLOWS):
        found = results[number]
        if not flow.may:
            passed = found[traffic.CONNECTED] + found[traffic.AGAIN] + found[traffic.ARRIVED]
            assert not passed, (flow, found)
        elif flow.kind == "tcp":
            assert set(found) == {traffic.CONNECTED}, (flow, found)
        else:
            assert found[traffic.ARRIVED] == found[traffic.SENT] > ROUNDS, (flow, found)
