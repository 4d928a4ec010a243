# SPDX-License-Identifier: Apache-2.0
"""What this nft and this kernel can do, found out by trying.

Versions tell little: distributions move features back, and kernels are built without some. So each feature is
a small transaction that is checked, by nft and by the kernel, and never carried out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from podfence.nft.chain import Chain, Hook
from podfence.nft.element import DROP, Element, goto
from podfence.nft.errors import MissingFeatureError, NftError, NotInstalledError, PermissionDeniedError
from podfence.nft.rule import Rule
from podfence.nft.sets import DYNAMIC, INTERVAL, TIMEOUT, Elements, Map, Set
from podfence.nft.table import Table
from podfence.nft.transaction import Transaction

if TYPE_CHECKING:
    from collections.abc import Mapping

    from podfence.nft.runner import Runner

_TABLE: Final = Table("podfence_probe")
_CHAIN: Final = Chain("probe_c")
_EXACT: Final = Map("probe_m", ("ipv4_addr",))
_EXPIRING: Final = Set("probe_s", ("inet_proto",), TIMEOUT, 60)
_RANGES: Final = Map("probe_m", ("ipv4_addr",), flags=INTERVAL)


def _rule(text: str) -> Transaction:
    return Transaction(_TABLE).add(_TABLE, _CHAIN, Rule(_CHAIN.name, text))


def _map(container: Map, element: Element) -> Transaction:
    lookup = Rule("probe_hooked", f"ip saddr vmap @{container.name}")
    return Transaction(_TABLE).add(
        _TABLE, _CHAIN, Chain(lookup.chain), container, Elements(container, (element,)), lookup
    )


def _set(container: Set, element: Element) -> Transaction:
    return Transaction(_TABLE).add(_TABLE, container, Elements(container, (element,)))


@dataclass(frozen=True, slots=True)
class Features:
    """The version of nft, and what could not be loaded: the name of each feature with what nft said."""

    version: str
    missing: dict[str, str]

    def require(self) -> None:
        """Raise MissingFeatureError, naming all that is missing and the version, unless everything is there."""
        if self.missing:
            lacks = "; ".join(f"{name} ({text})" for name, text in self.missing.items())
            raise MissingFeatureError(f"nft {self.version} with this kernel lacks: {lacks}")


def features() -> dict[str, Transaction]:
    """Return what enforcement needs, by name, each with the transaction that shows it."""
    return {
        "tables of family inet": Transaction(_TABLE).add(_TABLE, _CHAIN),
        "connection states": _rule("ct state established,related accept"),
        "conntrack labels": _rule("ct label 119 accept"),
        "setting conntrack labels": _rule("ct label set 119"),
        "ends of tracked connections": _rule("ct direction original ct original ip saddr 192.0.2.1 accept"),
        "sets whose elements expire": _set(_EXPIRING, Element(("6",))),
        "verdict maps": _map(_EXACT, Element(("192.0.2.1",), value=goto(_CHAIN.name))),
        "verdict maps of intervals": _map(_RANGES, Element.block("192.0.2.0/24", DROP)),
        "reject with tcp reset": _rule("meta l4proto tcp reject with tcp reset"),
        "logging to a group": _rule("log group 1"),
    }


def bridge_features() -> dict[str, Transaction]:
    """Return what binding the ports of a bridge needs, by name, each with the transaction that shows it."""
    table = Table(_TABLE.name, "bridge")
    chain = Chain("probe_f", Hook("filter", "prerouting", 0))
    ports = Set("probe_s", ("ifname", "ether_addr", "ipv4_addr"))
    told = Set("probe_d", ("ifname",), DYNAMIC)

    def with_rule(text: str, *objects: Set) -> Transaction:
        return Transaction(table).add(table, *objects, chain, Rule(chain.name, text))

    return {
        "tables of family bridge": Transaction(table).add(table, chain),
        "sets of ports with addresses": with_rule("iifname . ether saddr . ip saddr @probe_s accept", ports),
        "limits for each link": with_rule("add @probe_d { iifname limit rate 1/second } accept", told),
        "logging of frames to a group": with_rule("log group 1"),
    }


def probe(runner: Runner, wanted: Mapping[str, Transaction] | None = None) -> Features:
    """Return what `runner` can do of what is `wanted`, after trying all of it with `check`; of `features` by default.

    Raises PermissionDeniedError or NotInstalledError if nothing could be tried.
    """
    version = runner.version()
    missing: dict[str, str] = {}
    for name, transaction in (features() if wanted is None else wanted).items():
        try:
            runner.check(transaction)
        except (PermissionDeniedError, NotInstalledError):
            raise
        except NftError as error:
            missing[name] = error.text
    return Features(version, missing)
