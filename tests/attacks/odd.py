# SPDX-License-Identifier: Apache-2.0
"""Pods that are wired in other ways than most, beside those of a bed: for a test, on the node that is guarded.

Each is `o`, and is guarded as t is: only c and r get in, on TCP 80 and UDP 5353. `Told` says what else the cluster, and
the node's cache of results, have of it.
"""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from scapy.layers.inet import UDP
from scapy.layers.l2 import Ether
from scapy.packet import Raw

from tests.agent.node.cluster import namespace
from tests.attacks import plain
from tests.attacks.bed import told_pod
from tests.attacks.judging import arrived_before, packet
from tests.attacks.plain import ARRIVES, QUIET

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.attacks.bed import Bed
    from tests.attacks.judging import Pair
    from tests.attacks.wiring import End


@dataclass(frozen=True)
class Told:
    """What is told of a pod: its plugin's result, its namespace, and the label that policies select it by."""

    result: Callable[[End], dict[str, Any]]
    namespace: str = "shop"
    app: str = "t"


@contextmanager
def attached(bed: Bed, wire: Callable[[Bed], End], told: Told, sender: str = "c") -> Iterator[End]:
    """Have a pod that is wired as `wire` does it, and go on when a sender reaches it."""
    with ExitStack() as stack:
        end = wire(bed)
        bed.ends[end.name] = bed.wiring.nodes[1].pods[end.name] = end
        stack.callback(bed.unwire, end)
        path = bed.tell(told.result(end), f"{told.namespace}/{end.name}")
        stack.callback(path.unlink)
        whole = told_pod(end, "n1")
        whole["metadata"] |= {"namespace": told.namespace, "labels": {"app": told.app}}
        bed.cluster.put(namespace(told.namespace), whole)
        stack.callback(bed.cluster.delete, whole)
        # Before the agent has heard of the pod, others reach it as they reach anybody outside the node.
        bed.until(lambda: not bed.guarded or known(bed, end), "the agent has programmed the pod")
        bed.until(lambda: reached(bed, sender, end), f"{sender} connects to the pod")
        yield end


def known(bed: Bed, end: End) -> bool:
    """Return whether the kernel of the guarded node has the addresses of a pod."""
    told = (bed.run("n1", "nft", "-j", "list", "set", "inet", "podfence", f"known{family}") for family in (4, 6))
    return all(f'"{address}"' in text for address, text in zip((end.four, end.six), told, strict=True))


def reached(bed: Bed, sender: str, end: End) -> bool:
    """Return whether a sender connects to a pod, in both families."""
    return all(plain.connection(bed, sender, end.name, each, 80, patience=0.3) for each in (end.four, end.six))


def usual(bed: Bed) -> End:
    """Wire a pod as those of the bed are."""
    return bed.wiring.nodes[1].add("o", 40)


def check_allowed(bed: Bed, name: str = "o") -> None:
    """Assert that everything passes which a pod that is guarded as t may do, in both families."""
    for sender, receiver in ((name, "a"), (name, "d"), (name, "outside"), (name, "n1"), ("r", name), ("n1", name)):
        for family in (4, 6):
            address = bed[receiver].address(family)
            way = (bed.guarded, sender, receiver, family)
            assert plain.connection(bed, sender, receiver, address, 80, patience=ARRIVES), way
            assert plain.datagram(bed, sender, receiver, address, 5353, patience=ARRIVES), way


def check_forbidden(pair: Pair, name: str = "o") -> None:
    """Assert that others do not get in, and that nothing gets out with a source of others, on the guarded node."""
    for bed in pair:
        patience = QUIET if bed.guarded else ARRIVES
        for sender, port in (("a", 80), ("d", 80), ("c", 81)):
            address = bed[name].address(4 if port == 80 else 6)
            assert plain.connection(bed, sender, name, address, port, patience=patience) is not bed.guarded, sender
        for source in (bed["x"].four, bed["x"].six, "198.51.100.7", "2001:db8:1::7"):
            assert spoofed(bed, name, source) is not bed.guarded, (bed.guarded, source)


def spoofed(bed: Bed, name: str, source: str, receiver: str = "a") -> bool:
    """Return whether what a pod sends with a source, in frames of its own, comes to a receiver."""
    end, token = bed[name], bed.token()
    port = bed.port(receiver)
    port.forget()
    head = packet(source, bed[receiver].address(6 if ":" in source else 4))
    bed.port(name).send(
        Ether(src=end.mac, dst=bed.toward(name, receiver)) / head / UDP(sport=bed.number(), dport=5353) / Raw(token)
    )
    return arrived_before(bed, receiver, token) if bed.guarded else port.hears(token, ARRIVES) is not None
