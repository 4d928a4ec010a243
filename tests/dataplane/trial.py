# SPDX-License-Identifier: Apache-2.0
"""One random cluster, enforced on two nodes: engine, twin and packets compared in every state of it."""

from __future__ import annotations

import traceback
from functools import cache
from itertools import count
from random import Random
from typing import TYPE_CHECKING, Final, NamedTuple, Self

from podfence.cluster.state import EventType
from podfence.dataplane.compiler import AT_ONCE
from podfence.dataplane.enforcer import Enforcer
from podfence.dataplane.groups import MOST_LISTED
from podfence.policy.ends import PodEnd
from podfence.policy.engine import Bound
from podfence.report.verdict_text import brief
from podfence.sets import PortSet
from podfence.sets.addresses import AddressSet, parse_address
from tests.dataplane.drawing import after
from tests.dataplane.fabric import NODE_OF, NODES
from tests.dataplane.prober import LONGEST, PLACE_OF, TRAFFIC, Probe
from tests.dataplane.test_against_engine import end_at
from tests.policy.clusterwide import TieredCluster
from tests.twin.question import AddressEnd as TwinAddress
from tests.twin.question import Answer
from tests.twin.question import Traffic as TwinTraffic
from tests.twin.twin import Twin

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

    from podfence.api import Cluster
    from podfence.kube.objects import KubeObject
    from tests.dataplane.drawing import Case, Step
    from tests.dataplane.fabric import Fabric
    from tests.dataplane.prober import Prober

EVERY_PROBE: Final = tuple(
    Probe(kind, source, destination, port)
    for source in PLACE_OF
    for destination in PLACE_OF
    if (":" in source) == (":" in destination)
    if PLACE_OF[source] != PLACE_OF[destination] and (source in NODE_OF or destination in NODE_OF)
    for kind, port in TRAFFIC
)


class Difference(NamedTuple):
    """A probe on which not all agree, or a table that is not as it should be; `state` 0 is the first load."""

    state: int
    what: str
    probe: Probe | None = None


class Outcome(NamedTuple):
    """What a trial saw."""

    states: int
    probes: int
    passed: int
    differences: tuple[Difference, ...]


class Bench:
    """Two nodes to try cases on, one after the other."""

    def __init__(self, fabric: Fabric, prober: Prober) -> None:
        """Use these; the nodes' tables are the bench's."""
        self._fabric = fabric
        self._prober = prober
        self._runners = {node: (fabric.runner(node), fabric.direct(node)) for node in NODES}
        self._conntracks = {node: fabric.conntrack(node) for node in NODES}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for conntrack in self._conntracks.values():
            conntrack.close()
        for runners in self._runners.values():
            runners[1].close()

    def run(self, case: Case, probes: int | Collection[Probe], longest: float = LONGEST) -> Outcome:
        """Enforce a case and compare in every state, by as many probes drawn at random or by these.

        Probes that are expected are waited for as long.

        It ends with the first state in which anything differs. What podfence raises is a difference too.
        """
        self._fabric.clear()
        self._prober.longest = longest
        random = Random(case.seed)
        seen = Outcome(0, 0, 0, ())
        try:
            for cluster, enforcers in self._states(case):
                some = random.sample(EVERY_PROBE, probes) if isinstance(probes, int) else probes
                now = after(case.objects, case.steps[: seen.states])
                found, differences = self._compare(cluster, now, case, some, seen.states)
                if not differences and seen.states == len(case.steps):
                    differences = [
                        Difference(seen.states, f"table of {node}: {item}")
                        for node, enforcer in enforcers.items()
                        for item in enforcer.verify()
                    ]
                seen = Outcome(seen.states + 1, seen.probes + len(some), seen.passed + found, tuple(differences))
                if differences:
                    break
        except Exception:  # noqa: BLE001 - whatever a case makes podfence raise is a finding, and the next seed is tried
            return seen._replace(differences=(Difference(seen.states, traceback.format_exc()),))
        return seen

    def _states(self, case: Case) -> Iterator[tuple[Cluster, dict[str, Enforcer]]]:
        """Yield after the first load and after each step."""
        cluster = TieredCluster(case.objects, case.options, case.clusterwide)
        enforcers = self._enforcers(cluster, case)
        self._fabric.forget_soon()
        yield cluster, enforcers
        for step in case.steps:
            enforcers = self._take(case, step, cluster, enforcers)
            yield cluster, enforcers

    def _enforcers(self, cluster: Cluster, case: Case) -> dict[str, Enforcer]:
        found = {}
        for node, runners in self._runners.items():
            conntrack = self._conntracks[node] if case.revokes else None
            found[node] = Enforcer(
                runners[case.direct],
                node,
                cluster.model,
                case.settings,
                conntrack,
                shared_from=case.shared_from,
                most_listed=MOST_LISTED if case.seed % 3 else 0,
                at_once=AT_ONCE if case.seed % 3 else 2,
                effort=count().__next__,
            )
            if case.seed % 2:
                found[node].attach(self._fabric.links(node))
            # Whatever is compiled has taken long: a group is in the table at first, unless there is one already.
            while not found[node].prepare():
                pass
            found[node].start()
            while found[node].is_behind:
                found[node].catch_up()
            found[node].look()
        return found

    def _take(self, case: Case, step: Step, cluster: Cluster, enforcers: dict[str, Enforcer]) -> dict[str, Enforcer]:
        changes = []
        for event in step.events:
            changes.append(cluster.apply(event))
            if step.how == "one by one":
                for enforcer in enforcers.values():
                    enforcer.apply(changes[-1])
        if step.how == "agents were down":
            return self._enforcers(cluster, case)
        if step.how == "at once":
            for enforcer in enforcers.values():
                enforcer.apply(*changes)
        if step.how == "in slices":
            spaces = sorted(cluster.state.namespaces)
            for enforcer in enforcers.values():
                enforcer.program(*changes, later=frozenset(spaces[: case.seed % (len(spaces) + 1)]))
        for enforcer in enforcers.values():
            while enforcer.is_behind:
                enforcer.catch_up()
            enforcer.look()
        return enforcers

    def _compare(
        self, cluster: Cluster, objects: list[KubeObject], case: Case, probes: Collection[Probe], state: int
    ) -> tuple[int, list[Difference]]:
        """Return how many probes passed, and what is to be said about those on which not all agree."""
        held = Held(cluster)
        twin = Twin(objects, case.options, case.clusterwide)
        by_engine = engine_allows(cluster, probes)
        by_twin = {probe: twin.allowed(*_asked(probe)) for probe in probes}
        expected = {probe for probe in by_engine if not held.holds(probe)}
        passed = self._prober.passed(probes, expected)
        differences = []
        for probe in probes:
            agreed = by_twin[probe] is (Answer.YES if probe in by_engine else Answer.NO)
            if agreed and (probe in passed) == (probe in expected):
                continue
            sides = twin.egress_allowed(*_asked(probe)), twin.ingress_allowed(*_asked(probe))
            said = "; ".join(brief(cluster.check(probe.source, probe.destination, _port(probe))))
            what = (
                f"{probe}: packets {'passed' if probe in passed else 'did not pass'}"
                f"{', held because a pod is not known' if held.holds(probe) else ''}"
                f"\n    engine: {said}"
                f"\n    twin: {by_twin[probe].value}, egress {sides[0].value}, ingress {sides[1].value}"
            )
            differences.append(Difference(state, what, probe))
        late = "arrived after its round, in which it did not pass"
        differences += [Difference(state, f"{probe}: {late}", probe) for probe in self._prober.strays]
        self._prober.strays.clear()
        return len(passed), differences


def engine_allows(cluster: Cluster, probes: Iterable[Probe]) -> set[Probe]:
    """Return those that the engine allows, of which nothing is left open here."""
    ends = {place: end_at(cluster, parse_address(place)) for place in PLACE_OF}

    @cache
    def allowed(source: str, destination: str) -> tuple[PortSet, ...]:
        return tuple(cluster.model.engine.allowed(ends[source], ends[destination], bound) for bound in Bound)

    found = set()
    for probe in probes:
        point = PortSet.OTHER if probe.kind == "icmp" else PortSet.single(probe.kind.upper(), probe.port)
        (answer,) = {point <= ports for ports in allowed(probe.source, probe.destination)}
        if answer:
            found.add(probe)
    return found


def _asked(probe: Probe) -> tuple[TwinAddress, TwinAddress, TwinTraffic]:
    traffic = TwinTraffic("ICMP") if probe.kind == "icmp" else TwinTraffic(probe.kind.upper(), probe.port)  # type: ignore[arg-type]
    return TwinAddress(probe.source), TwinAddress(probe.destination), traffic


def _port(probe: Probe) -> str:
    return "icmp" if probe.kind == "icmp" else f"{probe.port}/{probe.kind}"


class Held:
    """Addresses in the pod range of a node that no pod of the node has: nobody may use them (see `hold`)."""

    def __init__(self, cluster: Cluster) -> None:
        """Look at the cluster as it is now."""
        self._to_node = cluster.options.own_node_egress == "policy"
        self._held: set[str] = set()
        for address, node in NODE_OF.items():
            known = cluster.state.nodes.get(node)
            number = parse_address(address)
            if known and any(number in AddressSet.cidr(text) for text in known.pod_cidrs):
                end = end_at(cluster, number)
                if not isinstance(end, PodEnd) or end.member.node != node:
                    self._held.add(address)

    def holds(self, probe: Probe) -> bool:
        """Return whether one of the nodes on the way holds a probe."""
        source, destination = NODE_OF.get(probe.source), NODE_OF.get(probe.destination)
        if probe.source in self._held and (self._to_node or probe.destination not in NODES[source or ""]):
            return True
        return probe.destination in self._held and probe.source not in NODES[destination or ""]


def told(case: Case, outcome: Outcome) -> Iterator[str]:
    """Yield lines that tell a case and what was seen, for a person who has to find out why."""
    changed = [f"{name}={getattr(case.options, name)}" for name in case.options.__struct_fields__]
    yield f"options: {' '.join(changed)}"
    yield f"settings: {case.settings}, shared_from={case.shared_from}, revokes={case.revokes}, direct={case.direct}"
    yield from (f"cluster-wide: {policy}" for policy in case.clusterwide)
    yield "cluster:"
    for item in case.objects:
        yield f"  {item}"
    for number, step in enumerate(case.steps, 1):
        yield f"step {number} ({step.how}):"
        for event in step.events:
            name = event.object.key if event.type is EventType.DELETED else event.object
            yield f"  {event.type.value} {name}"
    for difference in outcome.differences[:8]:
        yield f"in state {difference.state}: {difference.what}"
    if len(outcome.differences) > 8:
        yield f"and {len(outcome.differences) - 8} more differences"
