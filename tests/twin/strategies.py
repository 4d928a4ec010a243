# SPDX-License-Identifier: Apache-2.0
"""Random clusters, small and full of corners: few names, labels, addresses and ports, so that they meet.

Objects are as `podfence.kube` decodes them: valid, with defaults filled in. Everything is drawn from
lists whose first member is the plainest, so that failures shrink to plain clusters. Avoided on purpose:
blocks whose cuts are loopback addresses, and one address claimed by pods of one name (semantics 8.6
does not say who wins). Strategies are cached, because making one costs more than drawing from it.
"""

from __future__ import annotations

import ipaddress
from functools import cache
from itertools import cycle, islice
from typing import TYPE_CHECKING, Literal

import msgspec
from hypothesis import strategies as st

from podfence.kube.objects import (
    ContainerPort,
    IPBlock,
    KubeObject,
    Namespace,
    NetworkPolicy,
    Node,
    Peer,
    Pod,
    PodTemplate,
    PolicyPort,
    Requirement,
    Rule,
    Selector,
)
from podfence.policy import options as engine_options

from .twin import ISOLATION_ANNOTATION, NAME_LABEL, OLD_API

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from hypothesis.strategies import DrawFn, SearchStrategy

    from podfence.kube.objects import Key, Labels
    from podfence.policy.options import Options

EventType = Literal["added", "modified", "deleted"]
Event = tuple[EventType, KubeObject]

NAMESPACES = ("default", "dev", "prod", "kube-system")
POD_NAMES = ("web", "db", "api", "dns")
POLICY_NAMES = ("p1", "p2", "p3")
NODE_ADDRESSES = {"n1": ("172.18.0.1", "fd01::1"), "n2": ("172.18.0.2", "fd01::2")}

KEYS = ("a", "b", "c")
VALUES = ("x", "y", "")

POD_ADDRESSES = (
    ("10.0.0.1",),
    ("10.0.0.2",),
    ("10.0.0.3",),
    ("10.0.0.5", "fd00::5"),
    ("fd00::1", "10.0.1.1"),
    ("fd00::2",),
    (),
    (),
    (),
)
BLOCK_BASES = (
    "10.0.0.1",
    "10.0.0.2",
    "10.0.0.5",
    "10.0.1.1",
    "172.18.0.1",
    "203.0.113.7",
    "fd00::1",
    "fd00::5",
    "fd01::1",
    "2001:db8::7",
)
PREFIXES = {4: (0, 0, 3, 8, 24, 29, 30, 31, 32), 6: (0, 0, 7, 8, 64, 125, 126, 127, 128)}

PORT_NUMBERS = (80, 81, 443, 1, 65535)
PORT_RANGES = ((80, 81), (80, 80), (79, 443), (1, 65535), (443, 65535))
PORT_NAMES = ("http", "dns", "absent")

ANNOTATIONS: tuple[Labels, ...] = (
    {},
    {ISOLATION_ANNOTATION: '{"ingress": {"isolation": "DefaultDeny"}}'},
    {ISOLATION_ANNOTATION: ' {"ingress":\n{"isolation":"DefaultDeny"} , "egress":null}'},
    {ISOLATION_ANNOTATION: '{"ingress": {"isolation": "defaultdeny"}}'},
    {ISOLATION_ANNOTATION: '{"ingress": null}'},
    {ISOLATION_ANNOTATION: '["ingress"]'},
    {ISOLATION_ANNOTATION: "{ingress: {isolation: DefaultDeny}}"},
    {"net.beta.kubernetes.io/networkpolicy": '{"ingress": {"isolation": "DefaultDeny"}}'},
)


@cache
def options() -> SearchStrategy[Options]:
    """Return options in which nothing is left undefined: no value is ``depends``, and the world is closed."""
    values = {
        name: st.sampled_from([value for value in choice.values if value != "depends"])
        for name, choice in engine_options.describe().items()
    }
    return st.builds(engine_options.Options, **values | {"world": st.just("closed"), "pod_cidrs": st.just("auto")})


@cache
def labels() -> SearchStrategy[Labels]:
    """Return labels of few keys and values, the empty value among them."""
    return st.dictionaries(st.sampled_from(KEYS), st.sampled_from(VALUES), max_size=2)


@cache
def requirements(keys: tuple[str, ...], values: tuple[str, ...]) -> SearchStrategy[Requirement]:
    """Return a requirement over the given keys and values, of any operator."""
    key = st.sampled_from(keys)
    some = st.lists(st.sampled_from(values), min_size=1, max_size=2, unique=True).map(tuple)
    return st.one_of(
        st.builds(Requirement, key, st.just("In"), some),
        st.builds(Requirement, key, st.just("NotIn"), some),
        st.builds(Requirement, key, st.sampled_from(("Exists", "DoesNotExist"))),
    )


@cache
def unsatisfiable() -> SearchStrategy[Selector]:
    """Return a selector that nothing can match (semantics 4.5)."""
    return st.sampled_from(KEYS).map(
        lambda key: Selector((Requirement(key, "Exists"), Requirement(key, "DoesNotExist")))
    )


@cache
def pod_selectors() -> SearchStrategy[Selector]:
    """Return a selector over pod labels, often the empty one."""
    terms = st.lists(requirements(KEYS, VALUES), max_size=2).map(tuple)
    return st.one_of(st.just(Selector()), st.builds(Selector, terms), st.builds(Selector, terms), unsatisfiable())


@cache
def subjects() -> SearchStrategy[Selector]:
    """Return a policy's selector, every pod's about every other time, so that many pods are isolated."""
    return st.booleans().flatmap(lambda some: pod_selectors() if some else st.just(Selector()))


@cache
def namespace_selectors() -> SearchStrategy[Selector]:
    """Return a selector over namespace labels: like pods', or by the name label (semantics 3.7)."""
    by_name = st.builds(Selector, st.tuples(requirements((NAME_LABEL,), NAMESPACES)))
    return st.one_of(pod_selectors(), by_name)


@st.composite
def blocks(draw: DrawFn) -> IPBlock:
    """Return a block around an address in use, with up to three exceptions that may overlap or nest."""
    base = ipaddress.ip_address(draw(st.sampled_from(BLOCK_BASES)))
    prefix = draw(st.sampled_from(PREFIXES[base.version]))
    cidr = ipaddress.ip_network((base, prefix), strict=False)
    longer = [length for length in PREFIXES[base.version] if length > prefix]
    inside = [text for text in BLOCK_BASES if ipaddress.ip_address(text) in cidr]
    # Not the first address of a whole family: the cuts of ::/127 and ::/128 are loopback.
    inside += [str(edge) for edge in (cidr.network_address, cidr.broadcast_address) if int(edge)]
    count = draw(st.integers(0, 3)) if longer else 0
    pairs = [(draw(st.sampled_from(inside)), draw(st.sampled_from(longer))) for _ in range(count)]
    return IPBlock(str(cidr), tuple(str(ipaddress.ip_network(pair, strict=False)) for pair in pairs))


@cache
def whole_families() -> SearchStrategy[IPBlock]:
    """Return a block that is all of IPv4 or of IPv6 (semantics 6.3)."""
    return st.sampled_from((IPBlock("0.0.0.0/0"), IPBlock("::/0")))


@cache
def old_peers() -> SearchStrategy[Peer]:
    """Return a peer with exactly one selector, as the old API had them (semantics 10.4)."""
    return st.one_of(
        st.builds(Peer, pod_selector=pod_selectors()), st.builds(Peer, namespace_selector=namespace_selectors())
    )


@cache
def peers() -> SearchStrategy[Peer]:
    """Return a peer of any form, a block about every other time."""
    both = st.builds(Peer, pod_selector=pod_selectors(), namespace_selector=namespace_selectors())
    block = st.builds(Peer, ip_block=blocks())
    whole = st.builds(Peer, ip_block=whole_families())
    forms = {"old": old_peers(), "both": both, "block": block, "whole": whole}
    return st.sampled_from(("old", "old", "both", "block", "block", "whole")).flatmap(forms.__getitem__)


@cache
def policy_ports(*protocols: str) -> SearchStrategy[PolicyPort]:
    """Return an item of `ports` without a range: a number, a name, or a protocol only."""
    protocol = st.sampled_from(protocols)
    return st.one_of(
        st.builds(PolicyPort, protocol, st.sampled_from(PORT_NUMBERS)),
        st.builds(PolicyPort, protocol, st.sampled_from(PORT_NAMES)),
        st.builds(PolicyPort, protocol, st.sampled_from(PORT_NAMES)),
        st.builds(PolicyPort, protocol),
    )


@cache
def port_ranges() -> SearchStrategy[PolicyPort]:
    """Return an item of `ports` with `endPort`."""
    protocol = st.sampled_from(("TCP", "UDP", "SCTP"))
    return st.builds(lambda name, ends: PolicyPort(name, ends[0], ends[1]), protocol, st.sampled_from(PORT_RANGES))


@st.composite
def rules(draw: DrawFn, peer: SearchStrategy[Peer], port: SearchStrategy[PolicyPort]) -> Rule:
    """Return a rule of such peers and ports; a list without items may have been written or absent."""
    some_peers = tuple(draw(peer) for _ in range(draw(st.integers(0, 3))))
    some_ports = tuple(draw(port) for _ in range(draw(st.integers(0, 2))))
    return Rule(
        some_peers,
        some_ports,
        empty_peers=not some_peers and draw(st.booleans()),
        empty_ports=not some_ports and draw(st.booleans()),
    )


@cache
def policies(namespace: str, name: str) -> SearchStrategy[NetworkPolicy]:
    """Return a policy of that name: of the API as it is, or of the old one (semantics 10)."""
    rule = rules(peers(), st.one_of(policy_ports("TCP", "UDP", "SCTP"), port_ranges()))
    some_types = (("Ingress",), ("Egress",), ("Ingress", "Egress"), ("Egress", "Ingress"), ("Egress", "Egress"))
    new = st.builds(
        NetworkPolicy,
        namespace=st.just(namespace),
        name=st.just(name),
        pod_selector=subjects(),
        ingress=st.lists(rule, max_size=2).map(tuple),
        egress=st.lists(rule, max_size=2).map(tuple),
        policy_types=st.sampled_from(some_types),
    )
    old_rule = rules(old_peers(), policy_ports("TCP", "UDP"))
    old = st.builds(
        NetworkPolicy,
        namespace=st.just(namespace),
        name=st.just(name),
        pod_selector=subjects(),
        ingress=st.lists(old_rule, max_size=2).map(tuple),
        egress=st.lists(old_rule, max_size=1).map(tuple),
        policy_types=st.sampled_from(some_types[:3]),
        api_version=st.just(OLD_API),
    )
    return st.one_of(new, new, new, old)


@cache
def namespaces(name: str) -> SearchStrategy[Namespace]:
    """Return the namespace of that name, with its name label and with annotations good and odd (semantics 10.1, 10.2)."""
    return st.builds(
        Namespace,
        name=st.just(name),
        labels=labels().map(lambda some: {**some, NAME_LABEL: name}),
        annotations=st.sampled_from((ANNOTATIONS[0], *ANNOTATIONS[:2], *ANNOTATIONS)),
    )


@cache
def nodes(name: str) -> SearchStrategy[Node]:
    """Return the node of that name with none, one or both of its addresses."""
    both = NODE_ADDRESSES[name]
    return st.builds(
        Node, name=st.just(name), labels=st.just({}), addresses=st.sampled_from((both[:1], both, both[1:], ()))
    )


@cache
def container_ports() -> SearchStrategy[ContainerPort]:
    """Return a container port; one name occurs with several numbers and protocols, also on sidecars."""
    return st.builds(
        ContainerPort,
        st.sampled_from(PORT_NUMBERS[:3]),
        st.sampled_from(("TCP", "UDP", "SCTP")),
        st.sampled_from(("http", "dns", "")),
        st.booleans(),
    )


@st.composite
def pods(draw: DrawFn, namespace: str, name: str) -> Pod:
    """Return the pod of that name; one in a few is part of its node (semantics 7.6)."""
    host_network = draw(st.sampled_from((False, False, False, True)))
    node = draw(st.sampled_from(("n1", "n2", "")))
    if host_network:
        known = NODE_ADDRESSES.get(node, ())
        addresses: tuple[str, ...] = draw(st.sampled_from((known, known[:1], ())))
    else:
        addresses = draw(st.sampled_from(POD_ADDRESSES))
    return Pod(
        namespace=namespace,
        name=name,
        template=PodTemplate(
            labels=draw(labels()),
            ports=tuple(draw(st.lists(container_ports(), max_size=3))),
            host_network=host_network,
            node=node,
        ),
        addresses=addresses,
        node_addresses=addresses if host_network else (),
        phase=draw(st.sampled_from(("Running", "Running", "Running", "Pending", "", "Unknown", "Succeeded", "Failed"))),
        terminating=draw(st.sampled_from((False, False, False, True))),
        created=draw(st.sampled_from(("2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z", ""))),
    )


def without_ties(pod: Pod, others: Iterable[KubeObject]) -> Pod:
    """Return the pod without addresses if another one of its name has one of them: 8.6 would not order them."""
    for other in others:
        if isinstance(other, Pod) and other.name == pod.name and other.namespace != pod.namespace:
            taken = set(other.addresses) & set(pod.addresses)
            if taken:
                return msgspec.structs.replace(pod, addresses=(), node_addresses=())
    return pod


@st.composite
def clusters(draw: DrawFn) -> list[KubeObject]:
    """Return the objects of a cluster: 1-4 namespaces (some implied only), nodes, 1-7 pods, 0-6 policies."""
    names = draw(st.lists(st.sampled_from(NAMESPACES), min_size=1, max_size=4, unique=True))
    found: list[KubeObject] = []
    found += [draw(namespaces(name)) for name in names if draw(st.sampled_from((True, True, True, False)))]
    node_names = draw(st.lists(st.sampled_from(tuple(NODE_ADDRESSES)), max_size=2, unique=True))
    found += [draw(nodes(name)) for name in node_names]
    inside = st.sampled_from(names)
    for name in islice(cycle(POD_NAMES), draw(st.integers(1, 7))):
        namespace = draw(inside)
        found.append(without_ties(draw(pods(namespace, name)), found))
    for name in islice(cycle(POLICY_NAMES), draw(st.integers(0, 6))):
        found.append(draw(policies(draw(inside), name)))
    return list({item.key: item for item in found}.values())


@st.composite
def anything(draw: DrawFn) -> KubeObject:
    """Return one object that `clusters` may have."""
    kind = draw(st.sampled_from(("Pod", "NetworkPolicy", "Namespace", "Node")))
    if kind == "Node":
        return draw(nodes(draw(st.sampled_from(tuple(NODE_ADDRESSES)))))
    namespace = draw(st.sampled_from(NAMESPACES[:2]))
    if kind == "Namespace":
        return draw(namespaces(namespace))
    if kind == "Pod":
        return draw(pods(namespace, draw(st.sampled_from(POD_NAMES[:3]))))
    return draw(policies(namespace, draw(st.sampled_from(POLICY_NAMES[:2]))))


@st.composite
def events(draw: DrawFn, start: Sequence[KubeObject] = (), max_size: int = 8) -> list[Event]:
    """Return events that can follow on a cluster of the objects `start`.

    Nothing is added that is there, nothing modified or deleted that is not; a deletion carries the
    object as it was last. `replay` says what is there in the end.
    """
    present: dict[Key, KubeObject] = {item.key: item for item in start}
    found: list[Event] = []
    for _ in range(draw(st.integers(0, max_size))):
        if present and draw(st.sampled_from((False, False, True))):
            gone = present.pop(draw(st.sampled_from(sorted(present))))
            found.append(("deleted", gone))
            continue
        item = draw(anything())
        if isinstance(item, Pod):
            item = without_ties(item, present.values())
        found.append(("modified" if item.key in present else "added", item))
        present[item.key] = item
    return found


def replay(start: Sequence[KubeObject], history: Sequence[Event]) -> list[KubeObject]:
    """Return the objects that are there after the events."""
    present: dict[Key, KubeObject] = {item.key: item for item in start}
    for kind, item in history:
        if kind == "deleted":
            del present[item.key]
        else:
            present[item.key] = item
    return list(present.values())
