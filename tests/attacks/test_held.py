# SPDX-License-Identifier: Apache-2.0
"""A pod that has its network and that the API server has not told of yet: its labels are unknown, so it has no way out.

Podfence 0.1.0 held its addresses, and nothing else that it sent: its link-local address, broadcast, other ethertypes
and forged sources passed. Those are tried for it in the other files; here are its own addresses.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.attacks.judging import Attack, Pair, Sockets, against, judge

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.attacks.bed import Bed
    from tests.attacks.wiring import End


def at(family: int) -> Callable[[Bed, End, End], str]:
    """Return what gives the receiver's address."""
    return lambda _bed, _sender, receiver: receiver.address(family)


@against(
    *(
        Sockets(f"{sender}-to-{receiver}-{'tcp' if tcp else 'udp'}-ipv{family}", sender, receiver, at(family), tcp=tcp)
        for sender, receiver in (
            *(("h", receiver) for receiver in ("c", "t", "n1", "d", "n2", "outside")),
            *((sender, "h") for sender in ("a", "c", "x", "d", "outside")),
        )
        for tcp in (True, False)
        for family in (4, 6)
    )
)
def test_a_pod_that_is_not_known_yet_reaches_nobody_and_is_reached_by_nobody(pair: Pair, attack: Attack) -> None:
    judge(pair, attack)
