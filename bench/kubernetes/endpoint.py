# SPDX-License-Identifier: Apache-2.0
"""Traffic of one pod: a process in its network namespace, which `bench.kubernetes.traffic` starts.

Says ``ready``, then reads commands from standard input, a JSON list each, and answers with a JSON value each. Times
are seconds of the monotonic clock, which all processes of a machine share.

    ["serve", PORT]                 echo datagrams and streams from now on, and reset those to the next port
    ["probe", ADDRESS, PORT]        send a datagram from a new port every 2 ms from now on
    ["open"], ["closed"]            wait for that; when the first one was sent that is (not) answered
    ["rest"]                        send no more
    ["flow", ADDRESS, PORT]         connect and send a byte every 5 ms from now on, when the first was answered
    ["cut"]                         wait for its end; "reset" or "silent", and when
    ["connect", ADDRESS, PORT, SECONDS]  connect again and again for so long; how many times a second
    ["heard"]                       who has connected so far: addresses
"""

from __future__ import annotations

import itertools
import json
import select
import socket
import struct
import sys
import threading
import time
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

EVERY: Final = 0.002
BYTE_EVERY: Final = 0.005
GRACE: Final = 0.25
"""Seconds that a datagram may take: only when all of so many seconds have no answer the way is closed."""

SILENCE: Final = 2.0
LIMIT: Final = 20.0
_PORTS: Final = range(12_000, 60_000)


def _places() -> Iterator[int]:
    """Yield ports, beginning where the time is: what another process used in the last minute does not come again.

    The kernel knows the flows of these ports for half a minute, and would let them pass without asking.
    """
    first = int(time.monotonic() / EVERY)
    return (_PORTS[number % len(_PORTS)] for number in itertools.count(first))


def serve(port: int, heard: set[str]) -> bool:
    """Send back what comes, from now on, and note who connects."""
    echo = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    echo.bind(("", port))
    listener = socket.create_server(("", port), backlog=64)
    closer = socket.create_server(("", port + 1), backlog=64)

    def answer() -> None:
        while True:
            echo.sendto(*echo.recvfrom(64))

    def repeat(stream: socket.socket) -> None:
        stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with stream, suppress(OSError):
            while data := stream.recv(64):
                stream.sendall(data)

    def accept() -> None:
        while True:
            stream, peer = listener.accept()
            heard.add(peer[0])
            threading.Thread(target=repeat, args=(stream,), daemon=True).start()

    def refuse() -> None:
        while True:
            stream, _ = closer.accept()
            # A reset leaves nothing behind that the next one has to wait for.
            stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            stream.close()

    for task in (answer, accept, refuse):
        threading.Thread(target=task, daemon=True).start()
    return True


class Probe:
    """Datagrams to one place, each the first of its flow."""

    def __init__(self, address: str, port: int) -> None:
        """Begin to send."""
        self._place = address, port
        self._ports = _places()
        self._poll = select.epoll()
        self._waiting: dict[int, tuple[socket.socket, float]] = {}
        self._sent: deque[float] = deque()
        self._answered: deque[float] = deque(maxlen=1000)
        self._closed_at = 0.0
        self._over = False
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Send no more."""
        self._over = True
        self._thread.join()

    def opened(self) -> float:
        """Wait until something is answered again; return when the first of those was sent."""
        start = time.monotonic()
        while True:
            if answered := [moment for moment in tuple(self._answered) if moment > self._closed_at]:
                return min(answered)
            _check(start)
            time.sleep(EVERY)

    def closed(self) -> float:
        """Wait until nothing is answered any more; return when the first of those was sent."""
        start = time.monotonic()
        while True:
            last = max(tuple(self._answered), default=0.0)
            unanswered = [moment for moment in tuple(self._sent) if moment > last]
            if len(unanswered) > 1 and time.monotonic() - unanswered[0] > GRACE:
                self._closed_at = unanswered[0]
                return unanswered[0]
            _check(start)
            time.sleep(EVERY)

    def _run(self) -> None:
        due = time.monotonic()
        while not self._over:
            self._send()
            due = max(due + EVERY, time.monotonic())
            while True:
                self._receive(max(0.0, due - time.monotonic()))
                if time.monotonic() >= due:
                    break
        for item, _ in self._waiting.values():
            item.close()
        self._poll.close()

    def _send(self) -> None:
        self._forget(time.monotonic())
        item = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        item.bind(("", next(self._ports)))
        item.connect(self._place)
        self._poll.register(item.fileno(), select.EPOLLIN)
        moment = time.monotonic()
        self._waiting[item.fileno()] = item, moment
        self._sent.append(moment)
        with suppress(OSError):
            item.send(b"x")

    def _forget(self, now: float) -> None:
        for number, (item, moment) in list(self._waiting.items()):
            if now - moment <= 2 * GRACE:
                break
            del self._waiting[number]
            item.close()
        while self._sent and now - self._sent[0] > LIMIT:
            self._sent.popleft()

    def _receive(self, seconds: float) -> None:
        for number, _ in self._poll.poll(seconds):
            item, moment = self._waiting.pop(number)
            # A refusal is no answer.
            with suppress(OSError), item:
                item.recv(64)
                self._answered.append(moment)


class Flow:
    """One connection over which bytes go there and back until it is cut."""

    def __init__(self, address: str, port: int) -> None:
        """Connect. Raises OSError."""
        self._stream = socket.create_connection((address, port), timeout=LIMIT)
        self._stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._stream.send(b"x")
        self._stream.recv(64)
        self.begun = time.monotonic()
        self._end: tuple[str, float] | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def cut(self) -> tuple[str, float]:
        """Wait for the end; return how it came, and when the reset or the last answer came."""
        self._thread.join(LIMIT)
        if self._end is None:
            message = "the flow was not cut"
            raise TimeoutError(message)
        return self._end

    def _run(self) -> None:
        last = time.monotonic()
        self._stream.settimeout(BYTE_EVERY)
        with self._stream:
            while time.monotonic() - last < SILENCE:
                try:
                    self._stream.send(b"x")
                    due = time.monotonic() + BYTE_EVERY
                    while (left := due - time.monotonic()) > 0:
                        self._stream.settimeout(left)
                        if not self._stream.recv(64):
                            raise ConnectionResetError
                        last = time.monotonic()
                except TimeoutError:
                    continue
                except OSError:
                    self._end = "reset", time.monotonic()
                    return
        self._end = "silent", last


def connect(address: str, port: int, seconds: float) -> float:
    """Make connections one after the other; return how many a second were made. Raises OSError if one has no answer."""
    begun = time.monotonic()
    count = 0
    while time.monotonic() < begun + seconds:
        try:
            with socket.create_connection((address, port), timeout=LIMIT) as stream:
                stream.recv(1)
        except ConnectionRefusedError:
            # What was just admitted again may meet what is left of a connection that was cut.
            continue
        except ConnectionResetError:
            # The reset may be there before this end knows that it is connected.
            pass
        count += 1
    return count / (time.monotonic() - begun)


def _check(start: float) -> None:
    if time.monotonic() - start > LIMIT:
        message = f"nothing changed within {LIMIT:.0f} s"
        raise TimeoutError(message)


def main() -> None:
    """Carry out commands until standard input ends."""
    print("ready", flush=True)
    probes: list[Probe] = []
    flows: list[Flow] = []
    heard: set[str] = set()

    def probe(address: str, port: int) -> bool:
        probes.append(Probe(address, port))
        return True

    def rest() -> bool:
        probes.pop().stop()
        return True

    def flow(address: str, port: int) -> float:
        flows.append(Flow(address, port))
        return flows[-1].begun

    commands: dict[str, Callable[..., object]] = {
        "serve": lambda port: serve(port, heard),
        "probe": probe,
        "open": lambda: probes[-1].opened(),  # noqa: PLW0108  (there is no probe yet)
        "closed": lambda: probes[-1].closed(),  # noqa: PLW0108
        "rest": rest,
        "flow": flow,
        "cut": lambda: flows.pop().cut(),
        "connect": connect,
        "heard": lambda: sorted(heard),
    }
    for line in sys.stdin:
        name, *arguments = json.loads(line)
        try:
            found = commands[name](*arguments)
        except OSError as error:
            found = {"error": str(error)}
        print(json.dumps(found), flush=True)


if __name__ == "__main__":
    main()
