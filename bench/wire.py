# SPDX-License-Identifier: Apache-2.0
"""Two ends and a node between them, which is the network namespace that this process is in."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any, Final, Self

from podfence.dataplane.links import Links, PodLink
from podfence.sets.addresses import parse_address

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

CLIENT: Final = "10.128.1.2"
SERVER: Final = "10.128.0.2"
PORT: Final = 8000
BRIDGE: Final = "pods"
NEWCOMERS: Final = "10.128.0."
"""How the addresses of pods begin that come to the node while it is measured."""

_FIRST_NEWCOMER: Final = 0x8000

_SETTINGS: Final[Mapping[str, object]] = {"ipv4/ip_forward": 1, "ipv4/conf/all/rp_filter": 0}
_HANDED_OVER: Final[Mapping[str, object]] = {"bridge/bridge-nf-call-iptables": 1}
_PORTS: Final[Mapping[str, object]] = {"ipv4/ip_local_port_range": "1024 65000"}
_TRACKING: Final[Mapping[str, object]] = {"netfilter/nf_conntrack_tcp_timeout_close": 1}


class Wire:
    """The ends as processes, each in a namespace of its own, routed through this one or `bridged` in it."""

    def __init__(self, *, pinned: bool = True, bridged: bool = False) -> None:
        """Make and connect them, each on a processor of its own if `pinned`; the server serves."""
        self._pinned = pinned
        self._bridge = BRIDGE if bridged else ""
        self._stack = ExitStack()
        settle(_SETTINGS)
        ip("link set lo up")
        if bridged:
            ip(f"link add {BRIDGE} type bridge", f"link set {BRIDGE} up")
            settle(_HANDED_OVER)
            self._stack.callback(ip, f"link del {BRIDGE}")
        self._newcomer: subprocess.Popen[str] | None = None
        self._client = self._end(CLIENT, 0)
        self._server = self._end(SERVER, 1)
        self._ask(self._server, "serve", SERVER, PORT)

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """End both processes, and their namespaces with them."""
        self._stack.close()

    def _end(self, address: str, core: int) -> subprocess.Popen[str]:
        process = self._process(core)
        self._attach(process, f"end{core}", address, core)
        # A namespace takes its links along when it ends, but not at once.
        self._stack.callback(
            subprocess.run, ["ip", "link", "del", f"end{core}"], stderr=subprocess.DEVNULL, check=False
        )
        return process

    def _process(self, core: int) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            ["unshare", "--net", sys.executable, "-m", "bench.endpoint", *([str(core)] if self._pinned else [])],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._stack.callback(process.communicate)
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        return process

    def _attach(self, process: subprocess.Popen[str], link: str, address: str, number: int) -> None:
        """Give a process a link and an address, as a network plugin gives them to a pod."""
        enter = ("nsenter", f"--net=/proc/{process.pid}/ns/net")
        ip(f"link add {link} type veth peer name pod address {mac(number)} netns {process.pid}", f"link set {link} up")
        inner = ["link set lo up", "link set pod up", f"addr add {address}/32 dev pod"]
        if self._bridge:
            ip(f"link set {link} master {self._bridge}")
            ip(*inner, "route add default dev pod", prefix=enter)
        else:
            ip(f"addr add 169.254.1.1/32 dev {link}", f"route add {address}/32 dev {link}")
            ip(*inner, "route add default via 169.254.1.1 dev pod onlink", prefix=enter)
        settle(_PORTS, prefix=enter)
        # What is sent before the kernel has said so of both ends is lost, whatever the rules.
        while not (_is_up(link) and _is_up("pod", prefix=enter)):
            time.sleep(0.001)

    @contextmanager
    def newcomer(self, number: int) -> Iterator[PodLink]:
        """Have one more pod, with a link and an address that nobody has seen before; return how it is attached."""
        if self._newcomer is None:
            self._newcomer = self._process(0)
        link, address, place = f"new{number}", f"{NEWCOMERS}{number + 3}", _FIRST_NEWCOMER + number
        self._attach(self._newcomer, link, address, place)
        yield PodLink(link, self._bridge, mac(place), (parse_address(address),), f"shop/new-{number}")
        ip(f"link del {link}")

    def first(self) -> float:
        """Return the seconds of the first connection of the newcomer to the server."""
        assert self._newcomer is not None
        return float(self._ask(self._newcomer, "first", SERVER, PORT))

    def links(self, others: int) -> Links:
        """Return the links of both ends, and of other pods that are not there."""
        ends = [
            PodLink(f"end{core}", self._bridge, mac(core), (parse_address(address),), f"shop/end{core}")
            for core, address in enumerate((CLIENT, SERVER))
        ]
        first = parse_address("10.129.0.1")
        ends += [
            PodLink(f"other{number}", self._bridge, mac(number + 2), (first + number,), f"shop/other-{number}")
            for number in range(others)
        ]
        return Links(tuple(ends), frozenset({self._bridge} - {""}))

    @staticmethod
    def _ask(process: subprocess.Popen[str], *command: object) -> Any:  # noqa: ANN401  (what JSON can hold)
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(json.dumps(command) + "\n")
        process.stdin.flush()
        return json.loads(process.stdout.readline())

    def rate(self, seconds: float) -> tuple[float, float]:
        """Return how many TCP connections a second the client makes to the server, and the processor time of each.

        That is of both ends, in seconds. What the node does is in it, because the kernel of whoever sends does it.
        """
        before = float(self._ask(self._server, "spent"))
        count, passed, spent = map(float, self._ask(self._client, "connect", SERVER, PORT, seconds))
        return count / passed, (spent + float(self._ask(self._server, "spent")) - before) / count

    def flows(self, count: int) -> int:
        """Begin so many flows of one packet there and one back, and return how many began."""
        return int(self._ask(self._client, "flows", SERVER, PORT, count))

    def exchanged(self, count: int) -> list[float]:
        """Return the seconds that packets of one flow took there and back."""
        return [float(item) for item in self._ask(self._client, "exchange", SERVER, PORT, count)]

    def watch(self) -> None:
        """Start a flow that sends every millisecond."""
        self._ask(self._client, "watch", SERVER, PORT)

    def slowest(self) -> float:
        """Stop that flow; return the seconds of its slowest packet."""
        return float(self._ask(self._client, "slowest"))


def mac(number: int) -> str:
    """Return a hardware address as network plugins make them."""
    return f"0a:58:00:00:{number >> 8:02x}:{number & 0xFF:02x}"


def ip(*lines: str, prefix: tuple[str, ...] = ()) -> None:
    """Run lines of `ip`."""
    subprocess.run([*prefix, "ip", "-batch", "-"], input="\n".join(lines), text=True, check=True)


def _is_up(link: str, prefix: tuple[str, ...] = ()) -> bool:
    told = subprocess.run([*prefix, "ip", "-br", "link", "show", link], capture_output=True, text=True, check=True)
    return told.stdout.split()[1] == "UP"


def settle(values: Mapping[str, object], prefix: tuple[str, ...] = ()) -> None:
    """Set values below /proc/sys/net."""
    script = "".join(f"echo '{value}' > /proc/sys/net/{name}\n" for name, value in values.items())
    subprocess.run([*prefix, "sh", "-e"], input=script, text=True, check=True)


def forget_soon() -> None:
    """Let closed connections be forgotten within a second; connections must be tracked by then."""
    settle(_TRACKING)
