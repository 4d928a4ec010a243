# SPDX-License-Identifier: Apache-2.0
"""What nodes rewrite keeps working on bound links: Services, a pod's own Service, and what leaves under the node's name."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from contextlib import ExitStack
from typing import TYPE_CHECKING, Final, Literal

import pytest

from tests.dataplane.bed import GATEWAYS, NODE_ADDRESSES, PATIENCE, A, Bed, C, Person

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.spaces import Space

pytestmark = pytest.mark.skipif(
    os.geteuid() != 0 or not all(map(shutil.which, ("nft", "ip"))), reason="needs root, nft and iproute2"
)

QUIET: Final = 1.0
"""Seconds in which a connection that may not be made was not."""
SERVICE: Final = ("10.96.0.1", "fd96::1")
TRANSLATION: Final = f"""
table inet services {{
    chain in {{
        type nat hook prerouting priority dstnat
        ip daddr {SERVICE[0]} dnat ip to {C.four}
        ip6 daddr {SERVICE[1]} dnat ip6 to {C.six}
    }}
    chain out {{
        type nat hook postrouting priority srcnat
        ip saddr {C.four} ip daddr {C.four} masquerade
        ip6 saddr {C.six} ip6 daddr {C.six} masquerade
    }}
}}
"""


@pytest.fixture(scope="module", params=["bridge", "hairpin", "routed"])
def bed(request: pytest.FixtureRequest) -> Iterator[Bed]:
    kind: Literal["bridge", "routed"] = "routed" if request.param == "routed" else "bridge"
    with Bed(kind, port="hairpin on" if request.param == "hairpin" else "") as found:
        found.bind(tunnel_ports=frozenset({8472}))
        with found.node.entered():
            subprocess.run(["nft", "-f", "-"], input=TRANSLATION, text=True, check=True)
        yield found


def connects(bed: Bed, source: Space, destination: str, server: Space, port: int, patience: float = PATIENCE) -> bool:
    """Return whether a connection is made within so many seconds, and both ends hear of each other."""
    family = socket.AF_INET6 if ":" in destination else socket.AF_INET
    with ExitStack() as stack:
        with server.entered():
            listener = stack.enter_context(socket.create_server(("", port), family=family))
        with source.entered():
            client = stack.enter_context(socket.socket(family))
        listener.settimeout(patience)
        client.settimeout(patience)
        try:
            client.connect((destination, port))
            peer, _ = listener.accept()
            with peer:
                peer.sendall(b"hello")
                return client.recv(9) == b"hello"
        except TimeoutError:
            return False


@pytest.mark.parametrize("family", [0, 1], ids=["IPv4", "IPv6"])
@pytest.mark.parametrize("who", [A, C], ids=["another pod", "the pod itself"])
def test_a_service_leads_to_its_pod(who: Person, family: int, bed: Bed) -> None:
    # A bridge sends nothing back by the port that it came by, unless it is told to.
    may = who is A or bed.kind == "routed" or bool(bed.port)
    way = (bed.pods[who.name], SERVICE[family], bed.pods["c"], 8000 + family)
    assert connects(bed, *way, PATIENCE if may else QUIET) is may


@pytest.mark.parametrize("family", [0, 1], ids=["IPv4", "IPv6"])
def test_pods_and_their_node_reach_each_other(family: int, bed: Bed) -> None:
    assert connects(bed, bed.node, (C.four, C.six)[family], bed.pods["c"], 8010 + family)
    assert connects(bed, bed.pods["a"], NODE_ADDRESSES[family], bed.node, 8012 + family)
    assert connects(bed, bed.pods["a"], GATEWAYS[family], bed.node, 8014 + family)


@pytest.mark.parametrize("family", [0, 1], ids=["IPv4", "IPv6"])
def test_neighbours_are_found_by_those_who_have_forgotten_them(family: int, bed: Bed) -> None:
    """The beds' permanent entries hide what neighbour discovery and ARP need."""
    for space in (bed.node, bed.pods["a"], bed.pods["c"]):
        with space.entered():
            subprocess.run(["ip", "neigh", "flush", "all", "nud", "all"], check=False, capture_output=True)
    assert connects(bed, bed.pods["a"], (C.four, C.six)[family], bed.pods["c"], 8020 + family)
    assert connects(bed, bed.pods["a"], GATEWAYS[family], bed.node, 8022 + family)


@pytest.mark.parametrize("family", [0, 1], ids=["IPv4", "IPv6"])
def test_a_packet_in_fragments_arrives(family: int, bed: Bed) -> None:
    address = (C.four, C.six)[family]
    kind = (socket.AF_INET, socket.AF_INET6)[family]
    with bed.pods["c"].entered():
        receiver = socket.socket(kind, socket.SOCK_DGRAM)
    with bed.pods["a"].entered():
        sender = socket.socket(kind, socket.SOCK_DGRAM)
    with receiver, sender:
        receiver.bind((address, 8030))
        receiver.settimeout(PATIENCE)
        sender.sendto(bytes(9000), (address, 8030))
        assert len(receiver.recv(10000)) == 9000
