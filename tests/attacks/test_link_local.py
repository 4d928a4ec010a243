# SPDX-License-Identifier: Apache-2.0
"""IPv6 link-local addresses, by ordinary sockets: every pod has one, no object tells of it, and everybody can guess it.

Podfence 0.1.0 looked only at the addresses of Pod objects, and let all of this pass: between pods of a bridge, and
from a pod that may send nothing to its own node, on both networks.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.attacks.judging import Attack, Pair, Sockets, against, judge

if TYPE_CHECKING:
    from tests.attacks.bed import Bed
    from tests.attacks.wiring import End


def of_the_pod(_bed: Bed, _sender: End, pod: End) -> str:
    return pod.link_local


def at_the_node(bed: Bed, sender: End, _node: End) -> str:
    """Return the link-local address that the node has toward a pod."""
    interface = "cni0" if bed.network == "bridge" else sender.link
    words = bed.run("n1", "ip", "-br", "-6", "addr", "show", "dev", interface).split()
    return next(word.partition("/")[0] for word in words if word.startswith("fe80:"))


@against(
    *(
        Sockets(
            f"{sender}-to-{receiver}-{'tcp' if tcp else 'udp'}",
            sender,
            receiver,
            of_the_pod,
            tcp=tcp,
            networks=("bridge",),
        )
        for sender, receiver in (("a", "t"), ("x", "c"), ("h", "t"), ("h", "c"), ("a", "h"), ("c", "t"))
        for tcp in (True, False)
    )
)
def test_no_pod_reaches_another_by_its_link_local_address(pair: Pair, attack: Attack) -> None:
    judge(pair, attack)


@against(
    *(
        Sockets(f"{name}-{'tcp' if tcp else 'udp'}", name, "n1", at_the_node, tcp=tcp)
        for name in "xh"
        for tcp in (True, False)
    ),
    *(
        Sockets(f"x-from-link-local-to-{place}", "x", "n1", address, tcp=True, source=lambda x: x.link_local)
        for place, address in (
            ("the-gateway", lambda bed, *_: bed.wiring.nodes[1].gateways[1]),
            ("the-node", lambda bed, *_: bed["n1"].six),
        )
    ),
)
def test_a_pod_that_may_send_nothing_does_not_reach_its_node_by_link_local_addresses(
    pair: Pair, attack: Attack
) -> None:
    judge(pair, attack)
