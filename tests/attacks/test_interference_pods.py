# SPDX-License-Identifier: Apache-2.0
"""Pods that other network plugins wire, and pods that are more than one host: what they may goes on, and no more does."""

from __future__ import annotations

from contextlib import ExitStack, closing, contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import pytest
from scapy.layers.inet6 import (
    ICMPv6ND_NA,
    ICMPv6ND_RA,
    ICMPv6NDOptDstLLAddr,
    ICMPv6NDOptPrefixInfo,
    ICMPv6NDOptSrcLLAddr,
    IPv6,
)
from scapy.layers.l2 import ARP, Ether
from scapy.packet import Raw

from tests.agent.node.cni import aws, bridge, calico
from tests.attacks import plain
from tests.attacks.bed import ROUTERS
from tests.attacks.judging import packet
from tests.attacks.odd import Told, attached, check_allowed, check_forbidden, spoofed, usual
from tests.attacks.plain import ARRIVES, QUIET
from tests.attacks.port import Port
from tests.attacks.wiring import EVERYBODY, NETWORKS, End, hardware_address, has
from tests.spaces import Space

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.agent.node.cluster import Fields
    from tests.attacks.bed import Bed
    from tests.attacks.judging import Pair

pytestmark = pytest.mark.usefixtures("forgetting")

on_both_networks = pytest.mark.parametrize("network", NETWORKS)
on_the_bridge = pytest.mark.parametrize("network", ["bridge"])
routed = pytest.mark.parametrize("network", ["routed"])

BLOCKS: Final = ("10.99.7.64/26", "fd00:99:7::/122")
"""Where an address management of a plugin's own takes addresses from; no Node's range has them."""

POD: Final = ("10.99.7.70", "fd00:99:7::6")
EASY: Final = "ee:ee:ee:ee:ee:ee"
"""The hardware address of all of Calico's ends on the node."""

SECOND_NIC: Final = ("172.31.0.11", "fd02::11")
BEYOND: Final = ("172.31.0.1", "fd02::1")


@contextmanager
def both(pair: Pair, attach: Callable[[Bed], Any]) -> Iterator[None]:
    """Have a pod on both beds."""
    with attach(pair.open), attach(pair.guarded):
        yield


def of_the_bed(bed: Bed, **more: str) -> Told:
    return Told(bed.result, **more)


@contextmanager
def a_block(bed: Bed, by: tuple[str, str] | None = None) -> Iterator[None]:
    """Have a block of addresses on n1, and everybody know that it is there, or behind another address of n1."""
    node, other = bed.wiring.nodes[1], bed.wiring.nodes[2]
    lines: dict[Space, list[str]] = {node.space: [], other.space: [], bed.wiring.outside: []}
    for place, block in enumerate(BLOCKS):
        way = f"via {node.addresses[place]}"
        lines[node.space].append(f"blackhole {block}")
        lines[other.space].append(f"{block} {way}")
        lines[bed.wiring.outside].append(f"{block} via {by[place]}" if by else f"{block} {way}")
    with ExitStack() as stack:
        for space, routes in lines.items():
            space.ip(*(f"route add {route}" for route in routes))
            stack.callback(space.ip, *(f"route del {route}" for route in routes))
        yield


def with_a_way_of_its_own(bed: Bed, *, link: str, mac: str = "", rule: bool = False) -> End:
    """Wire a pod by a cable with nothing but a route to it, and a gateway that nobody has, as Calico and Amazon do."""
    node, space = bed["n1"].space, Space()
    four, six = POD
    node.ip(f"link add {link} {mac} mtu 1450 type veth peer name eth0 mtu 1450 netns {space.path}")
    node.sysctl(
        {f"ipv4/conf/{link}/proxy_arp": 1, f"ipv4/neigh/{link}/proxy_delay": 0, f"ipv6/conf/{link}/accept_dad": 0}
    )
    node.ip(f"link set {link} up", f"route add {four}/32 dev {link}", f"route add {six}/128 dev {link}")
    via = hardware_address(node, link)
    gateway = End("", space, "", "", "", via).link_local
    space.ip(
        "link set lo up",
        "link set eth0 up",
        f"addr add {four}/32 dev eth0",
        f"addr add {six}/128 dev eth0 nodad",
        "route add 169.254.1.1 dev eth0",
        "route add default via 169.254.1.1 dev eth0",
        f"route add default via {gateway} dev eth0",
    )
    return End("o", space, "eth0", four, six, hardware_address(space, "eth0"), link, via)


like_calico = partial(with_a_way_of_its_own, link="cali5f1f1b1e2e0", mac=f"address {EASY}")


def calicos_result(end: End) -> Fields:
    return calico(end.link, f"{end.four}/32", f"{end.six}/128")


@contextmanager
def calicos_pod(bed: Bed, app: str = "t", sender: str = "c") -> Iterator[End]:
    with a_block(bed), attached(bed, like_calico, Told(calicos_result, app=app), sender) as end:
        yield end


@routed
def test_a_pod_with_a_way_of_its_own_and_a_gateway_by_proxy_arp_is_guarded(pair: Pair) -> None:
    with both(pair, calicos_pod):
        for bed in pair:
            check_allowed(bed)
        check_forbidden(pair)


@routed
def test_an_address_that_a_plugin_gives_out_again_has_what_its_new_pod_has(pair: Pair) -> None:
    bed = pair.guarded
    with calicos_pod(bed, "a", sender="a"):
        assert plain.connection(bed, "d", "o", POD[0], 81, patience=ARRIVES)
    with calicos_pod(bed):
        # What is allowed to both says nothing of which of them the kernel knows.
        bed.until(lambda: not plain.connection(bed, "a", "o", POD[0], 80, patience=0.2), "a is kept out")
        for sender, port in (("a", 80), ("d", 81)):
            for address in POD:
                assert not plain.connection(bed, sender, "o", address, port, patience=QUIET)
    with calicos_pod(bed, "a", sender="a"):
        assert plain.connection(bed, "d", "o", POD[1], 81, patience=ARRIVES)


@contextmanager
def a_second_nic(bed: Bed) -> Iterator[None]:
    """Give n1 a second way to the host outside."""
    node, outside = bed["n1"].space, bed.wiring.outside
    outside.ip(f"link add second type veth peer name eth1 netns {node.path}")
    outside.ip("link set second up", f"addr add {BEYOND[0]}/24 dev second", f"addr add {BEYOND[1]}/64 dev second nodad")
    node.ip("link set eth1 up", f"addr add {SECOND_NIC[0]}/24 dev eth1", f"addr add {SECOND_NIC[1]}/64 dev eth1 nodad")
    with ExitStack() as stack:
        stack.callback(outside.ip, "link del second")
        yield


@contextmanager
def amazons_pod(bed: Bed) -> Iterator[None]:
    """Have a pod whose packets leave by a table of routes of its own, over the second interface of the node."""
    node = bed["n1"].space
    wire = partial(with_a_way_of_its_own, link="eni5f1f1b1e2e0")
    rules = ("to {pod} lookup main pref 512", "to {others} lookup main pref 512", "from {pod} lookup 2 pref 1536")
    with a_second_nic(bed), a_block(bed, SECOND_NIC), rules_for_the_pod(bed, *rules):
        node.ip(*(f"route add default via {each} table 2" for each in BEYOND))
        with attached(bed, wire, Told(amazons_result)):
            yield


@contextmanager
def rules_for_the_pod(bed: Bed, *rules: str) -> Iterator[None]:
    """Let the node ask other tables of routes, by rules with the addresses of the pod, and the range of others here."""
    here = bed.wiring.nodes[1].ranges
    with ExitStack() as stack:
        for pod, family, others in zip(POD, ("-4", "-6"), here, strict=True):
            for rule in rules:
                words = rule.format(pod=pod, others=others).split()
                assert not bed.run("n1", "ip", family, "rule", "add", *words)
                stack.callback(bed.run, "n1", "ip", family, "rule", "del", *words)
        yield


def amazons_result(end: End) -> Fields:
    result = aws(end.link, f"{end.four}/32")
    result["ips"].append({"interface": 1, "address": f"{end.six}/128", "gateway": "fe80::1"})
    return result


@routed
def test_a_pod_whose_packets_leave_by_routes_of_their_own_is_guarded(pair: Pair) -> None:
    with both(pair, amazons_pod):
        for bed in pair:
            with closing(Port(End("second", bed.wiring.outside, "second", *BEYOND))) as beyond:
                check_allowed(bed)
                token = bed.token()
                with plain.opened(bed, "o", plain.DATAGRAM, 4) as speaking:
                    speaking.sendto(token, (bed["outside"].four, 9))
                assert beyond.hears(token, ARRIVES)
        check_forbidden(pair)


@on_both_networks
def test_a_node_with_two_interfaces_to_the_outside_judges_what_comes_by_each(pair: Pair) -> None:
    with both(pair, a_second_nic):
        for bed in pair:
            for place, family in enumerate((4, 6)):
                here = SECOND_NIC[place]
                for name in ("a", "t"):
                    assert plain.connection(bed, name, "n1", here, 80, patience=ARRIVES)
                patience = QUIET if bed.guarded else ARRIVES
                assert plain.connection(bed, "x", "n1", here, 80, patience=patience) is not bed.guarded
                with another_way(bed, place):
                    for name in ("a", "c"):
                        address = bed[name].address(family)
                        assert plain.connection(bed, "outside", name, address, 80, patience=ARRIVES)
                        assert plain.connection(bed, name, "outside", BEYOND[place], 80, patience=ARRIVES)
                    address = bed["t"].address(family)
                    assert plain.connection(bed, "outside", "t", address, 80, patience=patience) is not bed.guarded
                    assert (
                        plain.connection(bed, "x", "outside", BEYOND[place], 80, patience=patience) is not bed.guarded
                    )


@contextmanager
def another_way(bed: Bed, place: int) -> Iterator[None]:
    """Let the host outside send to the pods of n1 by the second interface of the node."""
    whole = bed.wiring.nodes[1].ranges[place]
    bed.wiring.outside.ip(f"route replace {whole} via {SECOND_NIC[place]}")
    with ExitStack() as stack:
        stack.callback(bed.wiring.outside.ip, f"route replace {whole} via {bed.wiring.nodes[1].addresses[place]}")
        yield


SHARED: Final = ("192.168.77.7", "fd00:77::7")
"""The addresses that two routers have in turn."""


def router(bed: Bed, name: str, number: int) -> End:
    return bed.wiring.nodes[1].add(name, number)


@contextmanager
def routers(bed: Bed) -> Iterator[tuple[End, End]]:
    """Have two pods that the node's configuration exempts."""
    exempt = of_the_bed(bed, namespace=ROUTERS, app="router")
    first, second = (partial(router, name=name, number=number) for name, number in (("k1", 41), ("k2", 42)))
    with attached(bed, first, exempt) as one, attached(bed, second, exempt) as two, ExitStack() as stack:
        for family, address in zip(("-4", "-6"), SHARED, strict=True):
            stack.callback(bed.run, "n1", "ip", family, "route", "del", address)
        yield one, two


def take_over(bed: Bed, end: End) -> None:
    """Let a router have the addresses that both share, and say so as keepalived does."""
    interface = "cni0" if bed.network == "bridge" else end.link
    for name in ("k1", "k2"):
        bed.run(name, "ip", "addr", "flush", "dev", "eth0", "to", f"{SHARED[0]}/32")
        bed.run(name, "ip", "-6", "addr", "flush", "dev", "eth0", "to", f"{SHARED[1]}/128")
    end.space.ip(f"addr add {SHARED[0]}/32 dev eth0", f"addr add {SHARED[1]}/128 dev eth0 nodad")
    bed["n1"].space.ip(*(f"route replace {each} dev {interface}" for each in SHARED))
    bed.port(end.name).send(gratuitous(end), unsolicited(end))


@on_both_networks
def test_routers_have_an_address_in_turn_and_none_of_a_bound_pod(pair: Pair) -> None:
    for bed in pair:
        with routers(bed) as pods:
            for pod in pods:
                take_over(bed, pod)
                for address in SHARED:
                    check_shared(bed, pod, address)


def check_shared(bed: Bed, pod: End, address: str) -> None:
    """Assert that a router is reached at an address and sends from it, as far as others let it in."""
    family, patience = 6 if ":" in address else 4, QUIET if bed.guarded else ARRIVES
    bed.until(lambda: plain.connection(bed, "c", pod.name, address, 80, patience=0.3), f"c connects to {address}")
    for receiver in ("a", "outside", "t"):
        # Nobody has said that t lets this address in.
        goal, may = bed[receiver].address(family), receiver != "t" or not bed.guarded

        def arrives(patience: float, receiver: str = receiver, goal: str = goal) -> bool:
            return plain.datagram(bed, pod.name, receiver, goal, 5353, patience=patience, source=address)

        if may:
            # One may be lost while neighbours are asked for.
            bed.until(partial(arrives, 0.3), f"{receiver} hears {address}")
        else:
            assert not arrives(patience), receiver
    assert spoofed(bed, pod.name, bed["c"].address(family), "t") is not bed.guarded


@on_the_bridge
def test_routers_tell_each_other_and_everybody_who_has_the_address(pair: Pair) -> None:
    for bed in pair:
        with routers(bed) as (one, two):
            token = bed.token()
            advertised = packet(one.four, "224.0.0.18", proto=112, ttl=255) / Raw(b"\x21\x07\x64\x01" + token)
            bed.port(two.name).forget()
            bed.port(one.name).send(Ether(src=one.mac, dst="01:00:5e:00:00:12") / advertised)
            assert bed.port(two.name).hears(token, ARRIVES)
            said = bytes(gratuitous(one))
            bed.port("c").forget()
            bed.port(one.name).send(said)
            assert bed.port("c").hears(said, ARRIVES)


def gratuitous(end: End) -> Ether:
    """Return how a router says that it has the shared address."""
    return Ether(src=end.mac, dst=EVERYBODY) / ARP(op=1, hwsrc=end.mac, psrc=SHARED[0], pdst=SHARED[0])


def unsolicited(end: End) -> Ether:
    """Return the same of the address of IPv6."""
    told = ICMPv6ND_NA(R=0, S=0, O=1, tgt=SHARED[1]) / ICMPv6NDOptDstLLAddr(lladdr=end.mac)
    return Ether(src=end.mac, dst="33:33:00:00:00:01") / IPv6(src=SHARED[1], dst="ff02::1", hlim=255) / told


class Machine:
    """A virtual machine in a pod: a bridge leads its frames to the pod's interface, which has another hardware address."""

    def __init__(self, stack: ExitStack, mac: str = "") -> None:
        """Have it for as long as the stack; `mac` is its own, if it does not have the one that the plugin gave out."""
        self._stack = stack
        self._mac = mac

    def __call__(self, bed: Bed) -> End:
        """Wire it."""
        pod, inner = usual(bed), Space()
        self._stack.callback(pod.space.close)
        mac = self._mac or pod.mac
        pod.space.ip(
            "link set eth0 down",
            "addr flush dev eth0",
            "link set eth0 address 02:00:00:00:0f:01",
            "link add k6t type bridge",
            f"link add tap0 mtu 1450 type veth peer name eth0 mtu 1450 address {mac} netns {inner.path}",
            *(f"link set {name} master k6t" for name in ("eth0", "tap0")),
            # As KubeVirt does: what a bridge gives back must not teach this one that the machine is outside.
            "link set eth0 type bridge_slave learning off",
            *(f"link set {name} up" for name in ("eth0", "tap0", "k6t")),
        )
        inner.ip("link set lo up", "link set eth0 up", *bed.wiring.nodes[1].inside(pod.four, pod.six))
        return End("o", inner, "eth0", pod.four, pod.six, mac, pod.link, pod.via)


def as_given_out(bed: Bed, end: End) -> Fields:
    """Return the result with the hardware address that the plugin gave out, whatever its pod has."""
    return bridge(end.link, "0a:58:0a:f4:01:28", f"{end.four}/24", f"{end.six}/64")


@on_the_bridge
def test_a_virtual_machine_with_the_hardware_address_that_the_plugin_gave_out_is_bound(pair: Pair) -> None:
    with ExitStack() as stack:
        for bed in pair:
            stack.enter_context(attached(bed, Machine(stack), Told(partial(as_given_out, bed))))
            check_allowed(bed)
        check_forbidden(pair)


OTHER_MAC: Final = "02:00:00:00:0f:77"


@on_the_bridge
def test_a_virtual_machine_with_another_hardware_address_needs_the_exemption(pair: Pair) -> None:
    for bed in pair:
        told = Told(partial(as_given_out, bed), ROUTERS)
        with ExitStack() as stack, attached(bed, Machine(stack, OTHER_MAC), told):
            assert plain.connection(bed, "o", "c", bed["c"].four, 80, patience=ARRIVES)
            assert plain.connection(bed, "o", "outside", bed["outside"].six, 80, patience=ARRIVES)
            assert spoofed(bed, "o", bed["c"].four, "t") is not bed.guarded
        bed.restore()
        with attached(bed, usual, of_the_bed(bed)) as end:
            end.space.ip(f"link set eth0 address {OTHER_MAC}")
            patience = QUIET if bed.guarded else ARRIVES
            assert plain.connection(bed, "o", "c", bed["c"].four, 80, patience=patience) is not bed.guarded


PREFIX: Final = "2001:db8:5::"


def takes_an_address(bed: Bed, end: End) -> str:
    """Let the node advertise a prefix to a pod; return the address that the pod gives itself."""
    node = bed["n1"]
    interface = "cni0" if bed.network == "bridge" else end.link
    here = End("n1", node.space, interface, node.four, node.six, hardware_address(node.space, interface))
    with closing(Port(here)) as port:
        port.send(
            Ether(src=here.mac, dst=end.mac)
            / IPv6(src=here.link_local, dst="ff02::1", hlim=255)
            / ICMPv6ND_RA(routerlifetime=1800)
            / ICMPv6NDOptPrefixInfo(prefix=PREFIX, prefixlen=64)
            / ICMPv6NDOptSrcLLAddr(lladdr=here.mac)
        )
    return own_address(bed, end)


def own_address(bed: Bed, end: End) -> str:
    found: list[str] = []

    def taken() -> bool:
        words = bed.run(end.name, "ip", "-6", "-br", "addr", "show", "dev", "eth0", "-tentative").split()
        found[:] = [word.partition("/")[0] for word in words if word.startswith(PREFIX.removesuffix(":"))]
        return bool(found)

    bed.until(taken, "the pod has an address of the prefix")
    return found[0]


@on_both_networks
def test_an_address_that_a_pod_gives_itself_leads_nowhere_and_its_others_go_on(pair: Pair) -> None:
    """Its status does not have it, and so no policy knows it."""
    for bed in pair:
        with attached(bed, usual, of_the_bed(bed, app="x")) as end:
            end.space.sysctl({"ipv6/conf/eth0/accept_ra": 1, "ipv6/conf/eth0/dad_transmits": 0})
            address = takes_an_address(bed, end)
            patience = QUIET if bed.guarded else ARRIVES
            for receiver in ("a", "c", "outside"):
                goal = bed[receiver].six
                arrived = plain.datagram(bed, "o", receiver, goal, 5353, patience=patience, source=address)
                assert arrived is not bed.guarded, receiver
        with attached(bed, usual, of_the_bed(bed)) as end:
            end.space.sysctl({"ipv6/conf/eth0/accept_ra": 1, "ipv6/conf/eth0/dad_transmits": 0})
            takes_an_address(bed, end)
            for receiver in ("a", "d", "outside"):
                goal = bed[receiver].six
                assert plain.datagram(bed, "o", receiver, goal, 5353, patience=ARRIVES, source=end.six), receiver
            assert plain.connection(bed, "c", "o", end.six, 80, patience=ARRIVES)
            assert plain.connection(bed, "o", "outside", bed["outside"].four, 80, patience=ARRIVES)


MORE: Final = ("10.244.1.43", "fd00:1::43")


def with_more_addresses(bed: Bed) -> End:
    end = usual(bed)
    way = "" if bed.network == "bridge" else "noprefixroute"
    end.space.ip(f"addr add {MORE[0]}/24 dev eth0 {way}", f"addr add {MORE[1]}/64 dev eth0 nodad preferred_lft 0 {way}")
    if bed.network == "routed":
        bed["n1"].space.ip(f"route add {MORE[0]}/32 dev {end.link}", f"route add {MORE[1]}/128 dev {end.link}")
    return end


def of_all_addresses(bed: Bed, end: End) -> Fields:
    result = bed.result(end)
    for address, length in zip(MORE, (24, 64), strict=True):
        result["ips"].append({**result["ips"][0], "address": f"{address}/{length}"})
    return result


@on_both_networks
def test_of_two_addresses_of_a_family_the_one_in_the_status_is_the_pods(pair: Pair) -> None:
    """A status has one address of a family; what a pod has more is nobody's."""
    with ExitStack() as stack:
        for bed in pair:
            stack.enter_context(attached(bed, with_more_addresses, Told(partial(of_all_addresses, bed))))
            check_allowed(bed)
            patience = QUIET if bed.guarded else ARRIVES
            for address in MORE:
                goal = bed["a"].address(6 if ":" in address else 4)
                arrived = plain.datagram(bed, "o", "a", goal, 5353, patience=patience, source=address)
                assert arrived is not bed.guarded
                assert plain.datagram(bed, "a", "o", address, 5353, patience=patience) is not bed.guarded
        check_forbidden(pair)


SECONDARY: Final = {"o": "192.168.50.2", "p": "192.168.50.3"}


@contextmanager
def on_two_networks(bed: Bed) -> Iterator[tuple[End, End]]:
    """Have two pods that a second bridge of the node joins, as Multus wires them; return their ends there."""
    node, told, inner = bed["n1"].space, of_the_bed(bed), []
    with ExitStack() as stack:
        node.ip("link add br1 type bridge", "link set br1 up")
        stack.callback(node.ip, "link del br1")
        for number, (name, address) in enumerate(SECONDARY.items(), 44):
            wire = partial(router, name=name, number=number)
            end = stack.enter_context(attached(bed, wire, told))
            mac, link = f"02:00:00:00:50:{number:02x}", f"second{name}"
            node.ip(f"link add {link} type veth peer name net1 address {mac} netns {end.space.path}")
            node.ip(f"link set {link} master br1", f"link set {link} up")
            end.space.ip("link set net1 up", f"addr add {address}/24 dev net1")
            path = bed.tell(bridge(link, mac, f"{address}/24", bridge="br1"), f"shop/{name}", interface="net1")
            stack.callback(path.unlink)
            inner.append(End(name, end.space, "net1", address, "", mac, link))
        yield inner[0], inner[1]


@on_both_networks
def test_a_second_network_of_pods_is_left_alone_and_the_first_is_not(pair: Pair) -> None:
    with ExitStack() as stack:
        for bed in pair:
            one, two = stack.enter_context(on_two_networks(bed))
            assert plain.connection(bed, "o", "p", two.four, 80, patience=ARRIVES)
            assert plain.connection(bed, "p", "o", one.four, 81, patience=ARRIVES)
            with closing(Port(one)) as speaking, closing(Port(two)) as hearing:
                for head in (
                    Ether(src=one.mac, dst=two.mac, type=0x88B5),
                    Ether(src="02:00:00:00:00:99", dst=two.mac) / packet("198.51.100.7", two.four, proto=253),
                    Ether(src=one.mac, dst=EVERYBODY) / ARP(hwsrc=one.mac, psrc=two.four, pdst=two.four),
                ):
                    token = bed.token()
                    speaking.send(head / Raw(token))
                    assert hearing.hears(token, ARRIVES), head.summary()
            check_allowed(bed)
        check_forbidden(pair)


def within_a_vrf(bed: Bed) -> End:
    """Wire a pod by a link within a VRF; what its table does not know the others do."""
    end, node = like_calico(bed), bed["n1"].space
    node.ip(f"link set {end.link} master red")
    for address, length in ((end.four, 32), (end.six, 128)):
        node.ip(f"route replace {address}/{length} dev {end.link} table 7")
    return end


@contextmanager
def in_a_vrf(bed: Bed) -> Iterator[None]:
    """Have a pod whose link is within a VRF, and the node reach it by a rule for its address."""
    node = bed["n1"].space
    node.sysctl({"ipv4/tcp_l3mdev_accept": 1, "ipv4/udp_l3mdev_accept": 1})
    node.ip("link add red type vrf table 7", "link set red up")
    with (
        ExitStack() as stack,
        a_block(bed),
        rules_for_the_pod(bed, "to {pod} lookup 7 pref 512"),
        attached(bed, within_a_vrf, Told(calicos_result)),
    ):
        stack.callback(node.ip, "link del red")
        yield


@routed
@pytest.mark.skipif(not has("link add v type vrf table 7"), reason="needs a kernel with VRF (CONFIG_NET_VRF)")
def test_a_pod_within_a_vrf_is_guarded(pair: Pair) -> None:
    with both(pair, in_a_vrf):
        for bed in pair:
            check_allowed(bed)
        check_forbidden(pair)
