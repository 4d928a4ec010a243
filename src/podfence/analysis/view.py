# SPDX-License-Identifier: Apache-2.0
"""What a listing is computed from. A question never changes the index that others ask as well."""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING, NamedTuple

from msgspec import Struct

from podfence.analysis.endpoints import PodsEndpoint, ServiceEndpoint
from podfence.analysis.source_ranges import ranges_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from podfence.analysis.endpoints import Endpoint
    from podfence.cluster.classes import ClassIndex
    from podfence.cluster.members import Member
    from podfence.policy.engine import Engine
    from podfence.policy.model import Model


class View(Struct, frozen=True):
    """An engine, and an index of the classes of all pods that a question is about."""

    engine: Engine
    index: ClassIndex


class Counts(NamedTuple):
    """How much there is in a cluster: workloads and bare pods, the pods that policies judge, and policies."""

    workloads: int
    pods: int
    policies: int


def counts_of(engine: Engine) -> Counts:
    """Return how much there is in a cluster, without pods that need not exist."""
    state = engine.state
    judged = [member for member in state.members.values() if engine.is_judged(member)]
    return Counts(len({member.owner for member in judged}), len(judged), sum(map(len, state.policies.values())))


def view_of(
    model: Model, ends: Iterable[Endpoint | None], port_name: str = "", supposed: Iterable[Member] = ()
) -> View:
    """Return the model's index, or where a question needs more than it has, a copy with that.

    That are the pods at the `ends` that need not exist, and those that are `supposed`; the names of ports that tell
    pods apart: the one asked about (semantics 5.4), and those a Service sends to; and the ranges of a load balancer
    that is asked at its address.
    """
    known = list(ends)
    typed = (end.members for end in known if isinstance(end, PodsEndpoint) and end.hypothetical)
    extra = {member.key: member for member in chain(supposed, *typed)}
    names = {port_name} - {""}
    cuts: set[int] = set()
    for end in known:
        if isinstance(end, ServiceEndpoint):
            names.update(port.target for port in end.service.ports if isinstance(port.target, str))
            ranges = ranges_of(end.service) if end.at_balancer else None
            cuts.update(ranges.cuts() if ranges else ())
    if not (extra or names or cuts):
        return View(model.engine, model.index)
    foreign = {member.namespace for member in extra.values()}.difference(model.state.namespaces)
    index = model.index.copy(namespaces=bool(foreign))
    index.look_at((), names, cuts)
    for name in foreign:
        index.put_namespace(name, model.state.labels_of_namespace(name))
    for member in extra.values():
        index.add(member)
    return View(model.engine, index)
