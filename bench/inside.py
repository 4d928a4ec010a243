# SPDX-License-Identifier: Apache-2.0
"""What is measured inside a process of its own, which `bench.engine` starts: the steps behind a command.

Prints one line for each step as soon as it is done: a JSON list of its name, its seconds of
wall clock and of processor time (0 if not measured), and the peak memory of the process so far in MiB.

    python -m bench.inside files FOLDER                                    reading, deciding, all connections
    python -m bench.inside diff FOLDER                             a commit and the working tree loaded and compared
    python -m bench.inside memory PODS NAMESPACES POLICIES SEED MODE PER_NODE       the engine alone
    python -m bench.inside events PODS NAMESPACES POLICIES SEED MODE PER_NODE       single changes
"""

from __future__ import annotations

import json
import os
import resource
import statistics
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING

import msgspec

import podfence
from bench.generator import generate
from bench.policies import labelled
from bench.size import Size
from podfence.api import Cluster
from podfence.cluster.state import Event, EventType
from podfence.kube.decode import decode
from podfence.kube.objects import Namespace, NetworkPolicy, Pod
from podfence.kube.parsed import Parsed
from podfence.kube.yaml import parse
from podfence.policy.options import Options

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from podfence.kube.objects import KubeObject

_PAIRS = 2000
_EVENTS = 30
_PERCENT_OF_SLOW = 99


def _tell(step: str, seconds: float, processor: float = 0.0) -> None:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps([step, seconds, processor, peak]), flush=True)


@contextmanager
def _timed(step: str) -> Iterator[None]:
    start, processor = time.perf_counter(), time.process_time()
    yield
    _tell(step, time.perf_counter() - start, time.process_time() - processor)


def files(folder: Path) -> None:
    """Measure the steps of ``list`` on the manifests of a folder, all but the start and the printing."""
    documents = []
    with _timed("parse"):
        for path in sorted(folder.iterdir()):
            found, problems = parse(path.read_bytes(), path.name)
            documents += found
            assert not problems
    with _timed("decode"):
        objects, problems = decode(documents)[:2]
        assert not problems
    with _timed("set-up"):
        cluster = Cluster.from_objects(objects, Options(world="closed"))
    with _timed("connectivity"):
        assert cluster.connectivity().connections
    part = [item for item in objects if not isinstance(item, Namespace)]
    with _timed("part"):
        assert Cluster.from_objects(part).connectivity().unknown


def diff(folder: Path) -> None:
    """Measure the steps of ``diff git:HEAD .`` in a repository, all but the start and the printing."""
    os.chdir(folder)
    parsed = Parsed()
    with _timed("one side"):
        before = podfence.load("git:HEAD:.", parsed=parsed)
    with _timed("other side"):
        after = podfence.load(".", parsed=parsed)
    with _timed("difference"):
        assert podfence.diff(before, after).connections


def memory(size: Size) -> None:
    """Measure the engine on objects that are in memory already."""
    with _timed("objects"):
        objects = generate(size)
    with _timed("set-up"):
        cluster = Cluster.from_objects(objects, Options(world="closed"))
    _pairs(cluster, [item for item in objects if isinstance(item, Pod)])
    with _timed("connectivity"):
        assert cluster.connectivity().connections


def _pairs(cluster: Cluster, pods: Sequence[Pod]) -> None:
    """Measure verdicts of random pairs of pods; none is asked twice."""
    random = Random(2)
    names = [f"{pod.namespace}/{pod.name}" for pod in pods]
    seconds = []
    for _ in range(_PAIRS):
        source, destination = random.choice(names), random.choice(names)
        start = time.perf_counter()
        cluster.check(source, destination, 8080)
        seconds.append(time.perf_counter() - start)
    _tell("pair", statistics.median(seconds))
    _tell("slow pair", statistics.quantiles(seconds, n=100)[_PERCENT_OF_SLOW - 1])


def events(size: Size) -> None:
    """Measure single changes of a cluster that has answered before; every change is taken back."""
    objects = generate(size)
    random = Random(3)
    cluster = Cluster.from_objects(objects, Options(world="closed"))
    before = cluster.connectivity()
    policies = random.sample([item for item in objects if isinstance(item, NetworkPolicy)], _EVENTS)
    pods = random.sample([item for item in objects if isinstance(item, Pod)], _EVENTS)
    _changes(cluster, "policy", policies, _other_subject)
    _changes(cluster, "pod", pods, _other_tier)
    assert cluster.connectivity() == before
    with _timed("new label"):
        cluster.apply(Event(EventType.MODIFIED, _new_label(policies[0])))
    cluster.apply(Event(EventType.MODIFIED, policies[0]))
    _changes(cluster, "later pod", pods, _other_tier)
    assert cluster.connectivity() == before


def _changes(
    cluster: Cluster, what: str, items: Sequence[KubeObject], change: Callable[[KubeObject], KubeObject]
) -> None:
    seconds: dict[str, list[float]] = {"changed": [], "deleted": [], "added": []}

    def apply(kind: str, event: EventType, item: KubeObject) -> None:
        start = time.perf_counter()
        cluster.apply(Event(event, item))
        seconds[kind].append(time.perf_counter() - start)

    for item in items:
        apply("changed", EventType.MODIFIED, change(item))
        apply("changed", EventType.MODIFIED, item)
        apply("deleted", EventType.DELETED, item)
        apply("added", EventType.ADDED, item)
    for kind, samples in seconds.items():
        _tell(f"{what} {kind}", statistics.median(samples))
        _tell(f"{what} {kind}, slowest", max(samples))


def _other_subject(item: KubeObject) -> KubeObject:
    return msgspec.structs.replace(item, pod_selector=labelled(app="web"))


def _new_label(item: KubeObject) -> KubeObject:
    return msgspec.structs.replace(item, pod_selector=labelled(**{"pod-template-hash": "none"}))


def _other_tier(item: KubeObject) -> KubeObject:
    assert isinstance(item, Pod)
    labels = {**item.template.labels, "tier": "frontend", "version": "v9"}
    return msgspec.structs.replace(item, template=msgspec.structs.replace(item.template, labels=labels))


if __name__ == "__main__":
    if sys.argv[1] == "files":
        files(Path(sys.argv[2]))
    elif sys.argv[1] == "diff":
        diff(Path(sys.argv[2]))
    else:
        {"memory": memory, "events": events}[sys.argv[1]](Size.of(sys.argv[2:]))
