# SPDX-License-Identifier: Apache-2.0
"""One end of the traffic that `bench.wire` sends through a node: a process in a network namespace of its own.

Says ``ready``, then reads commands from standard input, a JSON list each, and answers with a JSON value each.
"""

from __future__ import annotations

import json
import os
import select
import socket
import struct
import sys
import threading
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

_RESET_ON_CLOSE = struct.pack("ii", 1, 0)
_LONGEST = 5.0


def stay_on(core: int) -> None:
    """Run on one core of those there are, so that both ends do not take turns on one."""
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {cores[core % len(cores)]})


def serve(address: str, port: int) -> bool:
    """Accept and close TCP connections, and send UDP packets back, from now on."""
    listener = socket.create_server((address, port), backlog=4096)
    echo = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    echo.bind((address, port))

    def accept() -> None:
        while True:
            listener.accept()[0].close()

    def answer() -> None:
        while True:
            echo.sendto(*echo.recvfrom(64))

    for task in (accept, answer):
        threading.Thread(target=task, daemon=True).start()
    return True


def connect(address: str, port: int, seconds: float) -> tuple[int, float, float]:
    """Return how many connections are made, one after the other, in which time, of the processor too."""
    count = 0
    start, spent = time.perf_counter(), time.process_time()
    while (passed := time.perf_counter() - start) < seconds:
        for _ in range(50):
            with socket.socket() as one:
                one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
                one.settimeout(_LONGEST)
                one.connect((address, port))
            count += 1
    return count, passed, time.process_time() - spent


def first(address: str, port: int) -> float:
    """Return the seconds until one connection is made."""
    start = time.perf_counter()
    with socket.create_connection((address, port), _LONGEST):
        return time.perf_counter() - start


def flows(address: str, port: int, count: int) -> int:
    """Return how many UDP flows began with a packet that was answered."""
    found = []
    for _ in range(count):
        found.append(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        found[-1].settimeout(_LONGEST)
        found[-1].connect((address, port))
        found[-1].send(b"x")
        found[-1].recv(64)
    for flow in found:
        flow.close()
    return count


def exchange(address: str, port: int, count: int) -> list[float]:
    """Return the seconds that each of `count` UDP packets of one flow took there and back."""
    found = []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as flow:
        flow.connect((address, port))
        for _ in range(count):
            start = time.perf_counter()
            flow.send(b"x")
            if not select.select([flow], [], [], _LONGEST)[0]:
                message = "no answer: the flow was cut"
                raise TimeoutError(message)
            flow.recv(64)
            found.append(time.perf_counter() - start)
    return found


class Watch:
    """A flow whose packets go every millisecond until it is stopped; its slowest packet is what is asked for."""

    def __init__(self, address: str, port: int) -> None:
        """Start the flow; when this returns its first packet was answered."""
        self._flow = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._flow.connect((address, port))
        self._flow.settimeout(_LONGEST)
        self._slowest = 0.0
        self._over = threading.Event()
        self._step()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _step(self) -> None:
        start = time.perf_counter()
        self._flow.send(b"x")
        self._flow.recv(64)
        self._slowest = max(self._slowest, time.perf_counter() - start)

    def _run(self) -> None:
        while not self._over.wait(0.001):
            try:
                self._step()
            except TimeoutError:
                self._slowest = _LONGEST

    def stop(self) -> float:
        """End the flow; return the seconds of its slowest packet."""
        self._over.set()
        self._thread.join()
        return self._slowest


def main() -> None:
    """Carry out commands until standard input ends."""
    if len(sys.argv) > 1:
        stay_on(int(sys.argv[1]))
    print("ready", flush=True)
    watches: list[Watch] = []

    def watch(address: str, port: int) -> bool:
        watches.append(Watch(address, port))
        return True

    commands: dict[str, Callable[..., object]] = {
        "serve": serve,
        "connect": connect,
        "first": first,
        "spent": time.process_time,
        "exchange": exchange,
        "flows": flows,
        "watch": watch,
        "slowest": lambda: watches.pop().stop(),
    }
    for line in sys.stdin:
        name, *arguments = json.loads(line)
        print(json.dumps(commands[name](*arguments)), flush=True)


if __name__ == "__main__":
    main()
