# SPDX-License-Identifier: Apache-2.0
"""What a kernel would do with the first packet of a connection, by walking the chains as they are written.

It reads the text of the rules, and knows nothing of how they were made. All ports are walked at once: a
chain is entered with the set of ports still undecided.
"""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from podfence.sets import PortSet
from podfence.sets.addresses import family_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from podfence.dataplane.ruleset import ElementKey, Ruleset

PROTOCOLS = {"6": "TCP", "17": "UDP", "132": "SCTP"}
NOT_NEW = re.compile(
    r"ct state .*|ct label \d+ (goto|jump) \S+|icmpv6 type \{[^}]*\} jump discovery|iifname \"lo\" accept|limit .*"
    r"|ip option \S+ exists .*"
)
MEMBER = re.compile(r"(ip|ip6) (saddr|daddr) (!= )?@(\S+) ?")
PAIR = re.compile(r"(ip|ip6) saddr \. ip6? daddr @(\S+) ?")
ADDRESS_MAP = re.compile(r"(ip|ip6) (saddr|daddr) vmap @(\S+)")
PORT_MAP = re.compile(r"(tcp|udp|sctp) dport vmap \{ (.*) \}")
OTHER = re.compile(r"meta l4proto != \{ 6, 17, 132 \} ")
PROTOCOL = re.compile(r"meta l4proto (\d+) ")
VERDICT = re.compile(r"(?:counter )?(accept|drop|reject.*|(goto|jump) (\S+))")


@dataclass
class Walk:
    """One walk: who sends to whom, and by which chain each port was accepted (`accepted`)."""

    ruleset: Ruleset
    source: int
    destination: int
    accepted: dict[str, PortSet] = field(default_factory=lambda: defaultdict(lambda: PortSet.EMPTY))

    def hook(self, name: str) -> PortSet:
        """Return the ports that pass all base chains at a hook."""
        bases = [
            body.chain for body in self.ruleset.chains.values() if body.chain.hook and body.chain.hook.hook == name
        ]
        live = PortSet.ALL
        for chain in sorted(bases, key=lambda chain: chain.hook.priority if chain.hook else 0):
            passed, rest = self.chain(chain.name, live)
            live = passed | rest
        return live

    def chain(self, name: str, live: PortSet) -> tuple[PortSet, PortSet]:
        """Return the ports that a chain accepts, and those that come back from it undecided."""
        accepted = back = PortSet.EMPTY
        for rule in self.ruleset.chains[name].rules:
            for ports, verdict in self.rule(rule.text):
                concerned = live & ports
                if not concerned:
                    continue
                live -= concerned
                kind, _, target = verdict.partition(" ")
                if kind == "accept":
                    self.accepted[name] |= concerned
                    accepted |= concerned
                elif kind in ("goto", "jump"):
                    passed, rest = self.chain(target, concerned)
                    accepted |= passed
                    if kind == "goto":
                        back |= rest
                    else:
                        live |= rest
                else:
                    assert kind in ("drop", "reject"), verdict
        return accepted, live | back

    def rule(self, text: str) -> list[tuple[PortSet, str]]:
        """Return the verdicts of a rule with the ports each is for."""
        if NOT_NEW.fullmatch(text):
            return []
        ports = PortSet.ALL
        while True:
            if found := PAIR.match(text):
                if not self.family(found[1]) or (self.source, self.destination) not in self.elements(found[2]):
                    return []
            elif found := MEMBER.match(text):
                if not self.family(found[1]) or (self.lookup(found[4], self.end(found[2])) is None) != bool(found[3]):
                    return []
            elif found := OTHER.match(text):
                ports &= PortSet.OTHER
            elif found := PROTOCOL.match(text):
                ports &= PortSet.whole(PROTOCOLS[found[1]])
            else:
                break
            text = text[found.end() :]
        if found := ADDRESS_MAP.fullmatch(text):
            verdict = self.lookup(found[3], self.end(found[2])) if self.family(found[1]) else None
            return [(ports, verdict)] if verdict else []
        if found := PORT_MAP.fullmatch(text):
            return [(ports & entry, verdict) for entry, verdict in port_entries(found[1], found[2])]
        found = VERDICT.fullmatch(text)
        assert found, text
        return [(ports, found[1])]

    def end(self, word: str) -> int:
        return self.source if word == "saddr" else self.destination

    def family(self, word: str) -> bool:
        return family_of(self.source) == (4 if word == "ip" else 6)

    def elements(self, name: str) -> Mapping[ElementKey, object]:
        return self.ruleset.sets[name].elements

    def lookup(self, name: str, address: int) -> str | None:
        """Return the verdict of the element for an address, "" in a set, None if there is none."""
        elements = self.ruleset.sets[name].elements
        if "interval" in self.ruleset.sets[name].container.flags:
            for key, verdict in elements.items():
                assert isinstance(key, tuple)
                first, last = key
                assert isinstance(first, int)
                assert isinstance(last, int)
                if first <= address <= last:
                    return str(verdict or "")
            return None
        return str(elements[address] or "") if address in elements else None


def port_entries(protocol: str, text: str) -> list[tuple[PortSet, str]]:
    found = []
    for entry in text.split(", "):
        key, _, verdict = entry.partition(" : ")
        first, _, last = key.partition("-")
        found.append((PortSet.of(protocol.upper(), int(first), int(last or first)), verdict))
    return found


def forwarded(ruleset: Ruleset, source: int, destination: int) -> PortSet:
    """Return the ports on which a node forwards a new connection."""
    return Walk(ruleset, source, destination).hook("forward")


def taken_in(ruleset: Ruleset, source: int, destination: int) -> PortSet:
    """Return the ports on which a node takes a new connection to itself."""
    return Walk(ruleset, source, destination).hook("input")
