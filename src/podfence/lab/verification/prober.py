# SPDX-License-Identifier: Apache-2.0
"""The verification of a lab by packets between its own pods, nodes, and the world outside."""

from __future__ import annotations

from typing import TYPE_CHECKING

from podfence.lab.verification.compare import verify as compare
from podfence.lab.verification.spots import OUTSIDE
from podfence.policy.engine import Engine
from podfence.sets import AddressSet

if TYPE_CHECKING:
    from collections.abc import Sequence

    from podfence.lab.processes.probing import Probe
    from podfence.lab.supervisor import Supervisor
    from podfence.lab.verification.compare import Progress
    from podfence.lab.verification.result import Verification
    from podfence.lab.verification.spots import Place


class LabProber:
    """Sends probes from the places of a lab."""

    def __init__(self, lab: Supervisor) -> None:
        """Use the processes that hold pods, nodes and outside."""
        self._lab = lab

    def probe(self, source: Place, probes: Sequence[Probe], /) -> list[str]:
        """Return what became of each probe (see `compare.Prober`). Raises LabError if the place is gone."""
        if source == OUTSIDE:
            return self._lab.outside.probe(probes)
        holder = self._lab.nodes[source.name] if source.kind == "Node" else self._lab.holder(source)
        return holder.probe(probes)


def verify(lab: Supervisor, *, all_pairs: bool, progress: Progress) -> Verification:
    """Compare packets with what the engine says of the lab's objects as they are; nothing changes meanwhile.

    `all_pairs` and `progress` as in `podfence.lab.verification.compare.verify`. Raises NetworkError if there are too
    many pairs for the kernel to find the ends of.
    """
    plan = lab.plan
    reserved = AddressSet.EMPTY
    for family in plan.families:
        for block in (plan.pods(family), plan.service_range(family), plan.node_range(family)):
            reserved |= AddressSet.cidr(block)
    with lab.still():
        lab.settle()
        if all_pairs:
            lab.require_room_for_all_pairs()
        engine = Engine(lab.state, lab.options)
        return compare(engine, LabProber(lab), lab.lifted, reserved=reserved, all_pairs=all_pairs, progress=progress)
