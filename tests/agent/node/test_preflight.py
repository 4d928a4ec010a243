# SPDX-License-Identifier: Apache-2.0
"""What a node lacks, found in network namespaces that lack it."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from podfence.agent.nflog import LogGroup
from podfence.agent.node import preflight
from podfence.agent.node.preflight import NodeFacts, inspect
from podfence.agent.node.rivals import Named, Seen
from podfence.dataplane.ruleset import TABLE
from podfence.dataplane.settings import Settings
from podfence.nft.errors import NftError
from podfence.nft.process import NftRunner
from podfence.nft.transaction import Transaction
from tests.spaces import Space

if TYPE_CHECKING:
    from pathlib import Path

    from podfence.agent.node.findings import NodeFinding
    from podfence.dataplane.settings import Binding

FACTS = NodeFacts(name="n1", pod_cidrs=("10.244.1.0/24",))


@pytest.fixture(autouse=True)
def forwarding(node: Space) -> None:
    set_forwarding("ipv4/ip_forward", 1)


def set_forwarding(name: str, value: int) -> None:
    subprocess.run(["sh", "-c", f"echo {value} > /proc/sys/net/{name}"], check=True)


def look(facts: NodeFacts = FACTS, settings: Settings | None = None) -> dict[str, NodeFinding]:
    found = inspect(NftRunner(), settings or Settings(log_group=9474), facts)
    assert len({item.code for item in found}) == len(found)
    return {item.code: item for item in found}


def test_a_node_that_can_enforce_has_no_findings(node: Space) -> None:
    assert look() == {}


def test_looking_changes_nothing(node: Space) -> None:
    look()
    assert subprocess.check_output(["nft", "list", "ruleset"]) == b""


def test_our_own_table_is_no_finding_and_a_foreign_one_is(node: Space) -> None:
    NftRunner().run(Transaction(TABLE).add(TABLE))
    assert look() == {}
    subprocess.run(["nft", "delete table inet podfence; add table inet podfence"], check=True)
    finding = look()["foreign-table"]
    assert finding.severity == "fatal"
    assert str(finding) == (
        "podfence did not create the table inet podfence and does not change it; find out which program created it, and "
        "rename or delete it (`nft delete table inet podfence`)"
    )


def test_a_missing_nft_is_fatal(node: Space, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    finding = look()["nft-missing"]
    assert str(finding) == "nft cannot be started: nft is not on PATH; install nftables 1.0.1 or later"


@pytest.mark.parametrize(
    ("word", "feature"), [("ct label set", "setting conntrack labels"), ("comment", "comments of tables")]
)
def test_what_nft_or_the_kernel_lack_is_named(
    node: Space, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, word: str, feature: str
) -> None:
    real = shutil.which("nft")
    (tmp_path / "nft").write_text(
        "#!/bin/sh\n"
        'if [ "$1" = --check ]; then\n'
        f'  script=$(cat); case "$script" in *"{word}"*) echo "Error: syntax error" >&2; exit 1;; esac\n'
        f'  printf "%s\\n" "$script" | {real} "$@"\n'
        f'else exec {real} "$@"; fi\n'
    )
    (tmp_path / "nft").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    finding = look()["kernel-feature"]
    assert f"{feature} (syntax error)" in finding.message
    assert finding.message.startswith("policies cannot be enforced: nft 1.")


def test_without_net_admin_only_that_is_fatal_and_nothing_is_raised(node: Space) -> None:
    program = (
        "from podfence.agent.node.preflight import *; from podfence.dataplane.settings import Settings;"
        "from podfence.nft.process import NftRunner;"
        "print(*(item.code for item in inspect(NftRunner(), Settings(), NodeFacts(name='n1', pod_cidrs=('10.0.0.0/24',)))))"
    )
    command = ["setpriv", "--bounding-set=-all", "--inh-caps=-all", sys.executable, "-c", program]
    text = subprocess.check_output(command, text=True, env={**os.environ, "PYTHONPATH": "src"})
    assert text == "not-permitted\n"


class WithoutFrames(NftRunner):
    """An nft whose kernel has no tables of family bridge."""

    def check(self, transaction: Transaction) -> None:
        if "table bridge" in str(transaction):
            raise NftError("Could not process rule: Operation not supported")
        super().check(transaction)


@pytest.mark.parametrize(
    ("binding", "address", "expected"),
    [
        ("enforce", "10.244.1.2", {"bridge-not-bound": "fatal"}),
        ("report", "10.244.1.2", {"bridge-not-bound": "warning"}),
        ("off", "10.244.1.2", {}),
        ("enforce", "10.244.9.9", {}),
    ],
    ids=["enforce", "report", "off", "no pod behind a bridge"],
)
def test_a_kernel_that_cannot_bind_ports_of_bridges_is_told_where_pods_have_such(
    node: Space, binding: Binding, address: str, expected: dict[str, str]
) -> None:
    node.ip("link add cni0 type bridge", "addr add 10.244.1.1/24 dev cni0", "link set cni0 up")
    facts = NodeFacts(name="n1", pod_cidrs=("10.244.1.0/24",), pods={address: "shop/web"})
    found = {item.code: item.severity for item in inspect(WithoutFrames(), Settings(binding=binding), facts)}
    assert found == expected
    assert "bridge-not-bound" not in look(facts, Settings(binding=binding))


def test_an_old_kernel_is_fatal(node: Space, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "release", lambda: "5.4.0-150-generic")
    assert look()["kernel-too-old"].message.startswith("kernel 5.4.0-150-generic does not store the comment")
    monkeypatch.setattr(platform, "release", lambda: "5.10.0")
    assert look() == {}


def test_a_node_that_does_not_forward_is_a_warning_for_the_families_of_its_pods(node: Space) -> None:
    set_forwarding("ipv4/ip_forward", 0)
    finding = look()["not-forwarding"]
    assert (finding.severity, finding.remedy) == ("warning", "run `sysctl -w net.ipv4.ip_forward=1`")
    set_forwarding("ipv6/conf/all/forwarding", 0)
    both = look(NodeFacts(name="n1", pod_cidrs=("10.244.1.0/24", "fd00::/64")))["not-forwarding"]
    assert both.remedy == "run `sysctl -w net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1`"
    assert "not-forwarding" not in look(NodeFacts(name="n1"))


def test_what_the_cluster_does_not_know_of_the_node_is_a_warning(node: Space) -> None:
    assert list(look(NodeFacts(name="n7", is_known=False))) == ["node-unknown"]
    assert list(look(NodeFacts(name="n1"))) == ["pod-cidr-unknown"]


def test_a_log_group_that_another_program_listens_to_is_a_warning(node: Space) -> None:
    with closing(LogGroup(9474)):
        assert list(look()) == ["log-group-taken"]
        assert look(NodeFacts(name="n1", pod_cidrs=FACTS.pod_cidrs, is_listening=True)) == {}
        assert look(settings=Settings(log_group=None)) == {}
        assert look(settings=Settings(log_group=947)) == {}


def test_pods_that_bypass_the_node_are_fatal_unless_others_do_not(node: Space) -> None:
    pod = Space()
    node.ip(
        f"link add eth0 type veth peer name eth0 netns {pod.path}",
        "link set eth0 up",
        "link add shim link eth0 type macvlan mode bridge",
        "addr add 10.9.0.1/24 dev shim",
        "link set shim up",
    )
    pod.ip("link set eth0 up")
    facts = NodeFacts(name="n1", pod_cidrs=("10.9.0.0/24",), pods={f"10.9.0.{n}": f"shop/web-{n}" for n in range(2, 9)})
    finding = look(facts)["pod-bypasses-node"]
    assert finding.severity == "fatal"
    assert finding.message == (
        "pod shop/web-2 (10.9.0.2, by shim), shop/web-3 (10.9.0.3, by shim), "
        "shop/web-4 (10.9.0.4, by shim), shop/web-5 (10.9.0.5, by shim), shop/web-6 (10.9.0.6, by shim) and 2 more "
        "has no interface of its own on the node, so its packets meet no rule of the node"
    )
    node.ip("route add 10.9.0.3 dev eth0")
    assert look(facts)["pod-bypasses-node"].severity == "warning"
    pod.close()


def test_services_of_ipvs_are_fatal(node: Space, tmp_path: Path) -> None:
    (tmp_path / "net").mkdir()
    (tmp_path / "net/ip_vs").write_text(
        "IP Virtual Server version 1.2.1 (size=4096)\nProt LocalAddress:Port Scheduler Flags\n"
        "  -> RemoteAddress:Port Forward Weight ActiveConn InActConn\n"
        "TCP  0A600001:01BB rr\n  -> 0AC80001:192B      Masq    1      0          0\nUDP  0A60000A:0035 rr\n"
    )
    (finding,) = inspect(NftRunner(), Settings(), FACTS, proc=tmp_path)
    assert (finding.severity, finding.code) == ("fatal", "ipvs")
    assert finding.message.startswith("IPVS serves 2 addresses of Services")


def test_flow_tables_of_others_are_a_warning() -> None:
    (finding,) = preflight._offloading(Seen(flowtables=(Named("inet", "router", "fast"),)))
    assert (finding.severity, finding.code) == ("warning", "flow-offload")
    assert finding.message.startswith("flow tables (inet router fast) take established connections past the rules")


def test_fatal_findings_come_first(node: Space) -> None:
    set_forwarding("ipv4/ip_forward", 0)
    subprocess.run(["nft", "add table inet podfence"], check=True)
    assert list(look()) == ["foreign-table", "not-forwarding"]
