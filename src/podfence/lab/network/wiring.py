# SPDX-License-Identifier: Apache-2.0
"""The lab's network: namespaces that others hold, and the cables between them.

Nodes and outside share one link, a bridge in the namespace of the calling process, and know each other's hardware
addresses. A pod has a cable to its node, as its kind of network says. No source address is rewritten between pods,
nodes and outside.
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Final

from podfence.lab.network import outside, results
from podfence.lab.network.attachment import DEVICE, AttachError, Attachment, family_of, interface, nodad
from podfence.lab.network.bridged import Bridged
from podfence.lab.network.namespaces import NetworkError, inside, ip, require, write_settings
from podfence.lab.network.neighbours import capacity, finders, require_room_for_all_pairs
from podfence.lab.network.routed import Routed
from podfence.nft.errors import NftError
from podfence.nft.process import NftRunner

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
    from pathlib import Path

    from podfence.lab.addresses import Plan, PodNetworkKind
    from podfence.sets.addresses import Family

BRIDGE: Final = "podfence"
_KINDS: Final[Mapping[PodNetworkKind, type[Bridged | Routed]]] = {"routed": Routed, "bridge": Bridged}
_OUTSIDE_MAC: Final = "ee:ee:ee:ee:ee:ee"
_REMOVED: Final = 1
_NO_DEVICE: Final = ("Cannot find device", "No such device")

_SETTINGS: Final = {
    # Refusals are what a lab is about: all of them are sent, not one per second and address.
    "ipv4/icmp_ratelimit": "0",
    "ipv4/icmp_msgs_per_sec": "1000000",
    "ipv4/icmp_msgs_burst": "100000",
    "ipv6/icmp/ratelimit": "0",
    # ping without raw sockets: only group 0 exists in the user namespace of a lab, and everything in it runs as that.
    "ipv4/ping_group_range": "0 0",
}
_ROUTER_SETTINGS: Final = {
    **_SETTINGS,
    "ipv6/conf/all/accept_dad": "0",
    "ipv6/conf/default/accept_dad": "0",
    "ipv4/conf/all/rp_filter": "0",
    "ipv4/conf/default/rp_filter": "0",
}
_NODE_SETTINGS: Final = {
    **_ROUTER_SETTINGS,
    "ipv6/conf/all/accept_ra": "0",
    "ipv6/conf/default/accept_ra": "0",
    "ipv4/ip_forward": "1",
    "ipv6/conf/all/forwarding": "1",
    # Pods of other nodes are behind another node on the same link, which is meant.
    "ipv4/conf/all/send_redirects": "0",
    "ipv4/conf/default/send_redirects": "0",
}
_OUTSIDE_SETTINGS: Final = {**_ROUTER_SETTINGS, **outside.SETTINGS}


class Network:
    """The network of one lab; namespaces are given by a process in each, as this process numbers them.

    For one thread at a time; what it does in several namespaces happens at once.
    """

    def __init__(
        self,
        plan: Plan,
        nodes: Sequence[int],
        outside_pid: int,
        *,
        kept: Sequence[Path] = (),
        room: int | None = None,
    ) -> None:
        """Keep what is to be wired, node 1 first; nothing is touched yet.

        `kept` are folders, one for each node, that hold how its pods are attached, for its agent.
        `room` is how many neighbours the kernel's tables take; without it, the kernel is asked.
        """
        self._plan = plan
        self._pods = _KINDS[plan.network](plan)
        self._nodes = tuple(nodes)
        self._outside = outside_pid
        self._kept = dict(enumerate(kept, 1))
        self._finders = finders(capacity() if room is None else room)
        self._attached: dict[int, dict[str, Attachment]] = {number: {} for number in range(1, len(self._nodes) + 1)}
        self._workers = ThreadPoolExecutor(max_workers=os.cpu_count() or 1, thread_name_prefix="network")

    def close(self) -> None:
        """End the threads; the network itself goes with its namespaces."""
        self._workers.shutdown()

    def start(self) -> None:
        """Wire nodes and outside, in the network namespace of this thread, once.

        Raises NetworkError naming the step that failed.
        """
        ports = [("outside", self._outside, _OUTSIDE_MAC)]
        ports += [(f"node-{number}", pid, _node_mac(number)) for number, pid in enumerate(self._nodes, 1)]
        lines = ["link set lo up", f"link add {BRIDGE} type bridge mcast_snooping 0", f"link set {BRIDGE} up"]
        for name, pid, mac in ports:
            lines.append(f"link add {name} type veth peer name {DEVICE} address {mac} netns {pid}")
            lines.append(f"link set {name} master {BRIDGE} up")
        require("connecting the nodes", lines)
        futures = [self._workers.submit(self._wire_outside)]
        futures += [self._workers.submit(self._wire_node, number) for number in self._attached]
        for future in futures:
            future.result()

    def attach(self, pods: Iterable[Attachment]) -> None:
        """Wire pods that are not wired yet, many at once.

        A pod with an address that another one had takes its place. Raises AttachError after all were tried.
        """
        failed: dict[Attachment, str] = {}
        for number, items in _by_node(pods).items():
            failed |= self._attach(number, items)
        if failed:
            raise AttachError(failed)

    def detach(self, pods: Iterable[Attachment]) -> None:
        """Take pods off the network, whether or not their namespaces are still there.

        Afterwards their addresses can be given to others. Raises NetworkError naming the step that failed.
        """
        for number, items in _by_node(pods).items():
            held = self._attached[number]
            gone = [pod for pod in items if held.get(pod.addresses[0]) == pod]
            self._remove(number, gone)
            for pod in gone:
                del held[pod.addresses[0]]

    def require_room_for_all_pairs(self) -> None:
        """Raise NetworkError if the kernel has no room for what pods find when each speaks to every other."""
        if self._plan.network == "bridge":
            require_room_for_all_pairs(map(len, self._attached.values()), capacity())

    # One namespace each

    def _wire_outside(self) -> None:
        lines = self._up(self._plan.gateway)
        lines += outside.routes(self._plan, len(self._nodes))
        lines += [line for number in self._attached for line in self._neighbour(number)]
        with inside(self._outside):
            write_settings(_OUTSIDE_SETTINGS)
            require("wiring outside", lines)
            try:
                NftRunner().run(outside.rules(self._plan))
            except NftError as error:
                raise NetworkError(f"redirecting connections to the servers outside: {error}") from error

    def _wire_node(self, number: int) -> None:
        lines = self._up(partial(self._plan.node_address, number))
        for family in self._plan.families:
            gateway = self._plan.gateway(family)
            lines.append(f"neigh replace {gateway} lladdr {_OUTSIDE_MAC} dev {DEVICE} nud permanent")
            lines.append(f"route replace {outside.EVERYTHING[family]} via {gateway}")
            lines += [
                f"route replace {self._plan.pod_range(other, family)} via {self._plan.node_address(other, family)}"
                for other in self._attached
                if other != number
            ]
        lines += [line for other in self._attached if other != number for line in self._neighbour(other)]
        with inside(self._nodes[number - 1], f"node-{number}"):
            write_settings(_NODE_SETTINGS)
            require(f"wiring node {number}", lines + self._pods.start_node(number))

    def _attach(self, number: int, pods: list[Attachment]) -> dict[Attachment, str]:
        held = self._attached[number]
        stray = {
            pod: f"it is not among the addresses of node {number}" for pod in pods if not interface(self._plan, pod)
        }
        wanted = {pod.addresses[0]: pod for pod in pods if pod not in stray and held.get(pod.addresses[0]) != pod}
        replaced = [held.pop(address) for address in wanted if address in held]
        room = max(0, self._finders - sum(map(len, self._attached.values())))
        known = frozenset(list(wanted.values())[room:])
        try:
            self._remove(number, replaced)
            if self._pods.bridge:
                # Nothing else tells whose a port is. A link of its own is known by its route, which comes after it.
                self._keep(number, wanted.values())
            failed = self._connect(number, list(wanted.values()), known)
        except NetworkError as error:
            return stray | dict.fromkeys(wanted.values(), str(error))
        connected = [pod for pod in wanted.values() if pod not in failed]
        jobs = [(pod, self._workers.submit(self._wire_pod, pod, known=pod in known)) for pod in connected]
        for pod, job in jobs:
            try:
                job.result()
            except NetworkError as error:
                failed[pod] = str(error)
            else:
                held[pod.addresses[0]] = pod
                self._keep(number, [pod])
        if failed:
            self._remove(number, list(failed))
        return stray | failed

    def _keep(self, number: int, pods: Iterable[Attachment]) -> None:
        if number in self._kept:
            for pod in pods:
                results.write(self._kept[number], self._plan, self._pods, pod)

    def _connect(self, number: int, pods: list[Attachment], known: Collection[Attachment]) -> dict[Attachment, str]:
        """Make the node's side of the cables, with the neighbours of some; return what went wrong with which."""
        lines: list[str] = []
        owners: list[Attachment] = []
        settings: dict[str, str] = {}
        for pod in pods:
            fresh, own = self._pods.node_end(pod)
            if pod in known:
                for address in pod.addresses:
                    device = self._pods.way(pod, family_of(address)).device
                    fresh.append(f"neigh replace {address} lladdr {pod.mac} dev {device} nud permanent")
            lines += fresh
            owners += [pod] * len(fresh)
            settings |= own
        failed: dict[Attachment, str] = {}
        with inside(self._nodes[number - 1], f"node-{number}"):
            for line, text in ip(lines).items():
                failed.setdefault(owners[line], f"ip {lines[line]}: {text}")
            write_settings(settings)
        return failed

    def _wire_pod(self, pod: Attachment, *, known: bool) -> None:
        lines = ["link set lo up", f"link set {DEVICE} up"]
        for address in pod.addresses:
            family = family_of(address)
            bits, gateway, mac, _ = self._pods.way(pod, family)
            lines.append(f"addr add {address}/{bits} dev {DEVICE}{nodad(family)}")
            # The gateway of a pod that is alone in its prefix is on its link all the same.
            lines.append(f"route add {outside.EVERYTHING[family]} via {gateway} dev {DEVICE} onlink")
            if known:
                lines.append(f"neigh replace {gateway} lladdr {mac} dev {DEVICE} nud permanent")
        with inside(pod.pid):
            write_settings(_SETTINGS)
            require("wiring the pod", lines)

    def _remove(self, number: int, pods: list[Attachment]) -> None:
        if not pods:
            return
        if number in self._kept:
            for pod in pods:
                results.remove(self._kept[number], self._plan, pod)
        # As a group, because the kernel waits once for each command that deletes, not for each device.
        lines = [f"link set {interface(self._plan, pod)} group {_REMOVED}" for pod in pods]
        lines.append(f"link delete group {_REMOVED}")
        with inside(self._nodes[number - 1], f"node-{number}"):
            for line, text in ip(lines).items():
                # The kernel may have removed some, or all, with the namespaces of the pods.
                if not any(sign in text for sign in _NO_DEVICE):
                    raise NetworkError(f"removing a pod of node {number}: ip {lines[line]}: {text}")

    # Names and texts

    def _up(self, address: Callable[[Family], str]) -> list[str]:
        """Return the commands that bring up one end of the link of nodes and outside, with its addresses."""
        lines = ["link set lo up"]
        for family in self._plan.families:
            bits = self._plan.node_range(family).partition("/")[2]
            lines.append(f"addr replace {address(family)}/{bits} dev {DEVICE}{nodad(family)}")
        return [*lines, f"link set {DEVICE} up"]

    def _neighbour(self, node: int) -> list[str]:
        return [
            f"neigh replace {address} lladdr {_node_mac(node)} dev {DEVICE} nud permanent"
            for address in (self._plan.node_address(node, family) for family in self._plan.families)
        ]


def _by_node(pods: Iterable[Attachment]) -> dict[int, list[Attachment]]:
    found: dict[int, list[Attachment]] = {}
    for pod in pods:
        found.setdefault(pod.node, []).append(pod)
    return found


def _node_mac(number: int) -> str:
    return f"02:00:00:00:00:{number:02x}"
