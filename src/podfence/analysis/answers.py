# SPDX-License-Identifier: Apache-2.0
"""The answer to "who can reach whom": connections between sets of endpoints.

Every pair of endpoints and every port is in at most one connection; what is in none is denied.
Sets are written compactly: whole clusters and namespaces by name, large sets that occur more than
once as a `Group`, defined once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from podfence.documents import Value
from podfence.policy.verdict import Dependency, Direction
from podfence.policy.wording import requirement_text
from podfence.sets import AddressBlock
from podfence.sets.ports import ranges_text

if TYPE_CHECKING:
    from collections.abc import Iterator


class PortRange(Value, frozen=True):
    """Ports of one protocol, `first` to `last` inclusive; other protocols have no ports (None)."""

    protocol: str
    first: int | None = msgspec.field(name="from", default=None)
    last: int | None = msgspec.field(name="to", default=None)


class Ports(Value, frozen=True):
    """A set of ports; `everything` means every port of every protocol, and `ranges` is empty then."""

    everything: bool = False
    ranges: tuple[PortRange, ...] = ()

    def __str__(self) -> str:
        """Return ``TCP 80,443; UDP 53``, ``all TCP``, or ``all ports``."""
        if self.everything:
            return "all ports"
        return ranges_text((item.protocol, item.first, item.last) for item in self.ranges)


class Endpoints(Value, frozen=True, kw_only=True):
    """A set of endpoints.

    `everything`: every pod and every address. `all_pods`: every pod. `all_addresses`: every address
    outside. `internet`: every public address that is no pod, node or Service, where the question asked
    about it. When a flag is set the lists it covers are empty. `open_pods`: all pods that no policy
    isolates in this direction. `namespaces`: all pods of these. `groups`: names of groups.
    `workloads`: ``shop/deploy/web`` and ``shop/web`` (a bare pod). `addresses`: blocks outside.
    """

    everything: bool = False
    all_pods: bool = False
    all_addresses: bool = False
    internet: bool = False
    open_pods: bool = False
    namespaces: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    workloads: tuple[str, ...] = ()
    addresses: tuple[AddressBlock, ...] = ()

    def items(self) -> tuple[str, ...]:
        """Return the members as short texts, in a stable order."""
        flags = (
            (self.everything, "everything"),
            (self.all_pods, "all pods"),
            (self.all_addresses, "any address"),
            (self.internet, "internet"),
            (self.open_pods, "open pods"),
        )
        names = tuple(text for flag, text in flags if flag)
        whole = tuple(f"{namespace}/*" for namespace in self.namespaces)
        return names + self.groups + whole + self.workloads + tuple(str(block) for block in self.addresses)

    def __str__(self) -> str:
        """Return the members joined by commas."""
        return ", ".join(self.items())


class Connection(Value, frozen=True, kw_only=True):
    """Every source may connect to every destination on `ports`; `depends` says on what, if it does."""

    sources: Endpoints
    destinations: Endpoints
    ports: Ports
    depends: str = ""


class Term(Value, frozen=True):
    """One requirement of a selector, as Kubernetes writes it."""

    key: str
    operator: str
    values: tuple[str, ...] = ()

    def __str__(self) -> str:
        """Return ``app=web``, ``app in (a, b)``, ``app not in (a)``, ``app exists`` or ``app absent``."""
        return requirement_text(self.key, self.operator, self.values)


class AbsentPods(Value, frozen=True, kw_only=True):
    """Pods that a rule means and of which none is in the input, or `some_here`, but none of other namespaces.

    They are in `namespace`, or, if that is "", in the namespaces that all of `namespace_selector` hold for; all of
    `pod_selector` hold for their labels.
    """

    namespace: str = ""
    namespace_selector: tuple[Term, ...] = ()
    pod_selector: tuple[Term, ...] = ()
    some_here: bool = False

    def __str__(self) -> str:
        """Return ``pods k8s-app=kube-dns of kube-system (none here)``."""
        pods = f"pods {','.join(map(str, self.pod_selector))}" if self.pod_selector else "pods"
        spaces = ",".join(map(str, self.namespace_selector))
        where = self.namespace or (f"namespaces {spaces}" if spaces else "every namespace")
        return f"{pods} of {where} ({'also those not here' if self.some_here else 'none here'})"


class AbsentConnection(Value, frozen=True, kw_only=True):
    """What a rule admits between pods and peers of which none is in the input.

    `direction` is that of the rule: in ``egress`` the subjects open the connections, in ``ingress`` the peers do.
    `port_names` are ports by name, which only the peers could say the numbers of; `depends` says on what it depends, if
    it does.
    """

    direction: Direction
    subjects: Endpoints
    peers: AbsentPods
    ports: Ports
    port_names: tuple[str, ...] = ()
    depends: str = ""

    @property
    def ports_text(self) -> str:
        """The ports in words: ``UDP 53``, ``TCP http``."""
        return _with_names(self.ports, self.port_names)


def _with_names(ports: Ports, names: tuple[str, ...]) -> str:
    return "; ".join(filter(None, (str(ports), *names)))


class Group(Value, frozen=True):
    """A named set of pods used by several connections."""

    name: str
    members: Endpoints


class PodConnection(Value, frozen=True):
    """One connection between single pods or blocks of addresses: the expanded form.

    One end may be an `AbsentPods` in words; `port_names` are ports by name, as those of an `AbsentConnection`.
    """

    source: str
    destination: str
    ports: Ports
    depends: str = ""
    port_names: tuple[str, ...] = ()

    @property
    def ports_text(self) -> str:
        """The ports in words: ``UDP 53``, ``TCP http``."""
        return _with_names(self.ports, self.port_names)


class Connectivity(Value, frozen=True, kw_only=True):
    """The whole answer; `open_sources` and `open_destinations` define what "open pods" stands for.

    `absent` is what rules admit with pods of which none is in the input. `notes` say what a reader should know of the
    cluster: what was made up, left out, or does nothing. `unknown` is what is not in the input, and leaves some of the
    connections open.
    """

    connections: tuple[Connection, ...]
    groups: tuple[Group, ...] = ()
    open_sources: Endpoints = Endpoints()
    open_destinations: Endpoints = Endpoints()
    workloads: int = 0
    pods: int = 0
    policies: int = 0
    absent: tuple[AbsentConnection, ...] = ()
    notes: tuple[str, ...] = ()
    unknown: tuple[Dependency, ...] = ()

    def __iter__(self) -> Iterator[Connection]:
        """Yield the connections in order."""
        return iter(self.connections)

    def __len__(self) -> int:
        """Return the number of connections."""
        return len(self.connections)


class Matrix(Value, frozen=True):
    """The grid of all pairs: in row i, column j stands for `names[i]` connecting to `names[j]`.

    ``.`` is allowed, ``X`` denied, ``~`` allowed on some ports, ``?`` depends.
    """

    names: tuple[str, ...]
    rows: tuple[str, ...]
