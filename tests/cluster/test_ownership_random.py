# SPDX-License-Identifier: Apache-2.0
"""Random owners, also in circles and unknown: a plain walk finds the same workloads, and events end as a fresh load."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st

from podfence.cluster.state import ClusterState, Event, EventType
from podfence.kube.objects import Key, Pod, Workload
from tests.cluster.parts import added, pod, workload
from tests.twin.effort import tried

if TYPE_CHECKING:
    from hypothesis.strategies import DrawFn

KINDS = ("Deployment", "ReplicaSet", "Job", "CronJob", "StatefulSet", "Rollout", "Operator")
MADE = ("ReplicaSet", "Job")
BUILT_IN = ("Deployment", "ReplicaSet", "Job", "CronJob", "StatefulSet")
NAMES = ("a", "b", "b-1", "c-28123456")


@st.composite
def owners(draw: DrawFn) -> str:
    return draw(st.just("") | st.builds("{}/{}".format, st.sampled_from(KINDS), st.sampled_from(NAMES)))


@st.composite
def objects(draw: DrawFn) -> list[Workload | Pod]:
    labels = st.sampled_from(({}, {"pod-template-hash": "1"}))
    workloads = st.builds(
        lambda kind, name, owner, labels: workload(kind, name, owner=owner, labels=labels),
        *(st.sampled_from(KINDS[:-1]), st.sampled_from(NAMES), owners(), labels),
    )
    pods = st.builds(
        lambda name, owner, labels: pod(name, owner=owner, labels=labels), st.sampled_from("pqrs"), owners(), labels
    )
    return draw(st.lists(workloads | pods, max_size=9))


def chain(item: Workload | Pod, loaded: dict[Key, Workload]) -> list[Key]:
    """Return what is above an object, link by link, as `podfence.cluster.ownership` describes it."""
    found = [] if isinstance(item, Pod) else [item.key]
    here: Workload | Pod | None = item
    while here is not None and here.owner is not None:
        above = Key(here.owner.kind, here.namespace, here.owner.name)
        if isinstance(here, Workload):
            climbs = above in loaded or above.kind in BUILT_IN or "pod-template-hash" in here.template.labels
            if here.kind not in MADE or not climbs:
                break
        if above in found:
            # In a circle nobody is above anybody.
            return found[:1]
        found.append(above)
        here = loaded.get(above)
    if found and found[-1] not in loaded:
        last, mark = found[-1], item.template.labels.get("pod-template-hash", "")
        if last.kind == "ReplicaSet" and mark and last.name.endswith(f"-{mark}"):
            found.append(Key("Deployment", last.namespace, last.name.removesuffix(f"-{mark}")))
        elif last.kind == "Job" and (match := re.fullmatch(r"(.+)-\d{8,10}", last.name)):
            found.append(Key("CronJob", last.namespace, match[1]))
    return found


def expected(items: list[Workload | Pod]) -> dict[Key, Key | None]:
    """Return the workload of each pod, and of each workload that stands for pods it would have."""
    loaded = {item.key: item for item in items if isinstance(item, Workload)}
    pods = [item for item in items if isinstance(item, Pod)]
    chains = {item.key: chain(item, loaded) for item in pods}
    tops: dict[Key, Key | None] = {key: links[-1] if links else None for key, links in chains.items()}
    owning = {Key(item.owner.kind, item.namespace, item.owner.name) for item in loaded.values() if item.owner}
    for key, item in loaded.items():
        top = chain(item, loaded)[-1]
        is_stood_for = top != key and top in loaded
        runs_others = key.kind not in BUILT_IN and key in owning
        if top not in tops.values() and not is_stood_for and not runs_others:
            tops[key] = key
    return tops


def belongs(state: ClusterState) -> dict[Key, Key | None]:
    return {key: member.workload for key, member in state.members.items()}


def latest(items: list[Workload | Pod]) -> list[Workload | Pod]:
    """Return the last of the objects with one name."""
    return list({item.key: item for item in items}.values())


@tried(300)
@given(items=objects(), data=st.data())
def test_a_plain_walk_finds_the_same_workloads_and_events_end_as_a_fresh_load(
    items: list[Workload | Pod], data: st.DataObject
) -> None:
    assert belongs(ClusterState(items)) == expected(latest(items))

    state = ClusterState()
    history = data.draw(st.permutations(items))
    for item in history:
        state.apply(added(item))
    items = latest(history)
    assert belongs(state) == expected(items)
    gone = data.draw(st.lists(st.sampled_from(items), unique=True)) if items else []
    for item in gone:
        state.apply(Event(EventType.DELETED, item))
    assert belongs(state) == expected([item for item in items if item not in gone])
