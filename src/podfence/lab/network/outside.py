# SPDX-License-Identifier: Apache-2.0
"""The world outside the cluster: one network namespace that is every address that nobody else has."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from podfence.nft.chain import Chain, Hook
from podfence.nft.rule import Rule
from podfence.nft.table import Table
from podfence.nft.transaction import Transaction

if TYPE_CHECKING:
    from podfence.lab.addresses import Plan
    from podfence.sets.addresses import Family

DNS_PORT: Final = 53
ANY_PORT: Final = 9
"""The port of TCP and UDP of outside's own servers, to which connections to any other port are led."""

EVERYTHING: Final[dict[Family, str]] = {4: "0.0.0.0/0", 6: "::/0"}

SETTINGS: Final = {
    # Only a router says that there is no way to an address; others keep silent.
    "ipv4/ip_forward": "1",
    "ipv6/conf/all/forwarding": "1",
    # Connections can come from any address, whether or not an interface has it.
    "ipv4/ip_nonlocal_bind": "1",
    "ipv6/ip_nonlocal_bind": "1",
}

_TABLE: Final = Table("podfence_lab")
_CHAIN: Final = Chain("any_port", Hook("nat", "prerouting", -100))
# A question: the QR bit and the opcode are 0, one question, no answers, no authorities (RFC 1035, 4.1.1).
_QUESTION: Final = "@th,80,5 0 @th,96,48 0x000100000000"


def routes(plan: Plan, nodes: int) -> list[str]:
    """Return the commands of `ip` that make outside every address but those of pods, nodes and Services.

    Those of pods that do not exist, and of Services, are unreachable from here, as they are on a real network.
    """
    lines = []
    for family in plan.families:
        lines.append(f"route replace local {EVERYTHING[family]} dev lo table main")
        lines += [f"route replace unreachable {block}" for block in (plan.service_range(family), plan.pods(family))]
        for node in range(1, nodes + 1):
            lines.append(f"route replace {plan.pod_range(node, family)} via {plan.node_address(node, family)}")
    return lines


def rules(plan: Plan) -> Transaction:
    """Return the table that leads all ports to outside's own servers.

    Questions of DNS over UDP are answered whatever address they are sent to, over TCP at the gateway only:
    all else on port 53 gets the answer of any other port, so that probes of that port work too.
    """
    gateways = [
        f"{'ip6' if family == 6 else 'ip'} daddr {plan.gateway(family)} tcp dport {DNS_PORT}"
        for family in plan.families
    ]
    texts = [
        *(
            f"{'ip6' if family == 6 else 'ip'} daddr {{ {plan.pods(family)}, {plan.service_range(family)} }} accept"
            for family in plan.families
        ),
        f"udp dport {DNS_PORT} {_QUESTION} redirect to :{DNS_PORT}",
        *(f"{match} redirect to :{DNS_PORT}" for match in gateways),
        f"meta l4proto 6 redirect to :{ANY_PORT}",
        f"meta l4proto 17 redirect to :{ANY_PORT}",
    ]
    transaction = Transaction(_TABLE).add(_TABLE).delete(_TABLE).add(_TABLE, _CHAIN)
    return transaction.add(*(Rule(_CHAIN.name, text) for text in texts))
