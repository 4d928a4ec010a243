# SPDX-License-Identifier: Apache-2.0
"""The status of a node's agent for people."""

from __future__ import annotations

from typing import TYPE_CHECKING

from podfence.errors import counted
from podfence.report import columns
from podfence.report.style import PAGE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from podfence.agent.node.answer import AgentStatus, Watch
    from podfence.report.style import Page

_SOURCES = {
    "waiting": "waiting for the first complete lists",
    "live": "the API server",
    "kept": "the state kept on disk, because the API server does not answer",
}


def lines(status: AgentStatus, page: Page = PAGE) -> Iterator[str]:
    """Yield the state in words, and then a table of watches, and what was found wrong with the node."""
    style = page.style
    ready = style.decision("allowed", "yes") if status.ready else style.decision("denied", "no")
    rows = [
        ("node", status.node),
        ("version", status.version),
        ("started", status.started),
        ("ready", ready),
        *(("", item) for item in status.obstacles),
        ("enforcing", "yes" if status.enforcing else "no"),
        ("source", f"{_SOURCES[status.source]}, since {status.source_since}"),
        ("programmed", _programmed(status)),
        ("links", _links(status)),
        ("dropped", _dropped(status)),
    ]
    if status.last_change:
        rows.append(("last change", f"{status.last_change.at} {status.last_change.what}"))
    if status.last_error:
        rows.append(("last error", f"{status.last_error.at} {status.last_error.what}"))
    size = max(len(name) for name, _ in rows)
    for name, text in rows:
        yield f"{style.strong(name.ljust(size))}  {text}"
    if status.watches:
        yield ""
        watches = [
            (item.kind, str(item.events), str(item.failures), str(item.relists), _state(item))
            for item in status.watches
        ]
        yield from columns.table(("WATCH", "EVENTS", "FAILURES", "RELISTS", "STATE"), watches, page)
    for found in status.findings:
        yield ""
        yield f"{found.severity} {found.code}: {found.message}"
        yield f"  {found.remedy}"


def _programmed(status: AgentStatus) -> str:
    return ", ".join(
        (
            counted(status.pods, "pod"),
            counted(status.policies, "policy", "policies"),
            f"{counted(status.groups, 'group')} of pods",
        )
    )


def _dropped(status: AgentStatus) -> str:
    dropped = status.dropped
    if dropped is None:
        return "the kernel's counters cannot be read"
    return (
        f"{dropped.egress} egress, {dropped.ingress} ingress, {dropped.held} of unknown pods, "
        f"{dropped.cut} of cut flows (packets)"
    )


def _links(status: AgentStatus) -> str:
    if status.binding == "off":
        return "pods are not bound to their links"
    links = status.links
    text = f"{counted(links.bound, 'pod')} bound, {links.unbound} not, {links.exempt} exempt"
    stray = status.dropped.stray if status.dropped else {}
    reasons = ", ".join(f"{packets} {reason}" for reason, packets in stray.items() if packets) or "none"
    verdict = "dropped" if status.binding == "enforce" else "told of, and not dropped"
    return f"{text}; stray packets {verdict}: {reasons}"


def _state(item: Watch) -> str:
    if not item.listed:
        return f"not listed yet{f': {item.error}' if item.error else ''}"
    return "connected" if item.connected else f"not connected: {item.error}"
