# SPDX-License-Identifier: Apache-2.0
"""Other enforcers of NetworkPolicies on the node, known by the traces of their work in its kernel.

Where two enforce, a packet passes only if both let it, so the cluster may be stricter than the engine says; and
what takes packets from one pod to another in eBPF may take them past our rules altogether.
"""

from __future__ import annotations

import os
import socket
import subprocess
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from podfence.agent.node.findings import NodeFinding
from podfence.agent.node.interfaces import links
from podfence.agent.watch import is_about_us
from podfence.netlink.asking import NetlinkError, listed
from podfence.netlink.messages import GENERAL, NETFILTER, contents, text_of

if TYPE_CHECKING:
    from collections.abc import Iterator

_GET_TABLE, _GET_CHAIN, _GET_FLOWTABLE = 0xA01, 0xA04, 0xA17
_FAMILIES: Final = {1: "inet", 2: "ip", 3: "arp", 5: "netdev", 7: "bridge", 10: "ip6"}
_TABLE, _CHAIN_NAME, _FLOWTABLE_NAME = 1, 3, 2
_NOTED: Final = 6
_TIMEOUT: Final = 10.0


class Named(NamedTuple):
    """Something in nftables or iptables: `family` and `table` it is in, and its name, "" for the table itself."""

    family: str
    table: str
    name: str = ""

    def __str__(self) -> str:
        """Return it as `nft list` takes it."""
        return " ".join(part for part in self if part)


_INET: Final = 1


class Seen(NamedTuple):
    """What others have in the kernel: tables, chains, flow tables, names of interfaces, and files of theirs.

    `comment` is that of the table with our name, None if there is none: whose it is, is not asked here.
    """

    tables: tuple[Named, ...] = ()
    chains: tuple[Named, ...] = ()
    flowtables: tuple[Named, ...] = ()
    interfaces: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    comment: str | None = None


class _Rival(NamedTuple):
    """An enforcer and its traces: any one of them is enough. Names that end with "*" are beginnings."""

    code: str
    name: str
    remedy: str
    tables: tuple[str, ...] = ()
    chains: tuple[str, ...] = ()
    interfaces: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    is_past_us: bool = False
    """Whether it may carry packets past the forward hook."""


_AWS_MAPS: Final = "/sys/fs/bpf/globals/aws"
_RIVALS: Final = (
    _Rival(
        "rival-kube-router",
        "kube-router",
        "run kube-router with --run-firewall=false (K3s: --disable-network-policy), and its --cleanup-config once",
        chains=("KUBE-ROUTER-FORWARD", "KUBE-POD-FW-*", "KUBE-NWPLCY-*"),
    ),
    _Rival(
        "rival-calico-ebpf",
        "Calico with its eBPF data plane",
        "run only one of the two: packets that Calico carries in eBPF do not meet the node's rules",
        interfaces=("bpfin.cali", "bpfnatin"),
        is_past_us=True,
    ),
    _Rival(
        "rival-calico",
        "Calico",
        "run only one of the two: Calico cannot run without enforcing policies",
        tables=("calico",),
        chains=("cali-FORWARD", "cali-from-wl-dispatch", "filter-cali-FORWARD"),
    ),
    _Rival(
        "rival-cilium",
        "Cilium",
        "run only one of the two: packets that Cilium carries in eBPF do not meet the node's rules",
        interfaces=("cilium_host", "cilium_net", "cilium_vxlan"),
        is_past_us=True,
    ),
    _Rival(
        "rival-antrea",
        "Antrea",
        "run only one of the two: packets in Antrea's Open vSwitch do not meet the node's rules",
        chains=("ANTREA-FORWARD", "ANTREA-POL-*"),
        interfaces=("antrea-gw0",),
        is_past_us=True,
    ),
    _Rival(
        "rival-weave",
        "Weave Net's policy controller",
        "run Weave Net with EXPECT_NPC=0 and without its container weave-npc",
        chains=("WEAVE-NPC", "WEAVE-NPC-*"),
    ),
    _Rival(
        "rival-kube-network-policies",
        "kube-network-policies (also part of kindnet)",
        "remove its DaemonSet, or run kindnet with --network-policy=false, and delete its table",
        tables=("kube-network-policies", "kindnet-network-policies"),
    ),
    _Rival(
        "rival-aws",
        "the policy agent of the Amazon VPC CNI plugin",
        "set enableNetworkPolicy of the plugin's add-on to false",
        files=(_AWS_MAPS,),
    ),
)


def look(proc: Path = Path("/proc")) -> Seen:
    """Return what others have in this thread's network namespace. Never raises; what cannot be seen is left out.

    Rules are never listed, which would take long on a large node. Iptables in its old form is looked at if its
    program is there and the kernel has such a table.
    """
    interfaces: tuple[str, ...] = ()
    with suppress(NetlinkError, OSError):
        interfaces = tuple(sorted(link.name for link in links().values()))
    return Seen(
        _listed(_GET_TABLE, _TABLE),
        (*_listed(_GET_CHAIN, _CHAIN_NAME), *_legacy(proc)),
        _listed(_GET_FLOWTABLE, _FLOWTABLE_NAME),
        interfaces,
        tuple(path for item in _RIVALS for path in item.files if Path(path).exists()),
        _comment(),
    )


def rivals(seen: Seen) -> Iterator[NodeFinding]:
    """Yield a finding for each other enforcer that left traces: a warning, or fatal if packets may go past us."""
    for rival in _RIVALS:
        trace = next(_traces(rival, seen), "")
        if trace and rival.is_past_us:
            message = f"{rival.name} runs on this node ({trace}) and may carry packets of pods past podfence"
            yield NodeFinding("fatal", rival.code, message, rival.remedy)
        elif trace:
            message = (
                f"{rival.name} also enforces policies on this node ({trace}): "
                "a connection needs the consent of both, so less may be allowed than podfence says"
            )
            yield NodeFinding("warning", rival.code, message, rival.remedy)


def _traces(rival: _Rival, seen: Seen) -> Iterator[str]:
    yield from (f"table {item}" for item in seen.tables if item.table in rival.tables)
    yield from (f"chain {item}" for item in seen.chains if _matches(item.name, rival.chains))
    yield from (f"interface {name}" for name in seen.interfaces if name in rival.interfaces)
    yield from (path for path in seen.files if path in rival.files)


def _matches(name: str, patterns: tuple[str, ...]) -> bool:
    return any(name == item or (item.endswith("*") and name.startswith(item[:-1])) for item in patterns)


def _listed(question: int, place_of_name: int) -> tuple[Named, ...]:
    """Return what a list of nf_tables has, our own tables left out, which may have thousands of chains."""
    found = []
    for data, start, end in _dumped(question):
        if not is_about_us(data, start):
            texts = contents(data, start + GENERAL.size, end)
            name = text_of(texts.get(place_of_name, b"")) if place_of_name != _TABLE else ""
            found.append(Named(_FAMILIES.get(data[start], str(data[start])), text_of(texts.get(_TABLE, b"")), name))
    return tuple(found)


def _comment() -> str | None:
    """Return the comment of the table with our name, None if there is no such table."""
    for data, start, end in _dumped(_GET_TABLE):
        if data[start] == _INET and is_about_us(data, start):
            noted = contents(data, start + GENERAL.size, end).get(_NOTED, b"")
            # As nft keeps it: a type, which is 0 for comments, a length, and the text.
            return text_of(noted[2:]) if noted[:1] == b"\0" else ""
    return None


def _dumped(question: int) -> Iterator[tuple[bytes, int, int]]:
    """Yield where each message of a list of nf_tables is; nothing if the kernel does not know or give such a list."""
    with suppress(OSError, NetlinkError):
        yield from listed(NETFILTER, question, GENERAL.pack(socket.AF_UNSPEC, 0, 0))


def _legacy(proc: Path) -> Iterator[Named]:
    """Yield the chains of table `filter` in the old form of iptables, where the kernel has that table already.

    To ask for a table that is not there would make it.
    """
    for family, names, program in (
        ("ip", "ip_tables_names", "iptables-legacy-save"),
        ("ip6", "ip6_tables_names", "ip6tables-legacy-save"),
    ):
        try:
            if "filter" not in (proc / "net" / names).read_text(encoding="ascii").split():
                continue
            done = subprocess.run(
                (program, "-t", "filter"),
                capture_output=True,
                timeout=_TIMEOUT,
                env={**os.environ, "LC_ALL": "C"},
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired):
            continue
        lines = done.stdout.decode("utf-8", "replace").splitlines()
        yield from (Named(family, "filter", line[1:].split(" ")[0]) for line in lines if line.startswith(":"))
