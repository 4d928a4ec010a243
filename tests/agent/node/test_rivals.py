# SPDX-License-Identifier: Apache-2.0
"""Other enforcers, known by what each of them leaves in a node's kernel."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from podfence.agent.node.rivals import Named, Seen, look, rivals
from podfence.dataplane.ruleset import TABLE
from podfence.nft.chain import Chain
from podfence.nft.process import NftRunner
from podfence.nft.transaction import Transaction

if TYPE_CHECKING:
    from tests.spaces import Space


def codes() -> list[tuple[str, str]]:
    return [(item.severity, item.code) for item in rivals(look())]


@pytest.mark.parametrize(
    ("command", "code"),
    [
        ("iptables-nft -N KUBE-ROUTER-FORWARD", "rival-kube-router"),
        ("iptables-nft -N KUBE-POD-FW-2QXXPR3V3KXSPMQN", "rival-kube-router"),
        ("ip6tables-nft -N KUBE-NWPLCY-DEFAULT", "rival-kube-router"),
        ("iptables-nft -N cali-FORWARD", "rival-calico"),
        ("nft add table ip6 calico", "rival-calico"),
        ("iptables-nft -N WEAVE-NPC-DEFAULT", "rival-weave"),
        ("nft add table inet kube-network-policies", "rival-kube-network-policies"),
        ("nft add table inet kindnet-network-policies", "rival-kube-network-policies"),
    ],
)
def test_who_intersects_with_us_is_a_warning(node: Space, command: str, code: str) -> None:
    assert codes() == []
    subprocess.run(command.split(), check=True)
    assert codes() == [("warning", code)]


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("cilium_host", "rival-cilium"),
        ("bpfin.cali", "rival-calico-ebpf"),
        ("antrea-gw0", "rival-antrea"),
    ],
)
def test_who_may_carry_packets_past_us_is_fatal(node: Space, name: str, code: str) -> None:
    node.ip(f"link add {name} type veth peer name other")
    assert codes() == [("fatal", code)]


def test_iptables_in_its_old_form_is_looked_at_where_it_is_in_use(node: Space) -> None:
    if shutil.which("iptables-legacy") is None:
        pytest.skip("needs iptables-legacy")
    before = look()
    assert before.chains == ()
    assert "filter" not in Path("/proc/net/ip_tables_names").read_text(encoding="ascii")
    if subprocess.run(["iptables-legacy", "-N", "cali-FORWARD"], capture_output=True, check=False).returncode:
        pytest.skip("this kernel has no iptables in its old form")
    assert Named("ip", "filter", "cali-FORWARD") in look().chains
    assert codes() == [("warning", "rival-calico")]


def test_a_finding_names_the_trace_and_the_remedy(node: Space) -> None:
    subprocess.run(["nft", "add table inet kindnet-network-policies"], check=True)
    (finding,) = rivals(look())
    assert str(finding) == (
        "kube-network-policies (also part of kindnet) also enforces policies on this node (table inet "
        "kindnet-network-policies): a connection needs the consent of both, so less may be allowed than podfence "
        "says; remove its DaemonSet, or run kindnet with --network-policy=false, and delete its table"
    )


def test_files_of_the_amazon_vpc_agent_are_known() -> None:
    (finding,) = rivals(Seen(files=("/sys/fs/bpf/globals/aws",)))
    assert (finding.severity, finding.code) == ("warning", "rival-aws")


def test_kube_proxy_docker_and_our_own_table_are_no_rivals(node: Space) -> None:
    subprocess.run(["iptables-nft", "-N", "KUBE-FORWARD"], check=True)
    subprocess.run(["iptables-nft", "-N", "DOCKER-USER"], check=True)
    subprocess.run(["nft", "add table ip kube-proxy; add table inet firewalld"], check=True)
    NftRunner().run(Transaction(TABLE).add(TABLE, Chain("KUBE-POD-FW-X")))
    assert codes() == []


def test_chains_of_our_own_table_are_not_looked_at_though_there_are_thousands(node: Space) -> None:
    NftRunner().run(Transaction(TABLE).add(TABLE, *(Chain(f"c{number}") for number in range(5000))))
    assert look().chains == ()
