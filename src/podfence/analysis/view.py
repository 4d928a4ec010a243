# SPDX-License-Identifier: Apache-2.0
"""What a listing is computed from. A question never changes the index that others ask as well."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from podfence.analysis.endpoints import PodsEndpoint, ServiceEndpoint
from podfence.analysis.source_ranges import ranges_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from podfence.analysis.endpoints import Endpoint
    from podfence.cluster.classes import ClassIndex
    from podfence.cluster.state import ClusterState
    from podfence.policy.engine import Engine
    from podfence.policy.model import Model


@dataclass(frozen=True, slots=True)
class View:
    """An engine, and an index of the classes of all pods that a question is about."""

    engine: Engine
    index: ClassIndex

    @property
    def state(self) -> ClusterState:
        """The cluster state that is judged."""
        return self.engine.state


def view_of(model: Model, ends: Iterable[Endpoint | None], port_name: str = "") -> View:
    """Return the model's index, or where a question needs more than it has, a copy with that.

    That are the pods at the `ends` that need not exist, the names of ports that tell pods apart: the one asked
    about (semantics 5.4), and those a Service sends to; and the ranges of a load balancer that is asked at its address.
    """
    known = list(ends)
    extra = {
        member.key: member
        for end in known
        if isinstance(end, PodsEndpoint) and end.hypothetical
        for member in end.members
    }
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
