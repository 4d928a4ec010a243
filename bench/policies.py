# SPDX-License-Identifier: Apache-2.0
"""The policies of a generated cluster: the kinds that people write, in rotation in every namespace."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal, NamedTuple

from podfence.kube.objects import IPBlock, NetworkPolicy, Peer, PolicyPort, Requirement, Rule, Selector

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from random import Random

NAME_LABEL: Final = "kubernetes.io/metadata.name"
MONITORING: Final = "monitoring"
SYSTEM: Final = "kube-system"

Posture = Literal["both", "ingress", "open"]


class Port(NamedTuple):
    """A port of an application: the name and number that its containers declare."""

    name: str
    number: int
    protocol: Literal["TCP", "UDP", "SCTP"] = "TCP"


class App(NamedTuple):
    """One application of a namespace; `name` is its workload's name and its label ``app``."""

    name: str
    tier: str
    ports: tuple[Port, ...]
    kind: str = "Deployment"

    @property
    def port(self) -> Port:
        """The port that others connect to."""
        return self.ports[0]


class Place(NamedTuple):
    """A namespace as its policies see it; `posture` is what its default-deny policy covers."""

    name: str
    team: str
    posture: Posture
    apps: tuple[App, ...]


_ABSENT: Final = App("web", "frontend", (Port("http", 8080),))
_PRIVATE: Final = ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "169.254.169.254/32")


def labelled(**labels: str) -> Selector:
    """Return the selector that a `matchLabels` gives."""
    return Selector(tuple(Requirement(key, "In", (value,)) for key, value in labels.items()))


def in_namespace(name: str) -> Selector:
    """Return the selector of one namespace by its name."""
    return Selector((Requirement(NAME_LABEL, "In", (name,)),))


_DNS: Final = Rule(
    (Peer(Selector((Requirement("k8s-app", "In", ("kube-dns",)),)), in_namespace(SYSTEM)),),
    (PolicyPort("UDP", 53), PolicyPort("TCP", 53)),
)


class _Writer:
    """Writes the policies of one namespace; every method of `ROTATION` returns one policy."""

    def __init__(self, place: Place, places: Sequence[Place], random: Random) -> None:
        self.place = place
        self.places = places
        self.random = random
        self.number = 0

    def write(self, count: int) -> Iterator[NetworkPolicy]:
        """Yield `count` policies: the default ones first, then others in rotation from a random one on."""
        first: list[NetworkPolicy] = []
        if count and self.place.posture == "both":
            egress = (_DNS,) if count == 1 else ()
            first = [self._policy("default-deny", Selector(), (), egress, types=("Ingress", "Egress"))]
            if count > 1:
                first.append(self._policy("allow-dns", Selector(), egress=(_DNS,)))
        elif count and self.place.posture == "ingress":
            first = [self._policy("default-deny-ingress", Selector(), types=("Ingress",))]
        yield from first
        start = self.random.randrange(len(_ROTATION))
        for self.number in range(1, count - len(first) + 1):
            yield _ROTATION[(start + self.number) % len(_ROTATION)](self)

    def _policy(
        self,
        name: str,
        subject: Selector,
        ingress: tuple[Rule, ...] = (),
        egress: tuple[Rule, ...] = (),
        types: tuple[Literal["Ingress", "Egress"], ...] = (),
    ) -> NetworkPolicy:
        return NetworkPolicy(
            namespace=self.place.name,
            name=f"{name}-{self.number}" if self.number else name,
            pod_selector=subject,
            ingress=ingress,
            egress=egress,
            policy_types=types or (("Ingress",) if ingress else ("Egress",)),
        )

    def _app(self) -> App:
        return self.random.choice(self.place.apps or (_ABSENT,))

    def _place(self) -> Place:
        return self.random.choice(self.places)

    def app_to_app(self) -> NetworkPolicy:
        server, client = self._app(), self._app()
        rule = Rule((Peer(labelled(app=client.name)),), (PolicyPort(server.port.protocol, server.port.number),))
        return self._policy(f"{server.name}-from-{client.name}", labelled(app=server.name), (rule,))

    def app_to_app_egress(self) -> NetworkPolicy:
        server, client = self._app(), self._app()
        rule = Rule((Peer(labelled(app=server.name)),), tuple(PolicyPort(p.protocol, p.number) for p in server.ports))
        return self._policy(f"{client.name}-to-{server.name}", labelled(app=client.name), (), (rule,))

    def from_pods_of_namespace(self) -> NetworkPolicy:
        server, other = self._app(), self._place()
        client = self.random.choice(other.apps or (_ABSENT,))
        peer = Peer(labelled(app=client.name, tier=client.tier), in_namespace(other.name))
        rule = Rule((peer,), (PolicyPort(server.port.protocol, server.port.number),))
        return self._policy(f"{server.name}-from-{other.name}", labelled(app=server.name), (rule,))

    def from_team(self) -> NetworkPolicy:
        server, team = self._app(), self.random.choice((self.place.team, self._place().team))
        rule = Rule((Peer(namespace_selector=labelled(team=team)),), (PolicyPort("TCP", server.port.number),))
        return self._policy(f"{server.name}-from-{team}", labelled(app=server.name), (rule,))

    def to_internet(self) -> NetworkPolicy:
        client = self._app()
        rule = Rule((Peer(ip_block=IPBlock("0.0.0.0/0", _PRIVATE)),), (PolicyPort("TCP", 443), PolicyPort("TCP", 80)))
        return self._policy(f"{client.name}-to-internet", labelled(app=client.name), (), (rule,))

    def from_office(self) -> NetworkPolicy:
        server, office = self._app(), self.random.randrange(64)
        except_ = f"198.18.{office}.{16 * self.random.randrange(16)}/28"
        peers = (Peer(ip_block=IPBlock(f"198.18.{office}.0/24", (except_,))), Peer(labelled(tier="frontend")))
        rule = Rule(peers, (PolicyPort("TCP", server.port.number),))
        return self._policy(f"{server.name}-from-office", labelled(app=server.name), (rule,))

    def to_network(self) -> NetworkPolicy:
        client = self._app()
        network = f"10.{self.random.randrange(64)}.{self.random.randrange(256)}.0/24"
        rule = Rule((Peer(ip_block=IPBlock(network)),), (PolicyPort("TCP", self.random.choice((3306, 5432, 1521))),))
        return self._policy(f"{client.name}-to-database", labelled(app=client.name), (), (rule,))

    def named_port(self) -> NetworkPolicy:
        server = self._app()
        rule = Rule((Peer(Selector()),), (PolicyPort(server.port.protocol, server.port.name),))
        return self._policy(f"{server.name}-{server.port.name}", labelled(app=server.name), (rule,))

    def port_range(self) -> NetworkPolicy:
        server, (first, last) = self._app(), self.random.choice(((8000, 8999), (9000, 9099), (30000, 32767)))
        rule = Rule((Peer(labelled(tier="backend")),), (PolicyPort("TCP", first, last),))
        return self._policy(f"{server.name}-range", labelled(app=server.name), (rule,))

    def expressions(self) -> NetworkPolicy:
        server = self._app()
        terms = (
            Requirement("tier", "In", ("backend", "frontend")),
            Requirement("version", "NotIn", (self.random.choice(("v1", "v2")),)),
            Requirement("app", "Exists"),
            Requirement("quarantine", "DoesNotExist"),
        )
        namespaces = Selector((Requirement("env", "In", ("prod", "staging")), Requirement("team", "Exists")))
        rule = Rule((Peer(Selector(terms), namespaces), Peer(Selector(terms[1:]))), (PolicyPort("TCP", 8080),))
        return self._policy(
            f"{server.name}-expressions", Selector((*labelled(app=server.name).requirements, terms[3])), (rule,)
        )

    def other_protocols(self) -> NetworkPolicy:
        server = self._app()
        rule = Rule((Peer(labelled(tier="backend")),), (PolicyPort("UDP", 5004), PolicyPort("SCTP", 2905)))
        return self._policy(f"{server.name}-media", labelled(app=server.name), (rule,))

    def all_egress(self) -> NetworkPolicy:
        client = self._app()
        return self._policy(f"{client.name}-all-egress", labelled(app=client.name), (), (Rule(),))

    def monitoring(self) -> NetworkPolicy:
        peer = Peer(labelled(app="prometheus"), in_namespace(MONITORING))
        return self._policy("monitoring", Selector(), (Rule((peer,), (PolicyPort("TCP", "metrics"),)),))


_ROTATION: Final[tuple[Callable[[_Writer], NetworkPolicy], ...]] = (
    _Writer.app_to_app,
    _Writer.from_pods_of_namespace,
    _Writer.from_team,
    _Writer.app_to_app_egress,
    _Writer.to_internet,
    _Writer.named_port,
    _Writer.port_range,
    _Writer.expressions,
    _Writer.from_office,
    _Writer.other_protocols,
    _Writer.to_network,
    _Writer.all_egress,
    _Writer.monitoring,
)


def policies_of(place: Place, count: int, places: Sequence[Place], random: Random) -> Iterator[NetworkPolicy]:
    """Yield `count` policies of a namespace, whose peers may be in any of `places`."""
    return _Writer(place, places, random).write(count)
