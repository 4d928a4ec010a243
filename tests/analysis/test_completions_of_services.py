# SPDX-License-Identifier: Apache-2.0
"""A verdict about a Service of a part of a cluster is that of every completion; where it depends, they differ (13.7).

Completions are drawn: each says what the pods, nodes and Services are of which not all is known.
"""

from __future__ import annotations

from collections import Counter
from random import Random
from typing import TYPE_CHECKING, NamedTuple

import pytest

from podfence.api import Cluster
from podfence.kube.objects import EndpointSlice, Service, ServicePort, Workload
from podfence.policy.options import Options
from tests.analysis.test_check_against_twin import DECISIONS
from tests.analysis.test_completions import end_text
from tests.twin import boundaries
from tests.twin.addresses import parse_address
from tests.twin.drawn import BEHIND, OUTSIDE, Drawing, is_complete
from tests.twin.effort import LONG
from tests.twin.partial import as_pods, partial_cluster
from tests.twin.partial_services import partial_services
from tests.twin.paths import PathTwin
from tests.twin.question import AddressEnd, Answer, End, NodeEnd, PodEnd, Traffic, agreement
from tests.twin.services import ServiceTwin
from tests.twin.source_ranges import limited
from tests.twin.witnesses import Missed

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from podfence.kube.objects import KubeObject
    from tests.twin.twin import Place

SEEDS = 2000 if LONG else 16
BATCHES = 4
FEW, MANY = 25, 400 if LONG else 100
"""So many completions are drawn for a firm verdict, and for one that depends until two of them differ."""

CLIENT = "203.0.113.9"
PERHAPS = Service(
    namespace="default", name="perhaps", ports=(ServicePort(80, 80, "TCP", "one"),), addresses=("10.96.7.7",)
)
"""A Service that was not read, and of which it is asked by its address (13.8)."""


class CompleteTwin(ServiceTwin):
    """A Service where all nodes are known: any of them may be the one that a client is led by (semantics 7.9)."""

    def from_other_node(self, place: Place, traffic: Traffic) -> Answer:
        """Return whether all nodes that the pod does not run on reach it."""
        own = place.pod.template.node if place.pod is not None else ""
        ends = [item for name in sorted(self.twin.nodes) if name != own for item in self.twin.places(NodeEnd(name))]
        found = [self.twin.ingress(end, place, traffic) for end in ends if end.family == place.family]
        return agreement(found) if found else Answer.YES


class Question(NamedTuple):
    """A connection to a port of a Service: by its name, at a node, or at its external address."""

    source: End
    service: Service
    port: ServicePort
    node: str = ""
    external: str = ""
    address: str = ""

    @property
    def to(self) -> str:
        """The other end as people write it."""
        if self.node:
            return f"node:{self.node}"
        return self.external or self.address or f"{self.service.namespace}/svc/{self.service.name}"

    @property
    def at(self) -> str:
        """The port as people write it."""
        number = self.port.node_port if self.node else self.port.port
        return f"{number}/{self.port.protocol.lower()}"


def questions(random: Random, objects: Sequence[KubeObject], pods: Sequence[KubeObject]) -> Iterator[Question]:
    """Yield some connections that policies and Services decide together."""
    workloads = {(item.namespace, item.name) for item in objects if isinstance(item, Workload)}
    sources = [PodEnd(end.namespace, end.name) for end in boundaries.pod_ends(pods)]
    ends: list[End] = [*sources, *boundaries.node_ends(pods)]
    for source in ends:
        yield Question(source, PERHAPS, PERHAPS.ports[0], address=PERHAPS.addresses[0])
    for service in (item for item in objects if isinstance(item, Service)):
        # Whether pods of a workload reach themselves or each other is another question.
        starts: list[End] = [end for end in sources if (end.namespace, end.name) not in workloads]
        for port in service.ports:
            several = [*starts, AddressEnd(CLIENT)]
            for source in random.sample(several, min(len(several), 3)):
                if not service.headless:
                    yield Question(source, service, port)
                for node in boundaries.node_ends(pods) if port.node_port else ():
                    yield Question(source, service, port, node=node.name)
                if service.external_addresses and isinstance(source, PodEnd):
                    yield Question(source, service, port, external=service.external_addresses[0])


def answer(question: Question, objects: Sequence[KubeObject], options: Options) -> Answer | None:
    """Return what the twin says in a cluster in which everything is known; None if that is no completion (13.7)."""
    service = question.service
    alone = [
        item
        for item in objects
        if not isinstance(item, Service | EndpointSlice)
        or item.key == service.key
        or (isinstance(item, EndpointSlice) and (item.namespace, item.service) == (service.namespace, service.name))
    ]
    twin = PathTwin(alone, options)
    twin.services = CompleteTwin(alone, options)
    source = question.source
    behind = [item for item in alone if isinstance(item, EndpointSlice) and item.name.endswith(BEHIND)]
    unread = {twin.services.end_at(backend.addresses[0]) for item in behind for backend in item.backends}
    if source in unread or not is_complete(service, alone):
        return None
    if question.address and not behind:
        # It may be nobody's, or that of a Service without a backend.
        return agreement([Answer.NO, twin.twin.allowed(source, AddressEnd(question.address), Traffic("TCP", 80))])
    if question.node:
        return twin.node_port(source, question.node, question.port)
    ends = [end for end, _ in twin.services.backends(question.port)]
    routes = [start for end in ends for start, _ in twin.twin.routes(source, end)]
    sources = {str(start.address) for start in routes if start.address}
    if question.external and isinstance(source, PodEnd):
        said = twin.external(source, question.port)
        return limited(said, service, sources, options) if question.external in service.balancer_addresses else said
    backends = list(twin.services.backends(question.port))
    if question.address:
        # An address of a Service leads to addresses of its own family.
        family = parse_address(question.address).version
        places = [(place, traffic) for end, traffic in backends for place in twin.twin.places(end)]
        backends = [(AddressEnd(str(place.address)), traffic) for place, traffic in places if place.family == family]
    found = [
        twin.services.allowed(source, end, traffic) for end, traffic in backends if twin.twin.share_family(source, end)
    ]
    if isinstance(source, AddressEnd):
        return limited(agreement(found), service, [source.address], options) if found else Answer.NO
    return agreement(found) if found else Answer.NO


def told(objects: Sequence[KubeObject]) -> str:
    return "\n".join(map(str, objects))


def compared(seed: int, seen: Counter[str], missed: Missed) -> None:
    random = Random(seed)
    families = ("ipv4", "ipv4", "dual")[seed % 3]
    client = random.choice(("depends", "depends", "client", "node"))
    ranges = random.choice(("depends", "depends", "enforced", "ignored"))
    options = Options.parse([f"pod-families={families}", f"service-source={client}", f"source-ranges={ranges}"])
    part = partial_cluster(seed)
    objects = [*part, *partial_services(seed, part)]
    pods = as_pods(objects)
    cluster = Cluster.from_objects(objects, options)
    drawing = Drawing([*pods, PERHAPS], options, (CLIENT, OUTSIDE))
    drawn: list[list[KubeObject]] = []
    for question in questions(random, objects, pods):
        verdict = cluster.check(end_text(objects, question.source), question.to, question.at)
        found: set[str] = set()
        for number in range(MANY):
            if number == len(drawn):
                drawn.append(drawing.draw(random))
            there = drawn[number]
            said = answer(question, there, options)
            found |= {DECISIONS[said]} if said is not None else set()
            if verdict.decision == "depends" and (len(found) > 1 or "depends" in found):
                break
            if verdict.decision != "depends":
                assert found <= {verdict.decision}, f"{seed} {question}\n{verdict}\n{told(there)}"
                if number == FEW:
                    break
        else:
            missed.add(seed, verdict)
            continue
        seen.update([verdict.decision, *(item.what for item in verdict.depends_on)])


@pytest.mark.parametrize("batch", range(BATCHES))
def test_a_verdict_about_a_service_is_that_of_every_completion(batch: int) -> None:
    seen: Counter[str] = Counter()
    missed = Missed()
    for seed in range(batch, SEEDS, BATCHES):
        compared(seed, seen, missed)

    # Some need several rare values at once; of few questions that may be more than one in fifty.
    assert len(missed) * 50 <= seen["depends"] + 150, missed.tell()
    missed.tell()
