# SPDX-License-Identifier: Apache-2.0
"""The same attacks, and what must go on, where others have their say on the node too: rules, and settings of bridges."""

from __future__ import annotations

import shutil
import subprocess
from contextlib import closing, contextmanager
from functools import partial
from typing import TYPE_CHECKING, Final

import pytest
from scapy.layers.inet import UDP
from scapy.layers.l2 import Dot1Q

from tests.attacks import plain
from tests.attacks.bed import egress_of_x
from tests.attacks.judging import Frames, Sockets, Trial, datagram, ethernet, judge, packet
from tests.attacks.plain import ARRIVES, QUIET, TO_MANY
from tests.attacks.wiring import NETWORKS, has

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from contextlib import AbstractContextManager

    from _pytest.mark import ParameterSet
    from scapy.packet import Packet, Raw

    from tests.attacks.bed import Bed
    from tests.attacks.judging import Attack, Pair
    from tests.attacks.wiring import End, Network

    Circumstance = Callable[[Bed], AbstractContextManager[None]]

pytestmark = pytest.mark.usefixtures("forgetting")

KUBE_PROXY: Final = """
table inet others {
    chain forward {
        type filter hook forward priority 0; policy accept;
        ct state invalid drop
        ct state established,related accept
        ip saddr 10.244.0.0/16 accept
        ip daddr 10.244.0.0/16 accept
    }
    chain early {
        type filter hook prerouting priority -300; policy accept;
        meta mark set meta mark | 0x4000 accept
    }
}
"""
"""Rules that track connections, accept what is a pod's, and set marks, as kube-proxy and flannel have them."""


IPTABLES: Final = """
*nat
:KUBE-SERVICES - [0:0]
:KUBE-POSTROUTING - [0:0]
:KUBE-MARK-MASQ - [0:0]
:FLANNEL-POSTRTG - [0:0]
-A PREROUTING -j KUBE-SERVICES
-A OUTPUT -j KUBE-SERVICES
-A POSTROUTING -j KUBE-POSTROUTING
-A POSTROUTING -j FLANNEL-POSTRTG
-A KUBE-MARK-MASQ -j MARK --or-mark 0x4000
-A KUBE-POSTROUTING -m mark ! --mark 0x4000/0x4000 -j RETURN
-A KUBE-POSTROUTING -j MARK --xor-mark 0x4000
-A KUBE-POSTROUTING -j MASQUERADE --random-fully
-A KUBE-SERVICES ! -s {pods} -d {service} -p tcp --dport 80 -j KUBE-MARK-MASQ
-A KUBE-SERVICES -d {service} -p tcp --dport 80 -j DNAT --to-destination {backend}
-A FLANNEL-POSTRTG -m mark --mark 0x4000/0x4000 -j RETURN
-A FLANNEL-POSTRTG -s {here} -d {pods} -j RETURN
-A FLANNEL-POSTRTG -s {pods} -d {here} -j RETURN
-A FLANNEL-POSTRTG ! -s {pods} -d {here} -j RETURN
-A FLANNEL-POSTRTG -s {pods} ! -d {groups} -j MASQUERADE --random-fully
-A FLANNEL-POSTRTG ! -s {pods} -d {pods} -j MASQUERADE --random-fully
COMMIT
*filter
:KUBE-FORWARD - [0:0]
:FLANNEL-FWD - [0:0]
-A FORWARD -j KUBE-FORWARD
-A FORWARD -j FLANNEL-FWD
-A KUBE-FORWARD -m conntrack --ctstate INVALID -j DROP
-A KUBE-FORWARD -m mark --mark 0x4000/0x4000 -j ACCEPT
-A KUBE-FORWARD -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A FLANNEL-FWD -s {pods} -j ACCEPT
-A FLANNEL-FWD -d {pods} -j ACCEPT
COMMIT
"""
"""What kube-proxy in mode iptables and flannel have, for one Service; marks and masquerading as theirs."""

SERVICE: Final = {4: "10.96.0.12", 6: "fd00:96::12"}


@contextmanager
def iptables(bed: Bed) -> Iterator[None]:
    """Have the rules of others where they were for twenty years; a Service leads to t."""
    for family, command in ((4, "iptables"), (6, "ip6tables")):
        backend = bed["t"].address(family)
        text = IPTABLES.format(
            here=bed.wiring.nodes[1].ranges[family == 6],
            pods="fd00::/16" if family == 6 else "10.244.0.0/16",
            groups="ff00::/8" if family == 6 else "224.0.0.0/4",
            service=SERVICE[family],
            backend=f"[{backend}]:80" if family == 6 else f"{backend}:80",
        )
        with bed["n1"].space.entered():
            subprocess.run([f"{command}-restore"], input=text, text=True, check=True)
    yield
    for command in ("iptables", "ip6tables"):
        with bed["n1"].space.entered():
            subprocess.run([f"{command}-restore"], input="*nat\nCOMMIT\n*filter\nCOMMIT\n", text=True, check=True)


@contextmanager
def filtering_vlans(bed: Bed) -> Iterator[None]:
    """Let the bridge tell VLANs apart, with all ports in one."""
    bed["n1"].space.ip("link set cni0 type bridge vlan_filtering 1")
    yield
    bed["n1"].space.ip("link set cni0 type bridge vlan_filtering 0")


@contextmanager
def other_rules(bed: Bed) -> Iterator[None]:
    bed.run("n1", "nft", KUBE_PROXY)
    assert "others" in bed.run("n1", "nft", "list tables")
    yield
    bed.run("n1", "nft", "delete table inet others")


@contextmanager
def promiscuous(bed: Bed) -> Iterator[None]:
    """Let the bridge take in every frame, as the plugin does with `promiscMode`, and pods get none of their own back."""
    ports = [end.link for end in bed.wiring.nodes[1].pods.values()]
    bed["n1"].space.ip(
        "link set cni0 promisc on", *(f"link set {port} type bridge_slave hairpin off" for port in ports)
    )
    yield
    bed["n1"].space.ip(
        "link set cni0 promisc off", *(f"link set {port} type bridge_slave hairpin on" for port in ports)
    )


@contextmanager
def proxying(bed: Bed) -> Iterator[None]:
    """Let the node answer for the addresses of others, as Calico has it."""
    names = ["cni0"] if bed.network == "bridge" else [end.link for end in bed.wiring.nodes[1].pods.values()]
    bed["n1"].space.sysctl({f"ipv4/conf/{name}/proxy_arp": 1 for name in names})
    yield
    bed["n1"].space.sysctl({f"ipv4/conf/{name}/proxy_arp": 0 for name in names})


@contextmanager
def strict(bed: Bed) -> Iterator[None]:
    """Let the kernel drop sources that it would answer another way."""
    bed["n1"].space.sysctl({"ipv4/conf/all/rp_filter": 1})
    yield
    bed["n1"].space.sysctl({"ipv4/conf/all/rp_filter": 0})


def spoofed(bed: Bed, sender: End, receiver: End, token: Raw) -> Packet:
    source = bed["c"].six
    return ethernet(bed, sender, receiver) / packet(source, receiver.six) / UDP(sport=bed.number(), dport=5353) / token


def tagged(bed: Bed, sender: End, receiver: End, token: Raw) -> Packet:
    head = ethernet(bed, sender, receiver, type=0x8100)
    return head / Dot1Q(vlan=0) / datagram(bed, sender, receiver) / token


ATTACKS: Final[tuple[Attack, ...]] = (
    Frames("another-source", "a", "t", spoofed),
    Frames("vlan-0", "a", "t", tagged),
    Frames("vlan-0-from-x", "x", "c", tagged),
    Sockets("straight", "a", "t", lambda _bed, _sender, receiver: receiver.four, tcp=True),
    Sockets("from-x", "x", "outside", lambda _bed, _sender, receiver: receiver.six, tcp=True),
    Sockets("link-local", "a", "t", lambda _bed, _sender, receiver: receiver.link_local, networks=("bridge",)),
    Sockets("broadcast", "a", "t", "255.255.255.255", options=TO_MANY, networks=("bridge",)),
)


EVERYWHERE: Final[tuple[Circumstance, ...]] = (other_rules, iptables, proxying, strict)
OF_BRIDGES: Final[tuple[Circumstance, ...]] = (promiscuous, filtering_vlans)
NEEDS: Final[dict[Circumstance, pytest.MarkDecorator]] = {
    iptables: pytest.mark.skipif(
        not all(map(shutil.which, ("iptables-restore", "ip6tables-restore"))), reason="needs iptables"
    ),
    filtering_vlans: pytest.mark.skipif(
        not has("link add b type bridge vlan_filtering 1"),
        reason="needs a kernel with CONFIG_BRIDGE_VLAN_FILTERING",
    ),
}


def circumstances() -> Iterator[ParameterSet]:
    """Give each circumstance on each network where it can be."""
    for each in (*EVERYWHERE, *OF_BRIDGES):
        for network in ("bridge", "routed") if each in EVERYWHERE else ("bridge",):
            yield pytest.param(each, network, marks=NEEDS.get(each, ()), id=f"{each.__name__}-{network}")


def under(circumstance: Circumstance, attack: Attack) -> Trial:
    """Return an attack under a circumstance."""

    def works(bed: Bed) -> bool:
        with circumstance(bed):
            return attack.works(bed)

    name = circumstance.__name__.replace("_", "-")
    networks: Sequence[Network] = ("bridge",) if circumstance in OF_BRIDGES else attack.networks
    return Trial(f"{attack.name}-under-{name}", works, networks)


@pytest.mark.parametrize(("circumstance", "network"), tuple(circumstances()))
def test_attacks_are_held_under_the_circumstances_of_real_nodes(pair: Pair, circumstance: Circumstance) -> None:
    for attack in ATTACKS:
        if pair.open.network in attack.networks:
            judge(pair, under(circumstance, attack))


@pytest.mark.parametrize(("circumstance", "network"), tuple(circumstances()))
def test_what_is_allowed_passes_under_the_circumstances_of_real_nodes(pair: Pair, circumstance: Circumstance) -> None:
    bed = pair.guarded
    with circumstance(bed):
        for sender, receiver in (("c", "t"), ("a", "c"), ("r", "t"), ("a", "outside"), ("outside", "a"), ("n1", "t")):
            for family in (4, 6):
                address = bed[receiver].address(family)
                assert plain.connection(bed, sender, receiver, address, 80, patience=ARRIVES), (sender, receiver)


@pytest.mark.parametrize("network", NETWORKS)
@NEEDS[iptables]
def test_a_service_of_iptables_leads_where_the_straight_way_does(pair: Pair) -> None:
    for bed in pair:
        patience = QUIET if bed.guarded else ARRIVES
        with iptables(bed):
            for address in SERVICE.values():
                assert plain.connection(bed, "c", "t", address, 80, patience=ARRIVES)
                assert plain.connection(bed, "n1", "t", address, 80, patience=ARRIVES)
                for sender in ("a", "x"):
                    arrives = plain.connection(bed, sender, "t", address, 80, patience=patience)
                    assert arrives is not bed.guarded, sender


DNS: Final = "169.254.20.10"
NOT_TRACKED: Final = f"""
table ip nodelocal {{
    chain incoming {{
        type filter hook prerouting priority raw; policy accept;
        ip daddr {DNS} udp dport 53 notrack
        ip daddr {DNS} tcp dport 53 notrack
    }}
    chain outgoing {{
        type filter hook output priority raw; policy accept;
        ip saddr {DNS} udp sport 53 notrack
        ip saddr {DNS} tcp sport 53 notrack
    }}
}}
"""


@contextmanager
def node_local_dns(bed: Bed) -> Iterator[None]:
    """Have the node answer at an address of its own, past connection tracking, as NodeLocal DNSCache does."""
    bed["n1"].space.ip(f"addr add {DNS}/32 dev lo")
    assert not bed.run("n1", "nft", NOT_TRACKED)
    yield
    bed.run("n1", "nft", "delete table ip nodelocal")
    bed["n1"].space.ip(f"addr del {DNS}/32 dev lo")


@pytest.mark.parametrize("network", NETWORKS)
def test_dns_of_the_node_past_connection_tracking_answers_who_may_ask(pair: Pair) -> None:
    for bed in pair:
        patience = QUIET if bed.guarded else ARRIVES
        with node_local_dns(bed):
            for name in ("a", "t", "c"):
                assert plain.connection(bed, name, "n1", DNS, 53, patience=ARRIVES), name
                assert asks(bed, name, ARRIVES), name
            assert plain.connection(bed, "x", "n1", DNS, 53, patience=patience) is not bed.guarded
            assert asks(bed, "x", patience) is not bed.guarded
            with only_to(bed, f"{DNS}/32", 53):
                bed.until(partial(asks, bed, "x", 0.2), "x may ask")
                assert plain.connection(bed, "x", "n1", DNS, 53, patience=ARRIVES)
                assert plain.connection(bed, "x", "n1", DNS, 54, patience=patience) is not bed.guarded
                assert plain.connection(bed, "x", "n1", bed["n1"].four, 53, patience=patience) is not bed.guarded


@contextmanager
def only_to(bed: Bed, block: str, port: int) -> Iterator[None]:
    """Let x send to a block and a port, and nothing else."""
    policy = egress_of_x()
    ports = [{"port": port, "protocol": protocol} for protocol in ("UDP", "TCP")]
    policy["spec"]["egress"] = [{"to": [{"ipBlock": {"cidr": block}}], "ports": ports}]
    bed.cluster.put(policy)
    yield
    bed.cluster.put(egress_of_x())


def asks(bed: Bed, name: str, patience: float) -> bool:
    """Return whether a question by UDP comes to the node, and its answer back."""
    with (
        closing(plain.listening(bed, "n1", plain.DATAGRAM, 53, 4)) as server,
        closing(plain.opened(bed, name, plain.DATAGRAM, 4)) as client,
    ):
        client.sendto(b"?", (DNS, 53))
        if not plain.ready(server, patience):
            return False
        _, sender = server.recvfrom(64)
        with closing(plain.opened(bed, "n1", plain.DATAGRAM, 4)) as answering:
            answering.bind((DNS, 53))
            answering.sendto(b"!", sender)
        return plain.ready(client, ARRIVES) and client.recv(64) == b"!"
