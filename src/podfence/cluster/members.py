# SPDX-License-Identifier: Apache-2.0
"""Members: what the engine judges as pods, whether they run or are only described by a workload."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from podfence.cluster.controllers import added_labels, numbered_name, numbers
from podfence.cluster.nodes import numbers_of
from podfence.kube.objects import Key
from podfence.kube.registry import KINDS
from podfence.sets.addresses import family_of

if TYPE_CHECKING:
    from podfence.kube.objects import ContainerPort, Labels, Pod, PodTemplate, Workload
    from podfence.sets.addresses import Family

FINISHED_PHASES = frozenset({"Succeeded", "Failed"})

_SEVERAL = 2


class Member(Struct, frozen=True, eq=False):
    """A pod of the cluster, or one standing for all pods a workload would run.

    `key` names the Pod, or the workload when there are no pods of it yet. `workload` is the topmost
    controller (a Deployment rather than its ReplicaSet), None for a bare pod. `addresses` are numbers
    as in `podfence.sets.addresses`; none means they are not known. `host` marks hostNetwork pods.
    """

    key: Key
    workload: Key | None
    labels: Labels
    ports: tuple[ContainerPort, ...]
    addresses: tuple[int, ...] = ()
    node: str = ""
    host: bool = False
    pod: Pod | None = None

    @property
    def namespace(self) -> str:
        """The namespace of the pod."""
        return self.key.namespace

    @property
    def owner(self) -> Key:
        """What it is shown as: its workload, or itself."""
        return self.workload or self.key

    @property
    def is_supposed(self) -> bool:
        """Whether it is a pod that need not exist, asked about by its labels alone."""
        return self.key.kind == "Pod" and self.pod is None and self.workload is None

    @property
    def name(self) -> str:
        """The name shown to people: ``shop/web`` for a pod, ``shop/deploy/web`` for a workload without pods."""
        return display_name(self.key)


def display_name(key: Key) -> str:
    """Return an object's name as an endpoint is written: ``shop/web`` for pods, ``shop/deploy/web`` for others."""
    if key.kind == "Pod":
        return f"{key.namespace}/{key.name}"
    known = KINDS.get(key.kind)
    return f"{key.namespace}/{known.word if known else key.kind.lower()}/{key.name}"


def member_of_pod(pod: Pod, workload: Key | None) -> Member:
    """Return the member for a live Pod object.

    Addresses that cannot be parsed are left out, and so are further ones of a family: a pod has one of each at most.
    """
    template = pod.template
    texts = pod.addresses or (pod.node_addresses if template.host_network else ())
    return Member(
        key=pod.key,
        workload=workload,
        labels=template.labels,
        ports=template.ports,
        addresses=_one_of_each_family(texts, host=template.host_network),
        node=template.node,
        host=template.host_network,
        pod=pod,
    )


def members_of_template(workload: Workload, *, apart: bool = False) -> list[Member]:
    """Return what stands for the pods of a workload which has none yet: one member for all of them.

    `apart` asks for one for each of the pods that the workload numbers.
    """
    pods = numbers(workload)
    if apart and len(pods) > 1:
        return [
            _member_of_template(workload, Key("Pod", workload.namespace, numbered_name(workload, number)), number)
            for number in pods
        ]
    return [_member_of_template(workload, workload.key, pods[0] if len(pods) == 1 else None)]


def _member_of_template(workload: Workload, key: Key, number: int | None) -> Member:
    template: PodTemplate = workload.template
    return Member(
        key=key,
        workload=workload.key,
        labels={**template.labels, **added_labels(workload, number=number)},
        ports=template.ports,
        node=template.node,
        host=template.host_network,
    )


def _one_of_each_family(texts: tuple[str, ...], *, host: bool) -> tuple[int, ...]:
    """Return addresses as numbers; those of a node that are a pod's too may be several of a family."""
    numbers = tuple(numbers_of(texts))
    if host or len(numbers) < _SEVERAL:
        return numbers
    first: dict[Family, int] = {}
    for number in numbers:
        first.setdefault(family_of(number), number)
    return tuple(first.values())
