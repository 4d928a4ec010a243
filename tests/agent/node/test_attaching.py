# SPDX-License-Identifier: Apache-2.0
"""The links of pods in real networks, as each network plugin makes them."""

from __future__ import annotations

import asyncio
import errno
import time
from typing import TYPE_CHECKING

import pytest

from podfence.agent.node import attaching, directory
from podfence.agent.node.answer import PodLinks
from podfence.agent.node.attaching import EVERY, EVERY_IN_DOUBT, Attaching
from podfence.agent.node.matching import Granted
from podfence.agent.source import Attached
from podfence.dataplane.links import Links, PodLink
from podfence.sets.addresses import format_address, parse_address
from tests.agent.node import cni
from tests.agent.node.running import PATIENCE
from tests.spaces import Space

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterable, Iterator
    from pathlib import Path

    from podfence.agent.source import Notice
    from podfence.dataplane.settings import Binding

MAC = "0a:58:0a:f4:01:02"
OTHER_MAC = "0a:58:0a:f4:01:03"


def _add(address: str, device: str) -> str:
    return f"addr add {address} dev {device}{' nodad' if ':' in address else ''}"


class Bed:
    """A node, its results, and an agent's look at its pods, by a clock that the test moves."""

    def __init__(self, node: Space, directory: Path) -> None:
        self.node = node
        self.cache = cni.Cache(directory)
        self.pods: dict[str, tuple[str, ...]] = {}
        self.told: list[Notice] = []
        self.heard: Callable[[], None] = lambda: None
        self.now = 1000.0
        self._spaces: list[Space] = []
        self.attaching = self.make()

    def make(self, binding: Binding = "enforce", granted: Granted | None = None) -> Attaching:
        return Attaching(
            lambda: dict(self.pods),
            self.tell,
            binding,
            self.cache.directory,
            granted or Granted(),
            clock=lambda: self.now,
        )

    def tell(self, notices: Iterable[Notice]) -> None:
        self.told.extend(notices)
        self.heard()

    def cable(self, name: str, mac: str, *addresses: str, master: str = "") -> Space:
        """Make a pod, with the end of its cable on the node, as a plugin does."""
        space = Space()
        self._spaces.append(space)
        self.node.ip(
            f"link add {name} type veth peer name eth0 address {mac} netns {space.path}",
            *([f"link set {name} master {master}"] if master else []),
            f"link set {name} up",
        )
        space.ip("link set eth0 up", *(_add(address, "eth0") for address in addresses))
        return space

    def bridge(self, name: str = "cni0", *addresses: str) -> None:
        self.node.ip(
            f"link add {name} type bridge",
            *(_add(address, name) for address in addresses or ("10.244.1.1/24",)),
            f"link set {name} up",
        )

    def look(self) -> Links:
        """Look, and return the links that the loop knows then."""
        self.attaching.look(thorough=True)
        return self.links

    @property
    def links(self) -> Links:
        notice = self.told[-1]
        assert isinstance(notice, Attached)
        return notice.links

    def findings(self) -> dict[str, str]:
        return {item.code: item.severity for item in self.attaching.findings}

    def close(self) -> None:
        for space in self._spaces:
            space.close()


@pytest.fixture
def bed(node: Space, tmp_path: Path) -> Iterator[Bed]:
    found = Bed(node, tmp_path)
    yield found
    found.close()


def link(interface: str, bridge: str, mac: str, pod: str, *addresses: str) -> PodLink:
    return PodLink(interface, bridge, mac, tuple(map(parse_address, addresses)), pod)


def test_pods_of_the_plugin_bridge_are_bound_to_their_ports(bed: Bed) -> None:
    bed.bridge("cni0", "10.244.1.1/24", "fd00::1/64")
    bed.bridge("docker0", "172.17.0.1/16")
    bed.cable("veth1", MAC, "10.244.1.2/24", "fd00::2/64", master="cni0")
    bed.cable("veth2", OTHER_MAC, "10.244.1.3/24", master="cni0")
    bed.cable("veth9", "02:42:ac:11:00:02", "172.17.0.2/16", master="docker0")
    bed.cache.add(cni.bridge("veth1", MAC, "10.244.1.2/24", "fd00::2/64"))
    bed.cache.add(cni.bridge("veth2", OTHER_MAC, "10.244.1.3/24"), "shop/db")
    bed.pods = {"shop/web": ("10.244.1.2", "fd00::2"), "shop/db": ("10.244.1.3",)}
    links = bed.look()
    assert links.pods == (
        link("veth1", "cni0", MAC, "shop/web", "10.244.1.2", "fd00::2"),
        link("veth2", "cni0", OTHER_MAC, "shop/db", "10.244.1.3"),
    )
    assert links.bridges == {"cni0"}
    assert links.uplinks == frozenset()
    reserved = set(map(format_address, links.reserved))
    assert {"10.244.1.1", "fd00::1"} <= reserved
    assert any(text.startswith("fe80::") for text in reserved)
    assert "172.17.0.1" not in reserved
    assert bed.attaching.bound == PodLinks(bound=2)
    assert bed.findings() == {}


def test_the_uplinks_of_a_bridge_and_what_ends_at_the_node_are_known(bed: Bed) -> None:
    bed.bridge()
    bed.cable("veth1", MAC, "10.244.1.2/24", master="cni0")
    bed.cable("patch", "02:00:00:00:00:01", master="cni0")
    bed.node.ip(
        "link add vx7 type vxlan id 7 dstport 4789 local 127.0.0.1 dev lo",
        "link set vx7 master cni0",
        "link add flannel.1 type vxlan id 1 dstport 8472 local 127.0.0.1 dev lo",
    )
    bed.cache.add(cni.bridge("veth1", MAC, "10.244.1.2/24"))
    links = bed.look()
    assert links.uplinks == {"vx7"}
    assert links.held == {"patch"}
    assert links.tunnel_ports == {4789, 8472}
    assert links.tunnel_protocols == frozenset()
    bed.attaching = bed.make(granted=Granted(uplinks=frozenset({"patch"})))
    assert bed.look().uplinks == {"vx7", "patch"}


def test_routed_pods_are_bound_to_the_links_that_lead_back_to_them(bed: Bed) -> None:
    bed.cable("vethptp", MAC, "10.244.1.2/24")
    bed.cable("cali0123456789a", OTHER_MAC, "10.244.1.3/32")
    bed.cable("eth0", "02:00:00:00:00:01")
    bed.node.ip(
        "addr add 172.18.0.2/16 dev eth0",
        "addr add 10.244.1.1/32 dev vethptp",
        "route add 10.244.1.2/32 dev vethptp",
        "route add 10.244.1.3/32 dev cali0123456789a scope link",
        "route add blackhole 10.244.1.0/26",
        "route add default via 172.18.0.1",
    )
    bed.cache.add(cni.ptp("vethptp", MAC, "10.244.1.2/24"))
    bed.cache.add(cni.calico("cali0123456789a", "10.244.1.3/32"), "shop/db", network="k8s-pod-network")
    bed.pods = {"shop/web": ("10.244.1.2",), "shop/db": ("10.244.1.3",)}
    links = bed.look()
    assert links.pods == (
        link("cali0123456789a", "", "", "shop/db", "10.244.1.3"),
        link("vethptp", "", MAC, "shop/web", "10.244.1.2"),
    )
    assert (links.bridges, links.uplinks) == (frozenset(), frozenset())
    assert {format_address(number) for number in links.reserved} == {"10.244.1.1"}
    assert bed.findings() == {}


@pytest.mark.parametrize("is_told", [True, False])
def test_a_routed_pod_whose_link_went_first_is_not_bound_and_may_come_back_by_another(is_told: bool, bed: Bed) -> None:
    """Plugins take links away before a cluster forgets the pods, and an address may be given out again at once."""
    bed.cable("veth1", MAC, "10.244.1.2/32")
    bed.node.ip("route add 10.244.1.2 dev veth1")
    if is_told:
        bed.cache.add(cni.ptp("veth1", MAC, "10.244.1.2/32"))
    bed.pods = {"shop/web": ("10.244.1.2",)}
    bed.attaching.look()
    assert [item.interface for item in bed.links.pods] == ["veth1"]
    bed.node.ip("link del veth1")
    bed.attaching.look()
    assert not bed.links.pods
    bed.cable("veth2", OTHER_MAC, "10.244.1.2/32")
    bed.node.ip("route add 10.244.1.2 dev veth2")
    bed.attaching.look()
    assert [item.interface for item in bed.links.pods] == ["veth2"]


def test_pods_without_results_are_bound_by_routes_of_their_own_and_never_by_those_of_networks(bed: Bed) -> None:
    bed.cable("veth1", MAC, "10.244.1.2/32")
    bed.cable("eth0", "02:00:00:00:00:01")
    bed.node.ip(
        "route add 10.244.1.2 dev veth1",
        "route add fd00::2/128 dev veth1",
        "addr add 172.18.0.2/16 dev eth0",
    )
    bed.pods = {"shop/web": ("10.244.1.2", "fd00::2"), "shop/shared": ("172.18.0.9",)}
    assert bed.look().pods == (link("veth1", "", "", "shop/web", "10.244.1.2", "fd00::2"),)
    assert bed.findings() == {"pod-unbound": "fatal"}
    (finding,) = bed.attaching.findings
    assert finding.message == (
        "nothing proves which link the packets of pod shop/shared (eth0, which leads to it, also leads elsewhere) come by"
    )


def test_rules_for_packets_to_a_pod_are_followed_and_those_for_packets_of_an_interface_are_told(bed: Bed) -> None:
    bed.cable("eni1", MAC, "10.0.4.7/32")
    bed.cable("vlan2", OTHER_MAC, "10.0.4.8/32")
    bed.node.ip(
        "addr add 10.0.4.1/32 dev lo",
        "route add 10.0.4.7 dev eni1 scope link table 3",
        "rule add to 10.0.4.7 lookup 3 priority 512",
        "rule add from 10.0.4.7 lookup 2 priority 1536",
        "route add 10.0.4.8 dev vlan2 scope link table 101",
        "rule add iif vlan2 lookup 101 priority 10",
    )
    bed.cache.add(cni.aws("eni1", "10.0.4.7/32"), network="aws-cni")
    bed.cache.add(cni.aws("vlan2", "10.0.4.8/32"), "shop/db", network="aws-cni")
    bed.pods = {"shop/web": ("10.0.4.7",), "shop/db": ("10.0.4.8",)}
    assert bed.look().pods == (link("eni1", "", "", "shop/web", "10.0.4.7"),)
    (finding,) = bed.attaching.findings
    assert (finding.code, finding.severity) == ("no-way-back", "fatal")
    assert finding.message == (
        "the packets of pod shop/db (10.0.4.8 is behind vlan2, but the route to it leads nowhere) cannot be bound to its "
        "link"
    )
    assert bed.attaching.bound == PodLinks(bound=1, unbound=1)


def test_secondary_networks_stay_untouched(bed: Bed) -> None:
    bed.bridge("cni0")
    bed.bridge("br-storage", "192.168.7.1/24")
    bed.cable("veth1", MAC, "10.244.1.2/24", master="cni0")
    bed.cable("vethnet1", OTHER_MAC, "192.168.7.2/24", master="br-storage")
    primary = cni.bridge("veth1", MAC, "10.244.1.2/24")
    bed.cache.add(primary, network="multus-cni-network")
    bed.cache.add(primary)
    bed.cache.add(
        cni.bridge("vethnet1", OTHER_MAC, "192.168.7.2/24", bridge="br-storage", gateway="192.168.7.1"),
        network="storage",
        interface="net1",
    )
    bed.pods = {"shop/web": ("10.244.1.2",)}
    links = bed.look()
    assert links.pods == (link("veth1", "cni0", MAC, "shop/web", "10.244.1.2"),)
    assert links.bridges == {"cni0"}
    assert not {parse_address("192.168.7.1")} & links.reserved


def test_nothing_is_told_while_nothing_changes(bed: Bed) -> None:
    bed.bridge()
    bed.cable("veth1", MAC, "10.244.1.2/24", master="cni0")
    bed.cache.add(cni.bridge("veth1", MAC, "10.244.1.2/24"))
    bed.look()
    assert len(bed.told) == 1
    bed.attaching.follow()
    bed.look()
    assert len(bed.told) == 1
    bed.pods = {"shop/web": ("10.244.1.2",)}
    bed.attaching.follow()
    assert len(bed.told) == 2


def test_a_port_stays_bound_while_the_result_of_its_pod_is_written_again(bed: Bed) -> None:
    bed.bridge()
    bed.cable("veth1", MAC, "10.244.1.2/24", master="cni0")
    path = bed.cache.add(cni.bridge("veth1", MAC, "10.244.1.2/24"))
    bed.pods = {"shop/web": ("10.244.1.2",)}
    before = bed.look()
    assert before.pods == (link("veth1", "cni0", MAC, "shop/web", "10.244.1.2"),)

    path.write_bytes(b"")
    assert bed.look() is before


def test_what_is_unproven_when_the_agent_starts_is_told_at_once(bed: Bed) -> None:
    bed.bridge()
    bed.look()
    bed.pods = {"shop/web": ("10.244.1.2",)}
    bed.look()
    assert bed.findings() == {"pod-unbound": "fatal"}


def test_what_is_unproven_only_while_a_pod_ends_is_not_told(bed: Bed) -> None:
    bed.bridge()
    bed.look()
    bed.now += EVERY_IN_DOUBT
    bed.pods = {"shop/web": ("10.244.1.2",)}
    bed.look()
    assert bed.findings() == {}
    assert bed.attaching.bound == PodLinks(unbound=1)
    bed.now += EVERY_IN_DOUBT
    bed.look()
    assert bed.findings() == {"pod-unbound": "fatal"}
    bed.pods = {}
    bed.look()
    assert bed.findings() == {}


def test_a_port_of_nobody_is_told_when_it_stays(bed: Bed) -> None:
    bed.bridge()
    bed.cable("veth1", MAC, "10.244.1.2/24", master="cni0")
    bed.cable("patch", OTHER_MAC, master="cni0")
    bed.cache.add(cni.bridge("veth1", MAC, "10.244.1.2/24"))
    bed.look()
    assert bed.findings() == {}
    bed.now += EVERY
    bed.look()
    assert bed.findings() == {"port-unknown": "warning"}


@pytest.mark.parametrize(("binding", "severity"), [("report", "warning"), ("enforce", "fatal")])
def test_only_where_binding_is_enforced_a_pod_that_is_not_bound_is_fatal(
    bed: Bed, binding: Binding, severity: str
) -> None:
    bed.bridge()
    bed.pods = {"shop/web": ("10.244.1.2",)}
    bed.attaching = bed.make(binding)
    bed.look()
    assert bed.findings() == {"pod-unbound": severity}


def test_without_binding_nothing_is_looked_at(bed: Bed) -> None:
    bed.bridge()
    bed.pods = {"shop/web": ("10.244.1.2",)}
    bed.attaching = bed.make("off")
    bed.attaching.look(thorough=True)
    bed.attaching.follow()
    assert (bed.told, bed.findings()) == ([], {})


def test_results_that_cannot_be_read_are_told(bed: Bed) -> None:
    bed.cache.directory.joinpath("cbr0-1-eth0").symlink_to("/nowhere")
    bed.look()
    assert bed.findings() == {"cni-result-damaged": "warning"}
    bed.cache.directory.joinpath("cbr0-1-eth0").unlink()
    bed.cache.directory.rmdir()
    bed.look()
    assert bed.findings() == {"cni-results": "warning"}


class Followed:
    """An agent's look at its pods that goes on, and what the loop is told."""

    def __init__(self, bed: Bed) -> None:
        self.bed = bed
        self._news = asyncio.Event()
        bed.heard = self._news.set

    async def until(self, met: Callable[[Links], object]) -> None:
        """Wait for links that meet a condition."""
        while not (self.bed.told and met(self.bed.links)):
            await asyncio.wait_for(self._news.wait(), PATIENCE)
            self._news.clear()


def follow(bed: Bed, steps: Callable[[Followed], Coroutine[object, object, None]]) -> None:
    async def run() -> None:
        task = asyncio.get_running_loop().create_task(bed.attaching.run())
        await steps(Followed(bed))
        task.cancel()

    asyncio.run(run())


@pytest.fixture
def once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let it look once, and then only when it is told that something has changed."""
    for name in ("EVERY", "EVERY_IN_DOUBT", "EVERY_UNTOLD"):
        monkeypatch.setattr(attaching, name, 100 * PATIENCE)


@pytest.mark.usefixtures("once")
def test_a_result_is_known_as_soon_as_it_is_written_and_forgotten_when_it_is_removed(bed: Bed) -> None:
    bed.bridge()
    bed.cable("veth1", MAC, "10.244.1.2/24", master="cni0")

    async def steps(followed: Followed) -> None:
        await followed.until(lambda links: not links.pods)
        path = bed.cache.add(cni.bridge("veth1", MAC, "10.244.1.2/24"))
        await followed.until(lambda links: links.pods)
        path.unlink()
        await followed.until(lambda links: not links.pods)

    follow(bed, steps)
    assert bed.links.bridges == {"cni0"}


@pytest.mark.usefixtures("once")
def test_a_port_is_known_as_soon_as_it_is_there(bed: Bed) -> None:
    bed.bridge()
    bed.cable("veth1", MAC, "10.244.1.2/24", master="cni0")
    bed.cache.add(cni.bridge("veth1", MAC, "10.244.1.2/24"))

    async def steps(followed: Followed) -> None:
        await followed.until(lambda links: links.pods)
        bed.cable("veth2", OTHER_MAC, master="cni0")
        await followed.until(lambda links: links.held == {"veth2"})
        bed.node.ip("link del veth2")
        await followed.until(lambda links: not links.held)

    follow(bed, steps)


def test_results_in_a_directory_that_comes_later_are_known(bed: Bed) -> None:
    bed.bridge()
    bed.cable("veth1", MAC, "10.244.1.2/24", master="cni0")
    bed.cache.directory.rmdir()

    async def steps(followed: Followed) -> None:
        await followed.until(lambda links: not links.pods)
        bed.cache.directory.mkdir()
        bed.cache.add(cni.bridge("veth1", MAC, "10.244.1.2/24"))
        await followed.until(lambda links: links.pods)

    follow(bed, steps)


def test_where_the_kernel_has_no_more_watches_it_is_looked_at_again_and_again(
    bed: Bed, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: object) -> None:
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(attaching, "EVERY_UNTOLD", 0.05)
    monkeypatch.setattr(directory.DirectoryWatch, "__init__", lambda *_: refuse(None))
    bed.bridge()
    bed.cable("veth1", MAC, "10.244.1.2/24", master="cni0")

    async def steps(followed: Followed) -> None:
        await followed.until(lambda links: not links.pods)
        bed.cache.add(cni.bridge("veth1", MAC, "10.244.1.2/24"))
        await followed.until(lambda links: links.pods)

    follow(bed, steps)


def test_the_work_of_matching_grows_with_the_pods_and_no_faster(bed: Bed) -> None:
    bed.bridge("cni0", "10.244.0.1/16")
    space = bed.cable("first", MAC)
    few = matching(bed, space, range(25))
    many = matching(bed, space, range(25, 250))
    assert len(bed.links.pods) == 250
    # Ten times the pods are ten times the work; to compare each with each would be a hundred times.
    assert many < 30 * few


def matching(bed: Bed, space: Space, numbers: range) -> float:
    """Have pods more; return the seconds of the processor in which all that are there are matched, at best."""
    lines = []
    for number in numbers:
        lines += [
            f"link add v{number} type veth peer name v{number} netns {space.path}",
            f"link set v{number} master cni0",
        ]
        bed.cache.add(cni.bridge(f"v{number}", MAC, f"10.244.2.{number}/16"), f"shop/p{number}")
        bed.pods[f"shop/p{number}"] = (f"10.244.2.{number}",)
    bed.node.ip(*lines)
    bed.look()
    took = []
    for number in range(5):
        bed.pods["shop/p7"] = (f"10.244.2.{number}",)
        start = time.thread_time()
        bed.attaching.follow()
        took.append(time.thread_time() - start)
    return min(took)
