# SPDX-License-Identifier: Apache-2.0
"""Connections of TCP without an entry in the kernel's table of flows: they end with a reset, and begin only with a SYN."""

from __future__ import annotations

import subprocess
import time
from typing import TYPE_CHECKING

import pytest

from podfence.dataplane.revocation import FORGET_AFTER, Reviewed
from podfence.dataplane.ruleset import TABLE
from podfence.dataplane.tracked import GRACE, GRACE_SECONDS
from podfence.nft.process import NftRunner
from tests.dataplane.forging import Flag, Heard, ends, segment
from tests.dataplane.lines import SOON
from tests.dataplane.scene import ADDED, CLOSED_IN, DELETED, FAMILY, FOUR, NEEDED, OPEN, PORT, Addresses, Scene, service

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from podfence.dataplane.conntrack import KernelConntrack
    from tests.dataplane.lines import Lines
    from tests.dataplane.network import Network

pytestmark = NEEDED
SPEAKER = pytest.mark.parametrize("speaker", ["client", "server"])


def until(condition: Callable[[], bool]) -> None:
    """Wait for what the kernel does by itself."""
    deadline = time.monotonic() + SOON
    while not condition():
        assert time.monotonic() < deadline


def lose(scene: Scene, at: Addresses, port: int) -> None:
    """Take the entries of a flow away, as the kernel does when its table is full."""
    assert scene.conntrack.forget([flow.handle for flow in scene.flows(at, port)]) == set()
    assert not scene.flows(at, port)


def in_grace(network: Network) -> bool:
    return bool(NftRunner(prefix=network.prefix).list_elements(TABLE, GRACE))


@pytest.fixture
def others(network: Network) -> Iterator[None]:
    """Let somebody else track connections too, who has been there for longer and keeps no room for labels."""
    network.nft(
        "add table inet others; add chain inet others f { type filter hook forward priority 0; };"
        "add rule inet others f ct state established accept"
    )
    yield
    network.nft("delete table inet others")


@pytest.fixture
def sysctl(network: Network) -> Iterator[Callable[[str, int], None]]:
    """Return a way to set what the node's kernel does with flows; it is set back in the end."""
    before: dict[str, str] = {}

    def run(*words: str) -> str:
        command = ["nsenter", "-t", str(network.pid_of(FOUR.node)), "-n", "sysctl", *words]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    def put(name: str, value: int) -> None:
        whole = f"net.netfilter.nf_conntrack_{name}"
        before.setdefault(whole, run("-n", whole))
        run("-q", "-w", f"{whole}={value}")

    yield put
    for name, value in before.items():
        run("-q", "-w", f"{name}={value}")


@FAMILY
@SPEAKER
def test_a_connection_that_was_silent_for_too_long_is_reset_at_once_and_does_not_hang(
    network: Network, conntrack: KernelConntrack, lines: Lines, sysctl: Callable[[str, int], None], at: Addresses, speaker: str
) -> None:  # fmt: skip
    scene = Scene(network, conntrack)
    line, fence = lines.connect("tcp", at.web, at.db, PORT), lines.connect("udp", at.web, at.db, OPEN)
    # Its entry gets the new time with the next segment, and not while it still has to do something.
    sysctl("tcp_timeout_established", 1)
    line.arrives("client")
    until(lambda: not scene.flows(at, PORT))
    line.refuses(speaker, fence)
    assert not scene.flows(at, PORT)
    line.resets("server" if speaker == "client" else "client")


@FAMILY
@SPEAKER
def test_through_a_service_both_ends_are_reset_too(
    network: Network, conntrack: KernelConntrack, lines: Lines, at: Addresses, speaker: str
) -> None:
    scene = Scene(network, conntrack)
    with service(network, at, "tcp", {80: PORT}):
        line = lines.connect("tcp", at.web, at.db, PORT, via=(at.service, 80))
        fence = lines.connect("udp", at.web, at.db, OPEN)
        lose(scene, at, PORT)
        line.refuses(speaker, fence)


@FAMILY
@SPEAKER
@pytest.mark.parametrize("opener", ["pod", "node"])
def test_between_a_pod_and_its_node_both_ends_are_reset_too(
    network: Network, conntrack: KernelConntrack, lines: Lines, at: Addresses, speaker: str, opener: str
) -> None:
    Scene(network, conntrack)
    pair = (at.web, at.node) if opener == "pod" else (at.node, at.web)
    line, fence = lines.connect("tcp", *pair, PORT), lines.connect("udp", at.web, at.node, OPEN)
    conntrack.forget([flow.handle for flow in conntrack.flows(None) if flow.protocol == 6])
    line.refuses(speaker, fence)
    line.resets("server" if speaker == "client" else "client")


@FAMILY
def test_a_connection_that_is_not_tracked_passes_as_it_is_judged(
    network: Network, conntrack: KernelConntrack, lines: Lines, at: Addresses
) -> None:
    network.nft(
        "add table inet raw; add chain inet raw pre { type filter hook prerouting priority -300; };"
        f"add rule inet raw pre tcp dport {OPEN} notrack; add rule inet raw pre tcp sport {OPEN} notrack"
    )
    try:
        scene = Scene(network, conntrack, CLOSED_IN)
        line = lines.connect("tcp", at.web, at.db, OPEN)
        assert not scene.flows(at, OPEN)
        line.works()
    finally:
        network.nft("delete table inet raw")


@FAMILY
def test_where_no_pod_is_an_end_nothing_is_reset(
    network: Network, conntrack: KernelConntrack, lines: Lines, at: Addresses
) -> None:
    scene = Scene(network, conntrack)
    network.nft(f"delete element inet podfence known{'6' if ':' in at.api else '4'} {{ {at.api}, {at.web} }}")
    network.nft("flush set inet podfence podcidr4; flush set inet podfence podcidr6")
    line = lines.connect("tcp", at.web, at.api, PORT)
    conntrack.forget([flow.handle for flow in conntrack.flows(None)])
    line.works()
    assert scene.enforcer.verify()


@FAMILY
def test_resets_are_limited_and_the_rest_is_dropped(
    network: Network, conntrack: KernelConntrack, lines: Lines, at: Addresses
) -> None:
    Scene(network, conntrack)
    line, fence = lines.connect("tcp", at.web, at.db, PORT), lines.connect("udp", at.web, at.db, OPEN)
    forged = ends(line, "client")._replace(source_port=7)
    began = time.monotonic()
    segment(network, forged, Flag.ACK, times=500)
    fence.works()
    took = time.monotonic() - began
    reset, dropped = (
        item.packets for item in NftRunner(prefix=network.prefix).counters(TABLE) if item.chain == "refused"
    )
    # 200 at once, and 200 in each second, however slow the machine is.
    assert reset <= 201 + 200 * took
    assert reset + dropped == 500


@FAMILY
@pytest.mark.parametrize("loss", ["feigned end", "eviction"])
@pytest.mark.parametrize("protected", [True, False])
def test_a_cut_connection_that_loses_its_entry_does_not_come_back(
    network: Network, conntrack: KernelConntrack, lines: Lines, sysctl: Callable[[str, int], None], at: Addresses, loss: str, protected: bool
) -> None:  # fmt: skip
    scene = Scene(network, conntrack)
    sysctl("tcp_timeout_close", 1)
    heard = Heard(network, at.web)
    line, fence = lines.connect("tcp", at.web, at.db, PORT), lines.connect("udp", at.web, at.db, OPEN)
    assert scene.apply((ADDED, CLOSED_IN)).cut == 1
    if not protected:
        network.nft("flush chain inet podfence midstream")
    forged = ends(line, "client")
    number = heard.expected(forged)
    if loss == "eviction":
        lose(scene, at, PORT)
    else:
        segment(network, forged, Flag.RST, number)
        until(lambda: not scene.flows(at, PORT))

    if protected:
        line.refuses("server", fence)
        line.resets("client")
    else:
        line.arrives("server")
        line.arrives("client")


@FAMILY
@pytest.mark.parametrize("flags", [Flag.ACK, Flag.ACK | Flag.PUSH, Flag.SYN | Flag.ACK, Flag.FIN | Flag.ACK, Flag.FIN, Flag.RST, Flag.SYN | Flag.FIN, Flag(0)])  # fmt: skip
def test_no_segment_but_a_syn_leaves_an_entry(
    network: Network, conntrack: KernelConntrack, lines: Lines, at: Addresses, flags: Flag
) -> None:
    scene = Scene(network, conntrack)
    fence = lines.connect("udp", at.web, at.db, OPEN)
    client, server = ends(fence, "client"), ends(fence, "server")
    segment(network, client._replace(destination_port=PORT), flags)
    segment(network, server._replace(source_port=PORT), flags)
    fence.works()
    assert {flow.protocol for flow in conntrack.flows(None)} == {17}
    lines.socket(at.db, "tcp", PORT).listen()
    segment(network, client._replace(destination_port=PORT), Flag.SYN)
    until(lambda: bool(scene.flows(at, PORT)))


@FAMILY
@SPEAKER
def test_what_was_under_way_when_the_first_table_was_made_goes_on(
    network: Network, conntrack: KernelConntrack, lines: Lines, at: Addresses, speaker: str
) -> None:
    line, silent = lines.connect("tcp", at.web, at.db, OPEN), lines.connect("tcp", at.api, at.web, PORT)
    scene = Scene(network, conntrack, CLOSED_IN, grace=True)
    line.arrives(speaker)
    scene.end_grace()
    line.works()
    silent.resets(speaker)


@FAMILY
def test_what_was_under_way_is_judged_when_it_is_picked_up(
    network: Network, conntrack: KernelConntrack, lines: Lines, at: Addresses
) -> None:
    line, fence = lines.connect("tcp", at.web, at.db, PORT), lines.connect("udp", at.web, at.db, OPEN)
    Scene(network, conntrack, CLOSED_IN, grace=True)
    line.ends["client"].send(b"forbidden")
    fence.works()
    line.silent("server")


def test_the_kernel_itself_ends_the_grace_whether_an_agent_runs_or_not(
    network: Network, conntrack: KernelConntrack, lines: Lines
) -> None:
    scene = Scene(network, conntrack, grace=True)
    (found,) = [item for item in NftRunner(prefix=network.prefix).contents(TABLE).sets if item.name == GRACE.name]
    assert found.timeout == GRACE_SECONDS
    assert in_grace(network)
    assert scene.enforcer.verify() == ()
    network.nft("flush set inet podfence grace; add element inet podfence grace { 6 timeout 1s }")
    line = lines.connect("tcp", FOUR.web, FOUR.db, PORT)
    until(lambda: not in_grace(network))
    lose(scene, FOUR, PORT)
    line.resets("client")


def test_an_agent_that_comes_during_the_grace_does_not_make_it_longer_and_none_begins_another(
    network: Network, conntrack: KernelConntrack, lines: Lines
) -> None:
    Scene(network, conntrack, grace=True)
    network.nft("flush set inet podfence grace; add element inet podfence grace { 6 timeout 1s }")
    scene = Scene(network, conntrack, grace=True)
    until(lambda: not in_grace(network))
    assert scene.enforcer.verify() == ()
    network.nft("delete table inet podfence")
    assert scene.enforcer.verify() == ("table inet podfence was gone",)
    assert not in_grace(network)
    network.nft("flush table inet podfence")
    scene.apply((ADDED, CLOSED_IN))
    assert scene.enforcer.verify()
    assert not in_grace(network)


@FAMILY
@SPEAKER
@pytest.mark.parametrize("protected", [True, False])
@pytest.mark.usefixtures("others")
def test_a_forbidden_connection_that_is_older_than_the_table_is_cut_and_not_picked_up_again(
    network: Network, conntrack: KernelConntrack, lines: Lines, at: Addresses, speaker: str, protected: bool
) -> None:
    line, fence = lines.connect("tcp", at.web, at.db, PORT), lines.connect("tcp", at.web, at.db, OPEN)
    scene = Scene(network, conntrack, CLOSED_IN, grace=True)
    assert in_grace(network)
    assert scene.enforcer.reviewed == Reviewed(cut=1)
    assert scene.enforcer.forget_at is None
    if protected:
        line.refuses(speaker, fence)
        line.resets("server" if speaker == "client" else "client")
    else:
        network.nft("flush set inet podfence ended4; flush set inet podfence ended6")
        line.arrives("server")
        line.arrives("client")
    fence.works()
    assert scene.enforcer.verify() == ()


@FAMILY
@pytest.mark.usefixtures("others")
def test_through_a_service_too_it_is_not_picked_up_again(
    network: Network, conntrack: KernelConntrack, lines: Lines, at: Addresses
) -> None:
    with service(network, at, "tcp", {80: PORT}):
        line, fence = lines.connect("tcp", at.web, at.db, PORT, via=(at.service, 80)), lines.connect("tcp", at.web, at.db, OPEN)  # fmt: skip
        scene = Scene(network, conntrack, CLOSED_IN, grace=True)
        assert scene.enforcer.reviewed == Reviewed(cut=1)
        line.refuses("server", fence)
        line.resets("client")


@FAMILY
def test_what_is_cut_during_the_grace_is_not_picked_up_again_when_it_loses_its_entry(
    network: Network, conntrack: KernelConntrack, lines: Lines, at: Addresses
) -> None:
    scene = Scene(network, conntrack, grace=True)
    line, fence = lines.connect("tcp", at.web, at.db, PORT), lines.connect("tcp", at.web, at.db, OPEN)
    assert scene.apply((ADDED, CLOSED_IN)).cut == 1
    lose(scene, at, PORT)
    line.refuses("server", fence)
    line.resets("client")


def test_what_an_agent_before_cut_during_the_grace_is_not_picked_up_again(
    network: Network, conntrack: KernelConntrack, lines: Lines
) -> None:
    scene = Scene(network, conntrack)
    line, fence = lines.connect("tcp", FOUR.web, FOUR.db, PORT), lines.connect("tcp", FOUR.web, FOUR.db, OPEN)
    assert scene.apply((ADDED, CLOSED_IN)).cut == 1
    network.nft("add element inet podfence grace { 6 }; flush set inet podfence ended4")
    scene = Scene(network, conntrack, CLOSED_IN, grace=True)
    lose(scene, FOUR, PORT)
    line.refuses("server", fence)


@FAMILY
@SPEAKER
@pytest.mark.usefixtures("others")
def test_a_connection_that_got_in_while_somebody_had_deleted_the_table_is_cut_by_the_repair(
    network: Network, conntrack: KernelConntrack, lines: Lines, at: Addresses, speaker: str
) -> None:
    scene = Scene(network, conntrack, CLOSED_IN)
    fence = lines.connect("tcp", at.web, at.db, OPEN)
    network.nft("delete table inet podfence")
    line = lines.connect("tcp", at.web, at.db, PORT)
    scene.enforcer.verify()
    assert scene.enforcer.reviewed == Reviewed(cut=1)
    line.refuses(speaker, fence)
    fence.works()


@FAMILY
@pytest.mark.usefixtures("others")
def test_a_flow_of_udp_that_is_older_than_the_table_is_cut_at_once(
    network: Network, conntrack: KernelConntrack, lines: Lines, at: Addresses
) -> None:
    line, fence = lines.connect("udp", at.web, at.db, PORT), lines.connect("udp", at.web, at.db, OPEN)
    scene = Scene(network, conntrack, CLOSED_IN, grace=True)
    assert scene.enforcer.reviewed == Reviewed(cut=1)
    line.refuses("client", fence)


def test_a_port_that_is_used_again_at_once_is_a_connection_of_its_own(
    network: Network, conntrack: KernelConntrack, lines: Lines
) -> None:
    scene = Scene(network, conntrack)
    line = lines.connect("tcp", FOUR.web, FOUR.db, PORT)
    scene.apply((ADDED, CLOSED_IN))
    (old,) = scene.flows(FOUR, PORT)
    scene.apply((DELETED, CLOSED_IN))
    assert scene.enforcer.forget_at is None
    line.works()
    scene.now += FORGET_AFTER
    assert scene.enforcer.forget() == 0
    assert [flow.handle for flow in scene.flows(FOUR, PORT)] == [old.handle]
    line.works()
