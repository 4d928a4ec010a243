# SPDX-License-Identifier: Apache-2.0
"""What is measured on a node: a process in a network namespace of its own, which `bench.kernel` starts.

Prints one line for each sample, as soon as there is one: a JSON list of its name and its numbers.

    python -m bench.node connections ROUNDS SECONDS POLICIES...     a rate and a processor time for each kind of rules
    python -m bench.node latency ROUNDS PACKETS POLICIES            round trips of an established flow
    python -m bench.node first ROUNDS PODS POLICIES                 the first connection of each of so many new pods
    python -m bench.node events ROUNDS PODS NAMESPACES POLICIES SEED MODE PER_NODE
    python -m bench.node changing ROUNDS CHANGES FLOWS...           the processor's time for each of so many changes
    python -m bench.node start ROUNDS PODS NAMESPACES POLICIES SEED MODE PER_NODE
    python -m bench.node growth 1 PODS NAMESPACES POLICIES SEED MODE PER_NODE
"""

from __future__ import annotations

import gc
import json
import resource
import subprocess
import sys
import time
from contextlib import ExitStack, closing, contextmanager
from functools import partial
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Final

import msgspec

from bench import ended
from bench.generator import generate
from bench.pod_policies import NODE, TRACKING, cluster, linear, newcomer
from bench.policies import labelled
from bench.size import Size
from bench.ticks import Ticks
from bench.wire import BRIDGE, CLIENT, PORT, SERVER, Wire, forget_soon, mac
from podfence.agent.loop import Agent
from podfence.agent.source import Synced
from podfence.api import Cluster
from podfence.cluster.state import Event, EventType
from podfence.dataplane.conntrack import KernelConntrack
from podfence.dataplane.enforcer import Enforcer
from podfence.dataplane.links import Links, PodLink
from podfence.dataplane.ruleset import TABLE
from podfence.dataplane.settings import Settings
from podfence.kube.objects import Namespace, NetworkPolicy, Pod, PolicyPort, Rule
from podfence.nft.direct import DirectRunner
from podfence.nft.transaction import Transaction
from podfence.policy.options import Options
from podfence.sets.addresses import parse_address

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from podfence.dataplane.ruleset import Ruleset
    from podfence.kube.objects import Key, KubeObject

NONE, ALONE, OURS, LINEAR = "no rules", "connection tracking alone", "podfence", "a chain per policy"
BOUND: Final = "podfence, links bound"
_PODS: Final = 200
_LOCAL_NODE: Final = "node-0003"
_OF_EACH: Final = 10
_ELSEWHERE: Final = "192.0.2.1"


def tell(name: str, *numbers: float) -> None:
    """Print one sample."""
    print(json.dumps([name, *numbers]), flush=True)


@contextmanager
def rules(kind: str, policies: int = 0, links: Links | None = None) -> Iterator[Newcomers]:
    """Have the rules of a kind in this namespace meanwhile; `links` are bound by one of them.

    Return what lets new pods in.
    """
    newcomers = Newcomers(policies)
    if kind in {OURS, BOUND}:
        newcomers.begin(links if kind == BOUND else None)
    elif kind == LINEAR:
        nft(linear(policies))
    elif kind == ALONE:
        nft(TRACKING)
    if kind != NONE:
        forget_soon()
    try:
        yield newcomers
    finally:
        newcomers.end()
        nft("flush ruleset\n")


class Newcomers:
    """Tells an enforcer of new pods, if there is one."""

    def __init__(self, policies: int) -> None:
        """Have no enforcer."""
        self._policies = policies
        self._stack = ExitStack()
        self._told: tuple[Enforcer, Cluster] | None = None
        self._links: Links | None = None

    def begin(self, links: Links | None) -> None:
        """Start an enforcer that knows the server and its policies, and binds links if there are any."""
        runner = self._stack.enter_context(DirectRunner())
        # So many policies are more than one namespace may have by default.
        follower = Cluster.from_objects(cluster(self._policies), Options(budget="none", world="closed"))
        enforcer = Enforcer(runner, NODE, follower.model)
        self._told, self._links = (enforcer, follower), links
        if links is not None:
            enforcer.attach(links)
        enforcer.start()

    def come(self, number: int, link: PodLink) -> None:
        """Let a pod in, as an agent does: its link first, which is before its address is known, and then the pod."""
        if self._told is not None:
            enforcer, follower = self._told
            if self._links is not None:
                bound = self._links._replace(pods=(*self._links.pods, link))
                enforcer.attach(bound)
            enforcer.apply(follower.apply(Event(EventType.ADDED, newcomer(number, self._policies))))

    def end(self) -> None:
        """End the enforcer."""
        self._stack.close()


def nft(script: str) -> None:
    """Run a script."""
    subprocess.run(["nft", "--file", "-"], input=script, text=True, check=True)


def connections(rounds: int, seconds: float, policies: Sequence[int]) -> None:
    """Tell the rates of new connections; in each round of every kind, so that all see the same disturbances."""
    kinds = [
        (NONE, 0),
        (ALONE, 0),
        *((kind, n) for kind in (OURS, BOUND, LINEAR) for n in policies if n or kind != LINEAR),
    ]
    for place in ("", "bridge: "):
        with Wire(bridged=bool(place)) as wire:
            links = wire.links(_PODS)
            wire.rate(seconds)
            for _ in range(rounds):
                for kind, count in kinds:
                    if kind != LINEAR or not place:
                        with rules(kind, count, links):
                            tell(f"{place}{kind} {count}", *wire.rate(seconds))


def latency(rounds: int, packets: int, policies: int) -> None:
    """Tell the median and the 99th percentile of round trips of one flow, for each kind of rules in each round."""
    with Wire() as wire:
        wire.exchanged(packets)
        for _ in range(rounds):
            for kind in (NONE, ALONE, OURS):
                with rules(kind, policies):
                    found = sorted(wire.exchanged(packets))
                    tell(kind, found[len(found) // 2], found[len(found) * 99 // 100])


def first(rounds: int, pods: int, policies: int) -> None:
    """Tell the seconds of the first connection of new pods, each behind a link that nobody has seen before."""
    for place in ("", "bridge: "):
        with Wire(bridged=bool(place)) as wire:
            links = wire.links(_PODS)
            for _ in range(rounds):
                for kind in (NONE, OURS, BOUND):
                    with rules(kind, policies, links) as newcomers:
                        for number in range(pods):
                            with wire.newcomer(number) as link:
                                newcomers.come(number, link)
                                tell(f"{place}{kind}", wire.first())


class _Timed(DirectRunner):
    """Remembers when the kernel was last given something, in seconds of wall clock and of the processor."""

    done = (0.0, 0.0)

    def run(self, transaction: Transaction) -> None:
        super().run(transaction)
        self.done = time.perf_counter(), time.process_time()


def events(rounds: int, size: Size) -> None:
    """Tell the seconds from single events to the kernel, those of the processor too, and the memory in MiB.

    ``look`` is what comes after: established flows are looked at again, and what is no longer needed goes.
    """
    objects = generate(size)
    follower = Cluster.from_objects(objects, Options(world="closed"))
    with _Timed() as runner, closing(KernelConntrack(Settings().label)) as conntrack:
        enforcer = Enforcer(runner, _LOCAL_NODE, follower.model, conntrack=conntrack)
        ports = {
            item.key: PodLink(f"veth{n}", BRIDGE, mac(n), tuple(map(parse_address, item.addresses)), item.name)
            for n, item in enumerate(objects)
            if isinstance(item, Pod) and item.template.node == _LOCAL_NODE
        }
        enforcer.attach(_attached(ports))
        enforcer.start()
        # As the agent does: what is there now lives for long, and is not for the collector of garbage.
        gc.collect()
        gc.freeze()
        random = Random(3)
        for _ in range(rounds):
            for name, event in _events(objects, random):
                begin, runner.done = (time.perf_counter(), time.process_time()), (0.0, 0.0)
                key = event.object.key
                if key in ports and event.type is not EventType.MODIFIED:
                    gone = {key} if event.type is EventType.DELETED else set()
                    enforcer.attach(_attached({each: port for each, port in ports.items() if each not in gone}))
                touched, done = enforcer.program(follower.apply(event)), runner.done
                enforcer.look()
                end = time.perf_counter(), time.process_time()
                if touched:
                    tell(name, *(one - other for one, other in zip(done, begin, strict=True)))
                    tell("look", *(one - other for one, other in zip(end, done, strict=True)))
        tell("memory", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
        assert enforcer.verify() == ()


def _attached(ports: Mapping[Key, PodLink]) -> Links:
    return Links(tuple(ports.values()), frozenset({BRIDGE}))


def _events(objects: Sequence[KubeObject], random: Random) -> Iterator[tuple[str, Event]]:
    """Yield events of each kind with their names; every change is taken back."""
    pods = [item for item in objects if isinstance(item, Pod)]
    local = [pod for pod in pods if pod.template.node == _LOCAL_NODE]
    here: dict[str, set[tuple[str, str]]] = {}
    for pod in local:
        here.setdefault(pod.namespace, set()).update(pod.template.labels.items())
    policies = [item for item in objects if isinstance(item, NetworkPolicy) and _concerns(item, here)]
    remote = [pod for pod in pods if pod.template.node != _LOCAL_NODE]
    for what, items in (("local pod", local), ("pod elsewhere", remote)):
        for item in random.sample(items, min(_OF_EACH, len(items))):
            yield from _replaced(f"{what} relabelled", item, _relabelled(item))
            yield from _taken(what, item)
    for policy in random.sample(policies, min(_OF_EACH, len(policies))):
        yield from _replaced("policy changed", policy, _with_port(policy))
        yield from _taken("policy", policy)
    spaces = [item for item in objects if isinstance(item, Namespace)]
    for space in random.sample(spaces, min(_OF_EACH, len(spaces))):
        other = msgspec.structs.replace(space, labels={**space.labels, "team": "team-0", "env": "dev"})
        yield from _replaced("namespace relabelled", space, other)


def _replaced(name: str, item: KubeObject, other: KubeObject) -> Iterator[tuple[str, Event]]:
    yield name, Event(EventType.MODIFIED, other)
    yield name, Event(EventType.MODIFIED, item)


def _taken(what: str, item: KubeObject) -> Iterator[tuple[str, Event]]:
    yield f"{what} deleted", Event(EventType.DELETED, item)
    yield f"{what} added", Event(EventType.ADDED, item)


def _concerns(policy: NetworkPolicy, here: dict[str, set[tuple[str, str]]]) -> bool:
    """Return whether a policy is about a pod of the node, by the equalities in its selector."""
    labels = here.get(policy.namespace)
    terms = [term for term in policy.pod_selector.requirements if term.operator == "In"]
    return labels is not None and all((term.key, term.values[0]) in labels for term in terms)


def _relabelled(pod: Pod) -> Pod:
    labels = {**pod.template.labels, "tier": "frontend", "version": "v9"}
    return msgspec.structs.replace(pod, template=msgspec.structs.replace(pod.template, labels=labels))


def _with_port(policy: NetworkPolicy) -> NetworkPolicy:
    """Return a policy whose rules admit a further port, one without rules with other pods."""
    if not policy.ingress and not policy.egress:
        return msgspec.structs.replace(policy, pod_selector=labelled(app="web"))
    return msgspec.structs.replace(policy, ingress=_more(policy.ingress), egress=_more(policy.egress))


def _more(written: Iterable[Rule]) -> tuple[Rule, ...]:
    port = PolicyPort("TCP", 4444)
    return tuple(msgspec.structs.replace(rule, ports=(*rule.ports, port)) for rule in written)


def changing(rounds: int, changes: int, counts: Sequence[int]) -> None:
    """Tell what each of ten changes a second takes of the processor, by how many flows there are.

    Every other change forbids, or admits again, what is for another local pod than that of the flows, or the flows, or
    something else for their pod. Last, the flows are connections that have ended, so many and three times as many to
    others.
    """
    objects = list(cluster(1))
    (policy,) = (item for item in objects if isinstance(item, NetworkPolicy))
    (admitting,) = policy.ingress
    cutting = msgspec.structs.replace(policy, ingress=(msgspec.structs.replace(admitting, ports=admitting.ports[:1]),))
    other = newcomer(1, 0)
    narrow, wide = (_of_labels(other, range(80, last)) for last in (81, 82))
    begin = [Event(EventType.ADDED, item) for item in (*objects, other, narrow)]
    pairs = {"another": (wide, narrow), "their own": (cutting, policy), "something else": (_with_port(policy), policy)}
    with Wire() as wire:
        fill: dict[str, Callable[[], object]] = {f"{count}": partial(wire.flows, count) for count in counts}
        fill["ended"] = partial(_ended, counts[-1])
        for _ in range(rounds):
            for name, versions in pairs.items():
                events = [Event(EventType.MODIFIED, versions[number % 2]) for number in range(changes)]
                for what, idle in fill.items():
                    with DirectRunner() as runner, closing(KernelConntrack(Settings().label)) as conntrack:
                        conntrack.forget([flow.handle for flow in conntrack.flows(None)])
                        source = Ticks([*begin, Synced()], events, idle)
                        options = Options(world="closed")
                        Agent(source, NODE, runner, options, Settings(), lambda _: None, conntrack=conntrack).run()
                        tell(f"{name} {what}", source.spent / changes)
                    nft("flush ruleset\n")


def _ended(count: int) -> None:
    for server, many in ((SERVER, count), (_ELSEWHERE, 3 * count)):
        ended.put(CLIENT, server, PORT, many)


def _of_labels(pod: Pod, ports: Iterable[int]) -> NetworkPolicy:
    """Return a policy for the pods with a pod's labels, which admits everybody on some ports."""
    return NetworkPolicy(
        namespace=pod.namespace,
        name="changing",
        pod_selector=labelled(**pod.template.labels),
        ingress=(Rule((), tuple(PolicyPort("TCP", port) for port in ports)),),
        policy_types=("Ingress",),
    )


def start(rounds: int, size: Size) -> None:
    """Tell the seconds of a cold start, and of the slowest packet of a flow that was there before."""
    objects = generate(size)
    with Wire(pinned=False) as wire:
        # A node where connections are tracked already, as kube-proxy has it.
        nft(TRACKING)
        for _ in range(rounds):
            wire.watch()
            begin = time.perf_counter()
            with DirectRunner() as runner, closing(KernelConntrack(Settings().label)) as conntrack:
                follower = Cluster.from_objects(objects, Options(world="closed"))
                Enforcer(runner, _LOCAL_NODE, follower.model, conntrack=conntrack).start()
                seconds = time.perf_counter() - begin
                tell("start", seconds)
                tell("delay", wire.slowest())
                runner.run(Transaction(TABLE).delete(TABLE))
            wire.watch()
            time.sleep(seconds)
            tell("delay, no start", wire.slowest())


def growth(_: int, size: Size) -> None:
    """Tell what one node has in the kernel for a cluster: elements, chains, rules, and memory in KiB."""
    follower = Cluster.from_objects(generate(size), Options(world="closed"))
    with DirectRunner() as runner:
        enforcer = Enforcer(runner, _LOCAL_NODE, follower.model)
        before = _kernel_memory()
        enforcer.start()
        after = _kernel_memory()
    tell("kernel", *_counts(enforcer.wanted), after - before)


def _counts(wanted: Ruleset) -> tuple[int, int, int]:
    chains, sets = wanted.chains.values(), wanted.sets.values()
    return sum(len(body.elements) for body in sets), len(chains), sum(len(body.rules) for body in chains)


def _kernel_memory() -> float:
    """Return what the kernel has in use for itself, in KiB: small objects, processors' own data, and large areas."""
    values = dict(line.split(":") for line in Path("/proc/meminfo").read_text().splitlines())
    return sum(float(values[name].split()[0]) for name in ("SUnreclaim", "Percpu", "VmallocUsed"))


def main() -> None:
    """Measure what the arguments say."""
    what, rounds, *others = sys.argv[1:]
    if what == "connections":
        connections(int(rounds), float(others[0]), [int(item) for item in others[1:]])
    elif what in {"latency", "first"}:
        {"latency": latency, "first": first}[what](int(rounds), int(others[0]), int(others[1]))
    elif what == "changing":
        changing(int(rounds), int(others[0]), list(map(int, others[1:])))
    else:
        {"events": events, "start": start, "growth": growth}[what](int(rounds), Size.of(others))


if __name__ == "__main__":
    main()
