# SPDX-License-Identifier: Apache-2.0
"""Names in the lab: dnsmasq as the cluster's DNS server and as that of the world outside, and what they know.

Both run in the foreground, as the one user there is, and read no file of the machine.
"""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING, Final

from podfence.cluster.nodes import numbers_of
from podfence.cluster.services import selected
from podfence.lab.network.services import endpoints
from podfence.sets.addresses import format_address

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from podfence.cluster.members import Member
    from podfence.cluster.state import ClusterState
    from podfence.kube.objects import Service
    from podfence.lab.addresses import Plan
    from podfence.sets.addresses import Family

ZONE: Final = "cluster.local"
RECORDS: Final = "records"
"""The name of the file of records in the folder that the cluster's DNS server watches."""

_COMMON: Final = (
    "dnsmasq",
    # Without it dnsmasq changes its groups, which a user namespace with one user forbids.
    "--no-daemon",
    "--conf-file=/dev/null",
    "--pid-file=",
    "--no-resolv",
    "--no-poll",
    "--no-hosts",
    "--log-facility=-",
    "--dns-forward-max=10000",
)
_WEB: Final[dict[Family, str]] = {4: "203.0.113.80", 6: "2001:db8::80"}
_NAMED: Final[dict[str, dict[Family, str]]] = {"google.com": {4: "142.251.42.238", 6: "2001:db8::238"}}
# Names below others do not exist, so that a Service that is not there is not found outside either.
_TOP_LEVEL: Final = (
    *("com", "org", "net", "edu", "gov", "mil", "int", "info", "biz", "io", "ai", "co", "me", "tv", "dev", "app"),
    *("cloud", "tech", "sh", "gg", "ly", "to", "cc", "us", "ca", "mx", "br", "uk", "ie", "de", "fr", "nl", "be", "ch"),
    *("at", "it", "es", "pt", "se", "no", "dk", "fi", "pl", "cz", "ru", "ua", "tr", "il", "in", "cn", "tw", "hk", "jp"),
    *("kr", "sg", "au", "nz", "za", "eu", "example"),
)


def cluster_server(folder: Path | str, upstream: Iterable[str]) -> tuple[str, ...]:
    """Return the command of the cluster's DNS server.

    It answers from the files in `folder`, which it reads again when they change, and asks the upstream servers
    (addresses) for names outside. Names without a dot, and those of the cluster that do not exist, are answered
    at once.
    """
    return (
        *_COMMON,
        f"--hostsdir={folder}",
        f"--local=/{ZONE}/",
        "--domain-needed",
        "--bogus-priv",
        # Addresses come and go too fast here to remember what there was not.
        "--no-negcache",
        *(f"--server={address}" for address in upstream),
    )


def outside_server(plan: Plan) -> tuple[str, ...]:
    """Return the command of the DNS server of the world outside, which knows every name that could be real."""
    addresses = dict.fromkeys(_TOP_LEVEL, _WEB) | _NAMED
    return (
        *_COMMON,
        "--address=/#/",
        # So that a name without an IPv6 address has an empty answer for it, and not "no such name".
        *(f"--local=/{name}/" for name in addresses),
        *(
            f"--address=/{name}/{found[family]}"
            for name, found in addresses.items()
            for family in sorted(_WEB)
            if family in plan.families
        ),
    )


def records(state: ClusterState, plan: Plan) -> str:
    """Return the names of the cluster as lines of a hosts file.

    Services have their cluster addresses; headless ones the addresses of their running pods, which also have names
    of their own: a StatefulSet's pod its name, others their address with dashes.
    """
    lines: set[tuple[str, str]] = set()
    for service in state.services.values():
        lines.update(_service(state, service))
    api = f"kubernetes.default.svc.{ZONE}"
    if not any(name == api for name, _ in lines):
        lines.update((api, str(ipaddress.ip_network(plan.service_range(family))[1])) for family in plan.families)
    return "".join(f"{address} {name}\n" for name, address in sorted(lines))


def _service(state: ClusterState, service: Service) -> Iterator[tuple[str, str]]:
    name = f"{service.name}.{service.namespace}.svc.{ZONE}"
    if not service.headless:
        for number in numbers_of(service.addresses):
            yield name, format_address(number)
        return
    members = {number: member for member in selected(state, service) for number in member.addresses}
    running = {item.address for port in service.ports for item in endpoints(state, service, port)}
    if not service.ports:
        running = {number for number, member in members.items() if member.pod and member.pod.phase == "Running"}
    for number in running:
        yield name, format_address(number)
        yield f"{_hostname(members.get(number), number)}.{name}", format_address(number)


def _hostname(member: Member | None, number: int) -> str:
    pod = member.pod if member is not None else None
    if pod is not None and pod.owner is not None and pod.owner.kind == "StatefulSet":
        return pod.name
    return format_address(number).replace(".", "-").replace(":", "-")


def publish(folder: Path, text: str) -> None:
    """Put the records where the cluster's DNS server sees them, all at once. Raises OSError."""
    # Names that begin with a dot are not read.
    fresh = folder / f".{RECORDS}"
    fresh.write_text(text)
    fresh.rename(folder / RECORDS)
