# SPDX-License-Identifier: Apache-2.0
"""Whatever makes enforcement on a node impossible, or other than it seems; looked for again every minute.

What can be tried is tried: versions tell little (see `podfence.nft.probe`). docs/reference/preflight.md has
every finding with its meaning.
"""

from __future__ import annotations

import platform
import re
from contextlib import closing
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from podfence.agent.node.findings import NodeFinding, some
from podfence.agent.node.interfaces import locate
from podfence.agent.node.rivals import look, rivals
from podfence.dataplane.conntrack import KernelConntrack
from podfence.dataplane.ruleset import TABLE, is_ours
from podfence.netlink.asking import NetlinkError
from podfence.nft.errors import MissingFeatureError, NftError, NotInstalledError, PermissionDeniedError
from podfence.nft.probe import bridge_features, probe
from podfence.nft.table import Table
from podfence.nft.transaction import Transaction

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from podfence.agent.node.interfaces import Place
    from podfence.agent.node.rivals import Seen
    from podfence.dataplane.settings import Settings
    from podfence.nft.runner import Runner

OLDEST_KERNEL: Final = (5, 10)
"""The first that keeps the comment of a table, by which ours is known."""

_COMMENTED: Final = Transaction(Table("podfence_probe", comment="probe")).add(Table("podfence_probe", comment="probe"))

_NFT: Final = (
    (NotInstalledError, "nft-missing", "nft cannot be started", "install nftables 1.0.1 or later"),
    (
        PermissionDeniedError,
        "not-permitted",
        "the agent is not permitted to change the kernel's rules",
        "give the agent the capability NET_ADMIN and the node's network (hostNetwork: true)",
    ),
    (
        MissingFeatureError,
        "kernel-feature",
        "policies cannot be enforced",
        "use a kernel with nf_tables, its modules and connection tracking, and nft 1.0.1 or later",
    ),
    (NftError, "nft-fails", "nft returned an unexpected error", "run `nft list tables` on the node"),
)
"""For each error of nft the code of the finding, its message and the remedy; the first that fits."""


class NodeFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What the cluster says of this node: whether there is a Node object, its pod CIDRs, and its pods by address.

    `pods` holds the running pods of the node's own network plugin, without those of the host's network. `is_listening`
    says that the agent listens to its log group itself.
    """

    name: str
    is_known: bool = True
    pod_cidrs: tuple[str, ...] = ()
    pods: dict[str, str] = {}
    is_listening: bool = False


def inspect(
    runner: Runner, settings: Settings, facts: NodeFacts, *, proc: Path = Path("/proc")
) -> tuple[NodeFinding, ...]:
    """Return what is wrong with the node of this thread's network namespace, fatal findings first.

    The first call with a runner takes some 100 ms, because nft is tried; those after take a few. Changes nothing, and
    never raises: what cannot be looked at is a finding, or left to what can be.
    """
    seen = look(proc)
    places = _places(facts)
    found = [
        *_nft(runner),
        *_frames(runner, settings, places),
        *_table(seen),
        *_kernel(settings),
        *_bypassing(facts, places),
        *_ipvs(proc),
        *rivals(seen),
        *_offloading(seen),
        *_forwarding(facts, proc),
        *_cluster(facts),
        *_log_group(settings, facts, proc),
    ]
    return tuple(sorted(found, key=lambda item: item.severity != "fatal"))


def _nft(runner: Runner) -> Iterator[NodeFinding]:
    try:
        _require(runner)
    except NftError as error:
        code, what, remedy = next(row for kind, *row in _NFT if isinstance(error, kind))
        yield NodeFinding("fatal", code, f"{what}: {error.text}", remedy)


def _frames(runner: Runner, settings: Settings, places: Mapping[str, Place]) -> Iterator[NodeFinding]:
    """Tell what is missing for binding ports of bridges, if there are pods behind one."""
    bridges = sorted({place.bridge for place in places.values() if place.bridge})
    if settings.binding == "off" or not bridges:
        return
    try:
        _require_frames(runner)
    except MissingFeatureError as error:
        yield NodeFinding(
            "fatal" if settings.binding == "enforce" else "warning",
            "bridge-not-bound",
            f"pods cannot be bound to their ports of bridge {some(bridges)}: {error.text}",
            "use a kernel with nf_tables for bridges, or turn binding off (--binding off)",
        )
    except NftError:
        # Whatever else is wrong with nft is told already.
        return


@lru_cache(maxsize=1)
def _require_frames(runner: Runner) -> None:
    """Raise NftError for what nft and the kernel lack for ports of bridges; asked no more when that is nothing."""
    probe(runner, bridge_features()).require()


@lru_cache(maxsize=1)
def _require(runner: Runner) -> None:
    """Raise NftError for what nft and the kernel lack; asked no more when nothing is, since nft reads all there is."""
    features = probe(runner)
    try:
        runner.check(_COMMENTED)
    except NftError as error:
        features.missing["comments of tables"] = error.text
    features.require()


def _table(seen: Seen) -> Iterator[NodeFinding]:
    if seen.comment is not None and not is_ours(seen.comment):
        yield NodeFinding(
            "fatal",
            "foreign-table",
            f"podfence did not create the table {TABLE.address} and does not change it",
            f"find out which program created it, and rename or delete it (`nft delete table {TABLE.address}`)",
        )


def _kernel(settings: Settings) -> Iterator[NodeFinding]:
    release = platform.release()
    if (found := re.match(r"(\d+)\.(\d+)", release)) and (int(found[1]), int(found[2])) < OLDEST_KERNEL:
        yield NodeFinding(
            "fatal",
            "kernel-too-old",
            f"kernel {release} does not store the comment by which podfence recognizes its own table",
            f"use Linux {'.'.join(map(str, OLDEST_KERNEL))} or later",
        )
    try:
        with closing(KernelConntrack(settings.label)) as conntrack:
            conntrack.own_addresses()
    except (OSError, NetlinkError) as error:
        yield NodeFinding(
            "fatal",
            "conntrack",
            f"the agent cannot read established connections, so they outlive the policies that allowed them: {error}",
            "use a kernel with nf_conntrack_netlink, and load it (`modprobe nf_conntrack_netlink`)",
        )


def _places(facts: NodeFacts) -> Mapping[str, Place]:
    try:
        return locate(facts.pods)
    except (OSError, NetlinkError):
        return {}


def _bypassing(facts: NodeFacts, places: Mapping[str, Place]) -> Iterator[NodeFinding]:
    past = {address: place for address, place in places.items() if place.kind == "bypass"}
    if not past:
        return
    names = sorted({f"{facts.pods[address]} ({address}, by {place.interface})" for address, place in past.items()})
    others = any(place.kind in {"routed", "bridge"} for place in places.values())
    yield NodeFinding(
        # Where pods have links of their own, one without may only be about to get or lose it.
        "warning" if others else "fatal",
        "pod-bypasses-node",
        f"pod {some(names)} has no interface of its own on the node, so its packets meet no rule of the node",
        "use a CNI plugin that gives each pod a link to its node, instead of macvlan, ipvlan, SR-IOV or Open vSwitch",
    )


def _ipvs(proc: Path) -> Iterator[NodeFinding]:
    services = sum(line.startswith(("TCP ", "UDP ", "SCTP ")) for line in _lines(proc / "net/ip_vs"))
    if services:
        yield NodeFinding(
            "fatal",
            "ipvs",
            f"IPVS serves {services} addresses of Services, and the packets that it sends do not pass the forward hook",
            "run kube-proxy in mode nftables or iptables, and remove its old tables (`kube-proxy --cleanup`)",
        )


def _offloading(seen: Seen) -> Iterator[NodeFinding]:
    if seen.flowtables:
        names = ", ".join(map(str, seen.flowtables))
        yield NodeFinding(
            "warning",
            "flow-offload",
            f"flow tables ({names}) take established connections past the rules: a connection that a later "
            "policy denies continues until it ends",
            "exclude the pods' traffic from the rules with `flow add`, or delete the flow tables",
        )


def _forwarding(facts: NodeFacts, proc: Path) -> Iterator[NodeFinding]:
    texts = (*facts.pod_cidrs, *facts.pods)
    wanted = {
        "net.ipv4.ip_forward": (False, "sys/net/ipv4/ip_forward"),
        "net.ipv6.conf.all.forwarding": (True, "sys/net/ipv6/conf/all/forwarding"),
    }
    off = [
        name
        for name, (is_six, path) in wanted.items()
        if any((":" in text) == is_six for text in texts) and _lines(proc / path) == ["0"]
    ]
    if off:
        yield NodeFinding(
            "warning",
            "not-forwarding",
            f"this node does not route packets, so pods do not reach other nodes: {' and '.join(off)} is 0",
            f"run `sysctl -w {' '.join(f'{name}=1' for name in off)}`",
        )


def _cluster(facts: NodeFacts) -> Iterator[NodeFinding]:
    if not facts.is_known:
        yield NodeFinding(
            "warning",
            "node-unknown",
            f"the cluster has no Node named {facts.name!r}",
            "start the agent with the name that `kubectl get nodes` shows",
        )
    elif not facts.pod_cidrs:
        yield NodeFinding(
            "warning",
            "pod-cidr-unknown",
            f"Node {facts.name} has no podCIDRs, so a pod that has just started is open until its policies are in the "
            "kernel; with podCIDRs, its packets are dropped during that time",
            "start the controller manager with --allocate-node-cidrs; if your CNI plugin has ranges of its own, this "
            "finding stays",
        )


def _log_group(settings: Settings, facts: NodeFacts, proc: Path) -> Iterator[NodeFinding]:
    if settings.log_group is None or facts.is_listening:
        return
    if str(settings.log_group) in {line.split()[0] for line in _lines(proc / "net/netfilter/nfnetlink_log") if line}:
        yield NodeFinding(
            "warning",
            "log-group-taken",
            f"another program listens to NFLOG group {settings.log_group}, so denied connections are not logged",
            "find that program (ulogd, tcpdump, another agent), and give one of the two another group",
        )


def _lines(path: Path) -> list[str]:
    try:
        return [line.strip() for line in path.read_text(encoding="ascii", errors="replace").splitlines()]
    except OSError:
        return []
