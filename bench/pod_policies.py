# SPDX-License-Identifier: Apache-2.0
"""Any number of policies on one pod, for podfence and for the rival: a chain for each policy, walked in order.

Policy n admits the pods with label ``peer=n`` on a TCP port; the one in the middle admits the client that
connects, so a walk in order tries half of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from bench.policies import labelled
from bench.wire import CLIENT, NEWCOMERS, PORT, SERVER
from podfence.kube.objects import Namespace, NetworkPolicy, Node, Peer, Pod, PodTemplate, PolicyPort, Rule

if TYPE_CHECKING:
    from collections.abc import Iterator

    from podfence.kube.objects import KubeObject

NODE: Final = "node-0"
_PEERS: Final = 1000
_PORTS: Final = 50


def cluster(policies: int) -> Iterator[KubeObject]:
    """Yield the objects: the server on the node, the client and other peers elsewhere, and the policies."""
    yield Namespace(name="shop", labels={})
    yield Node(name=NODE, labels={}, pod_cidrs=("10.128.0.0/24",))
    yield _pod("server", SERVER, "none", NODE)
    yield _pod("client", CLIENT, str(policies // 2), "node-1")
    for number in range(min(policies, _PEERS)):
        yield _pod(f"peer-{number}", _address(number), str(number), "node-2")
    for number in range(policies):
        ports = [PolicyPort("TCP", _port(number, policies))]
        if number == policies // 2:
            ports.append(PolicyPort("UDP", PORT))
        rule = Rule((Peer(labelled(peer=str(number))),), tuple(ports))
        yield NetworkPolicy(
            namespace="shop",
            name=f"policy-{number:05}",
            pod_selector=labelled(peer="none"),
            ingress=(rule,),
            policy_types=("Ingress",),
        )


def newcomer(number: int, policies: int) -> Pod:
    """Return a pod that comes to the node, and that one policy admits."""
    return _pod(f"new-{number}", f"{NEWCOMERS}{number + 3}", str(policies // 2), NODE)


def linear(policies: int) -> str:
    """Return the same as a script for nft with a chain for each policy, which the pod's chain calls in order."""
    lines = ["add table inet rival", "add chain inet rival pod"]
    for number in range(policies):
        peers = [CLIENT] if number == policies // 2 else []
        peers += [_address(number)] if number < _PEERS else []
        lines.append(f"add chain inet rival policy_{number}")
        lines.append(f"add set inet rival peers_{number} {{ type ipv4_addr; }}")
        if peers:
            lines.append(f"add element inet rival peers_{number} {{ {', '.join(peers)} }}")
        port = _port(number, policies)
        lines.append(f"add rule inet rival policy_{number} ip saddr @peers_{number} tcp dport {port} counter accept")
        lines.append(f"add rule inet rival pod jump policy_{number}")
    lines += [
        "add rule inet rival pod counter drop",
        "add chain inet rival forward { type filter hook forward priority -5; }",
        "add rule inet rival forward ct state established,related accept",
        f"add rule inet rival forward ip daddr {SERVER} goto pod",
    ]
    return "".join(f"{line}\n" for line in lines)


TRACKING: Final = """\
add table inet tracking
add chain inet tracking forward { type filter hook forward priority -5; }
add rule inet tracking forward ct state established,related accept
"""
"""Nothing but connection tracking, which every enforcer that lets established flows pass needs."""


def _port(number: int, policies: int) -> int:
    return PORT if number == policies // 2 else PORT + 1 + number % _PORTS


def _address(number: int) -> str:
    return f"10.128.{2 + number // 250}.{number % 250 + 1}"


def _pod(name: str, address: str, peer: str, node: str) -> Pod:
    template = PodTemplate(labels={"peer": peer}, node=node)
    return Pod(namespace="shop", name=name, template=template, addresses=(address,), phase="Running")
