# SPDX-License-Identifier: Apache-2.0
"""The state of a lab as tables."""

from __future__ import annotations

from typing import TYPE_CHECKING

from podfence.report import columns
from podfence.report.style import PAGE

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from podfence.lab.status import LabPolicy, Labs, LabStatus
    from podfence.report.style import Page


def lines(status: LabStatus, page: Page = PAGE) -> Iterator[str]:
    """Yield a table each of nodes, namespaces, pods, Services and policies, those that are empty left out."""
    tables: list[tuple[tuple[str, ...], list[tuple[str, ...]]]] = [
        (
            ("NODE", "ADDRESSES", "PODS", "AGENT"),
            [(node.name, _joined(node.addresses), str(node.pods), node.agent) for node in status.nodes],
        ),
        (
            ("NAMESPACE", "LABELS"),
            [(item.name, _labels(item.labels)) for item in status.namespaces],
        ),
        (
            ("NAMESPACE", "POD", "STATUS", "RESTARTS", "NODE", "ADDRESSES", "LABELS", "RUNS"),
            [
                (
                    pod.namespace,
                    pod.name,
                    pod.phase,
                    str(pod.restarts),
                    pod.node,
                    _joined(pod.addresses),
                    _labels(pod.labels),
                    _joined(pod.runs),
                )
                for pod in status.pods
            ],
        ),
        (
            ("NAMESPACE", "SERVICE", "TYPE", "ADDRESSES", "PORTS", "SELECTOR", "BACKENDS"),
            [
                (
                    item.namespace,
                    item.name,
                    item.type,
                    _joined(item.addresses),
                    _joined(item.ports),
                    item.selector or "<none>",
                    str(item.backends),
                )
                for item in status.services
            ],
        ),
        (
            ("NAMESPACE", "NETWORKPOLICY", "POD-SELECTOR", "ADMITTED", "DENIED", "IN THE KERNEL"),
            [
                (
                    item.namespace,
                    item.name,
                    item.selector or "<none>",
                    str(item.admitted),
                    str(item.denied),
                    _real(item, len(status.nodes)),
                )
                for item in status.policies
            ],
        ),
    ]
    for number, (header, rows) in enumerate(table for table in tables if table[1]):
        if number:
            yield ""
        yield from columns.lines(rows, header=header, gaps=["   "] * len(header), width=page.width, style=page.style)
    for name in status.waiting:
        yield f"waiting for an address: {name}"


def labs(found: Labs, page: Page = PAGE) -> Iterator[str]:
    """Yield a table of labs, or that there is none."""
    if not found.items:
        yield "no lab is running; run `podfence lab up` to start one"
        return
    header = ("LAB", "NODES", "PODS", "STATUS")
    rows = [(lab.name, str(lab.nodes), str(lab.pods), lab.problem or "Running") for lab in found.items]
    yield from columns.lines(rows, header=header, gaps=["   "] * len(header), width=page.width, style=page.style)


def _labels(labels: Mapping[str, str]) -> str:
    return ",".join(f"{key}={value}" for key, value in labels.items()) or "<none>"


def _joined(texts: Sequence[str]) -> str:
    return ", ".join(texts) or "<none>"


def _real(policy: LabPolicy, nodes: int) -> str:
    if not policy.real:
        return "no node has pods that it concerns"
    slowest = max(policy.real.values())
    return f"after {slowest * 1000:.0f} ms on {len(policy.real)} of {nodes} nodes"
