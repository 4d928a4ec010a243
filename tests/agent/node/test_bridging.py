# SPDX-License-Identifier: Apache-2.0
"""Bridges that hand over their traffic: shown with packets between pods behind one, and undone again."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

from podfence.agent.node.bridging import RECORD, SYSCTLS, ensure, restore
from podfence.agent.node.interfaces import locate
from tests.spaces import Space

if TYPE_CHECKING:
    from collections.abc import Iterator

PODS: Final = {"a": ("10.244.1.2", "fd00::2"), "b": ("10.244.1.3", "fd00::3")}
PATIENCE: Final = 60.0
"""Seconds that a datagram which must arrive may take; a new one is sent ten times in each."""

QUIET: Final = 0.5
"""Seconds in which a datagram that may not arrive did not."""

FOUR, SIX = "bridge-nf-call-iptables", "bridge-nf-call-ip6tables"
DROP: Final = "add table inet t; add chain inet t c { type filter hook forward priority 0; policy drop; }"


class Bridged(dict[str, Space]):
    """Two pods by name, behind bridge cni0 of a node that drops all it forwards."""

    def reaches(self, address: str, patience: float = PATIENCE) -> bool:
        """Return whether a datagram of pod a comes to an address of pod b within so many seconds."""
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        with self["b"].entered():
            receiver = socket.socket(family, socket.SOCK_DGRAM)
        with self["a"].entered():
            sender = socket.socket(family, socket.SOCK_DGRAM)
        with receiver, sender:
            receiver.bind((address, 7))
            receiver.settimeout(0.1)
            for _ in range(int(patience * 10)):
                sender.sendto(b"?", (address, 7))
                with suppress(TimeoutError):
                    return receiver.recv(1) == b"?"
        return False


@pytest.fixture
def pods(node: Space) -> Iterator[Bridged]:
    for name in (FOUR, SIX):
        (SYSCTLS / "bridge" / name).write_text("0")
    node.ip(
        "link add cni0 type bridge",
        "addr add 10.244.1.1/24 dev cni0",
        "addr add fd00::1/64 dev cni0 nodad",
        "link set cni0 up",
    )
    found = Bridged()
    for name, (four, six) in PODS.items():
        space = found[name] = Space()
        node.ip(
            f"link add veth-{name} type veth peer name eth0 netns {space.path}",
            f"link set veth-{name} master cni0",
            f"link set veth-{name} up",
        )
        space.ip(
            "link set lo up",
            f"addr add {four}/24 dev eth0",
            f"addr add {six}/64 dev eth0 nodad",
            "link set eth0 up",
        )
    subprocess.run(["nft", DROP], check=True)
    yield found
    for space in found.values():
        space.close()


def setting(name: str) -> str:
    return (SYSCTLS / "bridge" / name).read_text().strip()


def options() -> dict[str, int]:
    (link,) = json.loads(subprocess.check_output(["ip", "-d", "-j", "link", "show", "cni0"]))
    data = link["linkinfo"]["info_data"]
    return {"four": data["nf_call_iptables"], "six": data["nf_call_ip6tables"]}


def test_pods_behind_a_bridge_meet_the_rules_once_it_is_ensured(pods: Bridged, tmp_path: Path) -> None:
    assert pods.reaches("10.244.1.3")
    assert pods.reaches("fd00::3")
    found = ensure(locate(["10.244.1.2", "10.244.1.3"]), state=tmp_path)
    assert found.findings == ()
    assert found.changes == ("net.bridge.bridge-nf-call-iptables was 0 and is 1 now: pods are behind bridge cni0",)
    assert not pods.reaches("10.244.1.3", QUIET)
    # No pod has an address of IPv6, so that is left alone.
    assert (setting(SIX), pods.reaches("fd00::3")) == ("0", True)
    found = ensure(locate(["fd00::2", "10.244.1.3"]), state=tmp_path)
    assert found.changes == ("net.bridge.bridge-nf-call-ip6tables was 0 and is 1 now: pods are behind bridge cni0",)
    assert not pods.reaches("fd00::3", QUIET)


def test_what_is_right_already_is_left_alone_and_not_undone(pods: Bridged, tmp_path: Path) -> None:
    (SYSCTLS / "bridge" / FOUR).write_text("1")
    places = locate(["10.244.1.2"])
    assert ensure(places, state=tmp_path) == ((), ())
    assert restore(state=tmp_path) == ((), ())
    assert setting(FOUR) == "1"
    assert list(tmp_path.iterdir()) == []


def test_nodes_without_pods_behind_bridges_are_left_alone(pods: Bridged, tmp_path: Path) -> None:
    assert ensure(locate(["10.244.9.9"]), state=tmp_path) == ((), ())
    assert ensure({}, state=tmp_path) == ((), ())
    assert setting(FOUR) == "0"


def test_a_setting_that_somebody_sets_back_is_set_again_and_undone_once(pods: Bridged, tmp_path: Path) -> None:
    places = locate(["10.244.1.2"])
    for _ in range(2):
        assert len(ensure(places, state=tmp_path).changes) == 1
        assert ensure(places, state=tmp_path).changes == ()
        (SYSCTLS / "bridge" / FOUR).write_text("0")
    ensure(places, state=tmp_path)
    assert restore(state=tmp_path).done == ("net.bridge.bridge-nf-call-iptables is 0 again",)
    assert (setting(FOUR), pods.reaches("10.244.1.3")) == ("0", True)
    assert restore(state=tmp_path) == ((), ())
    assert list(tmp_path.iterdir()) == []


def test_a_setting_that_somebody_set_back_for_good_is_not_touched_again(pods: Bridged, tmp_path: Path) -> None:
    ensure(locate(["10.244.1.2"]), state=tmp_path)
    (SYSCTLS / "bridge" / FOUR).write_text("0")
    assert restore(state=tmp_path) == ((), ())


def test_where_settings_cannot_be_written_the_bridge_itself_is_told(pods: Bridged, tmp_path: Path) -> None:
    nowhere, places = tmp_path / "nowhere", locate(["10.244.1.2", "fd00::2"])
    found = ensure(places, state=tmp_path, sysctls=nowhere)
    assert found.findings == ()
    assert found.changes == (
        "nf_call_iptables of bridge cni0 was 0 and is 1 now",
        "nf_call_ip6tables of bridge cni0 was 0 and is 1 now",
    )
    assert (setting(FOUR), options()) == ("0", {"four": 1, "six": 1})
    assert not pods.reaches("10.244.1.3", QUIET)
    assert not pods.reaches("fd00::3", QUIET)
    assert ensure(places, state=tmp_path, sysctls=nowhere) == ((), ())
    assert restore(state=tmp_path, sysctls=nowhere).done == (
        "nf_call_iptables of bridge cni0 is 0 again",
        "nf_call_ip6tables of bridge cni0 is 0 again",
    )
    assert options() == {"four": 0, "six": 0}
    assert pods.reaches("10.244.1.3")


def test_a_setting_that_cannot_be_set_back_is_said_with_the_command_until_it_can(pods: Bridged, tmp_path: Path) -> None:
    ensure(locate(["10.244.1.2"]), state=tmp_path)
    for _ in range(2):
        (failed,) = restore(state=tmp_path, sysctls=tmp_path / "nowhere").failed
        assert failed.startswith("net.bridge.bridge-nf-call-iptables could not be reset (No such file or directory)")
        assert failed.endswith(": run `sysctl -w net.bridge.bridge-nf-call-iptables=0`")
    assert restore(state=tmp_path).done == ("net.bridge.bridge-nf-call-iptables is 0 again",)


@pytest.mark.parametrize("sysctls", [SYSCTLS, Path("/nowhere")], ids=["setting", "option"])
def test_answers_to_what_the_rules_allow_pass_the_bridge(pods: Bridged, tmp_path: Path, sysctls: Path) -> None:
    ensure(locate(["10.244.1.2"]), state=tmp_path, sysctls=sysctls)
    assert not pods.reaches("10.244.1.3", QUIET)
    subprocess.run(
        ["nft", "add rule inet t c ct state established accept; add rule inet t c udp dport 7 accept"], check=True
    )
    assert pods.reaches("10.244.1.3")
    with pods["b"].entered():
        server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with pods["a"].entered():
        client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with server, client:
        server.bind(("10.244.1.3", 7))
        for end in (server, client):
            end.settimeout(PATIENCE)
        client.sendto(b"?", ("10.244.1.3", 7))
        server.sendto(b"!", server.recvfrom(1)[1])
        assert client.recv(1) == b"!"


def test_a_bridge_that_is_gone_needs_no_undoing(node: Space, pods: Bridged, tmp_path: Path) -> None:
    ensure(locate(["10.244.1.2"]), state=tmp_path, sysctls=tmp_path)
    node.ip("link delete cni0")
    assert restore(state=tmp_path) == ((), ())
    assert list(tmp_path.iterdir()) == []


def test_what_was_written_down_before_the_machine_started_is_forgotten(pods: Bridged, tmp_path: Path) -> None:
    ensure(locate(["10.244.1.2"]), state=tmp_path)
    record = json.loads((tmp_path / RECORD).read_text())
    (tmp_path / RECORD).write_text(json.dumps({**record, "boot": "another"}))
    assert restore(state=tmp_path) == ((), ())
    assert setting(FOUR) == "1"


def test_a_state_directory_that_cannot_be_written_is_said_and_stops_nothing(pods: Bridged, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    (change,) = ensure(locate(["10.244.1.2"]), state=tmp_path / "file").changes
    assert "this could not be recorded, so no cleanup will undo it" in change
    assert setting(FOUR) == "1"


ENSURE: Final = """
import sys
from pathlib import Path
from podfence.agent.node.bridging import ensure
from podfence.agent.node.interfaces import locate
found = ensure(locate(["10.244.1.2"]), state=Path(sys.argv[1]), sysctls=Path(sys.argv[2]))
print(*found.findings, *found.changes, sep="\\n")
"""


def container(mounts: str, state: Path, sysctls: Path | str, capabilities: str = "-all,+net_admin") -> str:
    """Return what `ensure` says as root with some capabilities, after some mounts of its own."""
    confined = f'exec setpriv --bounding-set={capabilities} --inh-caps={capabilities} --no-new-privs -- "$@"'
    command = ["unshare", "--mount", "sh", "-ec", f"{mounts}\n{confined}", "sh"]
    program = [sys.executable, "-c", ENSURE, str(state), str(sysctls)]
    return subprocess.check_output([*command, *program], text=True, env={**os.environ, "PYTHONPATH": "src"})


READ_ONLY: Final = "mount --bind /proc/sys /proc/sys; mount -o remount,ro,bind /proc/sys"


def test_a_container_with_net_admin_alone_tells_the_bridge(pods: Bridged, tmp_path: Path) -> None:
    assert container(READ_ONLY, tmp_path, SYSCTLS) == "nf_call_iptables of bridge cni0 was 0 and is 1 now\n"
    assert not pods.reaches("10.244.1.3", QUIET)


def test_a_container_with_the_nodes_settings_mounted_writes_them(pods: Bridged, tmp_path: Path) -> None:
    (tmp_path / "net").mkdir()
    mounts = f"mount --bind /proc/sys/net {tmp_path}/net; {READ_ONLY}"
    assert "bridge-nf-call-iptables was 0 and is 1 now" in container(mounts, tmp_path, tmp_path / "net")
    assert setting(FOUR) == "1"


def test_without_the_capability_the_remedy_is_said(pods: Bridged, tmp_path: Path) -> None:
    text = container(READ_ONLY, tmp_path, SYSCTLS, "-all")
    assert text == (
        "pods behind bridge cni0 (IPv4: setting nf_call_iptables of bridge cni0: Operation not permitted; it needs "
        "CAP_NET_ADMIN in the node's network namespace) reach each other past all policies; run this on the node, at "
        "every start: modprobe br_netfilter; sysctl -w net.bridge.bridge-nf-call-iptables=1\n"
    )
    assert pods.reaches("10.244.1.3")


def test_without_br_netfilter_the_remedy_is_said(pods: Bridged, tmp_path: Path) -> None:
    text = container("mount -t tmpfs none /proc/sys/net/bridge", tmp_path, SYSCTLS)
    assert text.startswith(
        "pods behind bridge cni0 (IPv4: the kernel module br_netfilter is not loaded) reach each other"
    )
