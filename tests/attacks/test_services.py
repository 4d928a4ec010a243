# SPDX-License-Identifier: Apache-2.0
"""Services and node ports, translated beside podfence by rules as kube-proxy makes them.

Podfence 0.1.0 judged the real ends of what goes through a Service, and must go on to: no way through an address of a
Service, a port of a node or a pod's own Service is another than the straight one.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, NamedTuple

import pytest

from tests.attacks import plain
from tests.attacks.judging import Attack, Pair, Sockets, against, judge
from tests.attacks.plain import ARRIVES
from tests.attacks.wiring import NETWORKS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.attacks.bed import Bed
    from tests.attacks.wiring import End


class Service(NamedTuple):
    """The addresses of a Service, and its port at each node."""

    four: str
    six: str
    port: int

    def address(self, family: int) -> str:
        return self.six if family == 6 else self.four


SERVICES: Final = {
    name: Service(f"10.96.0.{last}", f"fd00:96::{last}", 30000 + last) for last, name in enumerate("atcx", 10)
}
MARK: Final = 0x4000
"""The bit with which kube-proxy says that a packet needs the node's address as its source."""


def rules(bed: Bed) -> Iterator[str]:
    """Give the rules for Services of the pods of n1, all with the port 80, and a port of the node."""
    yield "table inet services {"
    yield "chain translate { type nat hook prerouting priority dstnat; policy accept;"
    for name, (four, six, port) in SERVICES.items():
        pod = bed[name]
        yield f"ip daddr {four} tcp dport 80 dnat ip to {pod.four}:80"
        yield f"ip6 daddr {six} tcp dport 80 dnat ip6 to [{pod.six}]:80"
        yield f"fib daddr type local tcp dport {port} meta mark set {MARK} dnat ip to {pod.four}:80"
    yield "}"
    yield "chain leave { type nat hook postrouting priority srcnat; policy accept;"
    yield f"meta mark & {MARK} != 0 masquerade"
    for name in SERVICES:
        yield f"ip saddr {bed[name].four} ip daddr {bed[name].four} masquerade"
        yield f"ip6 saddr {bed[name].six} ip6 daddr {bed[name].six} masquerade"
    yield "}"
    yield "}"


@contextmanager
def services(bed: Bed) -> Iterator[None]:
    bed.run("n1", "nft", "\n".join(rules(bed)))
    assert "services" in bed.run("n1", "nft", "list tables")
    yield
    bed.run("n1", "nft", "delete table inet services")


@pytest.fixture(autouse=True)
def translated(pair: Pair) -> Iterator[None]:
    """Have the rules on both beds for a test."""
    with services(pair.open), services(pair.guarded):
        yield


def service(name: str, family: int) -> Callable[[Bed, End, End], str]:
    return lambda *_: SERVICES[name].address(family)


def node(family: int) -> Callable[[Bed, End, End], str]:
    return lambda bed, *_: bed["n1"].address(family)


@against(
    *(
        Sockets(f"{sender}-to-{receiver}-ipv{family}", sender, receiver, service(receiver, family), tcp=True, port=80)
        for sender, receiver in (("a", "t"), ("x", "c"), ("h", "c"), ("x", "t"))
        for family in (4, 6)
    )
)
def test_no_service_leads_where_the_straight_way_does_not(pair: Pair, attack: Attack) -> None:
    judge(pair, attack)


def by_port(bed: Bed, sender: str, receiver: str, patience: float) -> bool:
    """Return whether an end connects to another by the port of the node."""
    return plain.connection(bed, sender, receiver, bed["n1"].four, SERVICES[receiver].port, patience=patience, at=80)


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize(
    ("sender", "receiver"), [("a", "t"), ("x", "c"), ("h", "c"), ("outside", "t"), ("d", "t"), ("n2", "t")]
)
def test_no_port_of_the_node_leads_where_the_straight_way_does_not(pair: Pair, sender: str, receiver: str) -> None:
    assert by_port(pair.open, sender, receiver, ARRIVES)
    assert not by_port(pair.guarded, sender, receiver, plain.QUIET)


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize(("sender", "receiver"), [("c", "t"), ("a", "c"), ("t", "a")])
def test_what_is_allowed_passes_through_services(pair: Pair, sender: str, receiver: str) -> None:
    for bed in pair:
        for family in (4, 6):
            address = SERVICES[receiver].address(family)
            assert plain.connection(bed, sender, receiver, address, 80, patience=ARRIVES), (bed.guarded, family)
        assert by_port(bed, sender, receiver, ARRIVES), bed.guarded


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("name", ["a", "t", "x"])
@pytest.mark.parametrize("family", [4, 6])
def test_a_pod_reaches_itself_through_its_service(pair: Pair, name: str, family: int) -> None:
    for bed in pair:
        assert plain.connection(bed, name, name, SERVICES[name].address(family), 80, patience=ARRIVES), bed.guarded


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("sender", ["outside", "d"])
def test_a_port_of_the_node_leads_from_outside_to_who_lets_it(pair: Pair, sender: str) -> None:
    for bed in pair:
        assert by_port(bed, sender, "c", ARRIVES), bed.guarded
