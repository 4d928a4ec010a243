# SPDX-License-Identifier: Apache-2.0
"""What an agent does for the next boot, and at the end of the last one.

It keeps the files that the node's boot unit loads (`boot_unit`) in step with the node's pod range, and deletes the
tables that the unit loaded as soon as its own are in their place.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from ipaddress import IPv4Network, IPv6Network, collapse_addresses, ip_network
from typing import TYPE_CHECKING, Final

import msgspec

from podfence.agent.node import hold
from podfence.agent.node.boot_unit import BOOTS, FILES, FRAMES, PACKETS, REFUSED
from podfence.agent.node.findings import NodeFinding
from podfence.nft.errors import NftError
from podfence.nft.process import NftRunner

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

_EVERY: Final = 5.0
_SOON: Final = 0.1
_UNHELD: Final = "after a reboot, the pods of this node can reach each other until the agent enforces policies"


class Wanted(msgspec.Struct, frozen=True):
    """What is to be held after a boot; see `podfence.agent.node.hold.Held`. `networks` are more than the Node has."""

    timeout: float = hold.TIMEOUT
    networks: tuple[hold.Network, ...] = ()
    links: tuple[str, ...] = hold.LINKS


class Boot:
    """The boots of a node, before and after: `findings` is what is wrong. All methods are for one event loop."""

    def __init__(self, state: Path, wanted: Wanted | None) -> None:
        """Do nothing yet. `state` is the state directory; if nothing is `wanted`, nothing is held after a boot."""
        self.findings: tuple[NodeFinding, ...] = ()
        self._state = state
        self._wanted = wanted
        self._runner = NftRunner()

    async def run(
        self,
        pod_cidrs: Callable[[], tuple[str, ...] | None],
        is_judging: Callable[[], bool],
        say: Callable[[str], None],
    ) -> None:
        """Release what is held when `is_judging` first says so, and keep the files, for ever if anything is wanted.

        `pod_cidrs` are those of the Node, None if it is not known yet; what was done is told to `say`. What was kept
        for the last boot stays until the Node is known: it is the best that there is.
        """
        clock = asyncio.get_running_loop().time
        released, kept, due = False, False, clock()
        while not (released and kept and self._wanted is None):
            judging = is_judging()
            if judging and not released:
                released = await asyncio.to_thread(self._release, say)
            if clock() >= due and (found := pod_cidrs()) is not None:
                self.findings = await asyncio.to_thread(self.keep, found)
                kept = not self.findings
                due = clock() + _EVERY
            await asyncio.sleep(_EVERY if released or judging else _SOON)

    def _release(self, say: Callable[[str], None]) -> bool:
        try:
            if hold.release(self._runner):
                say("the pods of this node are no longer blocked: policies decide from now on")
            (self._state / BOOTS).unlink(missing_ok=True)
        except (NftError, OSError):
            # Tried again soon; and the kernel lets go by itself.
            return False
        return True

    def keep(self, pod_cidrs: tuple[str, ...]) -> tuple[NodeFinding, ...]:
        """Have the files say what the Node's range is now; return what is wrong. Never raises."""
        try:
            return tuple(_finding(*problem) for problem in self._keep(pod_cidrs))
        except OSError as error:
            return (
                _finding(
                    f"{error.filename} cannot be written: {error.strerror}", "free space on the disk, or repair it"
                ),
            )

    def _keep(self, pod_cidrs: tuple[str, ...]) -> list[tuple[str, str]]:
        wanted = self._wanted
        if wanted is None:
            for name in FILES:
                (self._state / name).unlink(missing_ok=True)
            return []
        networks = _joined(*_readable(pod_cidrs), *wanted.networks)
        if not networks:
            (self._state / PACKETS).unlink(missing_ok=True)
            return [
                (
                    "the range of pod addresses is not known: the Node has no podCIDRs that can be read",
                    "set the range with --boot-range",
                )
            ]
        held = hold.Held(networks, wanted.links, wanted.timeout)
        self._write(FRAMES, hold.frames(held))
        self._write(PACKETS, hold.packets(held))
        try:
            return [
                ((self._state / REFUSED).read_text(encoding="utf-8").strip(), "solve this, or accept it on such nodes")
            ]
        except FileNotFoundError:
            return []

    def _write(self, name: str, content: str) -> None:
        path = self._state / name
        if path.exists() and path.read_text(encoding="utf-8", errors="replace") == content:
            return
        self._state.mkdir(mode=0o700, parents=True, exist_ok=True)
        partial = self._state / f"{name}.partial"
        partial.write_text(content, encoding="utf-8")
        partial.replace(path)


def _readable(texts: Iterable[str]) -> Iterator[hold.Network]:
    for text in texts:
        with suppress(ValueError):
            yield ip_network(text, strict=False)


def _joined(*networks: hold.Network) -> tuple[hold.Network, ...]:
    """Return networks without those that lie in others, which nft does not take."""
    four = collapse_addresses(item for item in networks if isinstance(item, IPv4Network))
    six = collapse_addresses(item for item in networks if isinstance(item, IPv6Network))
    return (*four, *six)


def _finding(why: str, remedy: str) -> NodeFinding:
    return NodeFinding("warning", "boot-hold", f"{_UNHELD}: {why}", remedy)
