# SPDX-License-Identifier: Apache-2.0
"""What the API server gives to Services: cluster addresses and node ports."""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING, Final

from podfence.lab.apiserver.fields import without
from podfence.lab.apiserver.status import invalid_fields
from podfence.lab.objects.allocation import Pool

if TYPE_CHECKING:
    from collections.abc import Sequence

    from podfence.lab.addresses import Plan
    from podfence.lab.store.errors import RefusedError
    from podfence.lab.store.history import Change
    from podfence.lab.store.metadata import Raw

# The lowest addresses are for Services that ask for one, and the first is that of the API server.
_FIRST: Final = 2
_FIRST_UNASKED: Final = 257
_NODE_PORTS: Final = range(30000, 32768)
_WITH_NODE_PORTS: Final = ("NodePort", "LoadBalancer")
_ADDRESS: Final = "spec.clusterIP"
_ADDRESSES: Final = "spec.clusterIPs"
_SERVICES: Final = "services"
_NONE: Final = "None"
_FAMILIES: Final = {4: "IPv4", 6: "IPv6"}
_OF_CLUSTER: Final = ("clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy", "internalTrafficPolicy")


class ServiceAddresses:
    """The cluster addresses and node ports of a lab, and which of them are taken."""

    def __init__(self, plan: Plan) -> None:
        """Start with nothing taken."""
        blocks = [plan.service_range(family) for family in plan.families]
        self._given = {("kube-system", "kube-dns"): plan.dns_address(), ("default", "kubernetes"): plan.api_address()}
        self._pools = {block: Pool(block, _FIRST, start=_FIRST_UNASKED) for block in blocks}
        self._ports: set[int] = set()
        self._next_port = _NODE_PORTS.start

    def admit(self, wanted: Raw | None, before: Raw | None) -> Raw | None:
        """Return a Service, complete but for these, with an address per family and with node ports.

        It keeps what it had `before`. Raises InvalidError if it asks for what another has, or for what cannot be had.
        """
        if wanted is None:
            return None
        spec, had = dict(wanted["spec"]), (before or {}).get("spec") or {}
        name = wanted["metadata"].get("name", "")
        spec["ports"] = self._choose_ports(name, spec, had)
        if spec["type"] == "ExternalName":
            spec = {key: value for key, value in spec.items() if key not in _OF_CLUSTER or value != had.get(key)}
            if _addresses(spec):
                raise _refusal(name, _ADDRESSES, "Forbidden: may not be set for ExternalName services")
        else:
            spec |= self._choose_addresses(wanted["metadata"], spec, had)
        is_open = spec["type"] in _WITH_NODE_PORTS or spec.get("externalIPs")
        if not is_open and spec.get("externalTrafficPolicy") == had.get("externalTrafficPolicy"):
            spec.pop("externalTrafficPolicy", None)
        if not spec["ports"]:
            del spec["ports"]
        if spec["type"] == "LoadBalancer" and spec.get("externalTrafficPolicy") == "Local":
            taken = _node_ports(spec)
            kept = spec.get("healthCheckNodePort") or had.get("healthCheckNodePort") or 0
            spec["healthCheckNodePort"] = kept or self._free_port(taken, taken, 0)
        elif spec.get("healthCheckNodePort") == had.get("healthCheckNodePort"):
            spec.pop("healthCheckNodePort", None)
        return {**wanted, "spec": spec}

    def take_in(self, change: Change) -> None:
        """Follow a change: what a Service had is free, and what it has is taken."""
        if change.resource != _SERVICES:
            return
        if change.previous is not None:
            for text in _addresses(change.previous["spec"]):
                self._pool(text).release(text)
            self._ports -= _node_ports(change.previous["spec"])
        if change.type != "DELETED":
            for text in _addresses(change.object["spec"]):
                self._pool(text).take(text)
            self._ports |= _node_ports(change.object["spec"])

    def _pool(self, text: str) -> Pool:
        return next(pool for pool in self._pools.values() if text in pool)

    def _choose_addresses(self, known: Raw, spec: Raw, had: Raw) -> Raw:
        """Return the fields of a Service about its addresses."""
        name = known.get("name", "")
        given = self._given.get((known.get("namespace", ""), name))
        asked = [_normal(name, text) for text in ([given] if given is not None else _asked(spec, had))]
        before = had.get("clusterIPs") or []
        if before and asked and asked != before[: len(asked)]:
            shown = ",".join(f'"{text}"' for text in asked)
            raise _refusal(name, f"{_ADDRESSES}[0]", f"Invalid value: [{shown}]: may not change once set")
        headless = _NONE in (asked or before)
        chosen = [_NONE]
        if not headless:
            self._require_range(name, asked)
            chosen = [self._choose_address(name, pool, asked, before) for pool in self._pools.values()]
        return {"clusterIP": chosen[0], "clusterIPs": chosen, **self._families(spec, had, headless=headless)}

    def _families(self, spec: Raw, had: Raw, *, headless: bool) -> Raw:
        """Return the fields of a Service about its families, which it keeps."""
        if had.get("ipFamilies"):
            return {key: had[key] for key in ("ipFamilies", "ipFamilyPolicy")}
        families = [_FAMILIES[4 if block.count(".") else 6] for block in self._pools]
        if headless and not spec.get("selector"):
            # Nobody can know which addresses whoever writes the endpoints will have.
            both = [*families, *(family for family in _FAMILIES.values() if family not in families)]
            return {"ipFamilies": both, "ipFamilyPolicy": "RequireDualStack"}
        policy = "SingleStack" if len(families) == 1 else "PreferDualStack"
        return {"ipFamilies": families, "ipFamilyPolicy": policy}

    def _require_range(self, name: str, asked: list[str]) -> None:
        for text in asked:
            if not any(text in pool for pool in self._pools.values()):
                problem = f"failed to allocate IP {text}: the provided network does not match the current range"
                raise _refusal(name, _ADDRESSES, f'Invalid value: ["{text}"]: {problem}')

    def _choose_address(self, name: str, pool: Pool, asked: Sequence[str], had: Sequence[str]) -> str:
        if kept := next((text for text in had if text in pool), None):
            return kept
        wanted = next((text for text in asked if text in pool), None)
        if wanted is not None and not pool.take(wanted):
            problem = f"failed to allocate IP {wanted}: provided IP is already allocated"
            raise _refusal(name, _ADDRESS, f'Invalid value: ["{wanted}"]: {problem}')
        chosen = wanted or pool.allocate()
        if chosen is None:
            raise _refusal(name, _ADDRESS, "Internal error: failed to allocate a serviceIP: range is full")
        # It is taken when the Service is stored.
        pool.release(chosen)
        return chosen

    def _choose_ports(self, name: str, spec: Raw, had: Raw) -> list[Raw]:
        opened = spec["type"] in _WITH_NODE_PORTS
        # A port is the same as before if it has the same name, whatever else of it changes.
        before = {port.get("name"): port.get("nodePort", 0) for port in _ports(had)}
        own = _node_ports(had)
        ports: list[Raw] = []
        for index, port in enumerate(_ports(spec)):
            number = port.get("nodePort") or 0
            if number and not opened and before.get(port.get("name")) == number:
                # It goes with the type that had it.
                number = 0
            elif number and (problem := self._against(number, own, opened=opened)):
                raise _refusal(name, f"spec.ports[{index}].nodePort", problem)
            ports.append(without(port, "nodePort") | ({"nodePort": number} if number else {}))
        if not opened:
            return ports
        chosen = {port["nodePort"] for port in ports if "nodePort" in port}
        for index, port in enumerate(ports):
            if "nodePort" not in port:
                number = self._free_port(chosen, own, before.get(port.get("name"), 0))
                if not number:
                    problem = "Internal error: failed to allocate a nodePort: range is full"
                    raise _refusal(name, f"spec.ports[{index}].nodePort", problem)
                chosen.add(number)
                port["nodePort"] = number
        return ports

    def _against(self, number: int, own: set[int], *, opened: bool) -> str:
        """Return what the API server has against a node port, "" if nothing."""
        if not opened:
            return "Forbidden: may not be used when `type` is 'ClusterIP'"
        if number not in _NODE_PORTS:
            valid = f"{_NODE_PORTS.start}-{_NODE_PORTS.stop - 1}"
            return (
                f"Invalid value: {number}: provided port is not in the valid range. The range of valid ports is {valid}"
            )
        if number in self._ports - own:
            return f"Invalid value: {number}: provided port is already allocated"
        return ""

    def _free_port(self, chosen: set[int], own: set[int], kept: int) -> int:
        """Return the node port a port had before, else the next free one, 0 if there is none."""
        if kept and kept not in chosen:
            return kept
        taken = self._ports | chosen | own
        ahead = range(self._next_port, _NODE_PORTS.stop)
        number = next((number for number in (*ahead, *_NODE_PORTS) if number not in taken), 0)
        if number:
            self._next_port = number + 1
        return number


def without_foreign(spec: Raw, blocks: Sequence[str]) -> tuple[Raw, list[str]]:
    """Return the spec of a Service without addresses that are in none of the blocks of a lab, and notes on them."""
    known = [ipaddress.ip_network(block) for block in blocks]
    asked = [text for text in _addresses(spec) if _is_address(text)]
    foreign = [text for text in asked if not any(ipaddress.ip_address(text) in block for block in known)]
    notes = [f"{text} is not in {' or '.join(blocks)}, so the Service gets another address" for text in foreign]
    return without(spec, *_OF_CLUSTER[:2]) if foreign else spec, notes


def _asked(spec: Raw, had: Raw) -> list[str]:
    """Return the addresses that a Service asks for; of the two fields the one that differs from before counts."""
    first, texts = spec.get("clusterIP") or "", [text for text in spec.get("clusterIPs") or () if text]
    if first and first != had.get("clusterIP") and texts == had.get("clusterIPs"):
        return [first]
    return texts or ([first] if first else [])


def _addresses(spec: Raw) -> list[str]:
    """Return the cluster addresses of a Service."""
    texts = spec.get("clusterIPs") or [spec.get("clusterIP")]
    return [text for text in texts if text and text != _NONE]


def _normal(name: str, text: str) -> str:
    """Return an address, or that there is none, as it is stored."""
    if text == _NONE:
        return text
    if not _is_address(text):
        problem = f'Invalid value: "{text}": must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)'
        raise _refusal(name, f"{_ADDRESSES}[0]", problem)
    return str(ipaddress.ip_address(text))


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def _ports(spec: Raw) -> list[Raw]:
    return [port for port in spec.get("ports") or () if port]


def _node_ports(spec: Raw) -> set[int]:
    numbers = (*(port.get("nodePort") for port in _ports(spec)), spec.get("healthCheckNodePort"))
    return {number for number in numbers if number}


def _refusal(name: str, field: str, problem: str) -> RefusedError:
    return invalid_fields("", "Service", name, [(field, problem)])
