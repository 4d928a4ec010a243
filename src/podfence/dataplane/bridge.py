# SPDX-License-Identifier: Apache-2.0
"""Bind, then judge, between ports of one bridge: what table `bridge podfence` has.

Policies see IP packets of known addresses. So a frame of a pod passes only if it is such a packet with the pod's own
addresses, or what it takes to find a neighbour; there is nothing else that policies could be asked about. It is
looked at before the bridge learns from it, and before the IP hooks see it.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Final

from podfence.dataplane.bound import LISTENER_REPORT
from podfence.dataplane.drops import UNKNOWN_DESTINATION, UNKNOWN_PROTOCOL, UNKNOWN_SOURCE, Drops, chain_of
from podfence.dataplane.objects import FAMILIES, Objects
from podfence.dataplane.ruleset import ChainBody, Ruleset, rule
from podfence.nft.chain import Chain, Hook
from podfence.nft.element import goto
from podfence.nft.names import identifier
from podfence.nft.sets import Map, Set
from podfence.sets.addresses import V6_FIRST, family_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from podfence.dataplane.links import Links, PodLink
    from podfence.dataplane.ruleset import ElementKey
    from podfence.dataplane.settings import Settings
    from podfence.nft.element import Verdict

_PRIORITY: Final = -350
"""Before a bridge hands packets to the IP hooks, which is at 0, and before most others."""

_NO_SOURCE, _NO_DESTINATION, _NO_PROTOCOL = map(chain_of, (UNKNOWN_SOURCE, UNKNOWN_DESTINATION, UNKNOWN_PROTOCOL))
_INTERFACE: Final = ("ifname",)
_PORT: Final = ("ifname", "ether_addr")

_PLAIN_ARP: Final = "arp htype 1 arp ptype ip arp hlen 6 arp plen 4 arp operation { 1, 2 } meta length <= 46"
"""A frame with nothing in it but ARP, padded to the least length of Ethernet at most, so that it is no tunnel."""

_UNTAKEN: Final = "arp saddr ether != @hardware arp saddr ip != @taken4"
"""ARP of somebody unknown, who claims neither the address nor the hardware of anybody known."""

_PLAIN: Final = "ip6 nexthdr 58 ip6 hoplimit 255 ip6 length <= 40"
"""A message of neighbour discovery with two short options at most, from this link."""

_TO_GROUP: Final = "ether daddr & 01:00:00:00:00:00 != 00:00:00:00:00:00"
_TARGET_IS_LINK_LOCAL: Final = "@nh,384,10 0x3fa"
_TARGET: Final = "@nh,384,128"
"""What a message of neighbour discovery is about. nft has a word for it only since 1.0.7."""


def bridged(links: Links, settings: Settings) -> Ruleset:
    """Return the table of frames; it is empty without bridges."""
    result = Objects()
    if links.all_bridges:
        drops = Drops(settings)
        drops.put(result, UNKNOWN_SOURCE, UNKNOWN_DESTINATION, UNKNOWN_PROTOCOL)
        _put_sets(result, links)
        _put_hooks(result, drops.quiet)
        _put_ip(result, drops.quiet)
        _put_neighbours(result, drops.quiet, links)
        _put_others(result, drops.quiet)
        _put_receivers(result, drops.quiet)
    return Ruleset(result.chains, result.sets)


def _put_sets(result: Objects, links: Links) -> None:
    ports = [link for link in links.bound if link.bridge]
    names = {link.interface for link in ports}
    trusted = links.uplinks | {link.interface for link in links.pods if link.bridge and link.exempt}
    # One who is bound or trusted is no longer held, whoever noticed that first.
    held = (links.held | links.new) - names - trusted
    local = {number for link in ports for number in link.addresses}
    bound = ((link.interface, link.mac, number) for link in ports for number in link.addresses)
    result.addresses("bound", bound, before=_PORT)
    result.addresses("local", local)
    result.addresses("taken", local | links.reserved)
    result.put(Set("ends", _PORT), {(link.interface, link.mac): None for link in ports})
    result.put(Set("hardware", ("ether_addr",)), _keys(link.mac for link in ports))
    result.put(Set("known", _INTERFACE), _keys(names | trusted))
    result.put(Set("trusted", _INTERFACE), _keys(trusted))
    result.put(Set("confined", _INTERFACE), _keys(names | held))
    senders: dict[ElementKey, Verdict | None] = dict.fromkeys(names, goto("from_pod"))
    senders |= dict.fromkeys(trusted, goto("from_trusted"))
    senders |= dict.fromkeys(held, goto("held"))
    result.put(Map("senders", _INTERFACE), senders)
    # A port whose pod is not known yet gets no more than the answers to its questions.
    receivers: dict[ElementKey, Verdict | None] = dict.fromkeys(names | held, goto("to_pod"))
    receivers |= dict.fromkeys(links.uplinks, goto("to_uplink"))
    result.put(Map("receivers", _INTERFACE), receivers)
    _put_claims(result, ports)


def _put_claims(result: Objects, ports: Iterable[PodLink]) -> None:
    """Take in a chain for each port, of the addresses that its pod may say to be at.

    Sets cannot be asked for them: nft 1.0.6 has no type for what it has no word for.
    """
    found: dict[str, set[int]] = {}
    for link in ports:
        found.setdefault(link.interface, set()).update(item for item in link.addresses if family_of(item) == 6)
    claims: dict[ElementKey, Verdict | None] = {}
    for interface, numbers in found.items():
        if numbers:
            name = identifier("at", interface)
            result.chains[name] = _claims(name, frozenset(numbers))
            claims[interface] = goto(name)
    result.put(Map("claims", _INTERFACE), claims)


@lru_cache(maxsize=4096)
def _claims(name: str, numbers: frozenset[int]) -> ChainBody:
    """Return the chain of a port; it stays the same object while its pod stays."""
    texts = (f"{_TARGET} {number - V6_FIRST:#x} accept" for number in sorted(numbers))
    return ChainBody(Chain(name), tuple(rule(name, text) for text in (*texts, f"goto {_NO_SOURCE}")))


def _keys(names: Iterable[str]) -> Mapping[ElementKey, None]:
    return dict.fromkeys(names)


def _put_hooks(result: Objects, quiet: str) -> None:
    # What most frames are comes first, so that they pay for one lookup.
    result.chain(
        "entry",
        "ether type ip iifname . ether saddr . ip saddr @bound4 goto from_pod4",
        "ether type ip6 iifname . ether saddr . ip6 saddr @bound6 goto from_pod6",
        "iifname vmap @senders",
        "ether daddr @hardware goto from_stranger",
        # A port that nobody has noticed yet: the node would take this for the pod's, as it comes by the bridge.
        f"meta protocol ip ip saddr @local4 goto {_NO_SOURCE}",
        f"meta protocol ip6 ip6 saddr @local6 goto {_NO_SOURCE}",
        hook=Hook("filter", "prerouting", _PRIORITY),
    )
    # A bridge that filters VLANs has put a tag on frames here, so `ether type` would be that of the tag.
    result.chain(
        "between",
        "meta protocol ip oifname . ether daddr . ip daddr @bound4 accept",
        "meta protocol ip6 oifname . ether daddr . ip6 daddr @bound6 accept",
        "oifname vmap @receivers",
        hook=Hook("filter", "forward", _PRIORITY),
    )
    # Frames to these addresses are for the bridge itself, and would come to the node as if by a link of its own.
    result.chain(
        "aside",
        f"iifname @confined ether daddr & ff:ff:ff:ff:ff:f0 == 01:80:c2:00:00:00 {quiet}",
        hook=Hook("filter", "input", _PRIORITY),
    )
    lost = f"counter {quiet}"
    # Where a bridge takes a port for another's, which these frames can make it do, the node would tell one pod what is
    # for another.
    result.chain(
        "from_node",
        *(
            f"meta protocol {word} {word} daddr @local{n} oifname . ether daddr . {word} daddr != @bound{n} {lost}"
            for n, word, _ in FAMILIES
        ),
        hook=Hook("filter", "output", _PRIORITY),
    )
    result.chain(
        "from_pod",
        "ether type arp iifname . ether saddr @ends goto any_arp",
        "ether type ip6 iifname . ether saddr @ends ip6 saddr { ::, fe80::/10 } goto link_local",
        f"ether type ip ip protocol 2 {quiet}",
        f"ether type {{ ip, ip6, arp }} goto {_NO_SOURCE}",
        f"goto {_NO_PROTOCOL}",
    )


def _put_ip(result: Objects, quiet: str) -> None:
    result.chain(
        "from_pod4",
        "ip daddr 224.0.0.0/4 goto to_group",
        "ip daddr 255.255.255.255 goto to_group",
        f"{_TO_GROUP} goto {_NO_DESTINATION}",
        "accept",
    )
    result.chain("to_group", f"ip protocol 2 {quiet}", f"goto {_NO_DESTINATION}")
    result.chain(
        "from_pod6",
        "icmpv6 type { 130-137, 143 } goto discovery",
        f"ip6 daddr ff00::/8 goto {_NO_DESTINATION}",
        f"ip6 daddr fe80::/10 goto {_NO_DESTINATION}",
        f"{_TO_GROUP} goto {_NO_DESTINATION}",
        "accept",
    )


def _put_neighbours(result: Objects, quiet: str, links: Links) -> None:
    result.chain("any_arp", f"{_PLAIN_ARP} goto plain_arp", f"goto {_NO_PROTOCOL}")
    result.chain(
        "plain_arp",
        "iifname . arp saddr ether . arp saddr ip @bound4 accept",
        # Is somebody at my address already?
        "arp operation 1 arp saddr ip 0.0.0.0 iifname . arp saddr ether . arp daddr ip @bound4 accept",
        f"goto {_NO_SOURCE}",
    )
    result.chain(
        "link_local",
        f"ip6 saddr @taken6 goto {_NO_SOURCE}",
        "icmpv6 type { 130-137, 143 } goto discovery",
        f"goto {_NO_SOURCE}",
    )
    result.chain(
        "discovery",
        f"icmpv6 type 135 {_PLAIN} goto solicitation",
        f"icmpv6 type 136 {_PLAIN} ip6 saddr != :: goto advertisement",
        f"{LISTENER_REPORT} ip6 length <= 400 accept",
        f"icmpv6 type 133 {quiet}",
        f"goto {_NO_PROTOCOL}",
    )
    result.chain(
        "solicitation",
        "ip6 saddr :: ip6 daddr ff02::1:ff00:0/104 goto claim",
        f"ip6 saddr :: goto {_NO_PROTOCOL}",
        "ip6 daddr ff02::1:ff00:0/104 accept",
        f"ip6 daddr ff00::/8 goto {_NO_DESTINATION}",
        "accept",
    )
    result.chain(
        "advertisement",
        "ip6 daddr ff02::1 goto claim",
        f"ip6 daddr ff00::/8 goto {_NO_DESTINATION}",
        "goto claim",
    )
    result.chain(
        "claim",
        f"{_TARGET_IS_LINK_LOCAL} goto claim_link_local",
        "iifname vmap @claims",
        f"goto {_NO_SOURCE}",
    )
    reserved = sorted(number - V6_FIRST for number in links.reserved if family_of(number) == 6)
    result.chain("claim_link_local", *(f"{_TARGET} {number:#x} goto {_NO_SOURCE}" for number in reserved), "accept")


def _put_others(result: Objects, quiet: str) -> None:
    result.chain(
        "from_trusted",
        f"ether saddr @hardware goto {_NO_SOURCE}",
        f"meta protocol arp arp saddr ip @local4 goto {_NO_SOURCE}",
        f"meta protocol arp arp saddr ether @hardware goto {_NO_SOURCE}",
        f"meta protocol ip ip saddr @local4 goto {_NO_SOURCE}",
        f"meta protocol ip6 ip6 saddr @local6 goto {_NO_SOURCE}",
        "accept",
    )
    # A pod that is being made asks for its gateway. Without an answer it would ask again after a second.
    result.chain(
        "held",
        f"ether type arp ether saddr != @hardware {_PLAIN_ARP} {_UNTAKEN} accept",
        f"ether type ip6 ether saddr != @hardware icmpv6 type 135 {_PLAIN} ip6 saddr != :: ip6 saddr != @taken6 accept",
        f"ether type ip6 {LISTENER_REPORT} ip6 length <= 400 accept",
        f"counter {quiet}",
        comment="a port whose pod is not known yet",
    )


def _put_receivers(result: Objects, quiet: str) -> None:
    result.chain(
        "to_pod",
        "iifname != @known goto from_stranger",
        "meta protocol arp accept",
        "meta protocol ip6 icmpv6 type { 134-136 } ip6 hoplimit 255 accept",
        "meta protocol ip6 icmpv6 type 130 ip6 hoplimit 1 ip6 daddr ff02::/16 accept",
        # A bridge floods all of its ports with what it knows no port for.
        f"oifname . ether daddr != @ends {quiet}",
        f"goto {_NO_DESTINATION}",
    )
    result.chain(
        "to_uplink",
        "iifname @trusted accept",
        "iifname != @known goto from_stranger",
        f"meta protocol ip6 {LISTENER_REPORT} {quiet}",
        "accept",
    )
    result.chain(
        "from_stranger",
        f"meta protocol arp {_PLAIN_ARP} {_UNTAKEN} accept",
        f"meta protocol ip6 icmpv6 type 135 {_PLAIN} ip6 saddr != :: ip6 saddr != @taken6 accept",
        f"counter {quiet}",
    )
