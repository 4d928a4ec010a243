# SPDX-License-Identifier: Apache-2.0
"""An agent that has run for long: the time of events, and its memory, after what a month brings.

python -m bench.ages EVENTS LIVE_PODS
"""

from __future__ import annotations

import gc
import json
import sys
import time
from dataclasses import asdict, dataclass
from random import Random
from typing import TYPE_CHECKING

from bench.hostile import NODE
from bench.policies import NAME_LABEL, labelled
from podfence.api import Cluster
from podfence.cluster.state import Event, EventType
from podfence.dataplane.chains import Builder
from podfence.dataplane.compiler import Compiler
from podfence.dataplane.settings import Settings
from podfence.kube.objects import IPBlock, Namespace, NetworkPolicy, Peer, Pod, PodTemplate, Requirement, Rule, Selector
from podfence.policy.options import Options
from podfence.sets import AddressSet

if TYPE_CHECKING:
    from collections.abc import Iterator

    from podfence.kube.objects import KubeObject


_BLOCKS = 5_000
"""More blocks than are remembered."""


@dataclass(frozen=True, slots=True)
class Age:
    """After how many events: seconds of the processor for each of the latest, and pieces of memory in use."""

    events: int
    seconds: float
    pieces: int


def events(count: int, live: int) -> Iterator[Event]:
    """Yield what happens in a cluster with `live` pods, `count` times.

    Controllers that resolve names replace the addresses in a policy, short-lived namespaces come with pods and a
    policy and go, each with labels that nobody else has, and pods are replaced.
    """
    random = Random(1)
    for number in range(count):
        match number % 4:
            case 0:
                yield Event(EventType.MODIFIED, _policy("names", "shop", _resolved(number)))
            case 1:
                yield Event(EventType.DELETED, _pod(number // 4, live))
                yield Event(EventType.ADDED, _pod(number // 4 + live, live))
            case 2:
                yield from _visit(f"ci-{number}", number)
            case _:
                some = random.randrange(live)
                yield Event(EventType.MODIFIED, _pod(number // 4 + 1 + some, live, version=str(number)))


def cluster(live: int) -> list[KubeObject]:
    """Return what there is from the first to the last day."""
    return [
        _space("shop"),
        *(_pod(number, live) for number in range(live)),
        _policy("names", "shop", _resolved(0)),
        _policy("from-web", "shop", Rule((Peer(labelled(app="app-1"), Selector()),))),
    ]


def ages(count: int, live: int) -> Iterator[Age]:
    """Yield what events cost, and the memory in use, after each tenth of them."""
    # The blocks read last are remembered, a bounded number: they are there from the start, and grow no more.
    for number in range(_BLOCKS):
        AddressSet.cidr(f"203.{number // 256}.{number % 256}.7/32")
    follower = Cluster.from_objects(cluster(live), Options(world="closed"))
    compiler = Compiler(follower.model, NODE)
    builder = Builder(Settings())
    builder.build(compiler.program)
    every = max(count // 10, 1)
    begin = time.process_time()
    for done, event in enumerate(events(count, live), 1):
        found = compiler.follow(follower.apply(event))
        if found:
            builder.build(compiler.program, found)
        if done % every == 0:
            seconds = (time.process_time() - begin) / every
            gc.collect()
            yield Age(done, seconds, sys.getallocatedblocks())
            begin = time.process_time()


def _resolved(number: int) -> Rule:
    return Rule((Peer(ip_block=IPBlock(f"{1 + number // 65536 % 200}.{number // 256 % 256}.{number % 256}.7/32")),))


def _visit(name: str, number: int) -> Iterator[Event]:
    selector = Selector((Requirement(f"job-{number}", "Exists"),))
    objects: list[KubeObject] = [
        _space(name, run=str(number)),
        Pod(
            namespace=name,
            name="w",
            template=PodTemplate(labels={f"job-{number}": "x"}, node=NODE),
            addresses=("10.245.0.9",),
            phase="Running",
        ),
        _policy("p", name, Rule((Peer(selector, labelled(run=str(number))),)), selector),
    ]
    for item in objects:
        yield Event(EventType.ADDED, item)
    for item in reversed(objects):
        yield Event(EventType.DELETED, item)


def _space(name: str, **labels: str) -> Namespace:
    return Namespace(name=name, labels={**labels, NAME_LABEL: name})


def _pod(number: int, live: int, version: str = "1") -> Pod:
    place = number % live
    return Pod(
        namespace="shop",
        name=f"pod-{number}",
        template=PodTemplate(
            labels={"app": f"app-{place % 50}", "version": version}, node=NODE if place % 20 == 0 else "n2"
        ),
        addresses=(f"10.244.{place // 256}.{place % 256}",),
        phase="Running",
    )


def _policy(name: str, namespace: str, rule: Rule, subject: Selector | None = None) -> NetworkPolicy:
    return NetworkPolicy(
        namespace=namespace,
        name=name,
        pod_selector=subject or labelled(app="app-0"),
        egress=(rule,),
        policy_types=("Egress",),
    )


def main() -> None:
    """Print what events cost as the agent ages."""
    count, live = map(int, sys.argv[1:3])
    for age in ages(count, live):
        if "--json" in sys.argv:
            print(json.dumps(asdict(age)), flush=True)
        else:
            print(
                f"{age.events:>9,} events: {age.seconds * 1e6:7.1f} us each, {age.pieces:,} pieces of memory",
                flush=True,
            )


if __name__ == "__main__":
    main()
