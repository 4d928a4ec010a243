# SPDX-License-Identifier: Apache-2.0
"""The state of a lab as tables."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from podfence.report import columns
from podfence.report.style import PAGE

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from podfence.lab.status import Labs, LabStatus
    from podfence.report.style import Page


_TABLES: Final[dict[str, dict[str, str]]] = {
    "nodes": {"NODE": "name", "ADDRESSES": "addresses", "PODS": "pods", "AGENT": "agent"},
    "namespaces": {"NAMESPACE": "name", "LABELS": "labels"},
    "pods": {
        "NAMESPACE": "namespace",
        "POD": "name",
        "STATUS": "phase",
        "RESTARTS": "restarts",
        "NODE": "node",
        "ADDRESSES": "addresses",
        "LABELS": "labels",
        "RUNS": "runs",
    },
    "services": {
        "NAMESPACE": "namespace",
        "SERVICE": "name",
        "TYPE": "type",
        "ADDRESSES": "addresses",
        "PORTS": "ports",
        "SELECTOR": "selector",
        "BACKENDS": "backends",
    },
    "policies": {
        "NAMESPACE": "namespace",
        "NETWORKPOLICY": "name",
        "POD-SELECTOR": "selector",
        "ADMITTED": "admitted",
        "DENIED": "denied",
        "IN THE KERNEL": "real",
    },
}
"""The tables of a status: the fields that the columns show, by the titles of these."""


def lines(status: LabStatus, page: Page = PAGE) -> Iterator[str]:
    """Yield a table each of nodes, namespaces, pods, Services and policies, those that are empty left out."""
    tables = [(getattr(status, name), fields) for name, fields in _TABLES.items()]
    for number, (items, fields) in enumerate(table for table in tables if table[0]):
        if number:
            yield ""
        rows = [[_cell(item, field, len(status.nodes)) for field in fields.values()] for item in items]
        yield from columns.table([*fields], rows, page)
    for name in status.waiting:
        yield f"waiting for an address: {name}"


def labs(found: Labs, page: Page = PAGE) -> Iterator[str]:
    """Yield a table of labs, or that there is none."""
    if not found.items:
        yield "no lab is running; run `podfence lab up` to start one"
        return
    rows = [(lab.name, str(lab.nodes), str(lab.pods), lab.problem or "Running") for lab in found.items]
    yield from columns.table(("LAB", "NODES", "PODS", "STATUS"), rows, page)


def _cell(item: object, field: str, nodes: int) -> str:
    value = getattr(item, field)
    if field == "real":
        return _real(value, nodes)
    if isinstance(value, dict):
        return ",".join(f"{key}={text}" for key, text in value.items()) or "<none>"
    return (", ".join(value) if isinstance(value, tuple) else str(value)) or "<none>"


def _real(times: Mapping[str, float], nodes: int) -> str:
    if not times:
        return "no node has pods that it concerns"
    return f"after {max(times.values()) * 1000:.0f} ms on {len(times)} of {nodes} nodes"
