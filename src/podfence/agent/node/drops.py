# SPDX-License-Identifier: Apache-2.0
"""Packets that the kernel of a node dropped, as totals that never go back while the agent lives.

The kernel's counters go with their rules, and a rule that is made again counts from zero; what each counter had
when it was read last is added up here. What was counted between the last look and the end of a rule is not known.
"""

from __future__ import annotations

import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Final, NamedTuple

from podfence.agent.node.answer import DroppedPackets
from podfence.dataplane.drops import REASONS, chain_of
from podfence.dataplane.ruleset import BRIDGE_TABLE, TABLE
from podfence.nft.errors import NftError

if TYPE_CHECKING:
    from collections.abc import Callable

    from podfence.nft.runner import Runner

AGAIN: Final = 30.0
"""Seconds for which a reading may stand for the next ones: for a large table, nft takes 0.2 s of a core."""

_GROUPS: Final = (("deny_e_", "egress"), ("deny_i_", "ingress"))
_CHAINS: Final = {
    **dict.fromkeys(("hold", "held", "from_stranger"), "held"),
    "revoked": "cut",
    "refused": "segments",
    "announced": "errors",
    **{chain_of(reason): reason.replace("-", "_") for reason in REASONS},
}


class Drops(NamedTuple):
    """Packets dropped by policies at their source and at their destination, of unknown pods, and of cut flows.

    `segments` are of TCP and belong to no connection, `errors` are of ICMP and about flows of others. Those after are
    of packets that are not their link's pod's, by reason (see `podfence.dataplane.drops`).
    """

    egress: int = 0
    ingress: int = 0
    held: int = 0
    cut: int = 0
    segments: int = 0
    errors: int = 0
    unknown_source: int = 0
    unknown_destination: int = 0
    unknown_protocol: int = 0
    tunnel: int = 0

    @property
    def stray(self) -> dict[str, int]:
        """Packets that are not their link's pod's, by reason."""
        return {reason: getattr(self, reason.replace("-", "_")) for reason in REASONS}

    @property
    def summary(self) -> DroppedPackets:
        """What a status says of them."""
        return DroppedPackets(egress=self.egress, ingress=self.ingress, held=self.held, cut=self.cut, stray=self.stray)


class DropTotals:
    """Adds up the counters; may be used by several threads."""

    def __init__(self, runner: Runner, clock: Callable[[], float] = time.monotonic) -> None:
        """Read nothing yet; `runner` is only read with, `clock` gives seconds and never goes back."""
        self._runner = runner
        self._clock = clock
        self._lock = threading.Lock()
        self._last: dict[tuple[str, str, int], int] = {}
        self._totals = dict.fromkeys(Drops._fields, 0)
        self._read_at: float | None = None
        self._readable = False

    def read(self, age: float) -> Drops | None:
        """Return the totals, at most `age` seconds old; None if the counters cannot be read now. This takes nft."""
        with self._lock:
            now = self._clock()
            if self._read_at is None or now - self._read_at >= age:
                self._read_at = now
                self._readable = self._add()
            return Drops(**self._totals) if self._readable else None

    @property
    def totals(self) -> Drops:
        """What was added up so far."""
        return Drops(**self._totals)

    def _add(self) -> bool:
        try:
            counters = [(TABLE.address, counter) for counter in self._runner.counters(TABLE)]
        except (NftError, OSError):
            return False
        # Only where pods are ports of bridges there is this table.
        with suppress(NftError, OSError):
            counters += [(BRIDGE_TABLE.address, counter) for counter in self._runner.counters(BRIDGE_TABLE)]
        last: dict[tuple[str, str, int], int] = {}
        for table, counter in counters:
            group = (kind for prefix, kind in _GROUPS if counter.chain.startswith(prefix))
            kind = _CHAINS.get(counter.chain) or next(group, None)
            if kind is not None:
                place = table, counter.chain, counter.handle
                before = self._last.get(place, 0)
                last[place] = counter.packets
                self._totals[kind] += counter.packets - (before if before <= counter.packets else 0)
        self._last = last
        return True
